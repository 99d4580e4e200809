"""Shards → features: loader, tasks, model, adversary, trainer, probe, export. Knows no Ray by default."""

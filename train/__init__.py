"""Shards → features: data, tasks, model, objective, run, export, probing. Knows no Ray by default."""

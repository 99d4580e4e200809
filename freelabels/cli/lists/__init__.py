"""Commands that list what there is, before any work: sources, detectors, fields, tasks."""

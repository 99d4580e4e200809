"""Tasks whose labels are made from what the trunk itself sees. Imported by the registry of tasks."""

"""Tasks that ask in which order frames came, or what is near in time. Imported by the registry of tasks."""

"""Tasks that ask what comes next in a clip. Imported by the registry of tasks."""

"""Tasks that ask where parts of an image belong or how it is turned. Imported by the registry of tasks."""

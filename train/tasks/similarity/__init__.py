"""Tasks that ask which images, or views of them, are alike. Imported by the registry of tasks."""

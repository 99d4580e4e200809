"""Tasks that ask which colours a grey image had. Imported by the registry of tasks."""

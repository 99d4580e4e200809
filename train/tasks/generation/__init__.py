"""Tasks that make pixels: what is hidden, lost, or never was. Imported by the registry of tasks."""

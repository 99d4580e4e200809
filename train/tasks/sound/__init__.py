"""Tasks that learn from what is heard beside what is seen. Only the registry of tasks imports it."""

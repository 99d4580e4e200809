"""How good every label is, and each one's measures."""

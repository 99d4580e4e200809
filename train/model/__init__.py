"""The network, and the ranks it runs on. Imported by objective, run and probing."""

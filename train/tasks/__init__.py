"""What is learned from which field: heads, losses, metrics, and pretexts made from images alone.

Imported by objective, run, export and probing.
"""

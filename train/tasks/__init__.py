"""What is learned from which field: heads, losses, metrics, and pretexts made from images alone."""

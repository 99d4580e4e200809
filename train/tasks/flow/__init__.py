"""Tasks on optical flow: learned from exact flow, from two frames alone, or flow as the label of an image."""

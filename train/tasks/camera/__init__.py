"""Tasks on how the camera moved and how far away things are: from stored poses, or from the frames alone."""

"""Disparity and depth from stereo, from a moving camera, and from a depth sensor. The registry imports it."""

"""Disparity and depth from stereo, from a moving camera, from a depth sensor. Only the registry imports it."""

"""Posed world → photograph: light, shading, background, the camera's sensor, and PyBullet's own renderers.

Imported by `labels` and `render`.
"""

"""Posed world → exact labels of one frame, and whether a clip's labels agree with each other.

Imported by `render` and by verification.
"""

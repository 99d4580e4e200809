"""What people have → clips: files found, grouped, examined, cut into shots and decoded.

Imported by stages, and by probing for pictures.
"""

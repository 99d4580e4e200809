"""What people have → clips: files found, grouped, examined and cut into clips that can be decoded again.

Imported by stages.
"""

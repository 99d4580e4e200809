"""Shards: how they are written, committed, read, indexed, summed up and excluded from.

Imported by every later room and layer.
"""

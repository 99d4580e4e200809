"""Shards → batches: which windows of frames there are, how they are read and augmented.

Imported by every later room.
"""

"""Shards: how they are written, committed, read, indexed, summed up and excluded from."""

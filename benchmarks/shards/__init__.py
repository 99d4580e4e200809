"""Shards beside other formats."""

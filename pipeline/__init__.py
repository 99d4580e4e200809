"""Stages on Ray, shards on zarr: from sources to committed, verified, inspectable label shards."""

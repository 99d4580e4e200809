"""Where bytes lie: folders, object stores, single URIs, a local cache. Knows nothing of shards.

Imported by every later room and layer.
"""

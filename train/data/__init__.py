"""Shards → batches: which windows of frames there are, how they are read and augmented."""

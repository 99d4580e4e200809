"""Classifiers on frozen features that are made anew for every batch: for more pictures than fit into memory."""

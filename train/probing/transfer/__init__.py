"""Networks trained on from a backbone: detectors, segmenters, few labels; how they are scored, how they go on.

Knows tensors, not folders or reports: the rest of `train.probing` reads images and writes tables.
"""

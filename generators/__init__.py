"""Frames → labels: the contract, shared tools, and one file or room a label. Knows no Ray, no zarr, no torch."""

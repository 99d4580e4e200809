"""Frames → labels: the contract, geometry, and one file per detector. Knows no Ray, no zarr, no torch."""

"""Seed → frames and exact labels: PyBullet simulation, ray-cast labels and ray-traced pixels."""

"""Seed → scene: what scenes are drawn from, and the drawing."""

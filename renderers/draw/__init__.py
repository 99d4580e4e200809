"""Seed → scene: what scenes are drawn from, and the drawing.

Imported by `render`, `preview` and the stages.
"""

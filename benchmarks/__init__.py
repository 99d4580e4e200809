"""Figures that users can measure themselves: one module per label."""

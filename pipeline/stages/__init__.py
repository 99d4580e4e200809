"""The stages that make data: label, render, calibrate, and how they plan."""

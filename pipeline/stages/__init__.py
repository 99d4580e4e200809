"""The stages that make data: label, render, calibrate, and how they plan.

Only the face and the command line import it.
"""

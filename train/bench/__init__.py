"""The table of features: rows trained on equally many pixels, probed alike, side by side.

A room above all that it compares: data, tasks, runs and probes.
"""

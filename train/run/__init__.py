"""A training run: the loop, checkpoints, logs, evaluation, precision, and Ray Train.

Imported by export, probing, the face and the command line.
"""

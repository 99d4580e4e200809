"""A training run: the loop, checkpoints, logs, evaluation, precision, and Ray Train."""

"""What is claimed about speed and quality, to be run again: `python -m benchmarks.NAME`."""

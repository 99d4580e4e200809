"""Datasets made of datasets: clips chosen, copied, merged, divided, taken out. No pixel is labelled anew."""

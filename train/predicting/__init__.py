"""A run's network taken out of it with its heads: to label with, and to give away."""

"""Domain adversaries, one file a kind over `base`; `objective.adversary` finds them by name."""

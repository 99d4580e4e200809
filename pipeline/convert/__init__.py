"""A dataset → files that other tools read: one file a format, all of them from `frames`."""

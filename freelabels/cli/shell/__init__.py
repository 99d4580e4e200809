"""What all commands share: their common options, how options are read from the line, and how they speak and end."""

"""What all commands share: common options, how options are read from the line, and how they speak and end."""

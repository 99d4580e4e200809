"""One file a subcommand that gives something away: to other tools, to people, to a hub; as in `commands`."""

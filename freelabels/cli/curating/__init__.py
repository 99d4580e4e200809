"""One file a subcommand that makes datasets of datasets, or takes clips out; as in `commands`."""

"""One file a subcommand: a thin typed function over the layers below. main imports each when it is asked for."""

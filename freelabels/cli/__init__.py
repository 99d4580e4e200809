"""The `freelabels` command: one file a subcommand, each a thin typed function over the layers below.

Nothing imports it.
"""

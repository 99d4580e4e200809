"""The `freelabels` command: `main` finds the subcommand in `commands` or `lists`; both share `shell`.

Nothing imports it.
"""

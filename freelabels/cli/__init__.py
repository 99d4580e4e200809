"""The `freelabels` command: `main` finds the subcommand in `commands`; what these share lies in `shell`.

Nothing imports it.
"""

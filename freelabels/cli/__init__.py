"""The `freelabels` command: `main` finds the subcommand in `commands`, `curating` or `lists`; all share `shell`.

Nothing imports it.
"""

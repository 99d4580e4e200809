"""`freelabels prune`: what is no longer needed, removed; what a repair set aside, shown, put back or removed."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, conclude, reporter


def prune(
    dataset: Positional[str],
    /,
    *,
    quarantine: bool = False,
    restore: str | None = None,
    json: bool = False,
) -> int:
    """Remove what dead writers left in a dataset; list what verify --repair set aside, put it back or remove it.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        quarantine: Remove for good all that repairs have set aside.
        restore: Put back what was set aside under this name, as the newest revision of its shard.
        json: Print the result as JSON.
    """
    to = reporter(json)
    summary = freelabels.prune(dataset, quarantine=quarantine, restore=restore)
    for one in summary.quarantine:
        to.say(f"set aside: {one.name} ({'; '.join(one.reasons)})", name=one.name, reasons=list(one.reasons))
    if summary.restored:
        to.say(f"put back as {summary.restored}", restored=summary.restored)
    conclude(
        json,
        summary,
        f"{summary.leftovers} leftovers removed, {len(summary.quarantine)} set aside, "
        f"{summary.emptied} of those set aside removed",
    )
    return DONE

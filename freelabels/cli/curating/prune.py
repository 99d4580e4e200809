"""`freelabels prune`: what is no longer needed, removed; what a repair set aside, shown, put back or removed."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, conclude, reporter
from freelabels.ground.spelling import counted

SHOWN = 20  # sources


def prune(
    dataset: Positional[str],
    /,
    *,
    quarantine: bool = False,
    restore: str | None = None,
    which: Annotated[Which, FLAT] = ALL,
    gone: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Remove what dead writers left, and clips by choice; list, put back or remove what verify --repair set aside.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        quarantine: Remove for good all that repairs have set aside.
        restore: Put back what was set aside under this name, as the newest revision of its shard.
        which: Clips to take out for good.
        gone: Take out clips whose source is no longer there.
        dry_run: Only say which clips would go.
        json: Print the result as JSON.
    """
    to = reporter(json)
    chosen = None if which == ALL else which.selection
    summary = freelabels.prune(
        dataset, quarantine=quarantine, restore=restore, selection=chosen, gone=gone, dry_run=dry_run
    )
    if chosen is not None or gone:
        goes = "would be taken out" if dry_run else "taken out"
        for source in summary.sources[:SHOWN]:
            to.say(f"  {source}", source=source)
        more = len(summary.sources) - SHOWN
        to.say(
            f"{counted(summary.clips, 'clip')}, {counted(summary.frames, 'frame')} {goes}"
            + (f" ({more} more)" if more > 0 else "")
        )
    for one in summary.quarantine:
        to.say(f"set aside: {one.name} ({'; '.join(one.reasons)})", name=one.name, reasons=list(one.reasons))
    if summary.restored:
        to.say(f"put back as {summary.restored}", restored=summary.restored)
    removed = f"{summary.leftovers} leftovers removed, {len(summary.quarantine)} set aside, "
    removed += f"{summary.emptied} of those set aside removed"
    conclude(
        json, summary, "a dry run: nothing was removed, leftovers were not counted" if dry_run else removed
    )
    return DONE

"""`freelabels split`: which clips are to train on, to choose settings by and to test on."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, conclude, note
from freelabels.ground.spelling import counted


def split(
    dataset: Positional[str],
    /,
    *,
    val: float | None = None,
    test: float | None = None,
    put: str = "",
    which: Annotated[Which, FLAT] = ALL,
    anew: bool = False,
    json: bool = False,
) -> int:
    """Divide a dataset into train, val and test by source, for good; without shares show what each holds.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        val: Share of the sources to choose settings by; training scores itself on it.
        test: Share of the sources that no training sees; probe tests on it.
        put: Pin the sources of the chosen clips to train, val or test instead, whatever the shares say.
        which: Which clips.
        anew: Change the shares of a dataset that is split, and forget what was pinned: clips move.
        json: Print the result as JSON.
    """
    done = freelabels.split(dataset, val=val, test=test, put=put, selection=which.selection, anew=anew)
    held = ", ".join(
        f"{name} {counted(n['sources'], 'source')} "
        f"({counted(n['clips'], 'clip')}, {counted(n['frames'], 'frame')})"
        for name, n in done.splits.items()
    )
    conclude(json, done, f"{done.dataset}: {held}")
    for name, share in (("val", val), ("test", test)):
        if share and not done.splits[name]["sources"]:
            note(f"no source fell into {name}: more sources will, or --put {name} pins some")
    return DONE

"""`freelabels merge`: several datasets as one."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import Positional

from freelabels.cli.curating.copy import copied
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.ground.errors import UserError


def merge(
    datasets: Positional[tuple[str, ...]],
    /,
    *,
    out: str,
    which: Annotated[Which, FLAT] = ALL,
    layout: Literal["folders", "packed"] | None = None,
    workers: int = 0,
    address: str | None = None,
    json: bool = False,
) -> int:
    """Merge datasets of one domain and frame size into another; classes are told apart by name.

    Args:
        datasets: Folders or addresses of two datasets or more; a clip that several hold is taken from the first.
        out: Folder or address of the merged dataset; it is made, or completed.
        which: Which clips of them.
        layout: How a shard lies there: as a folder of files, or packed into one object a commit.
        workers: Tasks at a time on Ray; 0 works in this process.
        address: Address of a running Ray cluster.
        json: Print progress and summary as JSON lines on standard output.
    """
    if len(datasets) < 2:
        raise UserError("name two datasets or more to merge; freelabels copy takes one")
    return copied(datasets, out, which, layout, workers, address, json)

"""`freelabels merge`: several datasets as one."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

from freelabels.cli.curating.copy import Target, copied
from freelabels.cli.shell.choosing import ALL, Which
from freelabels.cli.shell.options import FLAT
from freelabels.ground.errors import UserError


def merge(
    datasets: Positional[tuple[str, ...]],
    /,
    *,
    to: Annotated[Target, FLAT],
    which: Annotated[Which, FLAT] = ALL,
) -> int:
    """Merge datasets of one domain and frame size into another; classes are told apart by name.

    Args:
        datasets: Folders or addresses of two datasets or more; a clip that several hold is taken from the first.
        to: Where to, and how.
        which: Which clips of them.
    """
    if len(datasets) < 2:
        raise UserError("name two datasets or more to merge; freelabels copy takes one")
    return copied(datasets, to, which)

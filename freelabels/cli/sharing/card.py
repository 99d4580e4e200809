"""`freelabels card`: a dataset's card for people and for machines."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, say


def card(
    dataset: Positional[str],
    /,
    *,
    name: str = "",
    description: str = "",
    license: str = "",
    source_license: str = "",
    creator: tuple[str, ...] = (),
    url: str = "",
    citation: str = "",
) -> int:
    """Write a dataset's card: README.md for people, croissant.json (MLCommons Croissant) for machines.

    Args:
        dataset: Folder of a dataset.
        name: What it is called; default the folder's name.
        description: What it is, in a sentence or more.
        license: Licence of the labels, an SPDX name or a URL.
        source_license: Terms of the frames that the labels were made from.
        creator: Who made it; may be given several times.
        url: Where it can be found.
        citation: How to cite it.
    """
    about = freelabels.About(name, description, license, source_license, creator, url, citation)
    for path in freelabels.card(dataset, about):
        say(f"written: {path}")
    return DONE

"""`freelabels push`: a dataset or a run's backbone on a hub."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, conclude
from freelabels.ground.spelling import counted


def push(
    path: Positional[str],
    repository: Positional[str] = "",
    /,
    *,
    license: str = "",
    source_license: str = "",
    description: str = "",
    public: bool = False,
    dry_run: str = "",
    json: bool = False,
) -> int:
    """Put a dataset or a run's backbone on the Hugging Face Hub, with a card, without paths or user names.

    Args:
        path: Folder or address of a dataset, or folder of a run.
        repository: OWNER/NAME there; it is made, or added to.
        license: Licence of the labels or weights, an SPDX name; must be said.
        source_license: Terms of the frames that the labels were made from.
        description: What it is, in a sentence or more.
        public: Make a new repository public.
        dry_run: A new folder to write everything into, to look at, instead of pushing.
        json: Print the result as JSON.
    """
    about = freelabels.About(description=description, license=license, source_license=source_license)
    done = freelabels.push(path, repository, about, private=not public, into=dry_run)
    conclude(
        json,
        done,
        f"{done.kind}, {counted(done.files, 'file')}, {done.bytes / (1 << 20):.1f} MiB: {done.address}",
    )
    return DONE

"""The book of a run: every version of labels that the run made for itself, in its folder.

    runs/first/book/deep_cluster/000003.npz        version 3, whole or not there

Each is written to another name, to the disk, then renamed. The same labels give the same bytes.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from freelabels.ground.errors import UserError
from freelabels.ground.faults import reached
from freelabels.train.run.logs import writing
from freelabels.train.tasks.contract.online import Labels

BOOK = "book"  # in the run's folder
CLIPS, WHOLE = "clips.", "whole."  # before names in a file


def page(folder: Path, task: str, version: int) -> Path:
    """The file of a version."""
    return folder / BOOK / task / f"{version:06d}.npz"


def put(folder: Path, task: str, labels: Labels) -> None:
    """Write a version, over one that is there. Raises UserError if it can't be written."""
    path, content = page(folder, task, labels.version), io.BytesIO()
    arrays = {f"{CLIPS}{name}": array for name, array in labels.clips.items()}
    arrays |= {f"{WHOLE}{name}": array for name, array in labels.whole.items()}
    np.savez(content, **arrays)  # type: ignore[arg-type]
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("wb") as file:
                file.write(content.getvalue())
                file.flush()
                os.fsync(file.fileno())
            reached("book: written")
            scratch.replace(path)
            reached("book: replaced")
        finally:
            scratch.unlink(missing_ok=True)


def get(folder: Path, task: str, version: int) -> Labels:
    """Read a version. Raises UserError if it is missing or damaged."""
    path = page(folder, task, version)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing, the labels that the run goes on with; put it back, or start a new run"
        ) from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path} is damaged and can't be read: {error}; start a new run") from error
    parts = [
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (CLIPS, WHOLE)
    ]
    return Labels(version, *parts)

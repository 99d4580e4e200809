"""Folders, files and addresses as callers name them."""

from __future__ import annotations

import os
from collections.abc import Sequence

AnyPath = str | os.PathLike[str]


def path_list(paths: AnyPath | Sequence[AnyPath]) -> list[str]:
    """One path or several, as a list of texts."""
    if isinstance(paths, str | os.PathLike):
        return [os.fspath(paths)]
    return [os.fspath(path) for path in paths]

"""How shards are laid down: a folder of files each, or an object each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.interface import Storage
from freelabels.pipeline.storage.local import LocalStorage
from freelabels.pipeline.storage.object_store import ObjectStorage
from freelabels.pipeline.storage.packed import PackedStorage
from freelabels.pipeline.storage.uris import is_remote

FOLDERS, PACKED = "folders", "packed"
# By name, which a dataset's record holds unless it is the first.
LAYOUTS: dict[str, Callable[[LocalStorage | ObjectStorage], Storage]] = {
    FOLDERS: lambda place: place,
    PACKED: PackedStorage,
}


def usual_layout(path: str | os.PathLike[str]) -> str:
    """The layout of a dataset that begins at `path` unless told: in a store every object has its price."""
    return PACKED if is_remote(os.fspath(path)) else FOLDERS


def open_place(path: str | os.PathLike[str], cache: FileCache | None = None) -> LocalStorage | ObjectStorage:
    """What lies at a folder's path or a URI (``s3://``, ``gs://`` or another that fsspec knows).

    cache: where to keep copies of an object store's files that are opened. Raises UserError if a package that
    the URI needs is not installed.
    """
    where = os.fspath(path)
    return ObjectStorage(where, cache) if is_remote(where) else LocalStorage(Path(where))

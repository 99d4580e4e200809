"""Where a dataset lies, a folder or a prefix of an object store: the few operations that shards need."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.local import LocalStorage
from freelabels.pipeline.storage.object_store import ObjectStorage
from freelabels.pipeline.storage.uris import is_remote


class OpenFile(Protocol):
    """A file opened for reading parts of it: `size` bytes, of which fetch(start, stop) gives some."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def fetch(self) -> Callable[[int, int], bytes]:
        """Bytes start … stop - 1, fewer if the file ends before."""

    def close(self) -> None:
        """Give back what it holds."""


class Storage(Protocol):
    """Files by key (a path with slashes, from the dataset's root), and folders that are committed whole.

    Readers see a committed folder whole or not at all, whatever happens to writers. All methods raise
    FileNotFoundError for what is not there, and OSError (or UserError with what to do) where a disk or a
    store fails.
    """

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted."""

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """For each committed folder, what tells it from any other that had its name; "" for one that is gone.

        Compared for equality alone, so that a wrong clock does no harm.
        """

    def record(self, folder: str) -> tuple[str, bytes]:
        """A committed folder's place, with which the keys of its files begin, and the file that describes it."""

    def files(self, place: str) -> list[str]:
        """Paths of a folder's files, from its place."""

    def address(self, place: str) -> str:
        """Path or URI of a folder for other programs."""

    def exists(self, key: str) -> bool:
        """Whether there is a file."""

    def read(self, key: str) -> bytes:
        """A whole file."""

    def write(self, key: str, data: bytes) -> None:
        """Put a file beside the folders, or replace it as a whole."""

    def open(self, key: str, size: int, sha256: str) -> OpenFile:
        """A file of a committed folder, of which size and hash are known, for reading parts of it."""

    def remove(self, key: str) -> None:
        """Remove a file beside the folders, if it is there."""

    def vacant(self, besides: Collection[str] = ()) -> bool:
        """Whether nothing but leftovers of killed writers, and files called `besides`, lies here."""

    def begin(self, key: str, data: bytes) -> None:
        """Make the root, with its first file, unless that is there."""

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make `folder` appear whole with `files` and with copies of `links`, or not at all.

        files: bytes by path within the folder; links: keys of committed files by path within the folder.
        Returns False if another attempt has committed the folder first.
        """

    def drop(self, folder: str) -> None:
        """Remove a committed folder; it vanishes from listings before its files do."""

    def sweep(self) -> int:
        """Remove what writers left that have been dead for long by the storage's own clock. Returns how many.

        What is younger is not touched; an attempt that is swept all the same is never committed.
        """

    def quarantine(self, folder: str, note: bytes) -> None:
        """Move a committed folder, as it is, to where no reader looks, with a note that says why.

        It lies at `.quarantine/NAME` from then on, the note at `.quarantine/NAME.json`; the name begins with the
        folder's and a hyphen.
        """

    def purge(self, name: str) -> None:
        """Remove a folder from the quarantine, with its note."""

    def read_records(self, folders: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Place and description of many committed folders, as fast as the storage can; None: it is gone."""


def open_storage(path: str | os.PathLike[str], cache: FileCache | None = None) -> Storage:
    """The storage behind a folder's path or a URI (``s3://``, ``gs://`` or another that fsspec knows).

    cache: where to keep copies of an object store's files that are opened. Raises UserError if a package that
    the URI needs is not installed.
    """
    where = os.fspath(path)
    return ObjectStorage(where, cache) if is_remote(where) else LocalStorage(Path(where))

"""Where a dataset lies, a folder or a prefix of an object store: the few operations that shards need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol


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


class Files(Protocol):
    """Files by key, a path with slashes, from the dataset's root.

    All methods raise FileNotFoundError for what is not there, and OSError (or UserError with what to do) where a
    disk or a store fails.
    """

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

    def sweep(self) -> int:
        """Remove what writers left that have been dead for long by the storage's own clock. Returns how many.

        What is younger is not touched; an attempt that is swept all the same is never committed.
        """

    def purge(self, name: str) -> None:
        """Remove a folder from the quarantine, with its note."""


class Storage(Files, Protocol):
    """Files beside folders that are committed whole.

    Readers see a committed folder whole or not at all, whatever happens to writers.
    """

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted."""

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """For each committed folder, what tells it from any other that had its name; "" for one that is gone.

        Compared for equality alone, so that a wrong clock does no harm.
        """

    def record(self, folder: str) -> tuple[str, bytes]:
        """A committed folder's place, with which the keys of its files begin, and the file that describes it."""

    def read_records(self, folders: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Place and description of many committed folders, as fast as the storage can; None: it is gone."""

    def uses(self, folders: Collection[str]) -> frozenset[str]:
        """Names of other folders that these need, because files of theirs lie there."""

    def unnamed(self, place: str, named: Collection[str]) -> list[str]:
        """What lies in a committed folder beside the files `named`: paths, or words for what has none."""

    def references(self, place: str) -> dict[str, list[str | int]]:
        """By path, where each of a folder's files lies for other programs, as fsspec's `reference` wants it.

        The path or URI of what is the whole file, or that, an offset and a number of bytes.
        """

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make `folder` appear whole with `files` and with copies of `links`, or not at all.

        files: bytes by path within the folder; links: keys of committed files by path within the folder.
        Returns False if another attempt has committed the folder first.
        """

    def drop(self, folder: str) -> None:
        """Remove a committed folder, but for what another uses; it vanishes from listings before its files do."""

    def quarantine(self, folder: str, note: bytes) -> None:
        """Move a committed folder, as it is, to where no reader looks, with a note that says why.

        It lies at `.quarantine/NAME` from then on, the note at `.quarantine/NAME.json`; the name begins with the
        folder's and a hyphen.
        """


class Place(Files, Protocol):
    """Files on which a layout can be laid: what it needs beside the common."""

    def listing(self, place: str, prefix: str = "") -> dict[str, str]:
        """Paths of the files below a place that begin with `prefix`, and what tells each from any other."""

    def part(self, key: str, start: int, stop: int | None) -> bytes:
        """Bytes start … stop - 1 of a file, fewer if it ends before."""

    def heads(self, keys: Sequence[str], stop: int | None = None) -> list[bytes | None]:
        """The first `stop` bytes of many files, as fast as the place can; None: not there."""

    def open_part(self, key: str, offset: int, size: int, sha256: str) -> OpenFile:
        """The `size` bytes of a file from `offset` on, of which the hash is known, as a file of its own."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Put a file, whole and for good, if there is none; whether this one was put."""

    def copy(self, source: str, target: str) -> None:
        """Give a file another name too, or copy it."""

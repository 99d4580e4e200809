"""Tars, plain or packed with gzip."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from typing import IO

from freelabels.ground.errors import SourceError
from freelabels.ground.spelling import counted
from freelabels.pipeline.storage.archives.bytes_at import GZIP, BytesAt, GzipBytes, Window
from freelabels.pipeline.storage.archives.directory import LINKS, Directory

ENDLESS = 1 << 62  # of what is packed, whose length nothing tells beforehand
LONGEST_HEADER = 1 << 20  # bytes of names and attributes before a file


class Tar:
    """A tar. Its files are listed once, header by header; each is then read from its place."""

    def __init__(self, packed: BytesAt) -> None:
        self._source: BytesAt = GzipBytes(packed) if packed.read_at(0, 2) == GZIP else packed
        self._directory = Directory[tuple[int, int]]()
        self.fault = ""
        self._list()

    @property
    def names(self) -> Collection[str]:
        """Of its files."""
        return self._directory.files.keys()

    @property
    def passed(self) -> dict[str, tuple[int, str]]:
        """Reason → (how many, one of them)."""
        return self._directory.passed

    def open(self, name: str) -> IO[bytes]:
        """One of its files. Raises FileNotFoundError."""
        start, size = self._directory.find(name)
        return io.BufferedReader(Window(self._source, start, size))

    def _list(self) -> None:
        gzip = self._source if isinstance(self._source, GzipBytes) else None
        window = Window(self._source, 0, ENDLESS if gzip else self._source.size, LONGEST_HEADER)
        last = ""
        try:
            with tarfile.open(fileobj=window, mode="r:") as tar:
                while (entry := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # which it would keep all
                    if tar.offset <= entry.offset:
                        raise SourceError("is damaged: its headers lead back")
                    end = entry.offset_data + entry.size
                    if gzip:
                        gzip.read_at(end - 1, 1)  # whether it is there
                    if end > self._source.size:
                        last = entry.name
                        raise EOFError
                    if entry.isreg() and entry.sparse is None:
                        self._directory.add(entry.name, (entry.offset_data, entry.size))
                    elif not entry.isdir():
                        self._directory.pass_over(entry.name, LINKS)
        except SourceError as error:
            if not self._directory.files:
                raise
            self.fault = f"{error}; {self._before}"
        except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
            if not self._directory.files:
                raise SourceError("is not a tar, or is cut off or damaged in its first file") from error
            where = f"in {last}" if last else f"after {counted(self._count, 'file')}"
            self.fault = f"is cut off or damaged {where}; {self._before}"

    @property
    def _before(self) -> str:
        return f"what was before that, {counted(self._count, 'file')}, is used"

    @property
    def _count(self) -> int:
        return len(self._directory.files)

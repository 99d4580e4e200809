"""Zip archives."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Collection
from typing import IO

from freelabels.ground.errors import SourceError
from freelabels.pipeline.storage.archives.bytes_at import BOMB, BOMB_LEAST, BOMB_RATIO, BytesAt, Window
from freelabels.pipeline.storage.archives.directory import LINKS, Directory

LARGEST_DIRECTORY = 1 << 27  # bytes
LARGEST_FILE = 1 << 28  # bytes, unpacked, of a file that has to be unpacked in memory
IN_MEMORY = 1 << 24  # bytes from which on a file that is stored as it is isn't held in memory
LOCAL_HEADER = struct.Struct("<4s22xHH")
ENCRYPTED, LINK, KIND = 0x1, 0o120000, 0o170000


class Zip:
    """A zip archive: its directory is read once, each of its files from its place."""

    fault = ""

    def __init__(self, source: BytesAt) -> None:
        self._source = source
        self._directory = Directory[zipfile.ZipInfo]()
        try:
            window = Window(source, 0, source.size, LARGEST_DIRECTORY)
            self._zip = zipfile.ZipFile(window)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OverflowError) as error:
            raise SourceError("is not a zip archive, or is cut off: its directory is at its end") from error
        packed = unpacked = 0
        for entry in self._zip.infolist():
            packed += entry.compress_size
            unpacked += entry.file_size
            if entry.is_dir():
                continue
            if (entry.external_attr >> 16) & KIND == LINK:
                self._directory.pass_over(entry.filename, LINKS)
            elif entry.flag_bits & ENCRYPTED:
                self._directory.pass_over(entry.filename, "files under a password")
            else:
                self._directory.add(entry.filename, entry)
        if packed > source.size or (unpacked > BOMB_LEAST and unpacked > BOMB_RATIO * source.size):
            raise SourceError(BOMB)

    @property
    def names(self) -> Collection[str]:
        """Of its files."""
        return self._directory.files.keys()

    @property
    def passed(self) -> dict[str, tuple[int, str]]:
        """Reason → (how many, one of them)."""
        return self._directory.passed

    def open(self, name: str) -> IO[bytes]:
        """One of its files. Raises FileNotFoundError, SourceError."""
        entry = self._directory.find(name)
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size > IN_MEMORY:
            return io.BufferedReader(Window(self._source, self._begin(entry), entry.compress_size))
        if entry.file_size > LARGEST_FILE:
            raise SourceError(
                f"is packed, and larger than {LARGEST_FILE >> 20} MiB: unpack it, or store it without compression"
            )
        try:
            with self._zip.open(entry) as stream:
                data = stream.read(LARGEST_FILE + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise SourceError(f"can't be unpacked ({' '.join(str(error).split())})") from error
        return io.BytesIO(data[: LARGEST_FILE + 1])

    def _begin(self, entry: zipfile.ZipInfo) -> int:
        """Where the bytes of a stored file begin."""
        header = self._source.read_at(entry.header_offset, LOCAL_HEADER.size)
        try:
            magic, name, extra = LOCAL_HEADER.unpack(header)
        except struct.error:
            magic, name, extra = b"", 0, 0
        if magic != zipfile.stringFileHeader:  # type: ignore[attr-defined]
            raise SourceError("is damaged: its header in the archive is not where it should be")
        return int(entry.header_offset + LOCAL_HEADER.size + name + extra)

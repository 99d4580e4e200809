"""Bytes at a place of something that is opened once and read from anywhere, by any number of threads."""

from __future__ import annotations

import io
import os
import zlib
from threading import Lock
from typing import IO, Any, Protocol

from freelabels.ground.errors import SourceError

PIECE = 1 << 16  # compressed bytes taken at a time
STRIDE = 1 << 22  # unpacked bytes between two kept states, at first
STATES = 512  # kept at most, about 50 KiB each; then every other goes and the stride doubles
BOMB_RATIO, BOMB_LEAST = (
    200,
    1 << 28,
)  # unpacked to packed bytes, and unpacked bytes from which on that matters
BOMB = f"unpacks to more than {BOMB_RATIO} times its size, as bombs do; it isn't read"
GZIP = b"\x1f\x8b"


class BytesAt(Protocol):
    """Something with bytes at places."""

    size: int

    def read_at(self, start: int, count: int) -> bytes:
        """Bytes start … start + count - 1, fewer at the end."""
        ...


class FileBytes:
    """Of a local file; safe after a fork."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 (open as long as this is)
        self.size = os.fstat(self._file.fileno()).st_size

    def read_at(self, start: int, count: int) -> bytes:
        """As `BytesAt`."""
        return os.pread(self._file.fileno(), count, start)


class StreamBytes:
    """Of a stream that can be sought in, such as a remote file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock = stream, Lock()
        self.size = stream.seek(0, os.SEEK_END)

    def read_at(self, start: int, count: int) -> bytes:
        """As `BytesAt`."""
        with self._lock:
            self._stream.seek(start)
            return self._stream.read(count)


class GzipBytes:
    """What a gzip file holds. States of the decompressor are kept on the way, so that going back costs little.

    size: unpacked bytes seen so far. cut: whether the packed bytes end before they should.
    """

    def __init__(self, packed: BytesAt) -> None:
        self._packed, self._lock = packed, Lock()
        self._at = self._taken = self.size = 0  # unpacked, packed bytes gone through
        self._state: Any = zlib.decompressobj(wbits=31)
        self._states: list[tuple[int, int, Any]] = [(0, 0, self._state.copy())]
        self._stride = STRIDE
        self.cut = False

    def read_at(self, start: int, count: int) -> bytes:
        """As `BytesAt`. Raises SourceError if it is damaged or a bomb."""
        with self._lock:
            if start < self._at:
                before = max((one for one in self._states if one[0] <= start), key=lambda one: one[0])
                self._at, self._taken, self._state = before[0], before[1], before[2].copy()
            parts: list[bytes] = []
            while self._at < start + count:
                here = self._at
                piece = self._next(min(start + count - here, STRIDE))
                if not piece:
                    break
                if self._at > start:
                    parts.append(piece[max(0, start - here) :])
            return b"".join(parts)

    def _next(self, most: int) -> bytes:
        """Up to so many more unpacked bytes; none at the end."""
        while True:
            packed = self._packed.read_at(self._taken, PIECE)
            if self._state.eof:  # gzip files can be joined
                if not packed.startswith(GZIP):
                    return b""
                self._state = zlib.decompressobj(wbits=31)
            if not packed:
                self.cut = True
                return b""
            try:
                piece: bytes = self._state.decompress(packed, most)
            except zlib.error as error:
                raise SourceError("is damaged: what is packed in it can't be unpacked") from error
            left = self._state.unused_data if self._state.eof else self._state.unconsumed_tail
            self._taken += len(packed) - len(left)
            self._at += len(piece)
            if self._at > BOMB_LEAST and self._at > BOMB_RATIO * self._taken:
                raise SourceError(BOMB)
            self.size = max(self.size, self._at)
            if self._at >= self._states[-1][0] + self._stride:
                self._keep()
            if piece:
                return piece

    def _keep(self) -> None:
        self._states.append((self._at, self._taken, self._state.copy()))
        if len(self._states) > STATES:
            del self._states[1::2]
            self._stride *= 2


class Window(io.RawIOBase):
    """Some of the bytes as a file of their own. most: bytes that one read may ask for."""

    def __init__(self, source: BytesAt, start: int, size: int, most: int | None = None) -> None:
        super().__init__()
        self._source, self._start, self._size, self._at = source, start, size, 0
        self._most = most

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As of any raw file."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """As of any raw file. Raises SourceError if more is asked for than one read may give."""
        left = max(self._size - self._at, 0)
        count = left if size is None or size < 0 else min(size, left)
        if self._most is not None and count > self._most:
            raise SourceError(f"has a directory of more than {self._most >> 20} MiB")
        data = self._source.read_at(self._start + self._at, count) if count else b""
        self._at += len(data)
        return data

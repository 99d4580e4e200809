"""An object of a store, read by ranged requests, and the error of a store that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from freelabels.ground.errors import MissingFile, UserError


class StoreError(UserError, OSError):
    """An object store that can't be reached, refuses or keeps failing, when all retries are used up."""

    def __str__(self) -> str:
        return str(self.args[-1])


@dataclass
class ObjectFile:
    """`interface.OpenFile` by ranged gets; the longer it is read in order, the further it reads ahead."""

    key: str
    size: int
    get: Callable[[int, int], bytes]
    _held: tuple[int, bytes] = (0, b"")  # offset, bytes
    _run: tuple[int, int] = (0, 0)  # where reading in order began, and where it has come to

    def fetch(self, start: int, stop: int) -> bytes:
        """Bytes start … stop - 1, fewer if the object ends before. Raises MissingFile if it is gone."""
        offset, held = self._held
        if not offset <= start <= stop <= offset + len(held):
            began = self._run[0] if start == self._run[1] and start else start
            ahead = min(stop + start - began, self.size)
            try:
                offset, held = start, self.get(start, ahead)
            except FileNotFoundError as error:
                raise MissingFile(f"{self.key}: its file is missing") from error
            self._held = offset, held
            self._run = began, start + len(held)
        return held[start - offset : stop - offset]

    def close(self) -> None:
        """Forget what was read ahead."""
        self._held = 0, b""

"""What an archive holds: which of its files can be read, and what is passed over and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import IO, Generic, Protocol, TypeVar

from freelabels.ground.errors import SourceError
from freelabels.pipeline.storage.archives.names import is_hidden, plain_name

Place = TypeVar("Place")
MOST_FILES = 1_000_000
OUTSIDE = "names that lead out of the archive (absolute, or with ..)"
LINKS = "links, devices and files with holes inside an archive"
TWICE = "names that come again in the archive: the last one counts"


class Archive(Protocol):
    """An opened archive.

    names: of its files, simplest form. passed: reason → (how many of its files are passed over, one of them).
    fault: one sentence about what is damaged of it, "" if nothing is.
    """

    fault: str

    @property
    def names(self) -> Collection[str]:
        """Of its files."""
        ...

    @property
    def passed(self) -> dict[str, tuple[int, str]]:
        """Reason → (how many, one of them)."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """One of its files, for reading and seeking. Raises FileNotFoundError, SourceError."""
        ...


@dataclass
class Directory(Generic[Place]):
    """Files by name, and what is passed over by reason."""

    files: dict[str, Place] = field(default_factory=dict)
    passed: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, name: str, place: Place) -> None:
        """One more file. Raises SourceError if there are too many."""
        plain = plain_name(name)
        if plain is None:
            self.pass_over(name, OUTSIDE)
        elif plain and not is_hidden(plain):
            if plain in self.files:
                self.pass_over(plain, TWICE)
            self.files[plain] = place
        if len(self.files) > MOST_FILES:
            raise SourceError(f"holds more than {MOST_FILES:,} files; split it")

    def pass_over(self, name: str, reason: str) -> None:
        """One more file that isn't read."""
        count, first = self.passed.get(reason, (0, name))
        self.passed[reason] = (count + 1, first)

    def find(self, name: str) -> Place:
        """Where a file is. Raises FileNotFoundError."""
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

"""What is said of sources that are refused, passed over, or used with a remark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from freelabels.pipeline.media.formats import missing
from freelabels.pipeline.sources.layouts.grouping import Passed, suffix_of
from freelabels.pipeline.storage.archives.names import CLOSED
from freelabels.pipeline.storage.uris import shown

CLOSED_ARCHIVE = "archives that can't be read in place: unpack them, or make them .zip, .tar or .tar.gz"


@dataclass(frozen=True)
class Refusal:
    """A source that can't be used and one sentence why."""

    uri: str
    reason: str

    def __str__(self) -> str:
        return shown(f"{self.uri}: {self.reason}")


@dataclass(frozen=True)
class Remark:
    """What is worth a line about a source that is used."""

    uri: str
    text: str

    def __str__(self) -> str:
        return f"{self.uri}: {self.text}"


class Uncounted:
    """Files that nothing here reads, counted by suffix, or by a reason of their own."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._reasons: dict[str, tuple[int, str]] = {}

    def add(self, path: str, reason: str = "") -> None:
        """Count a file. reason: why it isn't read; default: its suffix."""
        suffix = suffix_of(path)
        if suffix in CLOSED:
            reason = reason or CLOSED_ARCHIVE
        if reason:
            count, first = self._reasons.get(reason, (0, path))
            self._reasons[reason] = (count + 1, min(first, path))
            return
        self._counts[suffix] += 1
        self._first.setdefault(suffix, path)

    def passed(self) -> Iterator[Passed]:
        """One line for each reason and each suffix that another package reads, and one for all others."""
        for reason, (count, first) in self._reasons.items():
            folder, _, name = first.rpartition("/")
            yield Passed(folder, reason, count, name)
        others = []
        for suffix, count in sorted(self._counts.items()):
            folder, _, name = self._first[suffix].rpartition("/")
            package = missing(suffix)
            if package:
                yield Passed(
                    folder, f"{suffix} is read by another package: pip install {package}", count, name
                )
            else:
                others.append((count, suffix or "no suffix", folder, name))
        if others:
            kinds = ", ".join(f"{count} {suffix}" for count, suffix, _, _ in sorted(others, reverse=True))
            _, _, folder, name = others[0]
            yield Passed(folder, f"no picture or video by suffix: {kinds}", sum(n for n, *_ in others), name)

"""What an item's work amounts to (frames, bytes, seconds by part); counted where it is done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = "seconds in "  # before the name of a part

_counts: Counter[str] = Counter()  # of the item that this process works on


@contextmanager
def of_item() -> Iterator[Counter[str]]:
    """Count anew; gives what is counted until it ends."""
    global _counts
    before, _counts = _counts, Counter()
    try:
        yield _counts
    finally:
        _counts = before


def count(name: str, amount: float) -> None:
    """Add to one of the item's figures, such as frames or bytes."""
    _counts[name] += amount  # type: ignore[assignment]


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count the seconds spent inside as those of a part, such as decoding."""
    began = time.monotonic()
    try:
        yield
    finally:
        count(f"{SECONDS}{name}", time.monotonic() - began)

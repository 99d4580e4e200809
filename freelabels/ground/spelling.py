"""What a mistyped name probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """A clause naming the known word closest to a mistyped one; "" if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause naming the known word closest to a mistyped one, and all there are."""
    known = list(known)
    return f"{closest(word, known)} there are: {', '.join(known)}".lstrip()

"""What a mistyped name probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause naming the known word closest to a mistyped one, and all there are."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are: {', '.join(known)}"

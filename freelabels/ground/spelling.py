"""What a mistyped name probably meant; one of a thing, or many."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

CLOSE, NEAR = 0.8, 0.7  # shares of letters in common, of both words


def closest(word: str, known: Iterable[str]) -> str:
    """A clause naming the known word that a mistyped one is near to or a part of; "" if there is none."""
    said, names = _bare(word), {_bare(name): name for name in known}
    as_long = [name for name in names if abs(len(name) - len(said)) <= max(1, len(said) // 3)]
    like = difflib.get_close_matches(said, as_long, n=1, cutoff=NEAR)
    parts = sorted((name for name in names if said in re.split(r"[._ ]", name)), key=len)
    if parts and not difflib.get_close_matches(said, like, cutoff=CLOSE):
        like = parts
    return f"did you mean {names[like[0]]!r}?" if like else ""


def _bare(name: str) -> str:
    return name.lower().lstrip("-").replace("-", "_")


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause naming the known word closest to a mistyped one, and all there are."""
    known = list(known)
    return f"{closest(word, known)} there are: {', '.join(known)}".lstrip()


def counted(number: int, thing: str) -> str:
    """1 shard, 2 shards; 1 class, 2 classes; thousands stand apart."""
    many = thing + ("es" if thing.endswith(("s", "sh", "ch", "x")) else "s")
    return f"{number:,} {thing if number == 1 else many}"

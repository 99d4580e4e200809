"""Which files hold words about pictures (captions, tags, alternative texts), by name alone."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

SUFFIXES = (".txt", ".caption", ".cls", ".json")  # of a file about one picture of the same name
TABLE = re.compile(r"(?:metadata|captions?|tags)\.(?:csv|tsv|jsonl)", re.IGNORECASE)
LEROBOT = "meta/info.json"  # which tells that a tree is LeRobot's


def is_about_one(name: str) -> bool:
    """Whether a file may hold words about one picture."""
    return name.lower().endswith(SUFFIXES)


def is_about_many(uri: str) -> bool:
    """Whether a file may hold words about many pictures."""
    return bool(TABLE.fullmatch(uri.rpartition("/")[2])) or uri.endswith(f"/{LEROBOT}")


def about(name: str, files: Container[str]) -> Iterator[str]:
    """Of the files of a picture's folder those that may hold words about it alone.

    A sample of WebDataset goes by what is before the first dot of its name.
    """
    for stem in dict.fromkeys((name.rpartition(".")[0], name.partition(".")[0])):
        yield from (f"{stem}{suffix}" for suffix in SUFFIXES if stem and f"{stem}{suffix}" in files)

"""Absolute paths of a machine, taken out of what is shown to others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

# Within a sentence; what follows a letter, "." or ":" is no path from the root ("px/s", "../a", "s3://bucket/a").
PATH = re.compile(r"(?<![\w.~:/-])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\":,;<>|]+[\\/])+")
PIXELS = frozenset({"pictures", "layers", "data"})  # of frames: base64, which is long and may hold slashes


def without_places(document: Any) -> Any:
    """A document of JSON values in which paths from the root keep their last folder and their name alone.

    Addresses (``s3://…``) stay.
    """
    folders = sorted({folder for text in _texts(document) for folder in _folder(text)}, key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, folders))) if folders else None

    def shortened(text: str) -> str:
        if known:
            text = known.sub(lambda found: _last(found[0]), text)
        return PATH.sub(lambda found: _last(found[0]), text)

    def walked(value: Any) -> Any:
        if isinstance(value, str):
            return shortened(value) if "/" in value or "\\" in value else value
        if isinstance(value, Mapping):
            return {walked(name): part if name in PIXELS else walked(part) for name, part in value.items()}
        return [walked(part) for part in value] if isinstance(value, list | tuple) else value

    return walked(document)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(part) if name not in PIXELS else ()
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _folder(text: str) -> Iterator[str]:
    """The folder of a text that is nothing but a path from the root, with the slash behind it."""
    if text.startswith("/") and not text.startswith("//") and len(Path(text).parts) > 2:
        yield f"{Path(text).parent}/"
    elif PureWindowsPath(text).drive and "\\" in text:
        yield f"{PureWindowsPath(text).parent}\\"


def _last(folder: str) -> str:
    """Of a folder with a slash behind it, its own name with the slash."""
    return re.split(r"[\\/]", folder[:-1])[-1] + "/"

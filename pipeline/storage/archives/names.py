"""Which files are archives, and how a file inside one is named: ``train/00.tar!/dog/12.jpg``."""

from __future__ import annotations

import re

MARK = "!/"
PARQUET = ".parquet"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip", PARQUET)
# Archives whose files can be reached only by unpacking all that is before them, or not at all from here.
CLOSED = (".7z", ".rar", ".bz2", ".xz", ".zst", ".tbz2", ".txz", ".tzst")
_INSIDE = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))}){MARK}", re.IGNORECASE)
HIDDEN = ("__MACOSX",)  # what macOS puts beside every file


def is_archive(name: str) -> bool:
    """Whether a file is an archive that is read here, by its suffix."""
    return name.lower().endswith(SUFFIXES)


def parted(uri: str) -> tuple[str, str] | None:
    """The archive and the name within it of a file inside an archive; None of any other."""
    found = _INSIDE.search(uri)
    return (uri[: found.end(1)], uri[found.end() :]) if found else None


def plain_name(name: str) -> str | None:
    """A name inside an archive in its simplest form; None if it leads out: absolute, or with ``..``."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return None
    return "/".join(part for part in parts if part not in ("", "."))


def is_hidden(name: str) -> bool:
    """Whether a name, or a folder in it, begins with a dot or is a system's own."""
    return any(part.startswith(".") or part in HIDDEN for part in name.split("/"))

"""What is asked of this machine's file systems: files below a folder, their stamps, links, writes that stand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that stands on the disk when this returns."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where that can't be. Raises FileNotFoundError."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
        fsync(target)


def files_below(folder: str, beginning: str = "") -> Iterator[str]:
    """Paths from a folder of all files in it; none of one that is gone or closed to us. Raises OSError."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, f"{beginning}{entry.name}/")
        elif entry.is_file():
            yield beginning + entry.name


def stamp(path: str) -> str:
    """Inode, size and time of last change of a file; "" if it is not there."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def fsync(path: Path) -> None:
    """Have what is known of a file or folder written to the disk before this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""What the user named → the items to probe: photos, videos, numbered images, stereo pairs, RGB-D."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import SourceError, file_system, is_remote, plain_errors, read_bytes, why
from pipeline.grouping import IMAGE_SUFFIXES, NOTE_SUFFIX, VIDEO_SUFFIXES, Folders, Item, group, suffix_of

__all__ = ["Item", "Refusal", "find"]

LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class Refusal:
    """A source that can't be used and one sentence why."""

    uri: str
    reason: str

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


@dataclass(frozen=True)
class _File:
    uri: str
    stamp: str


Found = Iterator[_File | Refusal]


def find(sources: Sequence[str], skip: Iterable[str] = ()) -> tuple[list[Item], list[Refusal]]:
    """The items in files, folders (recursively), globs, lists (.txt, one source a line) and URIs, sorted.

    skip: folders not to look into, such as the output. Files of unknown kinds inside a folder are passed
    over; named by themselves they are refused. No media file is opened: whether one is what its name says is
    for `pipeline.probe.probe` to find out.
    """
    seen = {os.path.realpath(folder) for folder in skip}
    folders: Folders = {}
    refusals: dict[str, Refusal] = {}
    for source in sources:
        for found in _expand(source, seen):
            if isinstance(found, Refusal):
                refusals[found.uri] = found
            else:
                folder, _, name = found.uri.rpartition("/")
                folders.setdefault(folder, {})[name] = found.stamp
    items = sorted(group(folders), key=lambda item: (item.uris, item.kind))
    return items, [refusals[uri] for uri in sorted(refusals)]


def _expand(source: str, seen: set[str]) -> Found:
    """All files behind one source. seen: real paths of the folders and lists looked into so far."""
    try:
        if is_remote(source):
            with plain_errors(source):
                yield from _remote(source, seen)
        else:
            path = os.path.abspath(Path(source).expanduser())
            yield from _local(path, seen)
    except (SourceError, OSError, ValueError) as error:
        yield Refusal(source, why(error))


def _local(path: str, seen: set[str]) -> Found:
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise SourceError("does not exist") from None
        for match in matches:
            yield from _expand(match, seen)
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(path, seen)
    elif suffix_of(path) == LIST_SUFFIX:
        yield from _lines(path, str(Path(path).parent), seen)
    elif _known(path):
        yield _File(path, _stamp(status))
    else:
        yield Refusal(path, _unknown(path))


def _walk(path: str, seen: set[str]) -> Found:
    """All media files and notes below a folder, real folders before linked ones."""
    real = os.path.realpath(path)
    if real in seen:
        yield Refusal(path, "leads to a folder that was looked into already")
        return
    seen.add(real)
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield Refusal(path, why(error))
        return
    inner: list[tuple[bool, str]] = []
    for entry in found:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                inner.append((entry.is_symlink(), entry.path))
            elif _known(entry.name) or suffix_of(entry.name) == NOTE_SUFFIX or _leads_nowhere(entry):
                yield _File(entry.path, _stamp(entry.stat()))
        except OSError as error:
            yield Refusal(entry.path, why(error))
    for _, folder in sorted(inner):
        yield from _walk(folder, seen)


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether a link without a media suffix leads nowhere, so that its refusal is worth a sentence."""
    return entry.is_symlink() and not Path(entry.path).exists()


def _remote(uri: str, seen: set[str]) -> Found:
    system, path = file_system(uri)
    if suffix_of(uri) == LIST_SUFFIX:
        yield from _lines(uri, uri.rpartition("/")[0], seen)
    elif _known(uri):
        yield _File(uri, _remote_stamp(system.info(path)))
    else:
        listing = system.glob(path, detail=True) if glob.has_magic(path) else system.find(path, detail=True)
        names = {system.unstrip_protocol(name): info for name, info in listing.items()}
        media = {name: info for name, info in names.items() if _known(name) or suffix_of(name) == NOTE_SUFFIX}
        if not names:
            raise SourceError("does not exist, or is an empty folder")
        if not media and len(names) == 1:
            raise SourceError(_unknown(uri))
        for name, info in sorted(media.items()):
            yield _File(name, _remote_stamp(info))


def _lines(uri: str, base: str, seen: set[str]) -> Found:
    """The sources in a text list; relative ones start at the list's folder, # starts a comment line."""
    key = uri if is_remote(uri) else os.path.realpath(uri)
    if key in seen:
        raise SourceError("is a list that was read already")
    seen.add(key)
    try:
        text = read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("is not a list of sources: it is not UTF-8 text") from None
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            below = line if is_remote(line) or line.startswith(("/", "~")) else f"{base}/{line}"
            yield from _expand(below, seen)


def _known(name: str) -> bool:
    return suffix_of(name) in IMAGE_SUFFIXES or suffix_of(name) in VIDEO_SUFFIXES


def _unknown(name: str) -> str:
    suffix = suffix_of(name) or "no suffix"
    return f"is of no known kind ({suffix}): expected an image, a video, a folder or a .txt list"


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remote_stamp(info: dict[str, object]) -> str:
    version = next(
        (info[k] for k in ("ETag", "etag", "mtime", "LastModified", "updated", "created") if k in info), ""
    )
    return f"{info.get('size')}-{version}"

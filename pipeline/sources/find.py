"""What the user named → the items to probe: photos, videos, numbered images, stereo pairs, RGB-D."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from freelabels.pipeline.sources.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.sources.grouping import (
    CALIBRATIONS,
    NOTE_SUFFIX,
    Folders,
    Item,
    bases,
    group,
    related,
    suffix_of,
)
from freelabels.pipeline.storage.uris import (
    SourceError,
    file_system,
    is_remote,
    plain_errors,
    read_bytes,
    why,
)

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


@dataclass(frozen=True)
class _Folder:
    """A folder whose files are to be listed."""

    path: str


Found = Iterator[_File | _Folder | Refusal]


def find(sources: Sequence[str], skip: Iterable[str] = ()) -> Iterator[Item | Refusal]:
    """The items in files, folders (recursively), globs, lists (.txt, one source a line) and URIs, and refusals.

    Items come ordered by the first of their files' names. Only names of folders are kept, and the files of one
    folder (and of those that belong to it) at a time; of an object store, all that it lists. A refusal may come
    more than once. skip: folders not to look into, such as the output. Files of unknown kinds inside a folder are
    passed over; named by themselves they are refused. No media file is opened: whether one is what its name says
    is for `pipeline.sources.examine.probe` to find out.
    """
    seen = {os.path.realpath(folder) for folder in skip}
    named: Folders = {}  # files that are known by name already, in folders that are there
    unlisted: set[str] = set()
    for source in sources:
        for found in _expand(source, seen):
            if isinstance(found, Refusal):
                yield found
            elif isinstance(found, _Folder):
                unlisted.add(found.path)
                named.setdefault(found.path, {})
            else:
                folder, _, name = found.uri.rpartition("/")
                named.setdefault(folder, {})[name] = found.stamp
    yield from _grouped(named, unlisted)


def _grouped(named: Folders, unlisted: set[str]) -> Iterator[Item | Refusal]:
    """The items of all folders: what lies in those that come later is named behind what lies in this one."""
    waiting: list[tuple[str, tuple[str, ...], str, Item]] = []
    done: set[str] = set()
    around: Folders = {}
    for folder in sorted(named, key=lambda folder: f"{folder}/"):
        while waiting and waiting[0][0] < f"{folder}/":
            yield heappop(waiting)[-1]
        if folder in done:
            done.remove(folder)
            continue
        together = related(folder, named)
        done.update(together)
        done.remove(folder)
        for base in (base for one in together for base in bases(one)):
            if base in named and base not in around:
                around[base] = _calibrations(base) if base in unlisted else _only_calibrations(named[base])
        listed: Folders = {}
        for one in together:
            listed[one], named[one] = named[one], _only_calibrations(named[one])
            for found in _files(one) if one in unlisted else ():
                if isinstance(found, Refusal):
                    yield found
                else:
                    listed[one][found.uri.rpartition("/")[2]] = found.stamp
        for item in group(listed, around):
            heappush(waiting, (min(item.uris), item.uris, item.kind, item))
    for *_, item in sorted(waiting):
        yield item


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
    """A folder and all below it, real ones before linked ones."""
    real = os.path.realpath(path)
    if real in seen:
        yield Refusal(path, "leads to a folder that was looked into already")
        return
    seen.add(real)
    inner: list[tuple[bool, str]] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and _is_folder(entry):
                    inner.append((entry.is_symlink(), entry.path))
    except OSError as error:
        yield Refusal(path, why(error))
        return
    yield _Folder(path.rstrip("/"))
    for _, folder in sorted(inner):
        yield from _walk(folder, seen)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself is refused with the files
        return False


def _files(folder: str) -> Iterator[_File | Refusal]:
    """All media files and notes in a folder."""
    try:
        with os.scandir(folder or "/") as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield from _file(entry)
    except OSError as error:
        yield Refusal(folder, why(error))


def _calibrations(folder: str) -> dict[str, str]:
    """Names and stamps of the calibrations in a folder."""
    there = [name for name in CALIBRATIONS if Path(f"{folder}/{name}").is_file()]
    return {name: _stamp(Path(f"{folder}/{name}").stat()) for name in there}


def _only_calibrations(files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in CALIBRATIONS if name in files}


def _file(entry: os.DirEntry[str]) -> Iterator[_File | Refusal]:
    try:
        if entry.is_dir():
            return
        if _known(entry.name) or suffix_of(entry.name) == NOTE_SUFFIX or _leads_nowhere(entry):
            yield _File(entry.path, _stamp(entry.stat()))
    except OSError as error:
        yield Refusal(entry.path, why(error))


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

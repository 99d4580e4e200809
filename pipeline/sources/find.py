"""What the user named → the items to examine: photos, videos, numbered images, stereo pairs, RGB-D."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from freelabels.pipeline.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.sources.inside import is_read, items_in
from freelabels.pipeline.sources.layouts import words
from freelabels.pipeline.sources.layouts.grouping import Folders, Item, Passed, group, notes_of, suffix_of
from freelabels.pipeline.sources.layouts.notes import FOLDERS, LEVELS, is_text
from freelabels.pipeline.sources.said import Refusal, Remark, Uncounted
from freelabels.pipeline.storage.archives.names import MARK, is_archive
from freelabels.pipeline.storage.uris import (
    SourceError,
    file_system,
    is_remote,
    plain_errors,
    read_bytes,
    why,
)

__all__ = ["Item", "Passed", "Refusal", "Remark", "find"]

LIST_SUFFIX = ".txt"
# A folder with one of these was made by this package, or holds arrays: not pictures to label.
OUTPUTS = {
    "zarr.json": "is a zarr store",
    ".zgroup": "is a zarr store",
    "train.toml": "is a run of freelabels train",
}


@dataclass(frozen=True)
class _File:
    uri: str
    stamp: str


@dataclass(frozen=True)
class _Folder:
    """A folder whose files are to be listed. top: whether the user named it."""

    path: str
    top: bool = False


@dataclass(frozen=True)
class _Archive:
    """An archive whose files are to be listed."""

    path: str
    stamp: str


Found = Iterator[_File | _Folder | _Archive | Refusal | Passed]


def find(sources: Sequence[str], skip: Iterable[str] = ()) -> Iterator[Item | Refusal | Passed]:
    """The items in files, folders (recursively), globs, lists (.txt, one source a line) and URIs, and refusals.

    Items come ordered by the first of their files' names. Only names of folders are kept, and the files of one
    family of folders (`words.family`) at a time; of an object store, all that it lists. A refusal may come
    more than once. What is passed over comes in one line a folder and reason. skip: folders not to look into, such
    as the output. Files of unknown kinds inside a folder are passed over; named by themselves they are refused. No
    media file is opened: whether one is what its name says is for `pipeline.sources.examine.examine` to find out.
    """
    seen = {os.path.realpath(folder) for folder in skip}
    named: Folders = {}  # files that are known by name already, in folders that are there
    unlisted: set[str] = set()
    roots: list[str] = []
    archives: dict[str, str] = {}
    for source in sources:
        for found in _expand(source, seen):
            if isinstance(found, Refusal | Passed):
                yield found
            elif isinstance(found, _Folder):
                unlisted.add(found.path)
                named.setdefault(found.path, {})
                if found.top:
                    roots.append(found.path)
            elif isinstance(found, _Archive):
                named.setdefault(f"{found.path}{MARK[0]}", {})
                archives[f"{found.path}{MARK[0]}"] = found.stamp
            else:
                folder, _, name = found.uri.rpartition("/")
                named.setdefault(folder, {})[name] = found.stamp
    yield from _grouped(named, unlisted, roots, archives)


def _grouped(
    named: Folders, unlisted: set[str], roots: Sequence[str], archives: Mapping[str, str]
) -> Iterator[Item | Refusal | Passed]:
    """The items of all folders: what lies in those that come later is named behind what lies in this one."""
    waiting: list[tuple[str, tuple[str, ...], str, Item]] = []
    done: set[str] = set()
    uncounted = Uncounted()
    notes: Folders = {}  # of every folder looked into, those of its files that tell of pictures around
    families: dict[str, list[str]] = {}
    for folder in named:
        if folder not in archives:
            families.setdefault(words.family(folder), []).append(folder)

    def listed(folder: str) -> Iterator[Refusal]:
        """List the files of a folder into `named`, and note what tells of others."""
        unlisted.discard(folder)
        for found in _files(folder, uncounted):
            if isinstance(found, Refusal):
                yield found
            else:
                named[folder][found.uri.rpartition("/")[2]] = found.stamp

    for folder in sorted(named, key=lambda folder: f"{folder}/"):
        while waiting and waiting[0][0] < f"{folder}/":
            yield heappop(waiting)[-1]
        if folder in archives:
            yield from items_in(folder.removesuffix(MARK[0]), archives[folder], uncounted)
            continue
        if folder in done:
            done.remove(folder)
            continue
        together = families.pop(words.family(folder))
        done.update(together)
        done.remove(folder)
        for one in together:
            if one in unlisted:
                yield from listed(one)
        files = {one: named[one] for one in together}
        for one in together:
            for place in _places(one, named):
                if place in notes:
                    continue
                if place in unlisted and place not in files:
                    notes[place] = notes_of(_text_files(place))
                else:
                    notes[place] = notes_of(named[place])
            named[one] = {}
        for found in group(files, notes, roots):
            if isinstance(found, Passed):
                yield found
            else:
                heappush(waiting, (min(found.uris), found.uris, found.kind, found))
    for *_, item in sorted(waiting):
        yield item
    yield from uncounted.passed()


def _places(folder: str, named: Folders) -> Iterator[str]:
    """Where notes about the pictures in a folder may lie."""
    for _ in range(LEVELS):
        if folder in named:
            yield folder
            yield from (f"{folder}/{below}" for below in FOLDERS if f"{folder}/{below}" in named)
        folder = folder.rpartition("/")[0]


def _text_files(folder: str) -> dict[str, str]:
    """Names and stamps of the text files in a folder that is listed later."""
    try:
        with os.scandir(folder or "/") as entries:
            return {
                entry.name: _stamp(entry.stat())
                for entry in entries
                if is_text(entry.name) and entry.is_file()
            }
    except OSError:  # said when its turn comes
        return {}


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
        yield from _walk(path, seen, top=True)
    elif suffix_of(path) == LIST_SUFFIX:
        yield from _lines(path, str(Path(path).parent), seen)
    elif is_archive(path):
        yield _Archive(path, _stamp(status))
    elif _known(path):
        yield _File(path, _stamp(status))
    else:
        yield Refusal(path, _unknown(path))


def _walk(path: str, seen: set[str], top: bool = False) -> Found:
    """A folder and all below it, real ones before linked ones."""
    real = os.path.realpath(path)
    if real in seen:
        yield Refusal(path, "leads to a folder that was looked into already")
        return
    seen.add(real)
    inner: list[tuple[bool, str]] = []
    archives: list[_Archive] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name in OUTPUTS:
                    yield Passed(path, f"the folder {OUTPUTS[entry.name]}, not pictures", 1, entry.name)
                    return
                if not entry.name.startswith(".") and _is_folder(entry):
                    inner.append((entry.is_symlink(), entry.path))
                elif is_archive(entry.name) and not entry.name.startswith(".") and entry.is_file():
                    archives.append(_Archive(entry.path, _stamp(entry.stat())))
    except OSError as error:
        yield Refusal(path, why(error))
        return
    yield _Folder(path.rstrip("/"), top)
    yield from archives
    for _, folder in sorted(inner):
        yield from _walk(folder, seen)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself is refused with the files
        return False


def _files(folder: str, uncounted: Uncounted) -> Iterator[_File | Refusal]:
    """All media files and notes in a folder."""
    try:
        with os.scandir(folder or "/") as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield from _file(entry, uncounted)
    except OSError as error:
        yield Refusal(folder, why(error))


def _file(entry: os.DirEntry[str], uncounted: Uncounted) -> Iterator[_File | Refusal]:
    try:
        if entry.is_dir() or (is_archive(entry.name) and entry.is_file()):
            return
        if is_read(entry.name) or _leads_nowhere(entry):
            yield _File(entry.path, _stamp(entry.stat()))
        else:
            uncounted.add(entry.path)
    except OSError as error:
        yield Refusal(entry.path, why(error))


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether a link without a media suffix leads nowhere, so that its refusal is worth a sentence."""
    return entry.is_symlink() and not Path(entry.path).exists()


def _remote(uri: str, seen: set[str]) -> Found:
    system, path = file_system(uri)
    if suffix_of(uri) == LIST_SUFFIX:
        yield from _lines(uri, uri.rpartition("/")[0], seen)
    elif is_archive(uri) and not glob.has_magic(path):
        yield _Archive(uri, _remote_stamp(system.info(path)))
    elif _known(uri):
        yield _File(uri, _remote_stamp(system.info(path)))
    else:
        listing = system.glob(path, detail=True) if glob.has_magic(path) else system.find(path, detail=True)
        names = {system.unstrip_protocol(name): info for name, info in listing.items()}
        media = {name: info for name, info in names.items() if is_read(name) or is_archive(name)}
        if not names:
            raise SourceError("does not exist, or is an empty folder")
        if not media and len(names) == 1:
            raise SourceError(_unknown(uri))
        for name, info in sorted(media.items()):
            yield (_Archive if is_archive(name) else _File)(name, _remote_stamp(info))


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
    return f"is of no known kind ({suffix}): expected an image, a video, an archive, a folder or a .txt list"


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remote_stamp(info: dict[str, object]) -> str:
    version = next(
        (info[k] for k in ("ETag", "etag", "mtime", "LastModified", "updated", "created") if k in info), ""
    )
    return f"{info.get('size')}-{version}"

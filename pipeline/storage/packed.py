"""Folders that are one object each: `Storage` laid over a folder's files or an object store's objects.

    <root>/shards/<last two characters of the id>/<id>.<revision>.pack

A pack is a line of JSON, the index, blanks up to its newline, and the bytes of the files. The index says where
each file of the folder lies: offset and length in this object, or in the pack of an earlier revision of the same
id, which it names. So a commit is one object that is put if there is none of its name, and never changed; a
revision shares what it has in common with earlier ones by naming their packs.

Of an id, the pack of the highest revision is the folder. Lower ones are parts of it, or were replaced and can go.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from freelabels.ground.faults import reached
from freelabels.pipeline.storage.interface import OpenFile, Place
from freelabels.pipeline.storage.local import QUARANTINE, RECORD

PACKS, PACK = "shards", ".pack"  # a folder, and what names in it end in
HEAD = 1 << 17  # bytes that are read at first: the index and the record are seldom longer
ALIGNED = 1 << 12  # where the files begin is a multiple of it
REMEMBERED = 256  # heads


@dataclass(frozen=True)
class Span:
    """Where a file lies: in which pack, at which offset, how many bytes."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True)
class Head:
    """The beginning of a pack: where the files of its folder lie, its record, and what tells it from others."""

    files: Mapping[str, Span]
    record: bytes
    digest: str

    @property
    def parts(self) -> set[str]:
        """The packs in which the files lie."""
        return {span.pack for span in self.files.values()}


@dataclass(frozen=True)
class PackedStorage:
    """`freelabels.pipeline.storage.interface.Storage` of packs, laid over a `place`.

    A place in the sense of the interface is the folder's name, a hyphen and 12 digits of the hash of the pack's
    head, so that files are never looked for in another pack that has taken the name.
    """

    place: Place
    _heads: dict[str, Head] = field(default_factory=dict, repr=False, compare=False)

    # --- reading --------------------------------------------------------------------------------------------

    def folders(self) -> list[str]:
        """Names of all packs, sorted: of the folders, and of parts that these share with earlier revisions."""
        return sorted(self._listed())

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """What tells each folder's pack from any other that had its name; "" without one."""
        stamps = self._listed()
        return [stamps.get(folder, "") for folder in folders]

    def _listed(self, folder: str = "") -> dict[str, str]:
        """Stamps of all packs by name, or of those whose names begin as that of a folder does."""
        where, prefix = _bucket(folder) if folder else (PACKS, "")
        found = self.place.listing(where, prefix).items()
        return {
            path.rpartition("/")[2].removesuffix(PACK): stamp for path, stamp in found if path.endswith(PACK)
        }

    def uses(self, folders: Collection[str]) -> frozenset[str]:
        """Names of other folders in whose packs files of these lie; all of an id if the pack is damaged."""
        names, used = list(folders), set[str]()
        for name, head in zip(names, self.place.heads([_key(name) for name in names], HEAD), strict=True):
            try:
                used |= self._head(name, head).parts - {name}
            except FileNotFoundError:
                continue
            except ValueError:
                used |= self._listed(name).keys() - {name}
        return frozenset(used)

    def record(self, folder: str) -> tuple[str, bytes]:
        """A committed folder's place and the file that describes it, in one request.

        Raises FileNotFoundError, or ValueError if the pack is damaged.
        """
        return self._remember(folder, self._head(folder))

    def read_records(self, folders: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Place and description of many folders, as fast as the place can; None: gone or damaged."""
        records: list[tuple[str, bytes] | None] = []
        for folder, head in zip(folders, self.place.heads([_key(f) for f in folders], HEAD), strict=True):
            try:
                records.append(self._remember(folder, self._head(folder, head)) if head is not None else None)
            except (FileNotFoundError, ValueError):
                records.append(None)
        return records

    def _remember(self, folder: str, head: Head) -> tuple[str, bytes]:
        place = f"{folder}-{head.digest}"
        if len(self._heads) >= REMEMBERED:
            self._heads.clear()
        self._heads[place] = head
        return place, head.record

    def _head(self, folder: str, begins: bytes | None = None, key: str = "") -> Head:
        """The head of a pack, from the bytes that it begins with if they are at hand."""
        key = key or _key(folder)
        begins = begins if begins is not None else self.place.part(key, 0, HEAD)
        while b"\n" not in begins and len(begins) >= HEAD:
            longer = self.place.part(key, 0, 4 * len(begins))
            if len(longer) == len(begins):
                break
            begins = longer
        files = _parse(folder, begins.partition(b"\n")[0])
        at = files[RECORD]
        if at.pack != folder:
            raise ValueError(f"{folder}: its record is not its own")
        record = begins[at.offset : at.offset + at.length]
        if len(record) < at.length:
            record = self.place.part(key, at.offset, at.offset + at.length)
        digest = hashlib.sha256(begins.partition(b"\n")[0] + record).hexdigest()[:12]
        return Head(files, record, digest)

    def _found(self, key: str) -> tuple[str, Span] | None:
        """The object in which a folder's file lies, and where; None for a file beside the folders.

        Raises FileNotFoundError.
        """
        place, _, name = key.partition("/")
        inside = ""
        if place == QUARANTINE and "/" in name:
            inside, _, name = name.partition("/")
            place = f"{QUARANTINE}/{inside}"
        elif place.startswith(".") or not name:
            return None
        span = self._opened(place).files.get(name)
        if span is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        return (f"{place}/{span.pack}{PACK}" if inside else _key(span.pack)), span

    def _opened(self, place: str) -> Head:
        """The head of the pack at a place. Raises FileNotFoundError if there is another by now, or none."""
        if place not in self._heads:
            folder = place.rpartition("/")[2].rpartition("-")[0]
            if place.startswith(f"{QUARANTINE}/"):
                return self._head(folder, key=f"{place}/{folder}{PACK}")
            with suppress(ValueError):
                self.record(folder)
        if place not in self._heads:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        return self._heads[place]

    def files(self, place: str) -> list[str]:
        """Paths of a folder's files, from its place."""
        if place.startswith(".") and "/" not in place:
            return self.place.files(place)
        try:
            return sorted(self._opened(place).files)
        except FileNotFoundError:
            return []

    def unnamed(self, place: str, named: Collection[str]) -> list[str]:
        """Paths of a folder's files beside those `named`, and what is wrong with its packs beside the files."""
        head = self._opened(place)
        found = sorted(head.files.keys() - set(named))
        for part in sorted(head.parts):
            try:
                own = self._head(part).files.values()
            except FileNotFoundError:  # reading its files says so
                continue
            except ValueError:
                found.append(f"a damaged index in {_key(part)}")
                continue
            end = max(span.offset + span.length for span in own if span.pack == part)
            if self.place.part(_key(part), end, end + 1):
                found.append(f"bytes behind the last file of {_key(part)}")
        return found

    def references(self, place: str) -> dict[str, list[str | int]]:
        """By path, where each of a folder's files lies for other programs: its pack, offset, bytes."""
        files = self._opened(place).files
        return {n: [self.place.address(_key(s.pack)), s.offset, s.length] for n, s in files.items()}

    def address(self, place: str) -> str:
        """Path or URI of a folder's pack."""
        return self.place.address(_key(place.rpartition("-")[0]))

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        try:
            found = self._found(key)
        except FileNotFoundError:
            return False
        return self.place.exists(key if found is None else found[0])

    def read(self, key: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        found = self._found(key)
        if found is None:
            return self.place.read(key)
        path, span = found
        return self.place.part(path, span.offset, span.offset + span.length) if span.length else b""

    def open(self, key: str, size: int, sha256: str) -> OpenFile:
        """A file of a committed folder, of which size and hash are known, for reading parts of it."""
        found = self._found(key)
        if found is None:
            return self.place.open(key, size, sha256)
        path, span = found
        return self.place.open_part(path, span.offset, span.length, sha256)

    # --- writing --------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes) -> None:
        """Put a file beside the folders, or replace it as a whole."""
        self.place.write(key, data)

    def remove(self, key: str) -> None:
        """Remove a file beside the folders, if it is there."""
        self.place.remove(key)

    def vacant(self, besides: Collection[str] = ()) -> bool:
        """Whether nothing but leftovers of killed writers, and files called `besides`, lies here."""
        return self.place.vacant(besides)

    def begin(self, key: str, data: bytes) -> None:
        """Make the root, with its first file, unless that is there."""
        self.place.begin(key, data)

    def sweep(self) -> int:
        """Remove what writers left that have been dead for long. Returns how many."""
        return self.place.sweep()

    def purge(self, name: str) -> None:
        """Remove a folder from the quarantine, with its note."""
        self.place.purge(name)

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Put the pack of `folder`, with `files`, unless another attempt has. Returns whether this one did.

        links: keys of committed files by path within the folder: of earlier revisions, whose packs are named, or
        of other folders, from which they are copied.
        """
        own, shared = dict(files.items()), dict[str, Span]()
        for name, key in links.items():
            found = self._found(key)
            if found is not None and found[0] == _key(found[1].pack) and _earlier(found[1].pack, folder):
                shared[name] = found[1]
            else:
                own[name] = self.read(key)
        pack = _pack(folder, own, shared)
        reached("pack: made")
        if not self.place.put_new(_key(folder), pack):
            return False
        reached("pack: stands")
        if not shared:
            return True
        # A writer that stood still may have put it after later revisions came and what it shares went.
        beside = self._listed(folder)
        if any(_earlier(folder, name) for name in beside):
            return False
        if {span.pack for span in shared.values()} <= beside.keys():
            return True
        self.place.remove(_key(folder))
        return False

    def drop(self, folder: str) -> None:
        """Remove a folder, with its parts; of one that a later revision has replaced, what that does not use."""
        beside = sorted((name for name in self._listed(folder) if _same(name, folder)), key=_revision)
        if not beside:
            return
        newest = beside[-1]
        if newest != folder and folder in beside:
            kept = self.uses([newest])
            self._remove([name for name in beside[:-1] if name not in kept])
        elif newest == folder:
            self._remove(reversed(beside))

    def _remove(self, folders: Iterable[str]) -> None:
        for folder in folders:
            self.place.remove(_key(folder))
            reached("pack: removed")

    def quarantine(self, folder: str, note: bytes) -> None:
        """Move a committed folder, as it is, to where no reader looks, with a note that says why.

        What other revisions use stays where it is too. Of a folder whose pack is damaged, all earlier ones go.
        """
        name = f"{folder}-{uuid4().hex[:12]}"
        try:
            parts = self._head(folder).parts | {folder}
        except FileNotFoundError:
            return
        except ValueError:
            parts = {other for other in self._listed(folder) if _earlier(other, folder)} | {folder}
        self.place.write(f"{QUARANTINE}/{name}.json", note)
        reached("repair: noted")
        for part in sorted(parts):
            with suppress(FileNotFoundError):  # which is why it is set aside
                self.place.copy(_key(part), f"{QUARANTINE}/{name}/{part}{PACK}")
        reached("pack: copied")
        self.drop(folder)


def _split(folder: str) -> tuple[str, int]:
    """Id and number of the revision that a folder's name tells; the whole name and 0 if it tells none."""
    shard, _, revision = folder.rpartition(".")
    return (shard, int(revision)) if shard and revision.isdecimal() else (folder, 0)


def _revision(folder: str) -> int:
    return _split(folder)[1]


def _same(one: str, other: str) -> bool:
    return _split(one)[0] == _split(other)[0]


def _earlier(one: str, other: str) -> bool:
    """Whether one is an earlier revision of what the other is one of."""
    return _same(one, other) and _revision(one) < _revision(other)


def _bucket(folder: str) -> tuple[str, str]:
    """The folder of a pack, one of many so that none has too many entries, and how names of its id begin."""
    shard, _ = _split(folder)
    return f"{PACKS}/{shard[-2:]}", f"{shard}."


def _key(folder: str) -> str:
    return f"{_bucket(folder)[0]}/{folder}{PACK}"


def _pack(folder: str, files: Mapping[str, bytes], shared: Mapping[str, Span]) -> bytes:
    """A pack's bytes: the record comes first, so that one read gets it with the index."""
    order = sorted(files, key=lambda name: (name != RECORD, name))
    start = 0
    while True:
        index: dict[str, Any] = {n: [s.offset, s.length, s.pack] for n, s in shared.items()}
        offset = start
        for name in order:
            index[name] = [offset, len(files[name])]
            offset += len(files[name])
        line = json.dumps(
            {"files": index}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        if len(line) < start:
            return b"".join([line.ljust(start - 1), b"\n", *(files[name] for name in order)])
        start = -(-(len(line) + 1) // ALIGNED) * ALIGNED


def _parse(folder: str, line: bytes) -> dict[str, Span]:
    """Where a pack's files lie, from its index. Raises ValueError if it is damaged."""
    try:
        found = json.loads(line)["files"]
        files = {
            str(name): Span(str(more[0]) if more else folder, int(offset), int(length))
            for name, (offset, length, *more) in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: the index of its pack can't be read") from error
    odd = any(
        s.offset < 0 or s.length < 0 or not (s.pack == folder or _earlier(s.pack, folder))
        for s in files.values()
    )
    if odd or RECORD not in files:
        raise ValueError(f"{folder}: the index of its pack is damaged")
    return files

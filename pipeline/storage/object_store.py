"""A dataset in an object store: a commit is one conditional put, which a kill at any instant can't cut in half.

    <root>/zarr.json                  the dataset's own record
    <root>/<folder>-<attempt>/…       a whole zarr group, written by one attempt
    <root>/.commits/<folder>          which attempt won, and a copy of its group's metadata
    <root>/.attempts/<folder>-<attempt>   an attempt that is in progress, or was when its writer died

A folder exists if and only if its commit does. The commit is put last, on the condition that there is none yet,
so that of any number of attempts one wins; and it names the winner's objects, which nobody else ever writes.
"""

from __future__ import annotations

import errno
import posixpath
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.local import QUARANTINE, RECORD, LocalFile
from freelabels.pipeline.storage.object_file import ObjectFile, StoreError
from freelabels.pipeline.storage.uris import SourceError, file_system

COMMITS, ATTEMPTS, CLOCK = ".commits", ".attempts", ".clock"
# An attempt gives up long before a sweep takes it for abandoned. The first is measured by the writer's monotonic
# clock, the second between two time stamps of the store, so that nobody's wall clock matters.
LONGEST_ATTEMPT = timedelta(hours=6)
ABANDONED = timedelta(hours=24)
NO_SUCH_RANGE = errno.EINVAL  # how a range behind an object's end is refused


@dataclass(frozen=True)
class ObjectStorage:
    """`pipeline.storage.interface.Storage` under a prefix that fsspec reaches.

    Credentials and endpoint come from where the store's own tools take them. Temporary failures are retried by
    its library, with exponential backoff and an end. Not to be used after a fork: the library's threads stay
    behind.
    """

    uri: str
    cache: FileCache | None = None
    abandoned: timedelta = field(default=ABANDONED, kw_only=True)

    @cached_property
    def _system(self) -> Any:
        return self._found[0]

    @cached_property
    def _root(self) -> str:
        return str(self._found[1]).rstrip("/")

    @cached_property
    def _found(self) -> tuple[Any, str]:
        try:
            return file_system(self.uri, use_listings_cache=False)
        except SourceError as error:
            raise UserError(f"{self.uri}: {error}") from error

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    # --- reading --------------------------------------------------------------------------------------------

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted; one request per thousand."""
        return sorted(self._names(COMMITS))

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """Entity tag (or size and time, where a store has none) of each folder's commit; "" without one."""
        stamps = self.listing(COMMITS)
        return [stamps.get(folder, "") for folder in folders]

    def listing(self, place: str, prefix: str = "") -> dict[str, str]:
        """Paths of the objects below a place that begin with `prefix`, and what tells each from any other."""
        with self._plainly():
            try:
                found = self._system.find(
                    self._path(place), detail=True, **({"prefix": prefix} if prefix else {})
                )
            except FileNotFoundError:  # not even a bucket
                return {}
        below = {posixpath.relpath(_bare(path), _bare(self._path(place))): found[path] for path in found}
        return {path: _stamp(entry) for path, entry in below.items() if path.startswith(prefix)}

    def record(self, folder: str) -> tuple[str, bytes]:
        """A committed folder's place and its description, in one request.

        Raises FileNotFoundError, or ValueError if the commit is damaged.
        """
        return _parse(folder, self.part(f"{COMMITS}/{folder}", 0, None))

    def read_records(self, folders: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Place and description of many folders, read at the same time; None: gone or damaged."""
        records: list[tuple[str, bytes] | None] = []
        for folder, data in zip(folders, self.heads([f"{COMMITS}/{f}" for f in folders]), strict=True):
            try:
                records.append(_parse(folder, data) if data is not None else None)
            except ValueError:
                records.append(None)
        return records

    def heads(self, keys: Sequence[str], stop: int | None = None) -> list[bytes | None]:
        """The first `stop` bytes of many objects, or all, read at the same time; None: not there."""
        if not keys:
            return []
        with self._plainly():
            found = self._system.cat_ranges([self._path(k) for k in keys], 0, stop, on_error="return")
        return [data if isinstance(data, bytes) else None for data in found]

    def files(self, place: str) -> list[str]:
        """Paths of a folder's objects, from its place."""
        return sorted(self.listing(place))

    def unnamed(self, place: str, named: Collection[str]) -> list[str]:
        """Paths of a folder's objects beside those `named`."""
        return sorted(set(self.files(place)) - set(named))

    def uses(self, folders: Collection[str]) -> frozenset[str]:
        """None: every folder has objects of its own."""
        return frozenset()

    def references(self, place: str) -> dict[str, list[str | int]]:
        """By path, where each of a folder's files lies for other programs: the path or URI of the whole."""
        return {name: [self.address(f"{place}/{name}")] for name in self.files(place)}

    def address(self, place: str) -> str:
        """URI of a folder."""
        return f"{self.uri.rstrip('/')}/{place}"

    def exists(self, key: str) -> bool:
        """Whether there is an object, in one request."""
        try:
            self.part(key, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def read(self, key: str) -> bytes:
        """A whole object, in one request (without a range s3fs makes two). Raises FileNotFoundError."""
        return self.part(key, 0, None)

    def part(self, key: str, start: int, stop: int | None) -> bytes:
        """Bytes start … stop - 1 of an object, fewer if it ends before, in one request."""
        with self._plainly():
            try:
                return bytes(self._system.cat_file(self._path(key), start=start, end=stop))
            except OSError as error:
                if error.errno != NO_SUCH_RANGE:
                    raise
                return b""

    def open(self, key: str, size: int, sha256: str) -> ObjectFile | LocalFile:
        """An object for reading parts of it, or its copy in the cache.

        Without a cache nothing is asked of the store yet; with one, raises FileNotFoundError, or CorruptShard if
        the object is not the one with that hash.
        """
        return self.open_part(key, 0, size, sha256)

    def open_part(self, key: str, offset: int, size: int, sha256: str) -> ObjectFile | LocalFile:
        """The `size` bytes of an object from `offset` on, or their copy in the cache. Raises as `open`."""
        if self.cache is not None:
            copy = self.cache.open(sha256, lambda: self.part(key, offset, offset + size))
            if copy is None:
                raise CorruptShard(f"{key}: does not match its checksum")
            return copy
        return ObjectFile(key, size, lambda start, stop: self.part(key, offset + start, offset + stop))

    def vacant(self, besides: Collection[str] = ()) -> bool:
        """Whether nothing of anybody else's, but for objects called `besides`, lies under the prefix."""
        ours = (COMMITS, ATTEMPTS, CLOCK, *besides)
        return all(name in ours for name in self._names(""))

    # --- writing --------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes) -> None:
        """Put an object beside the folders, or replace it."""
        with self._plainly():
            self._system.pipe_file(self._path(key), data)

    def remove(self, key: str) -> None:
        """Remove an object beside the folders, if it is there."""
        self._forget(key)

    def begin(self, key: str, data: bytes) -> None:
        """Put the dataset's first object unless another writer has. Raises StoreError without its bucket."""
        try:
            self.put_new(key, data)
        except FileNotFoundError as error:
            raise StoreError(errno.ENOENT, self._sentence(error)) from error

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make `folder` appear whole with `files` and with copies of `links`, or not at all.

        Copies are made by the store itself. Returns False if another attempt has committed the folder first.
        """
        if self.exists(f"{COMMITS}/{folder}"):
            return False
        place = f"{folder}-{uuid4().hex[:12]}"
        began = time.monotonic()
        self.write(f"{ATTEMPTS}/{place}", place.encode())
        reached("store: marked")
        self._fill(place, files, links)
        reached("store: filled")
        late = time.monotonic() - began > LONGEST_ATTEMPT.total_seconds()
        if late or not self.exists(f"{ATTEMPTS}/{place}"):  # swept: this machine has slept
            self._remove(place)
            raise OSError(errno.ETIMEDOUT, f"uploading {folder} took too long")
        won = self.put_new(f"{COMMITS}/{folder}", f"{place}\n".encode() + files[RECORD])
        reached("store: committed")
        if not won:
            self._remove(place)
        self._forget(f"{ATTEMPTS}/{place}")
        return won

    def _fill(self, place: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        """Put all objects of an attempt, the group's metadata last: without it no reader takes it for a group."""
        first = {self._path(f"{place}/{name}"): data for name, data in files.items() if name != RECORD}
        with self._plainly():
            if first:
                self._system.pipe(first)
            if links:
                sources = [self._path(key) for key in links.values()]
                self._system.copy(sources, [self._path(f"{place}/{name}") for name in links])
        self.write(f"{place}/{RECORD}", files[RECORD])

    def put_new(self, key: str, data: bytes) -> bool:
        """Put an object if there is none; whether what is there now is ours.

        What is there decides, not the answer: that may have been lost, and the retry was refused for our own sake.
        """
        try:
            with self._plainly():
                self._system.pipe_file(self._path(key), data, mode="create")
        except OSError:
            try:
                return self.read(key) == data
            except FileNotFoundError:
                pass
            raise
        return True

    def drop(self, folder: str) -> None:
        """Remove a committed folder: first its commit, then its objects."""
        try:
            place, _ = self.record(folder)
        except FileNotFoundError:
            return
        except ValueError:  # its objects can't be told from those of other attempts: a sweep finds out
            for place in self._attempts_at(folder):
                self.write(f"{ATTEMPTS}/{place}", place.encode())
            self._forget(f"{COMMITS}/{folder}")
            return
        self.write(f"{ATTEMPTS}/{place}", place.encode())
        self._forget(f"{COMMITS}/{folder}")
        reached("store: hidden")
        self._remove(place)
        self._forget(f"{ATTEMPTS}/{place}")

    def _attempts_at(self, folder: str) -> list[str]:
        """Places of all attempts to commit a folder, whichever won."""
        return [name for name in self._names("") if name.rpartition("-")[0] == folder]

    def quarantine(self, folder: str, note: bytes) -> None:
        """Move a committed folder, as it is, to where no reader looks, with a note that says why.

        Of a folder whose commit is damaged, the objects of all attempts go there.
        """
        try:
            places = [self.record(folder)[0]]
        except FileNotFoundError:
            return
        except ValueError:
            places = self._attempts_at(folder)
        for place in places:
            for name in self.files(place):
                self.copy(f"{place}/{name}", f"{QUARANTINE}/{place}/{name}")
            self.write(f"{QUARANTINE}/{place}.json", note)
        reached("store: copied")
        self.drop(folder)

    def copy(self, source: str, target: str) -> None:
        """Have the store copy an object. Raises FileNotFoundError."""
        with self._plainly():
            self._system.cp_file(self._path(source), self._path(target))

    def purge(self, name: str) -> None:
        """Remove a folder from the quarantine, with its note."""
        self._remove(f"{QUARANTINE}/{name}")
        self._forget(f"{QUARANTINE}/{name}.json")

    def sweep(self) -> int:
        """Remove the objects of attempts that began long ago by the store's clock and that no commit names.

        Returns of how many.
        """
        attempts = self._names(ATTEMPTS)
        if not attempts:
            return 0
        self.write(CLOCK, b"now")
        now, swept = self._modified(CLOCK), 0
        for place in attempts:
            with suppress(FileNotFoundError):  # finished, or swept by another, meanwhile
                if now - self._modified(f"{ATTEMPTS}/{place}") < self.abandoned:
                    continue
                if not self._names_it(place.rpartition("-")[0], place):
                    self._remove(place)
                    swept += 1
                self._forget(f"{ATTEMPTS}/{place}")
        return swept

    def _names_it(self, folder: str, place: str) -> bool:
        try:
            return self.record(folder)[0] == place
        except FileNotFoundError:
            return False
        except ValueError:
            return True  # a damaged commit names any of them; verify --repair drops it

    def _names(self, key: str) -> list[str]:
        """Names of the objects and prefixes directly below a key."""
        with self._plainly():
            try:
                found = self._system.ls(self._path(key).rstrip("/"), detail=False)
            except FileNotFoundError:
                return []
        below = [posixpath.basename(_bare(path)) for path in found if _bare(path) != _bare(self._path(key))]
        return [name for name in below if name]

    def _modified(self, key: str) -> datetime:
        with self._plainly():
            modified: datetime = self._system.modified(self._path(key))
        return modified

    def _remove(self, place: str) -> None:
        """Remove an attempt's objects, the group's metadata first, so that no reader takes the rest for whole."""
        self._forget(f"{place}/{RECORD}")
        with self._plainly(), suppress(FileNotFoundError):
            paths = self._system.find(self._path(place))
            if paths:
                self._system.rm(paths)

    def _forget(self, key: str) -> None:
        with self._plainly(), suppress(FileNotFoundError):
            self._system.rm_file(self._path(key))

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Backends raise errors of a dozen kinds; those that the storage's contract doesn't name become one."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, UserError):
            raise
        except OSError as error:
            number = errno.EACCES if isinstance(error, PermissionError) else error.errno or errno.EIO
            raise StoreError(number, self._sentence(error)) from error
        except Exception as error:
            raise StoreError(errno.EIO, self._sentence(error)) from error

    def _sentence(self, error: Exception) -> str:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return (
            f"{self.uri} can't be used ({reason}); check its address, endpoint and credentials, and run again"
        )


def _parse(folder: str, commit: bytes) -> tuple[str, bytes]:
    place, newline, record = commit.partition(b"\n")
    if not newline or place.rpartition(b"-")[0] != folder.encode():
        raise ValueError(f"{folder}: its commit is damaged")
    return place.decode(), record


def _stamp(entry: Mapping[str, Any]) -> str:
    tag = entry.get("ETag") or entry.get("etag")
    return str(tag or f"{entry.get('size')}-{entry.get('LastModified') or entry.get('created')}")


def _bare(path: str) -> str:
    """A path as backends list it, with or without the slash in front."""
    return str(path).strip("/")

"""A dataset in a folder: a commit is a rename, which a kill at any instant can't cut in half.

No locks: network file systems keep them to one machine or refuse them. What an attempt writes lies under a name of
its own, `.tmp-<folder>-<attempt>`, until it is renamed; and who clears away takes it by a rename too. Of these two
renames one succeeds, so that a folder which was committed is never cleared away, and an attempt that was cleared
away is never committed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePath
from uuid import uuid4

from freelabels.ground.errors import UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.storage.disk import files_below, fsync, link, stamp, write_synced

if not hasattr(os, "pread"):
    raise UserError("Freelabels needs Linux or macOS: on Windows, run it in WSL")

STAGING = ".tmp-"
RECORD = "zarr.json"  # the file that describes a folder
QUARANTINE = ".quarantine"  # a folder; of each folder in it there is a note beside it, NAME.json
# What has not changed for so long, between two time stamps of the file system, was left by a writer that is dead.
# One that was paused for longer, between two of its writes, has to begin anew; nothing worse.
ABANDONED = timedelta(hours=1)
NO_FOLDER = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)  # whatever is tried again
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)  # how a rename onto a folder is refused


@dataclass(frozen=True)
class LocalFile:
    """An open file; `interface.OpenFile`. Parts are read by position, so a fork or threads can share it."""

    handle: int
    size: int
    fetch: Callable[[int, int], bytes]

    @staticmethod
    def open(path: str | Path) -> LocalFile:
        """Open a file. Raises FileNotFoundError."""
        return LocalFile.of(os.open(path, os.O_RDONLY))

    @staticmethod
    def of(handle: int) -> LocalFile:
        """A file that is open already."""
        size = os.fstat(handle).st_size
        return LocalFile(handle, size, lambda start, stop: os.pread(handle, stop - start, start))

    def part(self, offset: int, size: int) -> LocalFile:
        """The `size` bytes from `offset` on as a file, shorter where this one ends; it takes this one's place."""
        handle = self.handle
        size = max(min(size, self.size - offset), 0)

        def fetch(start: int, stop: int) -> bytes:
            return os.pread(handle, max(min(stop, size) - start, 0), offset + start)

        return LocalFile(handle, size, fetch)

    def close(self) -> None:
        """Close it."""
        os.close(self.handle)


@dataclass(frozen=True)
class LocalStorage:
    """`freelabels.pipeline.storage.interface.Storage` in a folder."""

    root: Path
    abandoned: timedelta = field(default=ABANDONED, kw_only=True)

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted."""
        with os.scandir(self.root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """Inode, size and time of last change of each folder's description; "" without one."""
        root = os.fspath(self.root)
        return [stamp(f"{root}/{folder}/{RECORD}") for folder in folders]

    def path(self, key: str) -> Path:
        """The file behind a key."""
        return self.root / key

    def _at(self, key: str) -> str:
        """As `path`, for those who read: a Path takes longer to make than a small file to read."""
        return f"{self.root}/{key}" if key else str(self.root)

    def record(self, folder: str) -> tuple[str, bytes]:
        """A committed folder's place, which is its name, and the file that describes it."""
        return folder, self.read(f"{folder}/{RECORD}")

    def read_records(self, folders: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """Place and description of many committed folders; None: it is gone."""
        found: list[tuple[str, bytes] | None] = []
        for folder in folders:
            try:
                found.append(self.record(folder))
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
        return found

    def files(self, place: str) -> list[str]:
        """Paths of a folder's files, from its place."""
        return sorted(files_below(self._at(place)))

    def unnamed(self, place: str, named: Collection[str]) -> list[str]:
        """Paths of a folder's files beside those `named`."""
        # NFS keeps a file that was removed while somebody had it open under a name of its own.
        found = set(files_below(self._at(place))) - set(named)
        return sorted(key for key in found if not PurePath(key).name.startswith(".nfs"))

    def listing(self, place: str, prefix: str = "") -> dict[str, str]:
        """Paths of the files below a place that begin with `prefix`, and what tells each from any other."""
        root, found = self._at(place), dict[str, str]()
        for path in files_below(root):
            if path.startswith(prefix) and (known := stamp(f"{root}/{path}")):
                found[path] = known
        return found

    def uses(self, folders: Collection[str]) -> frozenset[str]:
        """None: every folder has files, or hard links, of its own."""
        return frozenset()

    def references(self, place: str) -> dict[str, list[str | int]]:
        """By path, where each of a folder's files lies for other programs: the path or URI of the whole."""
        return {name: [self.address(f"{place}/{name}")] for name in self.files(place)}

    def address(self, place: str) -> str:
        """Path of a folder."""
        return str(self.path(place))

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return os.path.isfile(self._at(key))

    def read(self, key: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        with open(self._at(key), "rb", buffering=0) as stream:
            return stream.readall()

    def write(self, key: str, data: bytes) -> None:
        """Put a file beside the folders, or replace it as a whole."""
        self.path(key).parent.mkdir(exist_ok=True)
        try:
            self._replace(key, data)
        except FileNotFoundError:  # paused for so long that its scratch file was cleared away
            self._replace(key, data)

    def _replace(self, key: str, data: bytes) -> None:
        scratch = self._scratch(key.lstrip(".").replace("/", "-"))
        try:
            write_synced(scratch, data)
            reached("small file: written")
            scratch.replace(self.path(key))
            reached("small file: replaced")
        except OSError:
            scratch.unlink(missing_ok=True)
            raise

    def _scratch(self, name: str) -> Path:
        """A path that nobody else writes to, and that a sweep clears away."""
        return self.root / f"{STAGING}{name}-{uuid4().hex[:12]}"

    def part(self, key: str, start: int, stop: int | None) -> bytes:
        """Bytes start … stop - 1 of a file, fewer if it ends before. Raises FileNotFoundError."""
        with open(self._at(key), "rb") as stream:
            stream.seek(start)
            return stream.read() if stop is None else stream.read(max(stop - start, 0))

    def heads(self, keys: Sequence[str], stop: int | None = None) -> list[bytes | None]:
        """The first `stop` bytes of many files, or all; None: not there."""
        found: list[bytes | None] = []
        for key in keys:
            try:
                found.append(self.part(key, 0, stop))
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
        return found

    def open(self, key: str, size: int, sha256: str) -> LocalFile:
        """A file for reading parts of it. Raises FileNotFoundError."""
        return LocalFile.open(self._at(key))

    def open_part(self, key: str, offset: int, size: int, sha256: str) -> LocalFile:
        """The `size` bytes of a file from `offset` on, fewer if it ends before. Raises FileNotFoundError."""
        return LocalFile.open(self._at(key)).part(offset, size)

    def remove(self, key: str) -> None:
        """Remove a file beside the folders, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def vacant(self, besides: Collection[str] = ()) -> bool:
        """Whether nothing but leftovers of killed writers, and files called `besides`, lies here."""
        if not self.root.exists():
            return True
        return self.root.is_dir() and all(
            p.name.startswith(STAGING) or p.name in besides for p in self.root.iterdir()
        )

    def begin(self, key: str, data: bytes) -> None:
        """Make the folder with its first file unless another writer has; a failure leaves no folder behind."""
        new = not self.root.exists()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in NO_FOLDER:
                raise
            raise UserError(
                f"{self.root} can't be made ({os.strerror(error.errno)}); name another folder with --out"
            ) from error
        try:
            self.put_new(key, data, "begin")
        except OSError:
            if new:
                with contextlib.suppress(OSError):  # another writer's by now
                    self.root.rmdir()
            raise

    def put_new(self, key: str, data: bytes, step: str = "pack") -> bool:
        """Put a file, whole and on the disk, if there is none; whether this one was put.

        step: what its fault points are called.
        """
        path = self.path(key)
        if path.exists():
            return False
        scratch = self._scratch(path.name.lstrip("."))
        try:
            write_synced(scratch, data)
            reached(f"{step}: written")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(scratch, path)
            except FileExistsError:
                return False
            except FileNotFoundError as error:  # swept
                raise OSError(errno.ETIMEDOUT, f"writing {key} took too long") from error
            except OSError:  # a file system without hard links
                scratch.replace(path)
            reached(f"{step}: linked")
        finally:
            scratch.unlink(missing_ok=True)
        for folder in path.parents[: len(Path(key).parts)]:  # up to the root: those above it may be new
            fsync(folder)
        return True

    def copy(self, source: str, target: str) -> None:
        """Give a file another name too, or copy it where that can't be. Raises FileNotFoundError."""
        path = self.path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        link(self.path(source), path)
        fsync(path.parent)

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make `folder` appear whole with `files` and with copies (hard links) of `links`, or not at all.

        files: bytes by path within the folder; links: keys of committed files by path within the folder.
        Returns False if another attempt has committed the folder first.
        """
        if self.path(folder).exists():
            return False
        staging = self._scratch(folder)
        staging.mkdir()
        reached("commit: begun")
        try:
            self._fill(staging, files, links)
            reached("commit: filled")
            staging.rename(self.path(folder))
        except OSError as error:
            swept = not staging.exists()
            shutil.rmtree(staging, ignore_errors=True)
            if error.errno in TAKEN or self.path(folder).exists():  # another attempt won
                return False
            if swept:
                raise OSError(errno.ETIMEDOUT, f"writing {folder} took too long") from error
            raise
        reached("commit: renamed")
        fsync(self.root)
        return True

    def _fill(self, staging: Path, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        for below in sorted(
            {parent for name in (*files, *links) for parent in Path(name).parents} - {Path()}
        ):
            (staging / below).mkdir()  # and never `staging` itself again: it may have been swept
        for name, data in files.items():
            write_synced(staging / name, data)
        reached("commit: written")
        for name, key in links.items():
            link(self.path(key), staging / name)
        for folder, _, _ in os.walk(staging, topdown=False):
            fsync(Path(folder))

    def drop(self, folder: str) -> None:
        """Remove a committed folder; it vanishes from listings before its files do."""
        self._bury(self.path(folder))

    def _bury(self, path: Path) -> bool:
        """Remove a file or folder, out of sight first; False if it was not there, or taken by another."""
        grave = self._scratch("drop")
        try:
            path.rename(grave)
        except FileNotFoundError:
            return False
        reached("drop: hidden")
        shutil.rmtree(grave, ignore_errors=True) if grave.is_dir() else grave.unlink(missing_ok=True)
        return True

    def sweep(self) -> int:
        """Remove what writers left that have been dead for long by the file system's clock. Returns how many."""
        with os.scandir(self.root) as entries:
            leftovers = [Path(e.path) for e in entries if e.name.startswith(STAGING)]
        if not leftovers:
            return 0
        reached("sweep: listed")
        oldest, swept = self._now() - self.abandoned.total_seconds(), 0
        for leftover in leftovers:
            with contextlib.suppress(FileNotFoundError):  # finished, or swept by another, meanwhile
                if leftover.stat().st_mtime <= oldest:
                    swept += self._bury(leftover)
        return swept

    def _now(self) -> float:
        """The time by the clock that stamps files here, which need not be this machine's."""
        clock = self._scratch("clock")
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink(missing_ok=True)
        return now

    def quarantine(self, folder: str, note: bytes) -> None:
        """Move a committed folder, as it is, to where no reader looks, with a note that says why."""
        name = f"{folder}-{uuid4().hex[:12]}"
        self.write(f"{QUARANTINE}/{name}.json", note)
        reached("repair: noted")
        try:
            self.path(folder).rename(self.path(f"{QUARANTINE}/{name}"))
        except FileNotFoundError:
            self.remove(f"{QUARANTINE}/{name}.json")
            return
        reached("repair: moved")
        fsync(self.path(QUARANTINE))
        fsync(self.root)

    def purge(self, name: str) -> None:
        """Remove a folder from the quarantine, with its note."""
        self._bury(self.path(f"{QUARANTINE}/{name}"))
        reached("prune: removed")
        self.remove(f"{QUARANTINE}/{name}.json")

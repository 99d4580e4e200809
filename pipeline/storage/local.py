"""A dataset in a folder: a commit is a rename, which a kill at any instant can't cut in half."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from freelabels.ground.errors import UserError

try:
    import fcntl
except ModuleNotFoundError as error:
    raise UserError("Freelabels needs Linux or macOS: on Windows, run it in WSL") from error

STAGING = ".tmp-"
RECORD = "zarr.json"  # the file that describes a folder


@dataclass(frozen=True)
class LocalFile:
    """An open file; `interface.OpenFile`. Parts are read by position, so a fork or threads can share it."""

    handle: int
    size: int
    fetch: Callable[[int, int], bytes]

    @staticmethod
    def open(path: Path) -> LocalFile:
        """Open a file. Raises FileNotFoundError."""
        return LocalFile.of(os.open(path, os.O_RDONLY))

    @staticmethod
    def of(handle: int) -> LocalFile:
        """A file that is open already."""
        size = os.fstat(handle).st_size
        return LocalFile(handle, size, lambda start, stop: os.pread(handle, stop - start, start))

    def close(self) -> None:
        """Close it."""
        os.close(self.handle)


@dataclass(frozen=True)
class LocalStorage:
    """`freelabels.pipeline.storage.interface.interface.Storage` in a folder."""

    root: Path

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted."""
        with os.scandir(self.root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def stamps(self, folders: Sequence[str]) -> list[str]:
        """Inode, size and time of last change of each folder's description; "" without one."""
        root, stamps = os.fspath(self.root), []
        for folder in folders:
            try:
                status = os.stat(f"{root}/{folder}/{RECORD}")
                stamps.append(f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}")
            except (FileNotFoundError, NotADirectoryError):
                stamps.append("")
        return stamps

    def path(self, key: str) -> Path:
        """The file behind a key."""
        return self.root / key

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
        root = self.path(place)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def address(self, place: str) -> str:
        """Path of a folder."""
        return str(self.path(place))

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        return self.path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Put a file beside the folders, or replace it as a whole."""
        scratch = self.root / f"{STAGING}{key.lstrip('.').replace('/', '-')}-{uuid4().hex[:12]}"
        try:
            scratch.write_bytes(data)
            self.path(key).parent.mkdir(exist_ok=True)
            scratch.replace(self.path(key))
        except OSError:
            scratch.unlink(missing_ok=True)
            raise

    def open(self, key: str, size: int, sha256: str) -> LocalFile:
        """A file for reading parts of it. Raises FileNotFoundError."""
        return LocalFile.open(self.path(key))

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
        self.root.mkdir(parents=True, exist_ok=True)
        scratch = self.root / f"{STAGING}{key.lstrip('.')}-{uuid4().hex[:12]}"
        try:
            scratch.write_bytes(data)
            try:
                os.link(scratch, self.path(key))
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                scratch.replace(self.path(key))
            scratch.unlink(missing_ok=True)
        except OSError:
            scratch.unlink(missing_ok=True)
            if new:
                with contextlib.suppress(OSError):  # another writer's by now
                    self.root.rmdir()
            raise

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        """Make `folder` appear whole with `files` and with copies (hard links) of `links`, or not at all.

        files: bytes by path within the folder; links: keys of committed files by path within the folder.
        Returns False if another attempt has committed the folder first.
        """
        if self.path(folder).exists():
            return False
        staging = self.root / f"{STAGING}{folder}-{uuid4().hex[:12]}"
        staging.mkdir()
        try:
            with _locked(staging):
                self._fill(staging, files, links)
                staging.rename(self.path(folder))
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            if self.path(folder).exists():  # another attempt won
                return False
            raise
        _fsync(self.root)
        return True

    def _fill(self, staging: Path, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        for name in (*files, *links):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with (staging / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        for name, key in links.items():
            try:
                os.link(self.path(key), staging / name)
            except FileNotFoundError:
                raise
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(self.path(key), staging / name)
                _fsync(staging / name)
        for below, _, _ in os.walk(staging, topdown=False):
            _fsync(Path(below))

    def drop(self, folder: str) -> None:
        """Remove a committed folder; it vanishes from listings before its files do."""
        grave = self.root / f"{STAGING}drop-{folder}-{uuid4().hex[:12]}"
        with contextlib.suppress(FileNotFoundError):
            self.path(folder).rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def sweep(self) -> int:
        """Remove what killed writers left; work in progress is locked and stays. Returns how many."""
        swept = 0
        with os.scandir(self.root) as entries:
            leftovers = [Path(e.path) for e in entries if e.name.startswith(STAGING) and e.is_dir()]
        for leftover in leftovers:
            with contextlib.suppress(FileNotFoundError, BlockingIOError), _locked(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
                swept += 1
        return swept


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the system drops when its holder dies. Raises BlockingIOError if held."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)

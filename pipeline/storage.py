"""Where a dataset lies: the few file operations that shards need, so that a commit is all or nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

STAGING = ".tmp-"


@dataclass(frozen=True)
class LocalStorage:
    """A dataset in a folder: a commit is a rename, which a kill at any instant can't cut in half."""

    root: Path

    def folders(self) -> list[str]:
        """Names of the committed folders, sorted."""
        with os.scandir(self.root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def stamps(self, folders: Sequence[str], file: str) -> list[str]:
        """For each committed folder, what tells its `file` from any other that had its name; "" without one.

        Inode, size and time of last change: compared for equality alone, so that a wrong clock does no harm.
        """
        root, stamps = os.fspath(self.root), []
        for folder in folders:
            try:
                status = os.stat(f"{root}/{folder}/{file}")
                stamps.append(f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}")
            except (FileNotFoundError, NotADirectoryError):
                stamps.append("")
        return stamps

    def path(self, key: str) -> Path:
        """The file behind a key."""
        return self.root / key

    def read(self, key: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        return self.path(key).read_bytes()

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return self.path(key).is_file()

    def write(self, key: str, data: bytes) -> None:
        """Put a file beside the folders, or replace it as a whole."""
        scratch = self.root / f"{STAGING}{key}-{uuid4().hex[:12]}"
        try:
            scratch.write_bytes(data)
            scratch.replace(self.path(key))
        except OSError:
            scratch.unlink(missing_ok=True)
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

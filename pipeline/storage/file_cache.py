"""Copies of an object store's files on a local disk, found by their content's hash, so that nothing goes stale."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.local import LocalFile
from freelabels.pipeline.storage.uris import sha256_of

SLACK = 0.05  # share of the bound that a process adds before it looks at the whole folder again


@dataclass(frozen=True)
class FileCache:
    """At most about `most` bytes of files in `folder`, those read least recently given up first.

    Any number of threads and processes can share the folder: files appear by rename, whole or not at all, and
    stay readable for those who have them open. What a crash or a bad disk has damaged is fetched again.
    """

    folder: Path
    most: int
    _added: list[int] = field(default_factory=list, repr=False, compare=False)

    def open(self, sha256: str, fetch: Callable[[], bytes]) -> LocalFile | None:
        """The file of that content, from `fetch` if it isn't here; None if what was fetched is something else."""
        path = self.folder / sha256[:2] / sha256
        with suppress(FileNotFoundError):
            file = LocalFile.open(path)
            if sha256_of(file.fetch(0, file.size)) == sha256:
                os.utime(file.handle)
                return file
            file.close()
        data = fetch()
        if sha256_of(data) != sha256:
            return None
        try:
            file = self._store(path, data)
            self._trim(len(data))
        except OSError as error:
            raise UserError(
                f"can't fill the cache {self.folder} ({error.strerror}); free it, bound it lower or name another"
            ) from error
        return file

    def _store(self, path: Path, data: bytes) -> LocalFile:
        """Write a file and open it; what a kill leaves behind is given up like any other file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}-{uuid4().hex[:12]}")
        handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            with os.fdopen(os.dup(handle), "wb") as stream:
                stream.write(data)
            with suppress(FileNotFoundError):  # another process has given it up already
                scratch.replace(path)
        except OSError:
            os.close(handle)
            scratch.unlink(missing_ok=True)
            raise
        return LocalFile.of(handle)

    def _trim(self, added: int) -> None:
        """Give up what was read least recently, when enough was added since the last look."""
        first = not self._added
        self._added.append(added)
        if not first and sum(self._added) < SLACK * self.most:
            return
        self._added[:] = [0]
        found = []
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self.most
        if excess <= 0:
            return
        for _, size, path in sorted(found):
            path.unlink(missing_ok=True)
            excess -= size
            if excess <= -SLACK * self.most:
                return

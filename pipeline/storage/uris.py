"""One URI → bytes: a local path, what fsspec reads (``s3://``, ``gs://``, ``https://``), a file in an archive."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any

import fsspec

from freelabels.ground.errors import SourceError as SourceError
from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.archives.bytes_at import FileBytes, StreamBytes
from freelabels.pipeline.storage.archives.directory import Archive
from freelabels.pipeline.storage.archives.names import parted
from freelabels.pipeline.storage.archives.opening import open_archive
from freelabels.pipeline.storage.archives.parquet import Parquet

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # URI scheme → extra of this package
BLOCK = 1 << 20
ARCHIVES_HELD = 4  # open at a time in a process
REQUESTS = 32  # that are waited for at a time


def why(error: Exception) -> str:
    """The sentence for an error met while reading a file."""
    if isinstance(error, SourceError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return f"can't be read ({reason})"


def shown(text: str) -> str:
    """Names as one line can show and UTF-8 can hold them: control characters and what isn't Unicode escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_remote(uri: str) -> bool:
    """Whether `uri` names something beyond the local file system."""
    return "://" in uri


@cache
def requests() -> ThreadPoolExecutor:
    """The threads of this process that wait for answers of object stores."""
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix="requests")


def absolute(uri: str) -> str:
    """A path from the file system's root; a remote URI as it is."""
    return uri if is_remote(uri) else str(Path(uri).resolve())


def file_system(uri: str, **options: Any) -> tuple[Any, str]:
    """The fsspec file system of a remote URI and the path in it; SourceError names the missing package.

    options: of fsspec's.
    """
    scheme = uri.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(uri, **options)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        how = f"pip install 'freelabels[{extra}]'" if extra else str(error).rstrip(".")
        raise SourceError(f"reading {scheme}:// needs a package that is not installed: {how}") from error
    except ValueError as error:
        raise SourceError(f"{scheme}:// is not a kind of address that can be read") from error
    return system, path


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """Turn whatever a remote backend raises, each its own kinds, into a SourceError."""
    try:
        yield
    except (SourceError, OSError):
        raise
    except Exception as error:
        if not is_remote(uri):
            raise
        raise SourceError(why(error)) from error


def is_inside(uri: str) -> bool:
    """Whether `uri` names a file inside an archive."""
    return parted(uri) is not None and (is_remote(uri) or not Path(uri).exists())


def archive(uri: str) -> Archive | Parquet:
    """An archive, listed once a process while it stays what it is. Raises SourceError, OSError."""
    if is_remote(uri):
        return _held(uri, "")
    status = Path(uri).stat()
    return _held(uri, f"{status.st_size}-{status.st_mtime_ns}")


@lru_cache(ARCHIVES_HELD)
def _held(uri: str, stamp: str) -> Archive | Parquet:
    """The archive of that stamp."""
    with plain_errors(uri):
        return open_archive(uri, StreamBytes(open_file(uri)) if is_remote(uri) else FileBytes(uri))


def open_file(uri: str) -> IO[bytes]:
    """`uri` opened for reading and seeking, in binary."""
    place = parted(uri)
    if place is not None and is_inside(uri):
        return archive(place[0]).open(place[1])
    if not is_remote(uri):
        return Path(uri).open("rb")
    system, path = file_system(uri)
    stream: IO[bytes] = system.open(path, "rb")
    return stream


def read_bytes(uri: str) -> bytes:
    """All bytes of a (small) file; SourceError if there are none."""
    with plain_errors(uri), open_file(uri) as stream:
        data = stream.read()
    if not data:
        raise SourceError("is empty")
    return data


@contextmanager
def output_folder(uri: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write results into; for a remote URI, one whose files are put there at the end.

    Raises OSError if it can't be written to.
    """
    where = os.fspath(uri)
    if not is_remote(where):
        Path(where).mkdir(parents=True, exist_ok=True)
        yield Path(where)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)
        try:
            system, root = file_system(where)
            system.pipe({f"{root.rstrip('/')}/{p.name}": p.read_bytes() for p in Path(scratch).iterdir()})
        except Exception as error:  # backends raise errors of a dozen kinds
            raise OSError(errno.EACCES, " ".join(str(error).split())) from error


@contextmanager
def output_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write a result into, its folder made. Raises UserError, with the reason, if that can't be done."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
    except OSError as error:
        blocking = next((part for part in target.parents if part.exists() and not part.is_dir()), None)
        if blocking is not None:
            raise UserError(f"can't write {target}: {blocking} is a file, no folder") from error
        raise UserError(f"can't write {target} ({error.strerror or error})") from error


def sha256_of(data: bytes) -> str:
    """The SHA-256 of `data`, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_all(hashes: list[str]) -> str:
    """The hash of several files: the one file's own, or the hash of their hashes in order."""
    return hashes[0] if len(hashes) == 1 else sha256_of("\n".join(hashes).encode())


def sha256_of_file(uri: str) -> str:
    """The SHA-256 of a file that may be larger than memory; SourceError if it is empty."""
    digest, size = hashlib.sha256(), 0
    with plain_errors(uri), open_file(uri) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            size += len(block)
    if not size:
        raise SourceError("is empty")
    return digest.hexdigest()

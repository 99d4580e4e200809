"""An archive's bytes → the archive, by its suffix."""

from __future__ import annotations

from freelabels.ground.errors import SourceError
from freelabels.pipeline.storage.archives.bytes_at import BytesAt
from freelabels.pipeline.storage.archives.directory import Archive
from freelabels.pipeline.storage.archives.names import PARQUET
from freelabels.pipeline.storage.archives.parquet import Parquet
from freelabels.pipeline.storage.archives.tars import Tar
from freelabels.pipeline.storage.archives.zips import Zip


def open_archive(name: str, source: BytesAt) -> Archive | Parquet:
    """The archive of that name in some bytes. Raises SourceError if it is none, or is dangerous."""
    if not source.size:
        raise SourceError("is empty")
    if name.lower().endswith(PARQUET):
        return Parquet(source)
    return Zip(source) if name.lower().endswith(".zip") else Tar(source)

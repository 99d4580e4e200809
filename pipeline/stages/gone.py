"""Whether the files that clips were cut from are still there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.archives.names import parted
from freelabels.pipeline.storage.uris import archive, file_system, is_inside, is_remote


def gone_clips(shard: Shard, *, remote: bool = True) -> list[int]:
    """Numbers of the clips whose source is no longer there; renders have none, and can't lose it.

    remote: ask for sources at addresses too, a request each. Raises UserError for a place that can't be asked.
    """
    found = []
    for number, clip in enumerate(shard.clips):
        source = source_of(clip)
        if source and (remote or not is_remote(source)) and not is_there(source):
            found.append(number)
    return found


def source_of(clip: Mapping[str, Any]) -> str:
    """Path or address that a clip was cut from; "" for a render."""
    return "" if clip.get("kind") == "render" else str((clip.get("source") or [""])[0])


@lru_cache(maxsize=4096)
def is_there(source: str) -> bool:
    """Whether a file is there, alone or in an archive. Raises UserError for a place that can't be asked."""
    place = parted(source)
    try:
        if place is not None and is_inside(source):
            if not is_there(place[0]):
                return False
            opened = archive(place[0])
            return not hasattr(opened, "names") or place[1] in set(opened.names)
        if not is_remote(source):
            return Path(source).exists()
        system, path = file_system(source)
        return bool(system.exists(path))
    except UserError:
        raise
    except Exception as error:  # backends and archives raise errors of a dozen kinds
        raise UserError(f"{source}: can't ask whether it is there ({error})") from error

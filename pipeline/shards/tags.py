"""The table of words that came with the sources of a dataset's clips: data that no task uses unless it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from freelabels.pipeline.shards.shard import Shard


@dataclass(frozen=True)
class Tag:
    """A caption, tag or alternative text.

    shard: the shard's name; clip: number of the clip in it. source: what the clip was cut from. kind: column,
    entry or kind of file it came from. origin: which file told it.
    """

    shard: str
    clip: int
    source: str
    kind: str
    text: str
    origin: str


def tags_in(shards: Iterable[Shard]) -> Iterator[Tag]:
    """The rows of the table that some shards hold."""
    for shard in shards:
        for number, clip in enumerate(shard.clips):
            for tag in clip.get("tags", ()):
                source = next(iter(clip.get("source", ())), "")
                yield Tag(shard.name, number, source, tag["kind"], tag["text"], tag["origin"])

"""The words that came with the sources of clips."""

from __future__ import annotations

import re
from bisect import bisect_right

from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.data.windows import Windows

Words = tuple[str, ...]
WORD = re.compile(r"[^\W\d_]{3,}")  # three letters or more, of any script


def words_of(windows: Windows) -> list[Words]:
    """The words of each run's clip, small, each once, sorted; opens every shard. Raises CorruptShard."""
    found: list[Words] = []
    for block in range(len(windows.domain)):
        dataset = Dataset(windows.datasets[windows.dataset[block]])
        clips = dataset.open(windows.shard[block].decode()).clips
        starts = [clip["rows"][0] for clip in clips]
        for run in range(windows.first_run[block], windows.first_run[block + 1]):
            clip = clips[bisect_right(starts, int(windows.row[run])) - 1]
            texts = " ".join(tag["text"] for tag in clip.get("tags", ()))
            found.append(tuple(sorted(set(WORD.findall(texts.lower())))))
    return found

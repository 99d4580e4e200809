"""Committed shards, of which there is no more than a folder, put into the index as if their records were read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import PART, remember
from freelabels.pipeline.shards.summary import CLIP, NONE, SHARD, encoded


def remember_shards(
    dataset: Dataset, keys_of: Callable[[str], NDArray[np.uint64]], recipe: str, kind: str, frames: int
) -> None:
    """Remember all shards of a dataset.

    keys_of: name without revision → keys of its clips. recipe: what made the columns of them all. kind, frames: of
    each clip.
    """
    stamps = dataset.stamps()
    names, columns = list(stamps), len(json.loads(recipe))
    for start in range(0, len(names), PART):
        some = names[start : start + PART]
        keys = [keys_of(name.rpartition(".")[0]) for name in some]
        shards = np.zeros(len(some), SHARD)
        shards["clips"] = [len(its) for its in keys]
        shards["rows"] = shards["clips"] * frames
        clips = np.zeros(int(shards["clips"].sum()), CLIP)
        clips["key"] = np.concatenate(keys)
        first = np.concatenate([np.arange(len(its)) * frames for its in keys])
        clips["start"], clips["stop"] = first, first + frames
        whole = replace(
            NONE,
            names=encoded(some),
            stamps=encoded(stamps[name] for name in some),
            shards=shards,
            clips=clips,
            sizes=np.ones(len(some) * columns, np.int64),
            recipes=(recipe,),
            abouts=('{"size": [256, 256], "names": {}}',),
            kinds=(kind,),
        )
        assert isinstance(remember(dataset, whole).source, str)

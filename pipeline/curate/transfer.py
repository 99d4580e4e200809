"""Some clips of a shard, as they are stored, committed as a shard of another dataset or of the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array, known_field
from freelabels.pipeline.shards.class_names import class_names, renumbering
from freelabels.pipeline.shards.commit import commit_copy, commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.stages.bookkeeping import committing
from freelabels.pipeline.stages.planning import shard_id

OWN = ("made_by", "long_name", "units", "frame")  # attributes that every array is given
NAMES = "names"  # the attribute that holds a table of classes


@dataclass(frozen=True)
class Transfer:
    """Clips by number of a shard that go to the dataset `target`.

    tables: by column, the table of class names that the target has; a shard's ids are brought to it.
    """

    source: str
    shard: str
    clips: tuple[int, ...]
    target: str
    frames: int
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def transfer(work: Transfer) -> str:
    """Commit the clips; returns the new shard's folder name. Runs in a worker. Raises CorruptShard."""
    shard, target = Dataset(work.source).open(work.shard), Dataset(work.target)
    try:
        tables = tables_to_change(shard, work.tables)
        if len(work.clips) == len(shard.clips) and not tables:
            with committing():
                return commit_copy(target, shard, shard.clips)
        return _commit_some(shard, work.clips, target, tables)
    finally:
        shard.close()


def id_of(shard: Shard, clips: Sequence[int]) -> str:
    """The id of a shard of these clips: the same if they are all."""
    if len(clips) == len(shard.clips):
        return shard.id
    keys = [str(shard.clips[number].get("key") or f"{shard.id}/{number}") for number in clips]
    return shard_id(str(shard.clips[clips[0]].get("kind", "")), keys)


def tables_to_change(
    shard: Shard, tables: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Of the columns whose ids are others in `tables`, the new table and, by id, the new id."""
    found = {}
    for name, table in tables.items():
        own = class_names(shard, name) if name in shard.fields else ()
        if own and (ids := renumbering(table, own)) is not None:
            spec = known_field(name)
            if spec is not None and spec.invalid is not None:
                ids[int(spec.invalid)] = int(spec.invalid)
            found[name] = (table, ids)
    return found


def _commit_some(
    shard: Shard,
    clips: Sequence[int],
    target: Dataset,
    tables: Mapping[str, tuple[tuple[str, ...], Array]],
) -> str:
    entries, spans, start = [], [], 0
    for number in clips:
        clip = shard.clips[number]
        first, last = clip["rows"]
        entries.append({**clip, "rows": [start, start + last - first]})
        spans.append((first, last))
        start += last - first
    attributes = {name: _further(shard, name) for name in shard.fields}
    for name, (table, _) in tables.items():
        attributes[name][NAMES] = list(table)
    there = target.newest(id_of(shard, clips))
    if there is not None and _same(there, entries, shard.recipe, attributes):
        return there.name
    columns: dict[str, Array] = {}
    for name in shard.fields:
        columns[name] = np.concatenate([shard.read_rows(name, *span) for span in spans])
    if "clip" in columns:
        lengths = [last - first for first, last in spans]
        columns["clip"] = np.repeat(np.arange(len(spans), dtype=columns["clip"].dtype), lengths)
    for name, (_, ids) in tables.items():
        columns[name] = ids[columns[name]].astype(columns[name].dtype)
    with committing():
        return commit_shard(
            target,
            id_of(shard, clips),
            columns,
            entries,
            shard.recipe,
            attributes=attributes,
            base=there,
            drop=[] if there is None else [name for name in there.fields if name not in columns],
            compression=_compression(shard),
        )


def _further(shard: Shard, name: str) -> dict[str, Any]:
    """The attributes of a column that not every array has."""
    return {key: value for key, value in shard.attributes(name).items() if key not in OWN}


def _same(
    there: Shard,
    clips: list[dict[str, Any]],
    made_by: Mapping[str, Any],
    attributes: Mapping[str, Mapping[str, Any]],
) -> bool:
    return (
        there.clips == clips
        and there.recipe == made_by
        and all(_further(there, name) == attributes[name] for name in made_by)
    )


def _compression(shard: Shard) -> str:
    """The preset that a shard was written with, by the codec of its first column."""
    codecs = shard.group["consolidated_metadata"]["metadata"][shard.fields[0]]["codecs"]
    return "small" if '"zstd"' in str(codecs).replace("'", '"') else "fast"

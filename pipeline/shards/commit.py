"""How a shard is committed: its columns encoded, its record sealed, all of it put in place at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from freelabels.generators.contract.fields import Array, field
from freelabels.pipeline.shards.columns import array_metadata, checksums, chunk_key, encode
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import canonical, seal
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import confidence_of, statistics
from freelabels.pipeline.storage.local import RECORD


def commit_shard(
    dataset: Dataset,
    shard_id: str,
    columns: Mapping[str, Array],
    clips: Sequence[Mapping[str, Any]],
    made_by: Mapping[str, Mapping[str, Any]],
    *,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    base: Shard | None = None,
    drop: Sequence[str] = (),
    compression: str = "fast",
) -> str:
    """Commit the first revision of a shard, or, given its `base`, the next one; returns its folder name.

    columns: arrays (frame, …) of the contract, by field name; made_by: what made each. attributes: further
    attributes of the arrays, by field name. With `base`, columns not in `columns` or `drop` are shared
    with it, and it is dropped once the new revision stands. If another attempt has committed the same
    revision, that one stays. Raises ValueError if a column breaks the contract.
    """
    revision = 0 if base is None else base.revision + 1
    name = f"{shard_id}.{revision}"
    rows = base.rows if base is not None else len(next(iter(columns.values())))
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    entries: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if base is not None:
        for kept in base.fields:
            if kept not in columns and kept not in drop:
                entries[kept] = base.record["columns"][kept]
                metadata[kept] = base.group["consolidated_metadata"]["metadata"][kept]
                links |= {key: f"{base.place}/{key}" for key in entries[kept]["objects"]}
    for column, values in columns.items():
        if len(values) != rows:
            raise ValueError(f"{column}: has {len(values)} frames, the shard has {rows}")
        field(column).check(values)
        extra = {"made_by": dict(made_by[column]), **(attributes or {}).get(column, {})}
        metadata[column] = array_metadata(column, values.shape, extra, compression)
        objects = {
            f"{column}/{RECORD}": canonical(metadata[column]),
            chunk_key(column, values.ndim): encode(column, values, compression),
        }
        files |= objects
        entries[column] = {
            "made_by": dict(made_by[column]),
            "objects": {
                key: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for key, data in objects.items()
            },
            "crc32c": checksums(column, rows, objects[chunk_key(column, values.ndim)]),
            "statistics": statistics(column, values, confidence_of(column, dict(columns))),
        }
    record = {
        "id": shard_id,
        "dataset": {name: value for name, value in dataset.attributes.items() if name != "schema"},
        "rows": rows,
        "clips": [dict(clip) for clip in clips],
        "columns": dict(sorted(entries.items())),
    }
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(metadata.items()))}
    files[RECORD] = seal(record, consolidated_metadata=consolidated)
    dataset.storage.commit(name, files, links)
    if base is not None:
        base.close()
        dataset.storage.drop(base.name)
    return name

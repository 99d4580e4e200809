"""Tables of class names, of which shards made at different times or places may have different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.shard import Shard


def class_names(shard: Shard, column: str) -> tuple[str, ...]:
    """A column's table of names as its attributes hold it; () without one."""
    return names_in(shard.attributes(column).get("names") or ())


def names_in(table: Any) -> tuple[str, ...]:
    """The names in a table as attributes hold it, a list or a mapping from id to name."""
    if isinstance(table, Mapping):
        return tuple(str(table.get(str(k), table.get(k, ""))) for k in range(1 + max(int(k) for k in table)))
    return tuple(str(name) for name in table)


def extend(names: list[str], table: Sequence[str]) -> None:
    """Take up in `names` what another table has besides; a table that goes on where `names` ends keeps its ids."""
    names += (
        table[len(names) :] if list(table[: len(names)]) == names else [n for n in table if n not in names]
    )


def renumbering(names: Sequence[str], table: Sequence[str]) -> NDArray[np.int64] | None:
    """By id in a shard's `table`, the id in `names`; None where both are the same."""
    if list(names[: len(table)]) == list(table):
        return None
    ids = np.arange(1 << 16)
    ids[: len(table)] = [names.index(name) for name in table]
    return ids

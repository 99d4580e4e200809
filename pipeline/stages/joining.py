"""Columns of clips → columns of a shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array, field

RAGGED = frozenset({"object", "other", "link", "sample"})  # as long as the clip has objects or its steps take


def joined(name: str, clips: Sequence[Array]) -> Array:
    """Clips one after the other; axes that may differ are filled up with "no such object", or silence."""
    if len(clips) == 1:
        return clips[0]
    axes = ("frame", *field(name).axes)
    sizes = [max(values.shape[k] for values in clips) for k in range(len(axes))]
    padded = []
    for values in clips:
        grow = [
            (0, size - have if axis in RAGGED else 0)
            for axis, size, have in zip(axes, sizes, values.shape, strict=True)
        ]
        filler: Any = np.nan if values.dtype.kind == "f" and name != "object_visible" else 0
        padded.append(np.pad(values, grow, constant_values=filler) if any(g[1] for g in grow) else values)
    return np.concatenate(padded)

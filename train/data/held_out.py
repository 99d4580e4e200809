"""Which clips training never sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.splits import SPLITS, TRAIN, Splits
from freelabels.train.data.windows import Windows

SPAN = 2**64  # of the groups' numbers


NO_SPLITS: Mapping[str, Splits] = {}


def held_out(windows: Windows, share: float, splits: Mapping[str, Splits] = NO_SPLITS) -> NDArray[np.bool_]:
    """(runs,) whether each is kept from training: where a dataset has `splits`, all but its split train.

    Of others as `drawn` has it.
    """
    held = drawn(windows, share)
    for number, path in enumerate(windows.datasets):
        if path in splits:
            its = windows.per_run(windows.dataset == number)
            held[its] = splits[path].places(windows.group[its]) != SPLITS.index(TRAIN)
    return held


def drawn(windows: Windows, share: float) -> NDArray[np.bool_]:
    """(runs,) whether each is kept from training: its group's number lies below `share` of them all.

    Its fate doesn't depend on what else is there, except that in each domain one is held out of a kind where
    none of a kind fell below (photos can't stand in for videos, they have no motion), and one is kept where all
    did; a kind with a single group has none held out. Held out of one kind, a group is held out of all.
    """
    held = np.zeros(len(windows.row), bool)
    if share <= 0:
        return held
    limit = np.uint64(min(round(share * SPAN), SPAN - 1))
    parts = windows.domain.astype(np.int64) * len(windows.kinds) + windows.kind
    lowest, highest = (np.full(int(parts.max(initial=-1)) + 1, edge, np.uint64) for edge in (SPAN - 1, 0))
    for blocks in windows.chunks():
        start, stop = windows.first_run[blocks.start], windows.first_run[blocks.stop]
        part = np.repeat(parts[blocks], np.diff(windows.first_run[blocks.start : blocks.stop + 1]))
        groups = windows.group[start:stop]
        held[start:stop] = groups < limit
        np.minimum.at(lowest, part, groups)
        np.maximum.at(highest, part, groups)
    odd = []
    for number, (low, high) in enumerate(zip(lowest.tolist(), highest.tolist(), strict=True)):
        if low <= high and (low >= limit or high < limit):  # there are such, and all share one fate
            runs = windows.per_run(parts == number)
            chosen = low if low >= limit else high
            held[runs & (windows.group == chosen)] = low >= limit and low < high
            odd.append(chosen)
    for group in odd:
        same = windows.group == group
        held[same] = held[same].any()
    return held


def held_out_groups(
    windows: Windows, share: float, splits: Mapping[str, Splits] = NO_SPLITS
) -> frozenset[int]:
    """The groups of `held_out`, as a set; for few windows."""
    return frozenset(windows.group[held_out(windows, share, splits)].tolist())

"""The trainer's windows, very many of them: what a rank keeps in memory, and how long it plans."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np

from freelabels.train.config import LoaderConfig
from freelabels.train.data.windows import Windows

SHARD = 64  # frames, the most there can be
NAME = len("photo-0123456789abcdef.0")


def loader(
    windows: tuple[int, ...] = (10**5, 10**6, 10**7, 10**8),
    photos: float = 0.5,
    ranks: int = 64,
    batch: int = 32,
) -> None:
    """Memory a window, CPU of the start of an epoch and of planning a batch, for one of many ranks.

    Windows are photos, each a group of its own, which takes most, and renders of 64 frames. They are made up as
    the columns that a catalogue holds, without shards.

    Args:
        windows: How many.
        photos: Share of photos among them.
        ranks: How many ranks share a batch.
        batch: Windows of a batch and rank.
    """
    from freelabels.train.data.catalogue import Catalogue  # bring torch, which no other part needs
    from freelabels.train.data.loader import Loader

    for count in windows:
        tracemalloc.start()
        catalogue = Catalogue(made_up(count, photos), frozenset(), {}, "")
        tracemalloc.reset_peak()
        columns, _ = tracemalloc.get_traced_memory()
        began = time.process_time()
        made = Loader(catalogue, (), LoaderConfig(batch=batch), 0, ranks - 1, ranks)
        made.plan(0)
        start = time.process_time() - began
        kept, peak = (size / count for size in tracemalloc.get_traced_memory())
        tracemalloc.stop()  # it costs time
        later = Loader(catalogue, (), LoaderConfig(batch=batch), 1, ranks - 1, ranks)
        batches = max(1, min(200, count // (ranks * batch) - 1))
        later.plan(0)
        began = time.process_time()
        for number in range(1, 1 + batches):
            later.plan(number)
        plan = (time.process_time() - began) / batches
        print(
            f"{count:>11,} windows: {kept:.1f} B a window and rank ({columns / count:.1f} of them columns, "
            f"{peak:.1f} at most), epoch start {start:.2f} s CPU, "
            f"a batch of {batch} × {ranks} ranks {plan * 1e3:.2f} ms CPU a rank"
        )


def made_up(count: int, share: float) -> Windows:
    """So many windows: this share of photos, and renders of `SHARD` frames."""
    photos = round(count * share)
    clips = (count - photos) // SHARD
    blocks = -(-photos // SHARD), clips
    lengths = np.concatenate([np.ones(photos, np.uint32), np.full(clips, SHARD, np.uint32)])
    first = np.zeros(len(lengths) + 1, np.uint32)
    np.cumsum(lengths, out=first[1:])
    runs = [np.minimum(np.arange(blocks[0] + 1) * SHARD, photos), photos + 1 + np.arange(clips)]
    rows = np.zeros(len(lengths), np.uint8)
    rows[:photos] = np.arange(photos) % SHARD
    return Windows(
        ("photos", "renders"),
        ("photo", "render"),
        np.repeat(np.array([0, 1], np.uint16), blocks),
        np.full(sum(blocks), b"x" * NAME),
        np.repeat(np.array([0, 1], np.uint8), blocks),
        np.repeat(np.array([0, 1], np.uint8), blocks),
        np.concatenate(runs),
        first,
        rows,
        np.random.default_rng(0).integers(0, 2**64, len(lengths), np.uint64),
    )

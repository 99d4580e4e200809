"""Every frame as a point of a map: what a network sees in it, brought to two dimensions.

Features are kept in files, `BLOCK` frames in one, named by the shards they are of: a second look computes nothing,
and a dataset that has grown only what is new. Only a sample of them is held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.viewer.layout import Layout

BLOCK = 1024  # frames, at least, whose features lie in one file
FITTED = 20_000  # frames that the axes are found by, at most
EDGES = (0.003, 0.997)  # shares of the frames that lie on the rims of the map, or beyond
FLAT = 1e-6  # spread below which a feature tells nothing

Features = NDArray[np.float16]


@dataclass(frozen=True)
class FrameFeatures:
    """What a network makes of frames.

    name: of the network, for people. of: uint8 (n, y, x, 3) → float32 (n, C). folder: where features are kept,
    those of these weights alone.
    """

    name: str
    of: Callable[[Array], Array]
    folder: Path


class FrameMap:
    """The frames of some datasets in one map, as far as their features are known.

    places: by dataset (frames, 2) float32 in 0 … 1, NaN where not known. placed: by dataset, its first so many
    frames have been looked at.
    """

    def __init__(self, layouts: Sequence[Layout], seen: FrameFeatures):
        self.seen = seen
        self.places = [np.full((layout.frames, 2), np.nan, np.float32) for layout in layouts]
        self.placed = [0 for _ in layouts]
        self._layouts = layouts
        self._blocks: list[list[Path | Features]] = [[] for _ in layouts]
        self._sample: list[Features] = []
        self._step = max(1, sum(layout.frames for layout in layouts) // FITTED)

    def look(self, number: int, tick: Callable[[int], bool]) -> int:
        """See all frames of a dataset, and place them, first when some are seen, last when all are.

        tick: told how many are seen; false ends it. Returns how many can't be read.
        """
        layout, done, broken = self._layouts[number], 0, 0
        stamps = layout.index.dataset.stamps()
        for shards in _blocks(layout):
            names = [layout.index.name(shard) for shard, _ in shards]
            key = digest([[name, stamps.get(name, "")] for name in names])
            path = self.seen.folder / f"{key[:32]}.npy"
            kept = found = _kept(path)
            if found is None:
                parts = []
                for shard, frames in shards:
                    parts.append(self._of_shard(layout, shard, frames))
                    if not tick(frames.stop):
                        return broken
                found = _joined(parts)
            unread = int(np.isnan(found[:, 0]).sum())
            broken += unread
            # What could not be read may be another time, so it is not kept.
            there = kept is not None or (not unread and _keep(path, found))
            self._blocks[number].append(path if there else found)
            self._sample.append(found[:: self._step])
            done = shards[-1][1].stop
            if not tick(done):
                return broken
            if done >= 2 * self.placed[number]:
                self.place()
        if done > self.placed[number]:
            self.place()
        return broken

    def _of_shard(self, layout: Layout, shard: int, frames: slice) -> Features:
        rows = [layout.place(frame)[1] for frame in range(frames.start, frames.stop)]
        try:
            opened = layout.index.dataset.open(layout.index.name(shard))
            try:
                return np.asarray(self.seen.of(opened.read_rows("image")[rows]), np.float16)
            finally:
                opened.close()
        except (CorruptShard, KeyError):
            return np.full((len(rows), 1), np.nan, np.float16)

    def place(self) -> None:
        """Find the axes anew, and bring to them all that is known of every dataset."""
        sample = _joined(self._sample).astype(np.float64) if self._sample else np.zeros((0, 1))
        sample = sample[np.isfinite(sample).all(axis=1)]
        if len(sample) < 3:
            return
        centre, turn = _axes(sample)
        flat: list[Array] = []
        for blocks in self._blocks:
            some = [np.load(block) if isinstance(block, Path) else block for block in blocks]
            flat.append(np.concatenate([_at(block, centre, turn) for block in some] or [np.zeros((0, 2))]))
        every = np.concatenate(flat)
        low, high = np.nanquantile(
            every, EDGES, axis=0
        )  # a few that lie far out must not press the rest together
        for k, found in enumerate(flat):
            places = np.full_like(self.places[k], np.nan)
            places[: len(found)] = np.clip((found - low) / np.maximum(high - low, 1e-9), 0, 1)
            self.places[k] = places
            self.placed[k] = len(found)

    def known(self, number: int) -> bytes:
        """Where the first frames of a dataset lie: float32, all of x, then all of y."""
        return np.ascontiguousarray(self.places[number][: self.placed[number]].T, "<f4").tobytes()


def _blocks(layout: Layout) -> Iterator[list[tuple[int, slice]]]:
    """The shards that have frames, some at a time."""
    block: list[tuple[int, slice]] = []
    for shard, frames in layout.shards():
        block.append((shard, frames))
        if frames.stop - block[0][1].start >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def _kept(path: Path) -> Features | None:
    try:
        return np.asarray(np.load(path), np.float16)
    except (OSError, ValueError, EOFError):  # not there, or torn
        return None


def _keep(path: Path, features: Features) -> bool:
    """Write features; false if the folder can't be written to."""
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            np.save(file, features)
        beside.replace(path)
    except OSError:
        return False
    return True


def _joined(parts: Sequence[Features]) -> Features:
    """Features of all parts; of those that could not be read, one column of NaN, as many as the others have."""
    wide = max(part.shape[1] for part in parts)
    return np.concatenate(
        [part if part.shape[1] == wide else np.repeat(part[:, :1], wide, axis=1) for part in parts]
    )


def _axes(sample: Array) -> tuple[Array, Array]:
    """The mean (C,), and what turns standardised features to their two principal components, (C, 2)."""
    centre, spread = sample.mean(axis=0), sample.std(axis=0)
    scale = np.where(spread > FLAT, 1 / np.maximum(spread, FLAT), 0.0)
    white = (sample - centre) * scale
    _, vectors = np.linalg.eigh(white.T @ white)
    axes = vectors[:, :-3:-1]
    if axes.shape[1] < 2:  # one feature alone
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    strongest = np.abs(axes).argmax(axis=0)
    return centre, scale[:, None] * axes * np.where(np.take_along_axis(axes, strongest[None], 0) < 0, -1, 1)


def _at(features: Features, centre: Array, turn: Array) -> Array:
    if features.shape[1] != len(centre):  # none of the block could be read
        return np.full((len(features), 2), np.nan)
    return (features.astype(np.float32) - centre.astype(np.float32)) @ turn.astype(np.float32)

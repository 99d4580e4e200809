"""Frames of different sources that show the same picture: cropped, scaled, coded anew, brightened.

Two rounds. A perceptual hash of 8 × 8 grey levels, of the whole picture and of windows in it, finds the few others
that may be the same. Of these the smaller is laid over the larger where it fits best; they show the same if
levels, fine detail and colour then agree. Frames without detail (a sky, a wall) can't be told apart: not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, identities_of
from freelabels.pipeline.shards.identity import group_of

HASH = 8  # pixels of a hash's side
SIDE = 64  # pixels of the side that pictures are compared at
WINDOWS = (1.0, 0.9, 0.8)  # shares of the side that hashes are taken of
SCALES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79)  # that one may show of the other
ALIKE = 0.7  # correlation of hashes from which pictures are compared
CANDIDATES = 4  # most that are compared with one
NEARLY, LEVELS, DETAIL = 0.7, 0.8, 0.82  # least correlation of levels, roughly and finely laid, and of detail
COLOUR, PER_COLOUR = (
    15.0,
    0.01,
)  # most distance of mean colours in CIELAB's a, b; each asks for that much more detail
FLAT, JUDGED = (
    1.0,
    2.0,
)  # standard deviation of detail, in grey levels: both must have the one, one of them the other
BLOCK = 256  # frames whose hashes are compared with all at a time


@dataclass(frozen=True)
class Look:
    """What is kept of a frame's picture.

    hashes: (windows, 64) unit vectors, the whole first. grey: (64, 64) levels. colour: (2,) mean a, b of CIELAB.
    detail: standard deviation of fine detail, in levels.
    """

    hashes: NDArray[np.float32]
    grey: NDArray[np.uint8]
    colour: NDArray[np.float32]
    detail: float


@dataclass(frozen=True)
class Duplicates:
    """How many frames were looked at, how many of these have no detail, and groups of those that show the same."""

    frames: int
    flat: int
    groups: tuple[tuple[FrameIdentity, ...], ...]

    @property
    def spare(self) -> list[FrameIdentity]:
        """All but the first of each group."""
        return [frame for group in self.groups for frame in group[1:]]


def hash_of(image: Array) -> NDArray[np.float32]:
    """The perceptual hash of a whole picture (y, x, 3): 64 grey levels as a unit vector; 0 if all are the same."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return _unit(cv2.resize(grey, (HASH, HASH), interpolation=cv2.INTER_AREA))


def look_at(image: Array) -> Look:
    """What is needed of a picture, uint8 sRGB (y, x, 3), to tell whether another shows the same."""
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
    small = cv2.resize(lab, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = np.array(small[..., 0], np.uint8)
    hashes = []
    for share in WINDOWS:
        side = round(SIDE * share)
        steps = (0,) if share == 1 else (0, (SIDE - side) // 2, SIDE - side)
        for y in steps:
            for x in steps:
                window = grey[y : y + side, x : x + side]
                hashes.append(_unit(cv2.resize(window, (HASH, HASH), interpolation=cv2.INTER_AREA)))
    colour = small[..., 1:].astype(np.float32).mean(axis=(0, 1))
    return Look(np.stack(hashes), grey, colour, float(_detail(grey).std()))


def same_picture(one: Look, other: Look) -> bool:
    """Whether two show the same, one of them perhaps a part of it."""
    colour = float(np.linalg.norm(one.colour - other.colour))
    if colour > COLOUR or min(one.detail, other.detail) < FLAT or max(one.detail, other.detail) < JUDGED:
        return False
    least = DETAIL + PER_COLOUR * colour
    return _fits(one.grey, other.grey, least) or _fits(other.grey, one.grey, least)


def same_pictures(looks: Sequence[Look], groups: Sequence[int]) -> list[tuple[int, ...]]:
    """Numbers of those that show the same, as groups of two or more; never two with one number in `groups`.

    Cost: 19 × 64 multiplications a pair for the hashes, about 3 ms of comparison for each frame with a candidate.
    """
    if not looks:
        return []
    whole, windows = np.stack([look.hashes[0] for look in looks]), np.concatenate([k.hashes for k in looks])
    source, parent = np.asarray(groups), list(range(len(looks)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    for first in range(0, len(looks), BLOCK):
        alike = (
            (whole[first : first + BLOCK] @ windows.T).reshape(-1, len(looks), len(looks[0].hashes)).max(2)
        )
        back = windows[first * len(looks[0].hashes) : (first + BLOCK) * len(looks[0].hashes)] @ whole.T
        alike = np.maximum(alike, back.reshape(len(alike), -1, len(looks)).max(1))
        alike[source[first : first + BLOCK, None] == source] = -1
        most = min(CANDIDATES, len(looks))
        best = np.argpartition(-alike, most - 1, axis=1)[:, :most]
        for row, others in enumerate(best):
            k = first + row
            for other in others[alike[row, others] >= ALIKE].tolist():
                if root(k) != root(other) and same_picture(looks[k], looks[other]):
                    parent[root(other)] = root(k)
    found: dict[int, list[int]] = {}
    for k in range(len(looks)):
        found.setdefault(root(k), []).append(k)
    return sorted(tuple(members) for members in found.values() if len(members) > 1)


def duplicates(dataset: Dataset) -> Duplicates:
    """Look for frames of different sources that show the same: every photo, and the middle of every other clip.

    Raises CorruptShard.
    """
    looks: list[Look] = []
    groups: list[int] = []
    identities: list[FrameIdentity] = []
    for shard in dataset.open_all(dataset.shards()):
        if "image" in shard.fields:
            known = identities_of(shard)
            for clip in shard.clips:
                start, stop = clip["rows"]
                row = (start + stop) // 2
                looks.append(look_at(shard.read("image", row)))
                groups.append(group_of(clip, f"{shard.id}/{start}") >> 1)
                identities.append(known[row])
        shard.close()
    found = same_pictures(looks, groups)
    named = tuple(tuple(identities[k] for k in members) for members in found)
    return Duplicates(len(looks), sum(look.detail < JUDGED for look in looks), named)


def _unit(small: Array) -> NDArray[np.float32]:
    levels = small.astype(np.float32).reshape(-1)
    levels -= levels.mean()
    length = float(np.linalg.norm(levels))
    return levels / length if length > HASH else np.zeros_like(levels)


def _detail(grey: Array) -> NDArray[np.float32]:
    """Levels without what is coarser than a few pixels, nor the noise of single ones."""
    levels = grey.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(levels - cv2.GaussianBlur(levels, (0, 0), 2.5), (0, 0), 0.8))


def _correlation(one: Array, other: Array) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def _fits(large: Array, part: Array, least: float) -> bool:
    """Whether a picture shows a part of another, or all of it."""
    best = max((_laid(large, part, scale) for scale in SCALES), key=lambda found: found[0])
    if best[0] < NEARLY:
        return False
    side = len(best[3])
    finer = [_laid(large, part, (side + step) / SIDE) for step in (-1, 1) if side + step <= SIDE]
    level, y, x, shown = max([best, *finer], key=lambda found: found[0])
    if level < LEVELS:
        return False
    under = large[y : y + len(shown), x : x + len(shown)]
    return _correlation(_detail(under), _detail(shown)) >= least


def _laid(large: Array, part: Array, scale: float) -> tuple[float, int, int, Array]:
    """Where a picture, scaled, fits best in another: correlation of levels, row, column, and how it looks then."""
    side = round(SIDE * scale)
    shown = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) if side < SIDE else part
    match = cv2.matchTemplate(large, shown, cv2.TM_CCOEFF_NORMED)
    row, column = divmod(int(match.argmax()), match.shape[1])
    return float(match[row, column]), row, column, np.asarray(shown)

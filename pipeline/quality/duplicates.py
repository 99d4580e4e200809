"""Frames of different sources that show the same picture: cropped, scaled, coded anew, brightened.

Two rounds. Coarse cosines of the whole picture and of windows in it, searched by cells that few others share,
find the few that may be the same: n frames cost about n √n multiplications. Each of these is laid over the other,
affinely and to a fraction of a pixel (Evangelidis, Psarakis 2008); they show the same if fine detail agrees,
overall and nearly everywhere, and not nearly as well elsewhere: bricks fit other bricks, a little out of place.
Frames with little detail (a sky, a wall) can't be told apart: not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, identities_of
from freelabels.pipeline.shards.identity import group_of

HASH = 8  # pixels of a hash's side
SIDE = 96  # pixels of the side that pictures are compared at
ROUGH = SIDE // 2  # and first laid over one another at
WINDOWS = {1.0: 1, 0.95: 3, 0.9: 3, 0.8: 5}  # shares of the side that one may show; places of it along a side
WAVES = 5  # most half waves of the cosines, both ways together
ALIKE = 0.87  # least cosine of the angle between two that are compared
CANDIDATES = 4  # most that are compared with one
CELLS = 4  # nearest that are searched
LAID, DETAIL, EVERYWHERE = (
    0.8,
    0.78,
    0.7,
)  # least correlation of levels; of detail; of it in three blocks of four
COLOUR = 15.0  # most distance of mean colours in CIELAB's a, b
BLOCKS, VARIED = 4, 2.0  # blocks along a side; least deviation of detail in one, in grey levels
JUDGED, FEWER = 8, 4  # least blocks with detail to be judged; in a copy, that has lost some
MISPLACED = (
    0.15  # most misfit, as a share of that elsewhere, times the mean pixels that blocks are out of place
)
ELSEWHERE, SHARED = 6, 0.4  # pixels from where they fit; least share of the area that is still laid over
BENT = 0.08  # most departure from a picture that is only scaled and moved
QUERIES = 4096  # frames whose windows are looked up at a time


@dataclass(frozen=True)
class Look:
    """What is kept of a frame's picture, 9 KiB.

    grey: (96, 96) levels. colour: (2,) mean a, b of CIELAB. varied: how many of its 16 blocks have detail.
    """

    grey: NDArray[np.uint8]
    colour: NDArray[np.float32]
    varied: int


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
    levels = cv2.resize(grey, (HASH, HASH), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1)
    levels -= levels.mean()
    length = float(np.linalg.norm(levels))
    return levels / length if length > HASH else np.zeros_like(levels)


def look_at(image: Array) -> Look:
    """What is needed of a picture, uint8 sRGB (y, x, 3), to tell whether another shows the same."""
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
    larger = max(image.shape[:2]) > SIDE
    small = cv2.resize(lab, (SIDE, SIDE), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
    grey = np.array(small[..., 0], np.uint8)
    varied = sum(float(block.std()) >= VARIED for (block,) in _blocks(_detail(grey)))
    return Look(grey, small[..., 1:].astype(np.float32).mean(axis=(0, 1)), varied)


def same_picture(whole: Look, part: Look, window: int = 0) -> bool:
    """Whether a picture shows another, or about the part of it that is this window of `windows()`."""
    if max(whole.varied, part.varied) < JUDGED or min(whole.varied, part.varied) < FEWER:
        return False
    if float(np.linalg.norm(whole.colour - part.colour)) > COLOUR:
        return False
    share, y, x = windows()[window]
    matrix = np.array([[share, 0, x], [0, share, y]], np.float32)  # of pixels' edges, in sides of the picture
    for side, steps, blur in ((ROUGH, 20, 5), (SIDE, 6, 3)):
        matrix[:, 2] = matrix[:, 2] * side + (matrix[:, :2].sum(1) - 1) / 2
        one, other = (
            _even(cv2.resize(k.grey.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA))
            for k in (whole, part)
        )
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, steps, 1e-4)
        everywhere = np.ones((side, side), np.uint8)
        try:
            fit, found = cv2.findTransformECC(other, one, matrix, cv2.MOTION_AFFINE, stop, everywhere, blur)
        except cv2.error:  # they have nothing in common
            return False
        matrix = np.asarray(found, np.float32)
        if fit < LAID:
            return False
        matrix[:, 2] = (matrix[:, 2] - (matrix[:, :2].sum(1) - 1) / 2) / side
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if np.abs(matrix[:, :2] - scale * np.eye(2)).max() > BENT:
        return False
    matrix[:, 2] = matrix[:, 2] * SIDE + (matrix[:, :2].sum(1) - 1) / 2
    under, inside = (
        cv2.warpAffine(plane, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        for plane in (whole.grey.astype(np.float32), np.ones((SIDE, SIDE), np.float32))
    )
    known = cv2.erode((inside > 0.99).astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    a, b = _detail(under), _detail(part.grey)
    if known.mean() < 0.5 or _correlation(a[known], b[known]) < DETAIL:
        return False
    agreed = [
        _correlation(one[there], other[there])
        for one, other, there in _blocks(a, b, known)
        if there.mean() > 0.5 and max(one[there].std(), other[there].std()) >= VARIED / 2
    ]
    if len(agreed) < FEWER or float(np.quantile(agreed, 0.25)) < EVERYWHERE:
        return False
    left = (1 - _correlation(a[known], b[known])) / max(1 - _elsewhere(a, b, known), 1e-6)
    return left * _out_of_place(a, b, known) <= MISPLACED


def same_pictures(looks: Sequence[Look], groups: Sequence[int]) -> list[tuple[int, ...]]:
    """Numbers of those that show the same, as groups of two or more; never two with one number in `groups`."""
    parent = list(range(len(looks)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    judged = np.array([k for k, look in enumerate(looks) if look.varied >= FEWER], np.int64)
    greys = [looks[k].grey for k in judged]
    for whole, part, window in candidates(greys, np.asarray(groups)[judged] if len(judged) else judged):
        one, other = int(judged[whole]), int(judged[part])
        if root(one) != root(other) and same_picture(looks[one], looks[other], window):
            parent[max(root(one), root(other))] = min(root(one), root(other))
    found: dict[int, list[int]] = {}
    for k in range(len(looks)):
        found.setdefault(root(k), []).append(k)
    return sorted(tuple(members) for members in found.values() if len(members) > 1)


def candidates(greys: Sequence[Array], groups: Array) -> Iterator[tuple[int, int, int]]:
    """What is worth a comparison: number of a picture (96, 96), of another that may be a part, of which window.

    Cells are those pictures that are nearest to one of √n that are drawn by a fixed seed; each window is looked up
    in the four nearest. At most 4 parts of each picture, the most alike first, none of its own group.
    """
    if len(greys) < 2:
        return
    described = np.concatenate(
        [_described(greys[first : first + QUERIES])[:, 0] for first in range(0, len(greys), QUERIES)]
    )
    drawn = np.random.default_rng(0).permutation(len(greys))[: max(1, round(len(greys) ** 0.5))]
    centres = described[drawn]
    home = np.concatenate([(some @ centres.T).argmax(1) for some in np.array_split(described, len(drawn))])
    cells = [np.flatnonzero(home == cell) for cell in range(len(centres))]
    near = min(CELLS, len(centres))
    for first in range(0, len(greys), QUERIES):
        asked = _described(greys[first : first + QUERIES])
        many = asked.shape[1]
        asked = asked.reshape(-1, asked.shape[2])
        of = np.arange(len(asked)) // many + first
        nearest = np.concatenate(
            [
                np.argpartition(-(some @ centres.T), near - 1, axis=1)[:, :near]
                for some in np.array_split(asked, many)
            ]
        )
        hits = []
        for cell, members in enumerate(cells):
            rows = np.flatnonzero((nearest == cell).any(1))
            if not len(rows) or not len(members):
                continue
            alike = asked[rows] @ described[members].T
            alike[groups[of[rows], None] == groups[members]] = -1
            best = alike.argmax(1)
            value = alike[np.arange(len(rows)), best]
            kept = value >= ALIKE
            hits.append(np.stack([of[rows[kept]], members[best[kept]], rows[kept] % many, value[kept]], 1))
        found = np.concatenate(hits) if hits else np.zeros((0, 4))
        found = found[np.lexsort((-found[:, 3], found[:, 0]))]
        taken: dict[int, set[int]] = {}
        for whole, part, window in found[:, :3].astype(np.int64).tolist():
            others = taken.setdefault(whole, set())
            if len(others) < CANDIDATES and part not in others:
                others.add(part)
                yield whole, part, window


def duplicates(dataset: Dataset) -> Duplicates:
    """Look for frames of different sources that show the same: every photo, and the middle of every other clip.

    Frames of one shot or scene are never compared with each other. Raises CorruptShard.
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
    return Duplicates(len(looks), sum(look.varied < JUDGED for look in looks), named)


@cache
def windows() -> tuple[tuple[float, float, float], ...]:
    """Share of the side, and first row and column in sides, of each window; the first is the whole picture."""
    return tuple(
        (share, (1 - share) * y / max(places - 1, 1), (1 - share) * x / max(places - 1, 1))
        for share, places in WINDOWS.items()
        for y in range(places)
        for x in range(places)
    )


@cache
def _cosines() -> NDArray[np.float32]:
    """(pixels of a small picture, windows × waves): what its descriptions are products with.

    Of two waves the shorter weighs more, as much as it has less of in photos.
    """
    waves = [(u, v) for u in range(WAVES + 1) for v in range(WAVES + 1) if 0 < u + v <= WAVES]
    at = (np.arange(ROUGH) + 0.5) / ROUGH
    rows = []
    for share, top, left in windows():
        y, x = (at - top) / share, (at - left) / share
        inside = np.outer(np.abs(y - 0.5) < 0.5, np.abs(x - 0.5) < 0.5)
        for u, v in waves:
            wave = np.outer(np.cos(np.pi * u * y), np.cos(np.pi * v * x)) * inside
            wave = np.where(inside, wave - wave.sum() / inside.sum(), 0)
            rows.append((wave * np.hypot(u, v) / np.linalg.norm(wave)).reshape(-1))
    return np.array(rows, np.float32).T


def _described(greys: Sequence[Array]) -> NDArray[np.float32]:
    """Descriptions of pictures, (pictures, windows, waves), unit vectors; 0 of a window without any contrast."""
    small = [cv2.resize(grey, (ROUGH, ROUGH), interpolation=cv2.INTER_AREA).reshape(-1) for grey in greys]
    waves = (np.array(small, np.float32) @ _cosines()).reshape(len(greys), len(windows()), -1)
    return np.asarray(waves / np.maximum(np.linalg.norm(waves, axis=2, keepdims=True), 1e-6))


def _blocks(*planes: Array) -> Iterator[tuple[Array, ...]]:
    """The blocks of pictures of one size, one after the other."""
    step = SIDE // BLOCKS
    for y in range(0, SIDE, step):
        for x in range(0, SIDE, step):
            yield tuple(plane[y : y + step, x : x + step] for plane in planes)


def _even(levels: Array) -> Array:
    """Levels without the broad ones, over which there is no telling where to lay them."""
    return np.asarray(levels - cv2.GaussianBlur(levels, (0, 0), len(levels) / 8), np.float32)


def _detail(grey: Array) -> NDArray[np.float32]:
    """Levels without what is coarser than a few pixels, nor the noise of single ones."""
    levels = grey.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(levels - cv2.GaussianBlur(levels, (0, 0), 3.75), (0, 0), 1.2))


def _elsewhere(one: Array, other: Array, known: Array) -> float:
    """The best correlation of two planes, known at some places, that lie apart; high of what repeats itself."""
    size = 2 * SIDE
    mask = known.astype(np.float64)
    a, b = ((plane - plane[known].mean()) * mask for plane in (one, other))

    def over(x: Array, y: Array) -> Array:  # sums of products at every shift
        return np.asarray(np.fft.irfft2(np.fft.rfft2(x, (size, size)) * np.fft.rfft2(y, (size, size)).conj()))

    found = over(a, b) / np.sqrt(np.maximum(over(a * a, mask) * over(mask, b * b), 1e-3))
    away = np.minimum(np.arange(size), size - np.arange(size))
    apart = (np.hypot(away[:, None], away) > ELSEWHERE) & (over(mask, mask) >= SHARED * mask.sum())
    return float(found[apart].max())


def _out_of_place(one: Array, other: Array, known: Array) -> float:
    """By how many pixels blocks of two planes lie apart, on average: the step that their slopes ask for."""
    y, x = (np.asarray(slopes) for slopes in np.gradient((one + other) / 2))
    steps = []
    for a, b, dy, dx, there in _blocks(one, other, y, x, known):
        if there.mean() > 0.5 and max(a[there].std(), b[there].std()) >= VARIED / 2:
            gain = (a[there] * b[there]).sum() / max((a[there] ** 2).sum(), 1e-6)
            slopes = np.stack([dy[there], dx[there]])
            misfit = slopes @ (b[there] - gain * a[there])
            steps.append(np.linalg.norm(np.linalg.solve(slopes @ slopes.T + 1e-3 * np.eye(2), misfit)))
    return float(np.mean(steps))


def _correlation(one: Array, other: Array) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))

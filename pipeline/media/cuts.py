"""Where one shot ends and the next begins: frames of a shot can be found again in each other by flow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

THUMB = (72, 128)  # (height, width) frames are compared at
HISTORY = 24  # frames the running baseline looks back
FLASH = 3  # frames a flash may last; so many are looked ahead
FLOOR = 0.25  # a difference below this share of the contrast is never a cut
JUMP = 1.6  # times the baseline from which on a difference is looked into
SPIKE = 2.0  # times its neighbours from which on a difference is a cut even in the middle of a fast pan
CONNECTED = 0.25  # share of the texture that must be found again for two frames to be of one shot
ALIKE = 0.5  # standard deviations of the picture that matching pixels may differ by
SHIFTED = 0.2  # height of the phase correlation peak from which on the whole picture has shifted
TEXTURE = 3.0  # grey levels; where an image varies less there is nothing to find again
TEXTURED = 0.02  # share of the picture below which texture is not asked for
COARSE = (18, 32)  # (height, width) mixtures are looked for at, where small motion blurs away
DISSOLVES = (6, 9, 13, 18, 25)  # frames from the picture before a dissolve to the one after it
DISSOLVE_STEP = 2  # frames between two looks
MIXED_CHANGE = 0.4  # of the contrast that the pictures before and after must differ
MIXED_REST = 0.5  # share of its way from either that may be left unexplained by the mixture
MIXED_FRAMES = 2  # so many mixtures make a dissolve
BLANK = 4.0  # grey levels of contrast; a frame with less is black, or faded out


def thumb(image: RGB) -> RGB:
    """`image` (h, w, 3) as compared: (72, 128, 3), area-filtered, the aspect ratio let go."""
    return np.asarray(cv2.resize(image, THUMB[::-1], interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class Match:
    """Where the pixels of one thumb lie in another.

    flow: (72, 128, 2) (u, v) in thumb pixels. found: where flow there and back agree and the pixels look
    alike. textured: where there is something to find at all.
    """

    flow: NDArray[np.float32]
    found: NDArray[np.bool_]
    textured: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Share of the texture found again, 0..1: above 0.8 in videos, below 0.2 for unrelated pictures."""
        return float(self.found[self.textured].mean())


def match(before: RGB, after: RGB) -> Match:
    """Find the pixels of one thumb again in another: dense inverse search there and back.

    The search starts from no motion and, if that finds too little, from the shift of the whole picture that
    phase correlation sees, so that fast pans are followed.
    """
    first, second = _grey(before), _grey(after)
    textured = _texture(first) > TEXTURE
    if textured.mean() < TEXTURED:
        textured[:] = True
    found = Match(*_search(first, second, (0.0, 0.0)), textured)
    if found.share >= CONNECTED:
        return found
    edge = cv2.createHanningWindow(THUMB[::-1], cv2.CV_32F)
    shift, clear = cv2.phaseCorrelate(first.astype(np.float32), second.astype(np.float32), edge)
    if clear < SHIFTED:
        return found
    shifted = Match(*_search(first, second, (shift[0], shift[1])), textured)
    return max(found, shifted, key=lambda m: m.share)


def _search(
    first: NDArray[np.uint8], second: NDArray[np.uint8], shift: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Flow from the first image to the second, and where the flow back agrees."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    start = np.broadcast_to(np.array(shift, np.float32), (*first.shape, 2))
    there = np.asarray(search.calc(first, second, start.copy()), np.float32)
    back = np.asarray(search.calc(second, first, -start), np.float32)
    rows, columns = np.indices(first.shape, dtype=np.float32)
    x, y = columns + there[..., 0], rows + there[..., 1]
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3))
    error = np.linalg.norm(there + returned, axis=-1)
    agrees = error < 0.5 + 0.05 * np.linalg.norm(there, axis=-1)
    warped = cv2.remap(second, x, y, cv2.INTER_LINEAR).astype(np.float32)
    contrast = max(float(first.std()), 1.0)
    brighter = (warped - second.mean()) * (contrast / max(float(second.std()), 1.0)) + first.mean()
    differs = np.minimum(np.abs(warped - first), np.abs(brighter - first))  # as it is, or through a flash
    return there, agrees & (differs < ALIKE * contrast)


class CutFinder:
    """Takes the thumbs of a video in order (`feed`), then says which shot every frame belongs to (`shots`).

    A frame opens a shot if it differs from the last one far more than is usual just there, nothing of the
    last frames is found again in the next ones (a flash passes), and it isn't simply one more step of a fast
    pan. Blank stretches longer than a flash belong to no shot (-1). Holds a handful of thumbs, whatever the
    length.
    """

    def __init__(self) -> None:
        self._window: deque[tuple[int, RGB]] = deque(maxlen=2 * FLASH + 2)
        self._differences: list[float] = []
        self._blank: list[bool] = []
        self._cuts: list[int] = []
        self._blended: set[int] = set()
        self._past: deque[tuple[RGB, NDArray[np.float32]]] = deque(maxlen=max(DISSOLVES) + 1)
        self._decided = 0

    def feed(self, image: RGB) -> None:
        """The next frame's thumb."""
        contrast = float(image.std(axis=(0, 1)).max())
        last = self._window[-1][1] if self._window else image
        level = max(10.0, 0.5 * (contrast + float(last.std(axis=(0, 1)).max())))
        self._differences.append(float(np.mean(cv2.absdiff(last, image))) / level)
        self._blank.append(contrast < BLANK)
        self._window.append((len(self._differences) - 1, image))
        self._past.append(
            (image, cv2.resize(image, COARSE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32))
        )
        if len(self._differences) % DISSOLVE_STEP == 0:
            self._find_dissolve(len(self._differences) - 1)
        if len(self._differences) > FLASH:
            self._decide(len(self._differences) - 1 - FLASH)

    def shots(self) -> list[int]:
        """The shot of every frame fed, counted from 0; -1 for frames in a blank stretch."""
        for index in range(self._decided, len(self._differences)):
            self._decide(index)
        blank = np.array(self._blank, bool)
        blended = np.isin(np.arange(len(blank)), list(self._blended))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], blank, [False]]).astype(np.int8)))
        starts = set(self._cuts)
        dropped = np.zeros(len(blank), bool)
        for start, stop in edges.reshape(-1, 2):
            if stop - start > FLASH or stop - start == len(blank):
                dropped[start:stop] = True
        dropped |= blended
        starts |= {int(k) + 1 for k in np.flatnonzero(dropped)}
        shot = np.cumsum([index in starts for index in range(len(blank))])
        _, shot = np.unique(np.where(dropped, -1, shot), return_inverse=True)
        return [int(s) for s in (shot - 1 if dropped.any() else shot)]

    def _find_dissolve(self, index: int) -> None:
        """Note the frames lately seen that are a mixture of one before and one after, which share nothing."""
        past = list(self._past)
        after, last = past[-1]
        for length in DISSOLVES:
            if length >= len(past):
                return
            before, first = past[-1 - length]
            change = last - first
            if np.abs(change).mean() < MIXED_CHANGE * max(10.0, float(first.std())):
                continue
            between = np.stack([small for _, small in past[-length:-1]]) - first
            weight = (between * change).sum(axis=(1, 2, 3)) / (change**2).sum()
            rest = np.linalg.norm(
                (between - weight[:, None, None, None] * change).reshape(len(weight), -1), axis=1
            )
            own = np.minimum(np.abs(weight), np.abs(1 - weight)) * np.linalg.norm(change)
            mixed = (weight > 0.1) & (weight < 0.9) & (rest < MIXED_REST * own)
            if (
                mixed.sum() >= MIXED_FRAMES
                and np.all(np.diff(weight[mixed]) > 0)
                and match(before, after).share < CONNECTED
            ):
                self._blended |= {
                    index - length + 1 + int(k) for k in np.flatnonzero((weight > 0.02) & (weight < 0.98))
                }
                return

    def _decide(self, index: int) -> None:
        self._decided = index + 1
        difference = self._differences[index]
        if index == 0 or difference < FLOOR:
            return
        opened = self._cuts[-1] + 1 if self._cuts else 1
        usual = self._differences[max(opened, index - HISTORY) : index]
        if usual and difference < JUMP * float(np.median(usual)):
            return
        thumbs = dict(self._window)
        latest = max(thumbs)

        def related(a: int, b: int) -> bool:
            return a in thumbs and b in thumbs and match(thumbs[a], thumbs[b]).share >= CONNECTED

        earlier = [k for k in range(index - 1, index - 2 - FLASH, -1) if k >= opened - 1]
        later = [k for k in range(index, index + 1 + FLASH) if k <= latest]
        pairs = [(earlier[0], k) for k in later] + [(k, index) for k in earlier[1:]]
        if any(related(a, b) for a, b in pairs):
            return
        neighbours = [self._differences[k] for k in (index - 1, index + 1) if opened <= k <= latest]
        calm = related(index - 2, index - 1) or related(index, index + 1)
        if neighbours and not calm and difference < SPIKE * max(neighbours):
            return
        self._cuts.append(index)


def _grey(image: RGB) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _texture(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Standard deviation in every 5 × 5 window."""
    values = grey.astype(np.float32)
    mean, square = cv2.blur(values, (5, 5)), cv2.blur(values * values, (5, 5))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)

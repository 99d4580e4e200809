"""What moves independently of the camera, from flow both ways over several spans of time.

The camera's own motion is a plane's, and the parallax of what isn't on it (`tools.camera_motion`). Evidence of a
mover is flow that neither explains *and* an image that the plane fails to explain, measured against what flow and
image err by: how far flow there and back miss each other, how much a surface changes from look to look. It is seen
in both directions of time (which removes the halo of what a mover covers and uncovers) and over steps of one, two
and four, about a twelfth, a sixth and a third of a second: what is slow shows over the longest. There and back the
camera is the same: it is fitted once a pair of frames. Evidence diffuses over the clip's superpixels; only what
contains strong evidence counts as moving (hysteresis, as in Canny's edges), and where most of the frame doesn't
follow the camera the detector abstains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logit

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes, channel_sum, converted
from freelabels.generators.contract.ranges import Range
from freelabels.generators.flow import inconsistency, inside, warp
from freelabels.generators.tools.border_distance import border_distance
from freelabels.generators.tools.camera_motion import camera_homography, carried, off_parallax
from freelabels.generators.tools.guided_filter import guided_upsampling
from freelabels.generators.tools.superpixel_graph import Graph, clip_graph
from freelabels.generators.tools.superpixels import Mesh

Floats = NDArray[np.float32]

TRUSTED = 0.5  # flow confidence from which a pixel takes part in fitting the camera
FLOW_NOISE = 6e-4  # of the longer side: flow, and the plane's model of a lens, are never more exact
COLOUR_NOISE = 2.0  # the same for a LAB difference, summed over channels
NOISE_REACH = 2.0  # σ in px of the surroundings whose flow's error is a pixel's noise
MISSED = 1.0  # px by which flow there and back may miss each other, and its tenth
STEPS = 3  # spans looked at: one step, two and four
STEP_SECONDS = 1 / 12
LONGER = 0.5  # share of the frame that must follow the camera over all but the shortest of them
COMMON = 0.25  # quantile of what the camera leaves unexplained that is its model's error
LEAST_NODES = 26  # superpixels along the longer side; among fewer, labels spread over all of them
LOOKS = 3  # pixels along the distance of two superpixels that evidence is looked for on, at least
LASTING = 6  # frames that an object must be there for to be borne out in full
SURE = 0.8  # probability from which the cut by colour leaves a pixel alone
CUT_WEIGHT = 0.85  # of the cut against the diffused label
CUT_ROUNDS = 1  # in which the cut's colours are learned; a second gains .005 of J for a quarter of the time
CUT_PIXELS = 32  # fewer are no colour model


@dataclass(frozen=True)
class Flow:
    """Flow of each frame to another: displacement (T, H, W, 2) in px, and its trust (T, H, W) in [0, 1]."""

    shift: Floats
    trust: Floats

    def every(self, pixels: int) -> Flow:
        """That of one pixel in so many along both axes, in units of their distance."""
        shift = self.shift[:, ::pixels, ::pixels] / np.float32(pixels)
        return Flow(shift, np.ascontiguousarray(self.trust[:, ::pixels, ::pixels]))

    def twice(self, step: int) -> Flow:
        """Flow of each frame over two steps of so many frames; not trusted where the second leads out of the clip.

        `step` is negative for flow to earlier frames.
        """
        shift, trust = np.zeros_like(self.shift), np.zeros_like(self.trust)
        for t in range(max(0, -2 * step), len(shift) - max(0, 2 * step)):
            first = self.shift[t]
            shift[t] = first + warp(self.shift[t + step], first)
            trust[t] = np.minimum(self.trust[t], warp(self.trust[t + step], first)) * inside(first)
        return Flow(shift, trust)


@dataclass(frozen=True)
class Deviation:
    """How one pair of frames deviates from the camera's own motion.

    evidence: (H, W) geometric mean of flow and colour, (H, W) each: the motion and the LAB difference that the
    camera doesn't explain, in units of their noise; NaN where the camera's motion leads out of the other frame,
    which tells nothing. seen: (H, W) whether flow there leads back again. following: share of the trusted pixels
    that move with the camera.
    """

    evidence: Floats
    flow: Floats
    colour: Floats
    seen: NDArray[np.bool_]
    following: float


def deviation(
    flow: Floats,
    trust: Floats,
    back: Floats,
    here: Floats,
    there: Floats,
    mesh: Mesh,
    homography: NDArray[np.float64] | None,
) -> Deviation | None:
    """Deviation from the camera's motion of `flow` (H, W, 2) between LAB frames; None if no camera fits.

    back: the other frame's flow to this one. mesh: superpixels of this frame. homography: (3, 3) the camera's
    motion from this frame to the other, in pixel centres.
    """
    if homography is None or cv2.norm(here, there, cv2.NORM_INF) < 1:
        return None  # a frame shown twice says nothing about what moves
    miss = inconsistency(flow, back)
    height, width = trust.shape
    to_x, to_y = carried(homography, height, width)
    known = (to_x >= 0) & (to_x <= width) & (to_y >= 0) & (to_y <= height)
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    residual = np.stack([x - to_x + flow[..., 0], y - to_y + flow[..., 1]], axis=-1)
    trusted = (trust > TRUSTED) & known
    if not np.isfinite(residual).all() or not trusted.any():
        return None
    noise = np.float32(FLOW_NOISE * max(height, width)) + cv2.GaussianBlur(
        np.minimum(miss, 4), (0, 0), NOISE_REACH
    )
    leftover = off_parallax(residual, noise, trusted)
    common = float(np.quantile(leftover[trusted], COMMON))
    window = (max(height, width) // 8) | 1

    def change(other: Floats) -> Floats:
        difference = here - other
        difference -= cv2.blur(difference, (window, window))
        summed = channel_sum(np.abs(difference, out=difference))
        return np.asarray(cv2.GaussianBlur(summed, (0, 0), 1), np.float32)

    compensated = cv2.remap(there, to_x - 0.5, to_y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    same = change(np.asarray(warp(there, flow), np.float32))  # what one surface changes by
    colour = change(np.asarray(compensated, np.float32)) / np.float32(
        COLOUR_NOISE + np.quantile(same[trusted], 0.8)
    )
    typical = float(np.median(noise[trusted])) + common
    moved = np.minimum(leftover / (noise + np.float32(common)), border_distance(residual, typical, mesh))
    evidence = np.sqrt(moved * colour)
    return Deviation(
        np.where(known, evidence, np.float32(np.nan)),
        moved,
        colour,
        (miss < MISSED + 0.1 * np.hypot(flow[..., 0], flow[..., 1])) & inside(flow),
        float(np.mean(leftover[trusted] < 1)) * float(np.mean(trust > TRUSTED)),
    )


@register
@dataclass(frozen=True)
class IndependentMotion:
    """Motion that the camera's own does not explain, followed through the clip.

    Confidence: probability that the class (moving or not) is right; 0 where the camera's motion is unclear. What
    is said to move is believed as far as the whole object is borne out, by strong evidence and for long.

    side: longest side in pixels that the detector works at; larger frames are reduced, the label is fitted to
    their full resolution. step: spacing of superpixels, less on small frames. evidence, softness: deviation at
    which moving and staying are equally likely, and how fast that turns. strong: deviation that what moves must
    reach somewhere. trust: weight of the evidence against that of the neighbours. prior: diffused label from
    which on something moves. reach: share of the longer side around a pixel within which the highest label is
    what it is measured by. following: share of the frame that must follow the camera.
    """

    name: ClassVar[str] = "independent_motion"
    version: ClassVar[int] = 5
    makes: ClassVar[tuple[str, ...]] = ("motion", "motion_confidence")
    needs: ClassVar[frozenset[str]] = frozenset(
        {"flow", "flow_confidence", "flow_backward", "flow_backward_confidence"}
    )

    side: Annotated[int, Range(64, 4096)] = 432
    step: Annotated[int, Range(1, 64)] = 6
    evidence: Annotated[float, Range(0.0, 100.0)] = 1.8
    softness: Annotated[float, Range(0.01, 100.0)] = 0.5
    strong: Annotated[float, Range(0.0, 1000.0)] = 8.0
    trust: Annotated[float, Range(0.0, 1.0)] = 0.04
    prior: Annotated[float, Range(0.001, 0.999)] = 0.25
    reach: Annotated[float, Range(0.001, 1.0)] = 0.045
    following: Annotated[float, Range(0.0, 1.0)] = 0.15

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip; see `makes`."""
        frames, (height, width) = len(clip), clip.size
        scale = min(1.0, self.side / max(height, width))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        images = [cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in clip.image]
        lab = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32) for image in images]
        ahead, back = (_reduced(clip, label, small, scale) for label in ("flow", "flow_backward"))
        drift = np.where((ahead.trust > back.trust)[..., None], ahead.shift, -back.shift)
        step = max(2, min(self.step, max(small) // LEAST_NODES))
        graph = clip_graph(images, lab, ahead.shift, ahead.trust, drift, step)
        evidence, following = self._evidence(lab, ahead, back, graph.meshes, first_step(clip.time), step)
        known = following[np.arange(len(graph.size)) * frames // len(graph.size)] > 0
        strength = graph.mean(evidence)
        label = expit((strength - self.evidence) / self.softness)
        label = graph.diffuse(label, np.where(known, self.trust, 1e-4))
        support = self._support(graph, label, strength, frames)
        unsupported = (label > self.prior) & (support == 0)
        label = np.where(unsupported, self.prior / 4, label)
        doubtful = unsupported[graph.nodes]
        spread = label[graph.nodes].astype(np.float32)
        reach = np.ones((2 * int(self.reach * max(small)) + 1,) * 2, np.uint8)
        moving = [self._segmented(spread[t], images[t]) for t in range(frames)]

        motion = np.zeros((frames, height, width), np.uint8)
        confidence = np.zeros_like(motion)
        for t in range(frames):
            if following[t] == 0:
                continue
            fine = guided_upsampling(moving[t], images[t], clip.image[t])
            motion[t] = as_bytes(fine)
            borne = cv2.dilate(support[graph.nodes[t]].astype(np.float32), reach)  # the cut goes beyond nodes
            borne = cv2.resize(borne, (width, height), interpolation=cv2.INTER_LINEAR)
            score = np.where(motion[t] > 127, np.sqrt(fine * borne), 1 - fine) * min(1.0, following[t] / 0.8)
            doubt = cv2.resize(
                doubtful[t].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
            )
            confidence[t] = calibrated(self.name, np.where(doubt, 0, score), motion[t] > 127)
        return {"motion": motion, "motion_confidence": confidence}

    def _evidence(
        self, lab: list[Floats], ahead: Flow, back: Flow, meshes: Sequence[Mesh], first: int, step: int
    ) -> tuple[Floats, NDArray[np.float64]]:
        """Evidence (T, h, w) that a pixel moves by itself, and how far each frame (T,) follows the camera.

        step: pixels between superpixels. Evidence is averaged over these: it is looked for on every second pixel
        where they are large enough (`LOOKS`).
        """
        frames, (height, width) = len(lab), lab[0].shape[:2]
        apart = max(1, step // LOOKS)
        if apart > 1:
            lab = [_shrunk(one, apart) for one in lab]
            ahead, back = ahead.every(apart), back.every(apart)
            meshes = [Mesh.of(mesh.ids[::apart, ::apart], len(mesh.size)) for mesh in meshes]
        evidence, following = np.zeros(ahead.trust.shape, np.float32), np.zeros(frames)
        shortest = 0
        for span, fore, aft in spans(ahead, back, first):
            shortest = shortest or span
            cameras = [
                camera_homography(fore.shift[t], fore.trust[t] > TRUSTED) for t in range(frames - span)
            ]
            for t in range(frames):
                ways: list[tuple[int, Flow, Flow, NDArray[np.float64] | None]] = []
                if t + span < frames:
                    ways.append((t + span, fore, aft, cameras[t]))
                if t >= span:
                    ways.append((t - span, aft, fore, inverse(cameras[t - span])))
                seen: list[Deviation] = []
                trusts: list[Floats] = []
                for other, way, home, camera in ways:
                    pair = way.shift[t], way.trust[t], home.shift[other], lab[t], lab[other]
                    found = deviation(*pair, meshes[t], camera)
                    if found is not None and found.following > (
                        self.following if span == shortest else LONGER
                    ):
                        seen.append(found)
                        trusts.append(way.trust[t])
                if seen:
                    evidence[t] = np.maximum(evidence[t], agreed(seen, trusts))
                    following[t] = max(following[t], max(found.following for found in seen))
        if apart > 1:
            rows, columns = ahead.trust.shape[1:]
            size = columns * apart, rows * apart
            fine = [cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in evidence]
            evidence = np.stack(fine)[:, :height, :width]
        return evidence, following

    def _segmented(self, spread: Floats, image: NDArray[np.uint8]) -> Floats:
        """(h, w) probability of moving: what reaches half of the highest label around, cut out by colour."""
        window = (2 * int(self.reach * max(spread.shape)) + 1,) * 2
        highest = cv2.blur(cv2.dilate(spread, np.ones(window, np.uint8)), window)
        share = 0.5 * spread / np.maximum(0.5 * highest, self.prior)
        moving = np.asarray(expit(1.8 * logit(np.clip(share, 1e-3, 1 - 1e-3))), np.float32)
        classes = np.select(
            [moving > SURE, moving > 0.5, moving > 1 - SURE],
            [cv2.GC_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD],
            cv2.GC_BGD,
        ).astype(np.uint8)
        rows, columns = (np.flatnonzero((classes != cv2.GC_BGD).any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return moving
        margin = window[0]
        crop = (
            slice(max(0, rows[0] - margin), rows[-1] + margin + 1),
            slice(max(0, columns[0] - margin), columns[-1] + margin + 1),
        )
        inside = np.ascontiguousarray(classes[crop])
        if min((inside % 2 == 1).sum(), (inside % 2 == 0).sum()) < CUT_PIXELS:
            return moving
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        colours = np.ascontiguousarray(image[crop])
        cv2.grabCut(colours, inside, None, *models, CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        moving[crop] += CUT_WEIGHT * ((inside % 2 == 1) - moving[crop])
        return moving

    def _support(
        self, graph: Graph, label: NDArray[np.float64], strength: NDArray[np.float64], frames: int
    ) -> NDArray[np.float64]:
        """(N,) how well the whole object that a node is part of is borne out, in [0, 1]; 0 for no object.

        An object is a connected group of moving nodes that has strong evidence somewhere; it is borne out by its
        mean evidence, and by being there for long.
        """
        moving = label > self.prior
        links = graph.links.tocoo()
        inner = moving[links.row] & moving[links.col]
        links.data = np.where(inner, links.data, 0)
        links.eliminate_zeros()
        groups, group = connected_components(links, directed=False)
        weight = graph.size * moving
        mean = np.bincount(group, weight * strength, groups) / np.maximum(np.bincount(group, weight), 1e-9)
        frame = np.arange(len(label)) * frames // len(label)
        seen = np.unique(group[moving] * frames + frame[moving]) // frames
        lasting = np.bincount(seen, minlength=groups) / LASTING
        strong = np.bincount(group, weights=strength > self.strong, minlength=groups) > 0
        support = strong * mean / (mean + self.evidence) * np.minimum(lasting, 1)
        return np.asarray(np.where(moving, support[group], 0))


def inverse(homography: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """(3, 3) homography back; None for None, and for one that squeezes the frame into a line."""
    if homography is None or np.linalg.cond(homography) > 1 / np.finfo(np.float32).eps:
        return None
    return np.asarray(np.linalg.inv(homography), np.float64)


def agreed(seen: Sequence[Deviation], trust: Sequence[Floats]) -> Floats:
    """(H, W) evidence that both directions of time bear out; trust: (H, W) of the flow of each.

    The less of the directions in which the flow leads back again, else the less of all, as far as flow is trusted.
    """
    every = np.stack([found.evidence for found in seen])
    known, good = np.isfinite(every), np.stack([found.seen for found in seen])
    sure = np.where(known & good, every, np.inf).min(axis=0)
    rest = np.where(known, every, np.inf).min(axis=0)
    rest = np.where(np.isfinite(rest), rest, 0) * np.minimum(np.max(trust, axis=0) / TRUSTED, 1)
    return np.asarray(np.where(np.isfinite(sure), sure, rest), np.float32)


def first_step(time: NDArray[np.float64]) -> int:
    """Frames of the shortest step looked at, a power of two near `STEP_SECONDS`, for frames at `time` (T,)."""
    gap = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    return int(2 ** max(0, round(np.log2(STEP_SECONDS / gap)))) if gap > 0 else 1


def spans(ahead: Flow, back: Flow, step: int) -> Iterator[tuple[int, Flow, Flow]]:
    """Up to `STEPS` numbers of frames, each twice the one before, and flow to frames so much later and earlier.

    At least one; the first is `step`, or as near to it as the clip is long.
    """
    size, count = 1, 0
    while True:
        last = 2 * size >= len(ahead.shift)
        if size >= step or last:
            yield size, ahead, back
            count += 1
        if last or count == STEPS:
            return
        ahead, back, size = ahead.twice(size), back.twice(-size), 2 * size


def _shrunk(values: Floats, pixels: int) -> Floats:
    """Means over squares of so many pixels of values (H, W, C), which go on beyond the frame as they end."""
    height, width = (-(-side // pixels) for side in values.shape[:2])
    margin = height * pixels - values.shape[0], width * pixels - values.shape[1]
    whole = cv2.copyMakeBorder(values, 0, margin[0], 0, margin[1], cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _reduced(clip: Clip, label: str, size: tuple[int, int], scale: float) -> Flow:
    """A clip's flow at `size` = (w, h); 0 where there is none."""
    shift = np.empty((len(clip), size[1], size[0], 2), np.float32)
    trust = np.empty(shift.shape[:3], np.float32)
    share = (np.arange(256) / 255).astype(np.float32)
    for t, flow in enumerate(clip.labels[label]):
        values, sure = converted(flow, np.float32), clip.labels[label + "_confidence"][t]
        values = values if np.isfinite(values).all() else np.nan_to_num(values)
        if size != sure.shape[::-1]:
            values, sure = (
                np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_NEAREST_EXACT))
                for each in (values, sure)
            )
        np.multiply(values, scale, out=shift[t])
        np.take(share, sure, out=trust[t])
    return Flow(shift, trust)

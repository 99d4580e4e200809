"""What moves independently of the camera, from flow both ways.

The camera's own motion is a homography fitted to the trusted flow of each pair of frames. Evidence of a mover
is flow that leaves it *and* an image that it fails to explain, measured against what most of the frame shows,
in both directions of time (which removes the halo of what a mover covers and uncovers). Evidence diffuses over
the clip's superpixels; only what contains strong evidence counts as moving (hysteresis, as in Canny's edges),
and where most of the frame doesn't follow the camera the detector abstains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logit

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes, channel_sum
from freelabels.generators.tools.guided_filter import guided_upsampling
from freelabels.generators.tools.superpixel_graph import Graph, clip_graph

Floats = NDArray[np.float32]

TRUSTED = 0.5  # flow confidence from which a pixel takes part in fitting the camera
FLOW_NOISE = 0.1  # px that flow is never more exact than
COLOUR_NOISE = 2.0  # the same for a LAB difference, summed over channels
SURE = 0.8  # probability from which the cut by colour leaves a pixel alone
CUT_WEIGHT = 0.85  # of the cut against the diffused label
CUT_ROUNDS = 2  # in which the cut's colours are learned anew
CUT_PIXELS = 32  # fewer are no colour model
SAMPLING = 5  # px between the pixels that the camera is fitted to


@dataclass(frozen=True)
class Deviation:
    """How one pair of frames deviates from the camera's own motion.

    flow: (H, W) length of the flow that the camera doesn't explain, and colour: (H, W) LAB difference after
    compensating it, each in units of what four fifths of the frame stay below; 0 where the camera's motion
    leads out of the other frame, which tells nothing. following: share of the trusted pixels that move with the
    camera.
    """

    flow: Floats
    colour: Floats
    following: float


def camera_homography(flow: Floats, trust: Floats) -> NDArray[np.float64] | None:
    """(3, 3) homography, in pixel centres, that most of the trusted flow (H, W, 2) follows; None without one."""
    y, x = np.mgrid[SAMPLING // 2 : flow.shape[0] : SAMPLING, SAMPLING // 2 : flow.shape[1] : SAMPLING]
    trusted = trust[y, x] > TRUSTED
    y, x = y[trusted], x[trusted]
    if len(x) < 20:
        return None
    here = np.column_stack([x, y]) + 0.5
    cv2.setRNGSeed(0)
    found: Any = cv2.findHomography(
        here, here + flow[y, x], cv2.USAC_MAGSAC, 0.5, maxIters=1000, confidence=0.999
    )
    return None if found[0] is None else np.asarray(found[0], np.float64)


def deviation(flow: Floats, trust: Floats, here: Floats, there: Floats) -> Deviation | None:
    """Deviation from the camera's motion of `flow` (H, W, 2) between LAB frames; None if no camera fits."""
    homography = camera_homography(flow, trust)
    if homography is None:
        return None
    height, width = trust.shape
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    to_x, to_y, scale = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    to_x, to_y = (to_x / scale).astype(np.float32), (to_y / scale).astype(np.float32)
    seen = (to_x >= 0) & (to_x <= width) & (to_y >= 0) & (to_y <= height)
    unexplained = x.astype(np.float32) - to_x + flow[..., 0], y.astype(np.float32) - to_y + flow[..., 1]
    residual = np.sqrt(unexplained[0] ** 2 + unexplained[1] ** 2)
    compensated = cv2.remap(there, to_x - 0.5, to_y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    change = here - compensated
    if np.abs(here - there).max() < 1:  # a frame shown twice says nothing about what moves
        return None
    window = (max(height, width) // 8) | 1
    change = channel_sum(np.abs(change - cv2.blur(change, (window, window))))
    change = cv2.GaussianBlur(change, (0, 0), 1)
    trusted = residual[trust > TRUSTED]
    if not np.isfinite(residual).all() or not trusted.size or not seen.any():
        return None
    common = float(np.quantile(trusted, 0.8))
    return Deviation(
        np.where(seen, residual / (FLOW_NOISE + common), 0),
        np.where(seen, change / (COLOUR_NOISE + float(np.quantile(change[seen], 0.8))), 0),
        float(np.mean(trusted < 1)) * float(np.mean(trust > TRUSTED)),
    )


@register
@dataclass(frozen=True)
class IndependentMotion:
    """Motion that the camera's own does not explain, followed through the clip.

    Confidence: probability that the class (moving or not) is right; 0 where the camera's motion is unclear.

    side: longest side in pixels that the detector works at; larger frames are reduced, the label is fitted to
    their full resolution. step: spacing of superpixels. evidence, softness: deviation at which moving and
    staying are equally likely, and how fast that turns. strong: deviation that what moves must reach somewhere.
    trust: weight of the evidence against that of the neighbours. prior: diffused label from which on something
    moves. reach: share of the longer side around a pixel within which the highest label is what it is measured
    by. following: share of the frame that must follow the camera.
    """

    name: ClassVar[str] = "independent_motion"
    version: ClassVar[int] = 3
    makes: ClassVar[tuple[str, ...]] = ("motion", "motion_confidence")
    needs: ClassVar[frozenset[str]] = frozenset(
        {"flow", "flow_confidence", "flow_backward", "flow_backward_confidence"}
    )

    side: int = 432
    step: int = 6
    evidence: float = 1.5
    softness: float = 0.5
    strong: float = 6.0
    trust: float = 0.04
    prior: float = 0.25
    reach: float = 0.045
    following: float = 0.3

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip; see `makes`."""
        frames, (height, width) = len(clip), clip.size
        scale = min(1.0, self.side / max(height, width))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        images = [cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in clip.image]
        lab = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32) for image in images]
        ahead, ahead_trust = _reduced(clip, "flow", small, scale)
        back, back_trust = _reduced(clip, "flow_backward", small, scale)

        evidence = np.zeros(ahead.shape[:3], np.float32)
        following = np.zeros(frames)
        for t in range(frames):
            seen = [
                found
                for other, flow, trust in ((t + 1, ahead, ahead_trust), (t - 1, back, back_trust))
                if 0 <= other < frames and (found := deviation(flow[t], trust[t], lab[t], lab[other]))
            ]
            seen = [found for found in seen if found.following > self.following]
            if seen:
                flow_deviation = np.minimum.reduce([found.flow for found in seen])
                colour_deviation = np.minimum.reduce([found.colour for found in seen])
                evidence[t] = np.sqrt(flow_deviation * colour_deviation)
                if len(seen) == 1:  # a halo is not seen to be one; what gets covered has no flow to trust
                    trust = np.maximum(ahead_trust[t], back_trust[t])
                    evidence[t] *= np.minimum(trust / TRUSTED, 1)
                following[t] = max(found.following for found in seen)

        drift = np.where((ahead_trust > back_trust)[..., None], ahead, -back)
        graph = clip_graph(images, ahead, ahead_trust, drift, self.step)
        known = following[np.arange(len(graph.size)) * frames // len(graph.size)] > 0
        strength = graph.mean(evidence)
        label = expit((strength - self.evidence) / self.softness)
        label = graph.diffuse(label, np.where(known, self.trust, 1e-4))
        unsupported = (label > self.prior) & ~self._supported(graph, label, strength)
        label = np.where(unsupported, self.prior / 4, label)
        doubtful = unsupported[graph.nodes]
        spread = label[graph.nodes].astype(np.float32)
        moving = [self._segmented(spread[t], images[t]) for t in range(frames)]

        motion = np.zeros((frames, height, width), np.uint8)
        confidence = np.zeros_like(motion)
        for t in range(frames):
            if following[t] == 0:
                continue
            fine = guided_upsampling(moving[t], images[t], clip.image[t])
            motion[t] = as_bytes(fine)
            score = np.maximum(fine, 1 - fine) * min(1.0, following[t] / 0.8)
            doubt = cv2.resize(doubtful[t].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            confidence[t] = calibrated(self.name, np.where(doubt, 0, score), motion[t] > 127)
        return {"motion": motion, "motion_confidence": confidence}

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

    def _supported(
        self, graph: Graph, label: NDArray[np.float64], strength: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(N,) whether a node lies in a connected group of moving nodes that has strong evidence."""
        moving = label > self.prior
        links = graph.links.tocoo()
        inside = moving[links.row] & moving[links.col]
        links.data = np.where(inside, links.data, 0)
        links.eliminate_zeros()
        groups, group = connected_components(links, directed=False)
        strong = np.bincount(group, weights=strength > self.strong, minlength=groups)
        return np.asarray(strong[group] > 0)


def _reduced(clip: Clip, label: str, size: tuple[int, int], scale: float) -> tuple[Floats, Floats]:
    """Flow (T, h, w, 2) and its trust (T, h, w) in [0, 1] at `size` = (w, h); flow 0 where there is none."""
    flow = np.stack(
        [
            cv2.resize(np.nan_to_num(frame.astype(np.float32)), size, interpolation=cv2.INTER_NEAREST)
            for frame in clip.labels[label]
        ]
    )
    trust = np.stack(
        [
            cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST)
            for frame in clip.labels[label + "_confidence"]
        ]
    )
    return (flow * scale).astype(np.float32), (trust / 255).astype(np.float32)

"""Relative inverse depth of a clip from the parallax of a moving camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import CONSECUTIVE, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.geometry import crop_resize_intrinsics, pixel_centres, rays
from freelabels.generators.contract.ranges import Range
from freelabels.generators.depth.camera_track import LEAST_TRUST, CameraTrack, camera_tracks
from freelabels.generators.depth.point_tracks import follow
from freelabels.generators.tools.planes import fit_planes, link_weights, neighbour_steps

Floats = NDArray[np.float64]
Map = NDArray[np.float32]
Colour = NDArray[Any]

ABSTAIN = 0.36  # raw score up to which there is no label: a crowd's flow can pass for a weak camera path
LEAST_SIDE = 32  # pixels; smaller frames have nothing to track
PARALLAX = 0.05  # aimed at, of the longer side: small enough for flow, large enough for depth
NOISE = 3.0  # grey levels between two looks at one surface
MISMATCH = 0.5  # pixels by which flow errs where texture is plenty
COLOUR_STEP = 0.3  # summed over RGB in [0, 1]: a step that ends a smoothing window
LEAST_AGREEMENT = 0.3  # of rays, below which a pixel is taken to move by itself
ENOUGH_TRUST = 0.5  # in a camera's path, below which all of its labels are discounted
FUSED = (-8, -4, 4, 8)  # steps to the frames whose inverse depths a frame takes in
LEAST_AHEAD = 0.05  # of a ray's depth: what lies behind another camera, or beside it, isn't seen by it
OTHER_SURFACE = 2.0  # times the expected error
NEAREST, FARTHEST = 8.0, 0.02  # inverse depths taken seriously, in units of the points' median


@register
@dataclass(frozen=True)
class VideoDisparity:
    """Inverse depth by triangulating optical flow between frames whose cameras are known from the clip.

    Makes `disparity` (f16, inverse depth with its zero at infinity, larger is nearer, up to a positive scale
    that is one for the clip: its points' median is about 1) and its confidence, from the frames and camera_K
    (an assumed K bends depth, its order hardly). The camera's path comes from point tracks, resection and
    bundle adjustment, or from the poses that the source tells, with K, if the tracks bear them out. Each frame is
    matched (DIS flow) with `views` others near a useful baseline, each pixel triangulated robustly, what frames
    `FUSED` steps away found there taken in, and planes fitted in windows that stop at colour edges, weighted by
    the parallax and texture behind each pixel. Confidence is the chance that the order against a random other
    pixel is right, from the standard error and the spread of the frame's inverse depth. Pixels whose rays don't
    meet (movers) carry no weight. A clip without a baseline (still, rotating or zooming camera, noise) is NaN at
    confidence 0; a cut separates two scales.

    width: the longer side of the frames worked on. radius: of the windows, as a share of it.
    Sources: R. Hartley and A. Zisserman, Multiple view geometry, 2004, chapters 9, 12 and 18; T. Kroeger et
    al., Fast optical flow using dense inverse search, 2016.
    """

    name: ClassVar[str] = "video_disparity"
    version: ClassVar[int] = 5
    makes: ClassVar[tuple[str, ...]] = ("disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})

    width: Annotated[int, Range(64, 4096)] = 320
    views: Annotated[int, Range(1, 8)] = 2
    radius: Annotated[float, Range(0.005, 0.2)] = 0.0375

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        height, width = clip.size
        disparity = np.full((len(clip), height, width), np.nan, np.float32)
        score = np.zeros((len(clip), height, width), np.float32)
        scale = min(1.0, self.width / max(height, width))
        if len(clip) > 1 and min(height, width) * scale >= LEAST_SIDE:
            size = (round(width * scale), round(height * scale))
            frames = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in clip.image]
            K = crop_resize_intrinsics(clip.camera_K, (0, 0), (size[0] / width, size[1] / height))
            told = clip.camera_pose if clip.intrinsics == "given" else None
            for t, inverse, certainty in self._inverse_depths(frames, K, told):
                disparity[t] = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR)
                score[t] = cv2.resize(certainty, (width, height), interpolation=cv2.INTER_LINEAR)
        confidence = calibrated(self.name, np.where(score > ABSTAIN, score, 0))
        disparity[confidence == 0] = np.nan
        return {"disparity": as_stored("disparity", disparity), "disparity_confidence": confidence}

    def _inverse_depths(
        self, frames: Sequence[Colour], K: Floats, told: Floats | None
    ) -> Iterator[tuple[int, Map, Map]]:
        """Frame index, inverse depth and raw score (H, W) of each frame whose camera is known."""
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow.setFinestScale(0)
        flow.setPatchStride(5)
        flow.setGradientDescentIterations(12)
        flow.setVariationalRefinementIterations(0)  # the plane fits smooth better
        directions = np.ascontiguousarray(np.moveaxis(rays(K, *grey[0].shape), -1, 0), np.float32)
        for camera in camera_tracks(follow(grey), len(grey), K, told):
            if camera.trust < LEAST_TRUST:
                continue
            posed = np.flatnonzero(np.isfinite(camera.pose[:, 0, 0]))
            points = camera.points[np.isfinite(camera.points[:, 0])]
            found: dict[int, tuple[Map, Map, Map]] = {}
            usual: dict[int, float] = {}
            for t in map(int, posed):
                depth = points @ camera.pose[t, 2, :3] + camera.pose[t, 2, 3]
                if not (depth > 0).any():
                    continue
                usual[t] = typical = float(np.median(depth[depth > 0]))
                sights = [
                    Sight.of(
                        grey[t],
                        grey[s],
                        flow,
                        camera.pose[s] @ np.linalg.inv(camera.pose[t]),
                        typical,
                        K,
                        directions,
                    )
                    for s in choose_views(t, posed, camera, typical, K, self.views)
                ]
                found[t] = triangulate(sights, grey[t], camera.noise)
            for t, (alone, weight, agreement) in found.items():
                others = [
                    seen_from(
                        alone,
                        *found[t + step][:2],
                        camera.pose[t + step] @ np.linalg.inv(camera.pose[t]),
                        K,
                        directions,
                    )
                    for step in FUSED
                    if t + step in found
                ]
                inverse, weight = fused(alone, weight, others)
                doubt = 1 / np.maximum(agreement * np.float32(camera.trust), 1e-3)
                inverse, score = self._smooth(inverse, weight, doubt, frames[t], usual[t])
                score *= np.float32(min(1.0, camera.trust / ENOUGH_TRUST))
                yield t, inverse, np.where(agreement < LEAST_AGREEMENT, 0, score)

    def _smooth(
        self, inverse: Map, weight: Map, doubt: Map, frame: Colour, typical: float
    ) -> tuple[Map, Map]:
        """Inverse depth × typical depth and raw score after plane fits; `doubt` multiplies the error."""
        guide = cv2.GaussianBlur(frame, (0, 0), 0.7).astype(np.float32) / np.float32(255 * COLOUR_STEP)
        planes = fit_planes(
            inverse * np.float32(typical),
            weight / np.float32(typical) ** 2,
            *link_weights(neighbour_steps(guide), self.radius * self.width),
        )
        w = np.clip(planes.value, FARTHEST, NEAREST)
        error = np.sqrt(planes.residual**2 + 1 / np.maximum(planes.support, 1e-6))
        # Two quantities of spread s, seen with error σ, come in the right order with 1 − atan(σ / s) / π.
        spread = np.subtract(*np.percentile(w[weight > 0], [84, 16])) / 2 if (weight > 0).any() else 0.0
        score = np.where(weight > 0, 1 - np.arctan2(error * doubt, np.float32(spread)) / np.float32(np.pi), 0)
        return w, score.astype(np.float32)


def choose_views(
    t: int, posed: NDArray[np.int64], camera: CameraTrack, depth: float, K: Floats, views: int
) -> list[int]:
    """Other frames to match frame t with: before and after in turn, near the parallax aimed at."""
    centre = -np.einsum("nji,nj->ni", camera.pose[posed, :3, :3], camera.pose[posed, :3, 3])
    pixels = np.linalg.norm(centre - centre[posed == t], axis=1) * K[0, 0] / depth
    off = np.abs(pixels - PARALLAX * 2 * max(K[0, 2], K[1, 2])) + 1e-3 * np.abs(posed - t)
    chosen: list[int] = []
    for turn in range(views):
        free = (posed != t) & ~np.isin(posed, chosen)
        side = free & ((posed < t) if turn % 2 == 0 else (posed > t))
        # One that sees little parallax on this side is worse than another on the other side.
        pool = side if (side & (off < 0.7 * off[posed == t])).any() else free
        if pool.any():
            chosen.append(int(posed[pool][off[pool].argmin()]))
    return chosen


@dataclass(frozen=True)
class Sight:
    """What another frame says about inverse depth w, per pixel and coordinate: w · lever = shift, in pixels.

    lever, shift: (2, H, W); lever is 0 where the pixel's match lies outside the other frame.
    """

    lever: Map
    shift: Map

    @classmethod
    def of(
        cls,
        here: Colour,
        there: Colour,
        flow: cv2.DISOpticalFlow,
        motion: Floats,
        depth: float,
        K: Floats,
        directions: Map,
    ) -> Sight:
        """From the flow to another grey frame, which is first warped by the plane at the typical depth.

        motion: camera here → camera there (4, 4); directions: rays of this frame (3, H, W).
        """
        height, width = here.shape
        k = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV's pixel centres are whole numbers
        H = k @ (motion[:3, :3] + motion[:3, 3:] @ np.array([[0, 0, 1 / depth]])) @ np.linalg.inv(k)
        near = cv2.warpPerspective(
            there, H, (width, height), None, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        )
        found = flow.calc(here, near, np.zeros((height, width, 2), np.float32))
        found = found + (pixel_centres(height, width) - 0.5).astype(np.float32)
        at = np.asarray(cv2.perspectiveTransform(found.reshape(1, -1, 2), H), np.float32)
        x, y = np.moveaxis(at.reshape(height, width, 2), -1, 0)
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        R, T = motion[:3, :3].astype(np.float32), motion[:3, 3].astype(np.float32)
        turned = [row[0] * directions[0] + row[1] * directions[1] + row[2] * directions[2] for row in R]
        away = inside / np.where(np.abs(turned[2]) > 0.05, turned[2], np.float32(np.inf))
        lever, shift = np.empty((2, 2, height, width), np.float32)
        # u = (R r + w T)₁₂ / (R r + w T)₃, made linear in w and divided by the depth of R r.
        for axis, place in enumerate((x, y)):
            focal, centre = np.float32(K[axis, axis]), np.float32(K[axis, 2])
            u = (place + (np.float32(0.5) - centre)) / focal
            lever[axis] = (u * T[2] - T[axis]) * (focal * away)
            shift[axis] = (turned[axis] - u * turned[2]) * (focal * away)
        return cls(lever, shift)


def triangulate(sights: Sequence[Sight], here: Colour, noise: float) -> tuple[Map, Map, Map]:
    """Inverse depth (H, W) on which the sights agree, its weight, and how far they agree, from 0 to 1.

    The weight is one over the expected variance. Iteratively reweighted least squares, Cauchy weights;
    `noise` is the camera path's error in pixels. Rays of pixels that move by themselves don't meet.
    """
    grey = cv2.GaussianBlur(here.astype(np.float32), (0, 0), 1)
    gradient = np.stack([cv2.Scharr(grey, -1, 1, 0), cv2.Scharr(grey, -1, 0, 1)]) / np.float32(32)
    power = [norm2(s.lever) for s in sights]
    along = [s.lever[0] * s.shift[0] + s.lever[1] * s.shift[1] for s in sights]
    weight = [np.ones(here.shape, np.float32) for _ in sights]
    for _ in range(3):
        total = sum(w * p for w, p in zip(weight, power, strict=True)) + np.float32(1e-12)
        inverse = sum(w * a for w, a in zip(weight, along, strict=True)) / total
        error = [norm2(s.lever * inverse - s.shift) for s in sights]
        weight = [np.asarray(1 / (1 + e)) for e in error]
    seen = sum((p > 0).astype(np.float32) for p in power)
    texture = sum((s.lever[0] * gradient[0] + s.lever[1] * gradient[1]) ** 2 for s in sights) / np.maximum(
        seen, 1
    )
    texture = cv2.boxFilter(texture, -1, (7, 7), normalize=False) / np.float32(NOISE**2)
    lever = sum(power) / np.maximum(seen, 1)
    mean_error = sum(w * e * (p > 0) for w, e, p in zip(weight, error, power, strict=True)) / np.maximum(
        sum(w * (p > 0) for w, p in zip(weight, power, strict=True)), 1e-6
    )
    precision = 1 / (1 / (texture + 1e-9) + np.float32(MISMATCH**2) / (lever + 1e-9))
    agreement = np.exp(-mean_error / np.float32((2 * max(noise, 0.5)) ** 2))
    valid = (inverse > 0) & (seen > 0)
    return (
        inverse.astype(np.float32),
        np.where(valid, precision * agreement, 0).astype(np.float32),
        np.asarray(cv2.blur(np.where(valid, agreement, 0), (5, 5)), np.float32),
    )


def seen_from(
    inverse: Map, other: Map, weight: Map, motion: Floats, K: Floats, directions: Map
) -> tuple[Map, Map]:
    """What another frame says of this one's inverse depths (H, W), and its weight, 0 where it doesn't see them.

    other, weight: inverse depth and weight that the other frame found (H, W); motion: camera here → camera there
    (4, 4); directions: rays of this frame (3, H, W). Looked up where a pixel's own inverse depth places it.
    """
    R, T = motion[:3, :3].astype(np.float32), motion[:3, 3].astype(np.float32)
    x, y, far = (row[0] * directions[0] + row[1] * directions[1] + row[2] * directions[2] for row in R)
    z = far + inverse * T[2]
    ahead = (inverse > 0) & (z > LEAST_AHEAD) & (far > LEAST_AHEAD)
    z, far = np.where(ahead, z, 1), np.where(ahead, far, 1)
    at_x, at_y = (
        (ray + inverse * t) / z * np.float32(K[axis, axis]) + np.float32(K[axis, 2] - 0.5)
        for axis, (ray, t) in enumerate(zip((x, y), T[:2], strict=True))
    )
    looked = cv2.remap(
        np.dstack([other * weight, weight]),
        at_x.astype(np.float32),
        at_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    known = looked[..., 1]
    stretch = z * z / far  # of this frame's inverse depth with the other's
    here = inverse + (looked[..., 0] / np.maximum(known, np.float32(1e-12)) - inverse / z) * stretch
    return here.astype(np.float32), np.where(ahead, known / (stretch * stretch), 0).astype(np.float32)


def fused(inverse: Map, weight: Map, others: Sequence[tuple[Map, Map]]) -> tuple[Map, Map]:
    """Inverse depth (H, W) and weight of a frame together with what others say of it, as `seen_from` gives it.

    What is off by more than both are unsure of is another surface and counts little; half of the others' weight is
    taken, as frames share what they were matched with.
    """
    total, weighed = weight, weight * inverse
    for other, trust in others:
        both = 1 / np.maximum(weight, 1e-12) + 1 / np.maximum(trust, 1e-12)
        counted = trust * (weight > 0) / (1 + (other - inverse) ** 2 / (both * OTHER_SURFACE**2))
        weighed = (weighed + counted * other).astype(np.float32)
        total = (total + counted).astype(np.float32)
    known = total > 0
    return (
        np.where(known, weighed / np.where(known, total, 1), inverse).astype(np.float32),
        ((weight + total) / 2).astype(np.float32),
    )


def norm2(vectors: Map) -> Map:
    """Squared lengths (H, W) of vectors (2, H, W)."""
    return np.asarray(vectors[0] ** 2 + vectors[1] ** 2)

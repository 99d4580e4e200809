"""One random view of a window of frames: crop, flip, rotate and resize every field so that all stay consistent.

A view is an affine map between pixels. The image is filtered and interpolated; a label is a sample at a point,
so it is always taken from the nearest pixel (a mean over an occlusion boundary would be the label of no
surface). What a value *means* under the map follows from its field's kind: vectors are turned and scaled,
the camera is corrected, everything else is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, Kind, field
from freelabels.train.config import AugmentConfig

# Lines one pixel wide: when shrinking, the strongest of the pixels that an output pixel covers is taken,
# because the nearest one would leave them dashed.
THIN = ("edges", "edge_type")


@dataclass(frozen=True)
class View:
    """An affine map from the pixels of a square view to those of a frame.

    turn: (2, 2) orthogonal, turns directions in the frame into directions in the view (a mirror has
    determinant -1). scale: frame pixels per view pixel. centre: (x, y) in the frame, seen at the view's centre.
    """

    size: int
    scale: float
    centre: tuple[float, float]
    turn: NDArray[np.float64]

    def to_frame(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Image coordinates (..., 2) of the frame for those of the view."""
        return np.asarray((points - self.size / 2) @ self.turn * self.scale + np.asarray(self.centre))

    @property
    def to_view(self) -> NDArray[np.float64]:
        """(3, 3) homogeneous map from the frame's image coordinates to the view's."""
        H = np.eye(3)
        H[:2, :2] = self.turn / self.scale
        H[:2, 2] = self.size / 2 - H[:2, :2] @ np.asarray(self.centre)
        return H

    @property
    def camera_turn(self) -> NDArray[np.float64]:
        """(3, 3) orthogonal map from the frame's camera axes to the view's."""
        M = np.eye(3)
        M[:2, :2] = self.turn
        return M


def centre_view(height: int, width: int, size: int) -> View:
    """The largest centred square of a frame, `size` pixels wide."""
    return View(size, min(height, width) / size, (width / 2, height / 2), np.eye(2))


def random_view(config: AugmentConfig, height: int, width: int, size: int, rng: np.random.Generator) -> View:
    """A random view of a frame; the same generator state gives the same view."""
    side = min(height, width) * rng.uniform(*config.crop)
    x, y = (rng.uniform(side / 2, length - side / 2) for length in (width, height))
    angle = np.radians(config.rotate) * rng.uniform(-1, 1)
    mirror = np.diag([-1.0 if rng.random() < config.flip else 1.0, 1.0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return View(size, side / size, (x, y), mirror @ rotation)


class Resampler:
    """Carries all fields of one window through a view.

    frame_size: (height, width) of the stored frames. `inside` (size, size) says which view pixels see the frame.
    """

    def __init__(self, view: View, frame_size: tuple[int, int]):
        self.view = view
        self.height, self.width = frame_size
        self._strongest: NDArray[np.intp] | None = None

    @cached_property
    def _seen(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        return self._source(0.0, 0.0)

    @property
    def _nearest(self) -> NDArray[np.intp]:
        return self._seen[0]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which view pixels see the frame."""
        return self._seen[1]

    def _source(self, dx: float, dy: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Flat index of the frame pixel under each view pixel's centre moved by (dx, dy) view pixels."""
        axis = np.arange(self.view.size) + 0.5
        points = self.view.to_frame(np.stack(np.meshgrid(axis + dx, axis + dy), axis=-1))
        x, y = np.floor(points[..., 0]).astype(np.intp), np.floor(points[..., 1]).astype(np.intp)
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return np.clip(y, 0, self.height - 1) * self.width + np.clip(x, 0, self.width - 1), inside

    def follow_lines(self, strength: Array) -> None:
        """Let the thin fields be taken where `strength` (frame, y, x) is largest under each view pixel."""
        parts = int(np.ceil(self.view.scale - 1e-6))
        if parts < 2:
            return
        steps = (np.arange(parts) + 0.5) / parts - 0.5
        candidates = np.stack([self._nearest, *(self._source(x, y)[0] for y in steps for x in steps)])
        values = strength.reshape(len(strength), -1)[:, candidates]  # (frame, candidate, y, x)
        best = values.argmax(axis=1)  # ties go to the nearest pixel, which stands first
        self._strongest = np.take_along_axis(candidates[None], best[:, None], axis=1)[:, 0]

    def map(self, name: str, values: Array) -> Array:
        """A label or confidence (frame, y, x[, channel]) in the view; vectors come out as float32."""
        flat = values.reshape(len(values), self.height * self.width, *values.shape[3:])
        if name.removesuffix(CONFIDENCE_SUFFIX) in THIN and self._strongest is not None:
            out = np.stack([frame[index] for frame, index in zip(flat, self._strongest, strict=True)])
        else:
            out = flat[:, self._nearest]
        kind = field(name).kind
        if kind is Kind.DISPLACEMENT:
            return np.asarray(
                out.astype(np.float32) @ (self.view.turn / self.view.scale).T.astype(np.float32)
            )
        if kind is Kind.DIRECTION:
            turned = out.astype(np.float32) @ self.view.camera_turn.T.astype(np.float32)
            length = np.linalg.norm(turned, axis=-1, keepdims=True)
            return np.asarray(turned / np.maximum(length, 1e-6))
        return out

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (frame, y, x, 3) in the view: filtered by area where they shrink, then interpolated."""
        shrink = max(self.view.scale, 1.0)
        size = (max(1, round(self.width / shrink)), max(1, round(self.height / shrink)))
        # cv2's pixel centres lie at whole numbers, ours at halves.
        ours_to_small = np.diag([size[0] / self.width, size[1] / self.height, 1.0])
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
        view_to_small = np.linalg.inv(half) @ ours_to_small @ np.linalg.inv(self.view.to_view) @ half
        out = np.empty((len(image), self.view.size, self.view.size, 3), np.uint8)
        for frame, target in zip(image, out, strict=True):
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if shrink > 1 else frame
            cv2.warpAffine(
                small,
                view_to_small[:2],
                (self.view.size, self.view.size),
                dst=target,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        return out

    def camera_K(self, K: Array) -> NDArray[np.float64]:
        """Intrinsics (frame, 3, 3) of the view."""
        return np.asarray(self.view.to_view @ K @ self.view.camera_turn.T)

    def camera_distortion(self, coefficients: Array) -> NDArray[np.float64]:
        """Lens distortion (frame, 5) of the view: what p1 and p2 do has a direction, which turns with it."""
        out = np.array(coefficients, np.float64)
        out[:, [3, 2]] = out[:, [3, 2]] @ self.view.turn.T
        return out

    def camera_pose(self, pose: Array) -> NDArray[np.float64]:
        """Camera → world (frame, 4, 4) of the view; a mirrored view lives in a mirrored world."""
        M, N = np.eye(4), np.eye(4)
        M[:3, :3] = self.view.camera_turn
        N[0, 0] = np.linalg.det(self.view.turn)
        return np.asarray(N @ pose @ M.T)


@dataclass(frozen=True)
class Light:
    """A photometric change.

    table: uint8 (256, 3), what becomes of each level of each channel. colours: (3, 3), how channels are then
    mixed. sigma: of a blur, pixels, 0 for none.
    """

    table: NDArray[np.uint8]
    colours: NDArray[np.float64]
    sigma: float


def random_light(config: AugmentConfig, rng: np.random.Generator) -> Light:
    """A random change; the same generator state gives the same one."""
    contrast, brightness = 1 + config.light * rng.uniform(-1, 1, 2)
    gamma = 1 + config.light / 2 * rng.uniform(-1, 1)
    gains = 1 + config.colour / 3 * rng.uniform(-1, 1, 3)
    saturation = 1 + config.colour * rng.uniform(-1, 1)
    grey, blur, sigma = rng.random(), rng.random(), rng.uniform(0.2, 1.0)
    level = np.arange(256)[:, None] / 255
    curve = ((level**gamma - 0.5) * contrast + 0.5) * brightness * gains
    table = np.clip(curve * 255, 0, 255).astype(np.uint8)  # (256, 3)
    mix = 0.0 if grey < config.grey else saturation
    luma = np.array([0.299, 0.587, 0.114])
    return Light(table, mix * np.eye(3) + (1 - mix) * luma, sigma if blur < config.blur else 0.0)


def change_light(
    config: AugmentConfig, image: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Photometric changes of a window (frame, y, x, 3), the same for all its frames."""
    return lit(random_light(config, rng), image)


def lit(light: Light, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (frame, y, x, 3) in another light."""
    out = np.empty_like(image)
    for frame, target in zip(image, out, strict=True):
        through = cv2.LUT(np.ascontiguousarray(frame), light.table[None])
        cv2.transform(through, light.colours, dst=target)
        if light.sigma:
            cv2.GaussianBlur(target, (0, 0), light.sigma, dst=target)
    return out

"""What one file beside pictures tells, in the contract's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CENTRE = 0.5  # most files count pixel centres from 0, the contract from 0.5
Pose = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: focal lengths and principal point in pixels, pixel centres at +0.5.

    size: (height, width) these hold for, None: the picture's own. shift: of a rectified camera of a rig, metres it
    stands to the right of the rig's origin, None: not told. distorted: whether its lens bends straight lines.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None = None
    shift: float | None = None
    distorted: bool = False

    def of_size(self, size: tuple[int, int]) -> Camera:
        """The same camera for a picture of another (height, width)."""
        if self.size is None or self.size == size:
            return self
        down, along = size[0] / self.size[0], size[1] / self.size[1]
        return Camera(
            self.fx * along, self.fy * down, self.cx * along, self.cy * down, size, self.shift, self.distorted
        )

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy)."""
        return self.fx, self.fy, self.cx, self.cy


@dataclass(frozen=True)
class Told:
    """What one file tells. form: what kind of file it is.

    cameras: by a picture's name, a camera's number, "left", "right", "color", "depth", or "" for any picture.
    baseline: metres; doffs: pixels, the right principal point's x less the left one's. depth_unit: metres that one
    count of stored depth is. poses: camera → world (4, 4) by a picture's name; track: (seconds, pose) in time;
    order: poses of the frames in order. times: seconds by a picture's name; ticks: of the frames in order.
    """

    form: str
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    baseline: float | None = None
    doffs: float | None = None
    depth_unit: float | None = None
    poses: Mapping[str, Pose] = field(default_factory=dict)
    track: Sequence[tuple[float, Pose]] = ()
    order: Sequence[Pose] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    ticks: Sequence[float] = ()


def camera_of_matrix(
    numbers: Sequence[float],
    size: tuple[int, int] | None = None,
    centre: float = CENTRE,
    shift: float | None = None,
    distorted: bool = False,
) -> Camera | None:
    """The camera of a row-major 3 × 3, 3 × 4 or 4 × 4 matrix, None if the numbers are none."""
    wide = {9: 3, 12: 4, 16: 4}.get(len(numbers))
    if wide is None:
        return None
    fx, cx, fy, cy = numbers[0], numbers[2], numbers[wide + 1], numbers[wide + 2]
    scale = numbers[2 * wide + 2]
    plain = np.isfinite([fx, fy, cx, cy, scale]).all() and abs(scale - 1) < 1e-6
    lower = [numbers[wide], numbers[2 * wide], numbers[2 * wide + 1]]
    if not plain or min(fx, fy) <= 1 or any(abs(n) > 1e-3 for n in lower):
        return None
    return Camera(fx, fy, cx + centre, cy + centre, size, shift, distorted)


def pose_of(numbers: Sequence[float]) -> Pose:
    """(4, 4) from 12 or 16 row-major numbers, or tx ty tz qx qy qz qw; NaN if it is no rigid motion."""
    pose = np.eye(4)
    if len(numbers) == 7:
        pose[:3, :3], pose[:3, 3] = rotation_of(numbers[3:7]), numbers[:3]
    elif len(numbers) in (12, 16):
        pose[:3] = np.array(numbers[:12], np.float64).reshape(3, 4)
    else:
        pose[:] = np.nan
    with np.errstate(all="ignore"):
        rigid = np.isfinite(pose).all() and abs(np.linalg.det(pose[:3, :3]) - 1) < 0.01
    return pose if rigid else np.full((4, 4), np.nan)


def rotation_of(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """The rotation (3, 3) of a quaternion x y z w."""
    x, y, z, w = np.asarray(quaternion, np.float64) / max(float(np.linalg.norm(quaternion)), 1e-12)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # camera axes right, up, backward ↔ right, down, forward
NED = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # forward, right, down ← OpenCV's

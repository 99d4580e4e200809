"""Textured rectangles and spheres seen through a pinhole: images with depth and normals in closed form."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from freelabels.generators.contract.geometry import rays


@dataclass(frozen=True)
class Rectangle:
    """corner + s·across + t·down for s, t in [0, 1], world frame, metres."""

    corner: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]

    def hit(self, origin, direction):
        """Distance factor along the rays (inf where missed), texture coordinates in metres, normal."""
        corner, across, down = (np.array(v, float) for v in (self.corner, self.across, self.down))
        normal = np.cross(across, down)
        normal /= np.linalg.norm(normal)
        facing = direction @ normal
        far = ((corner - origin) @ normal) / np.where(np.abs(facing) < 1e-9, np.nan, facing)
        at = origin + direction * far[..., None] - corner
        s, t = at @ across / (across @ across), at @ down / (down @ down)
        missed = ~((far > 0) & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1))
        where = np.stack([s * np.linalg.norm(across), t * np.linalg.norm(down)], -1)
        return np.where(missed, np.inf, far), where, np.broadcast_to(normal, direction.shape)


@dataclass(frozen=True)
class Sphere:
    centre: tuple[float, float, float]
    radius: float

    def hit(self, origin, direction):
        to = origin - np.array(self.centre, float)
        a, b = (direction**2).sum(-1), direction @ to
        inside = b * b - a * (to @ to - self.radius**2)
        far = (-b - np.sqrt(np.where(inside > 0, inside, np.nan))) / a
        normal = (to + direction * far[..., None]) / self.radius
        where = np.stack([np.arctan2(normal[..., 0], normal[..., 2]), normal[..., 1]], -1) * self.radius
        return np.where(inside > 0, far, np.inf), where, normal


def box(low, high):
    """The three faces of a box that a camera before, above and to the left of it may see."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    return [
        Rectangle((x0, y0, z0), (x1 - x0, 0, 0), (0, y1 - y0, 0)),
        Rectangle((x0, y0, z1), (x1 - x0, 0, 0), (0, 0, z0 - z1)),
        Rectangle((x0, y0, z1), (0, 0, z0 - z1), (0, y1 - y0, 0)),
    ]


ROOM = [
    Rectangle((-4, -3, 6), (8, 0, 0), (0, 4.2, 0)),  # the wall behind
    Rectangle((-4, 1.2, 6), (8, 0, 0), (0, 0, -6)),  # the floor
    *box((-0.3, 0.2, 2.6), (0.7, 1.2, 3.4)),
]


@cache
def texture(seed, size=1024):
    """Noise of three scales, (size, size) uint8, one period."""
    noise = np.random.default_rng(seed)
    out = np.zeros((size, size), np.float32)
    for cells in (8, 32, 128):
        grid = noise.random((cells, cells), np.float32)
        out += cv2.resize(np.pad(grid, ((0, 1), (0, 1)), "wrap"), (size, size), interpolation=cv2.INTER_CUBIC)
    out = cv2.normalize(out, None, 20, 235, cv2.NORM_MINMAX, cv2.CV_8U)
    out.flags.writeable = False  # all that ask for it get the same
    return out


def render(shapes, pose, K, size, metres_per_period=12.0):
    """Image (H, W, 3) u8, z-depth (H, W), camera-frame normals (H, W, 3) from camera → world `pose`."""
    directions = rays(K, *size)
    world = directions @ pose[:3, :3].T
    depth, normals = np.full(size, np.inf), np.zeros((*size, 3))
    image = np.zeros(size, np.uint8)
    for number, shape in enumerate(shapes):
        far, where, normal = shape.hit(pose[:3, 3], world)
        nearer = far < depth
        grid = (np.nan_to_num(where) / metres_per_period * 1024 % 1023).astype(np.float32)
        look = cv2.remap(texture(number), grid[..., 0], grid[..., 1], cv2.INTER_LINEAR)
        image, depth = np.where(nearer, look, image), np.where(nearer, far, depth)
        normal = normal @ pose[:3, :3]
        away = (normal * directions).sum(-1, keepdims=True) > 0
        normals = np.where(nearer[..., None], np.where(away, -normal, normal), normals)
    return np.repeat(image[..., None].astype(np.uint8), 3, axis=2), depth, normals


def path(count, shift=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0)):
    """Camera → world poses (count, 4, 4) of a camera that moves and turns by so much from frame to frame."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for t in range(count):
        poses[t, :3, :3] = cv2.Rodrigues(np.array(turn, float) * t)[0]
        poses[t, :3, 3] = np.array(shift, float) * t
    return poses

"""The other reading of a camera's path: near and far exchanged, as in Necker's cube.

Where perspective is weak, a scene turned inside out under a camera that turns the other way looks almost the
same, and a fit that starts on the wrong side stays there (Soatto and Brockett, Optimal structure from motion:
local ambiguities and global estimates, CVPR 1998; Szeliski and Kang, Shape ambiguities in structure from
motion, 1997). Both readings have all points in front of the camera, so only their misfit tells them apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OUTLIER_PIXELS = 3.0  # a sighting that misses by more counts as missing by this


def reversed_depth(pose: Floats, world: Floats) -> tuple[Floats, Floats]:
    """Cameras (T, 4, 4) and points (P, 3) mirrored in depth about the points' median, seen from the middle view.

    pose: world → camera; NaN stays NaN. The median point stays where each camera saw it and cameras turn the
    other way, so that under orthographic cameras nothing moves in the image.
    """
    posed = np.flatnonzero(np.isfinite(pose[:, 0, 0]))
    middle = pose[posed[len(posed) // 2]]
    points = world @ middle[:3, :3].T + middle[:3, 3]
    centre = np.nanmedian(points, axis=0)
    mirror = np.array([1.0, 1.0, -1.0])
    motion = pose @ np.linalg.inv(middle)
    turned = motion.copy()
    turned[:, :3, :3] = mirror[:, None] * motion[:, :3, :3] * mirror
    turned[:, :3, 3] += (motion[:, :3, :3] - turned[:, :3, :3]) @ centre
    return turned, centre + (points - centre) * mirror


def misfit(pose: Floats, world: Floats, table: Floats, views: NDArray[np.bool_], K: Floats) -> float:
    """Mean robust error, log(1 + pixels²), of the sightings `views` (P, T) of the tracks `table` (P, T, 2).

    Every track counts: one without a point, or with a bad one, gets the inverse depth, infinitely far
    included, that fits its first sighting's ray best. So a path isn't the better for leaving out what is far.
    """
    p = np.flatnonzero(views.any(axis=1))
    seen, xy = views[p], np.nan_to_num(table[p])
    poses = np.where(np.isfinite(pose), pose, np.eye(4))
    first = seen.argmax(axis=1)
    back = np.linalg.inv(poses[first])
    u = (xy - K[:2, 2]) / np.diag(K)[:2]  # (P, T, 2)
    ray = np.concatenate([u[np.arange(len(p)), first], np.ones((len(p), 1))], axis=1)
    motion = poses[None] @ back[:, None]
    turned, shift = np.einsum("ptij,pj->pti", motion[..., :3, :3], ray), motion[..., :3, 3]
    # u = (R r + w T)₁₂ / (R r + w T)₃, made linear in w
    lever = np.where(seen[..., None], shift[..., :2] - u * shift[..., 2:], 0)
    away = u * turned[..., 2:] - turned[..., :2]
    inverse = (lever * away).sum(axis=(1, 2)) / np.maximum((lever * lever).sum(axis=(1, 2)), 1e-18)
    inverse = np.maximum(inverse, 0)
    on_ray = np.einsum("pij,pj->pi", back[:, :3, :3], ray) + inverse[:, None] * back[:, :3, 3]
    points = np.stack([np.nan_to_num(world[p]), on_ray])  # two answers each, homogeneous with `scale`
    scale = np.stack([np.isfinite(world[p, 0]).astype(np.float64), inverse])
    camera = np.einsum("tij,hpj->hpti", poses[:, :3, :3], points) + scale[..., None, None] * poses[:, :3, 3]
    z = camera[..., 2]
    miss = (camera[..., :2] / np.where(z > 1e-9, z, 1)[..., None] - u) * np.diag(K)[:2]
    square = np.where(z > 1e-9, np.minimum((miss**2).sum(axis=-1), OUTLIER_PIXELS**2), OUTLIER_PIXELS**2)
    cost = (np.log1p(square) * seen).sum(axis=2)
    return float(cost.min(axis=0).sum() / seen.sum())

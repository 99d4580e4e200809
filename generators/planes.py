"""Least-squares planes whose windows stop at edges: geodesic weights, computed for all pixels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Planes:
    """Planes w = a·x + b·y + c around each pixel; all (H, W) float32, x and y pixel-centre coordinates.

    value: the plane at the pixel. slope_x, slope_y: a and b. residual: weighted root mean square residual.
    support: sum of the weights. reach: root of the weighted variance of position along the narrower of the
    two axes, pixels. Where support is 0, all are 0.
    """

    value: Map
    slope_x: Map
    slope_y: Map
    residual: Map
    support: Map
    reach: Map


def links(distance: list[Map], radius: float) -> tuple[Map, Map]:
    """How strongly each pixel hangs on its left and its upper neighbour, (H, W) each, in (0, 1].

    distance: guides (H, W) or (H, W, C), scaled so that a step of 1 cuts the weight to 1/e; radius: pixels
    after which it falls to 1/e without any step.
    """
    height, width = distance[0].shape[:2]
    left, up = (np.full((height, width), 1 / radius, np.float32) for _ in range(2))
    for guide in distance:
        guide = guide.reshape(height, width, -1)
        left[:, 1:] += np.abs(np.diff(guide, axis=1)).sum(axis=-1)
        up[1:] += np.abs(np.diff(guide, axis=0)).sum(axis=-1)
    return np.exp(-left), np.exp(-up)


def geodesic_sums(channels: Map, left: Map, up: Map) -> Map:
    """Sums of (C, H, W) over the frame, weighted by the links on the way: along rows, then along columns.

    Source: E. Gastal and M. Oliveira, Domain transform for edge-aware image and video processing, 2011, 5.3
    (both recursions are added instead of chained, which makes the kernel symmetric).
    """
    rows = _along_first(np.ascontiguousarray(channels.transpose(2, 0, 1)), left.T)  # (W, C, H)
    columns = _along_first(np.ascontiguousarray(rows.transpose(2, 1, 0)), up)  # (H, C, W)
    return columns.transpose(1, 0, 2)


def _along_first(values: Map, link: Map) -> Map:
    ahead, back = values.copy(), values.copy()
    link = np.ascontiguousarray(link)
    step = np.empty_like(values[0])
    for i in range(1, len(values)):
        np.multiply(ahead[i - 1], link[i], out=step)
        ahead[i] += step
    for i in range(len(values) - 2, -1, -1):
        np.multiply(back[i + 1], link[i + 1], out=step)
        back[i] += step
    ahead += back
    ahead -= values
    return ahead


def fit_planes(values: Map, weight: Map, left: Map, up: Map) -> Planes:
    """Planes that fit `values` (H, W) around each pixel, weighted by `weight` times geodesic closeness."""
    height, width = values.shape
    unit = np.float32(max(height, width))
    x = np.broadcast_to(((np.arange(width, dtype=np.float32) + 0.5) / unit - 0.5), (height, width))
    y = np.broadcast_to(((np.arange(height, dtype=np.float32) + 0.5) / unit - 0.5)[:, None], (height, width))
    typical = np.float32(np.sum(values * weight, dtype=np.float64) / max(weight.sum(dtype=np.float64), 1e-30))
    v = values / typical if typical > 0 else values
    wx, wy, wv = weight * x, weight * y, weight * v
    sums = geodesic_sums(
        np.stack([weight, wx, wy, wv, wx * x, wy * y, wx * y, wx * v, wy * v, wv * v]), left, up
    )
    support = sums[0]
    mx, my, mv, xx, yy, xy, xv, yv, vv = sums[1:] / np.maximum(support, 1e-20)
    ridge = np.float32(0.05) / unit**2
    xx, yy, xy = xx - mx * mx + ridge, yy - my * my + ridge, xy - mx * my
    xv, yv, vv = xv - mx * mv, yv - my * mv, vv - mv * mv
    determinant = np.maximum(xx * yy - xy * xy, ridge**2)
    a, b = (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant
    scale = np.where(support > 0, typical if typical > 0 else 1, 0).astype(np.float32)
    return Planes(
        value=(mv + a * (x - mx) + b * (y - my)) * scale,
        slope_x=a * scale / unit,
        slope_y=b * scale / unit,
        residual=np.sqrt(np.maximum(vv - a * xv - b * yv, 0)) * scale,
        support=support,
        reach=np.sqrt(np.maximum(np.minimum(xx, yy), 0)) * unit,
    )

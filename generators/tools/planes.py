"""Least-squares planes whose windows stop at edges: geodesic weights, computed for all pixels at once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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


def neighbour_steps(guide: Map, rise: tuple[Map, Map] | None = None) -> tuple[Map, Map]:
    """How far a guide (H, W) or (H, W, C) is, in each pixel, from its left and its upper neighbour; (H, W) each.

    rise: how much a guide (H, W) grows per pixel to the right and down by the slope of the surface alone.
    """
    height, width = guide.shape[:2]
    left, up = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for channel in guide.reshape(height, width, -1).transpose(2, 0, 1):
        across, down = channel[:, 1:] - channel[:, :-1], channel[1:] - channel[:-1]
        if rise is not None:
            across = across - (rise[0][:, 1:] + rise[0][:, :-1]) / 2
            down = down - (rise[1][1:] + rise[1][:-1]) / 2
        left[:, 1:] += np.abs(across)
        up[1:] += np.abs(down)
    return left, up


def link_weights(apart: tuple[Map, Map], radius: float) -> tuple[Map, Map]:
    """How strongly each pixel hangs on its left and its upper neighbour, (H, W) each, in (0, 1].

    apart: steps (H, W) to these, scaled so that a step of 1 cuts the weight to 1/e; radius: pixels after which
    it falls to 1/e without any step.
    """
    left, up = (np.exp(-(step + np.float32(1 / radius))) for step in apart)
    return left, up


def geodesic_sums(channels: list[Map], left: Map, up: Map) -> list[Map]:
    """Sums of each (H, W) over the frame, weighted by the links on the way: along rows, then along columns.

    Source: E. Gastal and M. Oliveira, Domain transform for edge-aware image and video processing, 2011, 5.3
    (both recursions are added instead of chained, which makes the kernel symmetric).
    """
    return column_sums(row_sums(channels, left), up)


def row_sums(channels: list[Map], left: Map) -> list[Map]:
    """Sums of each (H, W) over its row, weighted by the links to the left neighbours on the way."""
    height, width = left.shape
    turned = np.empty((width, len(channels), height), np.float32)
    for c, channel in enumerate(channels):
        turned[:, c] = cv2.transpose(channel)  # several times as fast as copying numpy's transposed view
    turned = _sum_along_first(turned, np.asarray(cv2.transpose(left)))
    return [np.asarray(cv2.transpose(turned[:, c]), np.float32) for c in range(len(channels))]


def column_sums(channels: list[Map], up: Map) -> list[Map]:
    """Sums of each (H, W) over its column, weighted by the links to the upper neighbours on the way."""
    sums = _sum_along_first(np.stack(channels, axis=1), up)
    return [sums[:, c] for c in range(len(channels))]


def _sum_along_first(values: Map, link: Map) -> Map:
    """Each entry (n, C, m) plus all others, weighted by the links (n, m) between; overwrites `values`."""
    shape = values.shape
    values = values.reshape(shape[0], -1)  # flat rows multiply twice as fast
    link = np.repeat(link[:, None], shape[1], axis=1).reshape(values.shape)
    ahead = np.empty_like(values)
    ahead[0] = before = values[0]
    for value, chain, out in zip(values[1:], link[1:], ahead[1:], strict=True):
        np.multiply(before, chain, out=out)
        out += value
        before = out
    behind = values[-1]
    for value, chain in zip(values[-2::-1], link[:0:-1], strict=True):
        chain *= behind
        value += chain
        behind = value
    ahead[:-1] += link[1:]
    return ahead.reshape(shape)


def fit_planes(values: Map, weight: Map, left: Map, up: Map) -> Planes:
    """Planes that fit `values` (H, W) around each pixel, weighted by `weight` times geodesic closeness."""
    height, width = values.shape
    unit = np.float32(max(height, width))
    x = np.broadcast_to(((np.arange(width, dtype=np.float32) + 0.5) / unit - 0.5), (height, width))
    y = np.broadcast_to(((np.arange(height, dtype=np.float32) + 0.5) / unit - 0.5)[:, None], (height, width))
    typical = np.float32(np.sum(values * weight, dtype=np.float64) / max(weight.sum(dtype=np.float64), 1e-30))
    v = values / typical if typical > 0 else values
    wx, wv = weight * x, weight * v
    w, wx, wv, wxx, wxv, wvv = row_sums([weight, wx, wv, wx * x, wx * v, wv * v], left)
    wy = w * y  # y is one along a row
    support, *moments = column_sums([w, wx, wy, wv, wxx, wy * y, wx * y, wxv, wv * y, wvv], up)
    share = 1 / np.maximum(support, np.float32(1e-20))
    mx, my, mv, xx, yy, xy, xv, yv, vv = (moment * share for moment in moments)
    ridge = np.float32(0.05) / unit**2
    xx, yy, xy = xx - mx * mx + ridge, yy - my * my + ridge, xy - mx * my
    xv, yv, vv = xv - mx * mv, yv - my * mv, vv - mv * mv
    determinant = np.maximum(xx * yy - xy * xy, ridge**2)
    a, b = (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant
    scale = np.asarray(np.where(support > 0, typical if typical > 0 else 1, 0), np.float32)
    return Planes(
        value=_map((mv + a * (x - mx) + b * (y - my)) * scale),
        slope_x=_map(a * scale / unit),
        slope_y=_map(b * scale / unit),
        residual=_map(np.sqrt(np.maximum(vv - a * xv - b * yv, 0)) * scale),
        support=support,
        reach=_map(np.sqrt(np.maximum(np.minimum(xx, yy), 0)) * unit),
    )


def _map(values: NDArray[np.floating]) -> Map:
    return np.asarray(values, np.float32)

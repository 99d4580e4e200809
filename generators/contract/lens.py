"""Lens distortion of the contract: Brown–Conrady, coefficients in OpenCV's order (k1, k2, p1, p2, k3).

A point seen along (x, y, 1) lands where a pinhole would show (x', y', 1), with r² = x² + y²:
x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²), y' alike with p1 and p2 exchanged
(Brown, "Close-range camera calibration", 1971).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COEFFICIENTS = 5
# Tangents of angles from the axis at which a lens's last circle is looked for; beyond the largest none shows more.
TANGENTS = np.append(0.0, 10 * np.cumprod(np.full(2000, 0.995))[::-1])
STEPS = 20  # of Newton's method, at most
CLOSE = 1e-13  # focal lengths by which a place may be missed


def distorts(distortion: NDArray[np.floating] | tuple[float, ...] | None) -> bool:
    """Whether the coefficients are those of a lens that bends anything; None: not known, taken as none."""
    return distortion is not None and bool(np.any(np.asarray(distortion) != 0))


def distort(x: Floats, y: Floats, coefficients: Floats | tuple[float, ...]) -> tuple[Floats, Floats]:
    """Where a pinhole would show what is seen along (x, y, 1); any shape.

    Beyond the last circle that the lens shows, where the polynomial would turn back into the picture, it goes on
    straight outwards.
    """
    k1, k2, p1, p2, k3 = (float(k) for k in coefficients)
    square, far = x * x + y * y, None
    last = last_circle((k1, k2, p1, p2, k3)) ** 2
    if (square > last).any():
        far = np.sqrt(np.maximum(square / last, 1))
        x, y, square = x / far, y / far, np.minimum(square, last)
    # In place, so that pictures of places take no room for each term: 1 + square * (k1 + square * (k2 + …)).
    radial = square * k3
    for k in (k2, k1):
        radial += k
        radial *= square
    radial += 1
    to_x, to_y = x * radial, y * radial
    if p1 or p2:
        both = p2 * x
        both += p1 * y
        both *= 2
        to_x += p2 * square
        to_x += x * both
        to_y += p1 * square
        to_y += y * both
    return (to_x, to_y) if far is None else (to_x * far, to_y * far)


@lru_cache(maxsize=64)
def last_circle(coefficients: tuple[float, ...]) -> float:
    """Tangent of the angle from the axis up to which places move outwards with it, to a step of `TANGENTS`."""
    k1, k2, _, _, k3 = coefficients
    square = TANGENTS * TANGENTS
    back = np.flatnonzero(1 + square * (3 * k1 + square * (5 * k2 + square * 7 * k3)) <= 0)
    return float(TANGENTS[back[0] - 1 if len(back) else -1])


def slopes(
    x: Floats, y: Floats, coefficients: Floats | tuple[float, ...]
) -> tuple[Floats, Floats, Floats, Floats]:
    """The derivatives of `distort`: of x' by x, of x' by y, of y' by x, of y' by y."""
    k1, k2, p1, p2, k3 = (float(k) for k in coefficients)
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    grows = 2 * (k1 + square * (2 * k2 + square * (3 * k3)))  # of the radial factor, by half of r²
    mixed = grows * x * y + 2 * (p1 * x + p2 * y)
    return (
        radial + grows * x * x + 2 * p1 * y + 6 * p2 * x,
        mixed,
        mixed,
        (radial + grows * y * y + 6 * p1 * y + 2 * p2 * x),
    )


def undistort(x: Floats, y: Floats, coefficients: Floats | tuple[float, ...]) -> tuple[Floats, Floats]:
    """The inverse of `distort`, by Newton's method; NaN where nothing lands, beyond the lens's last circle."""
    at_x, at_y = np.array(x, np.float64), np.array(y, np.float64)
    for _ in range(STEPS):
        miss_x, miss_y = distort(at_x, at_y, coefficients)
        miss_x, miss_y = miss_x - x, miss_y - y
        if max(np.abs(miss_x).max(initial=0), np.abs(miss_y).max(initial=0)) <= CLOSE:
            break
        a, b, c, d = slopes(at_x, at_y, coefficients)
        area = a * d - b * c
        at_x = at_x - (d * miss_x - b * miss_y) / area
        at_y = at_y - (a * miss_y - c * miss_x) / area
    miss_x, miss_y = distort(at_x, at_y, coefficients)
    found = (np.abs(miss_x - x) < 1e-9) & (np.abs(miss_y - y) < 1e-9)
    found &= at_x * at_x + at_y * at_y <= last_circle(tuple(float(k) for k in coefficients)) ** 2
    return np.where(found, at_x, np.nan), np.where(found, at_y, np.nan)


def lens_rays(
    K: NDArray[np.floating], distortion: Floats | tuple[float, ...] | None, height: int, width: int
) -> Floats:
    """(H, W, 3) viewing directions with z = 1 through all pixel centres, camera frame; None: no distortion."""
    out = np.ones((height, width, 3))
    x = np.broadcast_to((np.arange(width) + 0.5 - K[0, 2]) / K[0, 0], (height, width))
    y = np.broadcast_to(((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1])[:, None], (height, width))
    if distortion is not None and distorts(distortion):
        x, y = undistort(x, y, distortion)
    out[..., 0], out[..., 1] = x, y
    return out


def lens_project(
    points: NDArray[np.floating], K: NDArray[np.floating], distortion: Floats | tuple[float, ...] | None
) -> Floats:
    """(..., 2) image coordinates (x, y) of camera-frame points (..., 3); NaN where z ≤ 0."""
    points = np.asarray(points, np.float64)
    z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    x, y = points[..., 0] / z, points[..., 1] / z
    if distortion is not None and distorts(distortion):
        x, y = distort(x, y, distortion)
    return np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1)

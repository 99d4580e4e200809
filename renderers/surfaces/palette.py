"""Colours as they occur: albedos of common substances, and the light of hot bodies, in linear sRGB."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

RGB = tuple[float, float, float]


def srgb_to_linear(encoded: ArrayLike) -> NDArray[np.float32]:
    """Decode linear light in [0, 1] from sRGB values in [0, 1] (IEC 61966-2-1)."""
    # In float64, whose powers agree on all processors to more digits than are kept.
    value = np.asarray(encoded, np.float64)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: ArrayLike) -> NDArray[np.float32]:
    """Encode linear light as sRGB in [0, 1], clipped to [0, 1] (IEC 61966-2-1)."""
    value = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055).astype(np.float32)


def luminance(colour: ArrayLike) -> float:
    """Luminance Y of a linear sRGB colour (Rec. 709 primaries)."""
    return float((np.asarray(colour, float) * (0.2126, 0.7152, 0.0722)).sum())


def shade(colour: ArrayLike, gain: float) -> RGB:
    """The albedo made darker or lighter, below 0.85."""
    red, green, blue = np.minimum(np.asarray(colour, float) * gain, 0.85)
    return float(red), float(green), float(blue)


def _linear(*hexadecimal: str) -> tuple[RGB, ...]:
    made = []
    for code in hexadecimal:
        red, green, blue = srgb_to_linear([int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)]).tolist()
        made.append((red, green, blue))
    return tuple(made)


# As a camera sees them in white light: few substances are darker than 3 % or brighter than 80 %, and strong
# colours are those of dyes, paints and plastics.
PALETTES: Mapping[str, tuple[RGB, ...]] = {
    "wood": _linear("8a6239", "a47c4e", "6b4426", "c19a6b", "5a3a22", "b58b5c", "7d5a3c", "9c8468"),
    "stone": _linear("8c8880", "a8a39a", "6f6d6a", "c2bdb2", "565553", "b3a691", "9a9389", "d3cec4"),
    "earth": _linear("6e5a43", "857257", "5b4a38", "9b8868", "77684f", "a5977d", "4e4538"),
    "grass": _linear("5c6b35", "4b5c2c", "72793f", "677045", "86854f", "3f5128"),
    "brick": _linear("8b4a38", "9e5a44", "7a4232", "a8705a", "b08468", "6d4a40"),
    "paint": _linear(
        "d8d2c4", "c9c0ae", "e0dbd0", "b9c2bf", "c4b6a2", "a9b3a0", "9fb0b8", "d1bfae", "8e9a9e", "cfc8b0",
    ),
    "cloth": _linear(
        "8f2f2d", "b5523b", "c98a3c", "d0b04e", "5f7a3f", "3d6b53", "3f7f86", "3a5a86", "34406b", "5d4777",
        "8a4f6d", "b97f86", "c9c3b5", "8d8577", "4d4a48", "2e2e31", "a1653f", "d9d5cb", "6e8ea0", "93a37c",
        "c0472f", "d8a23a", "2f6fa3", "3b8a54",
    ),
    "white": _linear("e8e4dc", "e2ded6", "dcd9d4", "ebe9e4", "d6d2c8", "e4dccb"),
    "asphalt": _linear("4a4a4c", "565656", "626160", "6e6c6a", "504e4d", "787673"),
    "leaf": _linear("3f5c2a", "4f6d2f", "5f7a38", "35502b", "6b7f3a", "7a7f35", "476a3d", "2f4a28", "8a8a3f"),
    "bark": _linear("5b4a3c", "6d5a49", "7d6a58", "493c32", "857564", "3d342d"),
    "flesh": _linear("c99a7c", "e0b498", "a8754f", "7d5338", "5a3a28", "d8a78a"),
    "car": _linear(
        "d9d9d6", "c4c6c8", "8f9499", "3a3c3f", "1f2022", "7a1f1f", "9c2b26", "1f3558", "2f4f7a", "39503f",
        "6e6a5c", "b8b09a",
    ),
    "dark": _linear("1e1f22", "26282b", "2d2c2a", "333436"),
    "clay": _linear("a5603f", "b87850", "8f5238", "c9c0b4", "6b6f73", "d6d1c6", "5d6b70"),
    "fruit": _linear("b3261e", "c8472b", "d98a2b", "e0b030", "7d9a35", "a83a4a", "d9762b", "9c1f3a", "c9a227"),
    "card": _linear("b08d64", "a57f57", "c2a27c", "d8d2c4", "97754f"),
    "plastic": _linear(
        "d8d8d4", "2b2c2e", "b8332c", "2f5f9c", "2f8f5b", "d9b02f", "e07a2f", "7f8388", "f0ede6", "5b4a8f",
    ),
    "metal": _linear("c9c5be", "b8b6b3", "d8b070", "c79a7a", "a7a9ac", "8f8a84"),
}  # fmt: skip

# M. Charity, "What color is a blackbody?" (sRGB, CIE 1964 observer): kelvin, sRGB bytes.
_BLACKBODY = np.array(
    [
        (2000, 255, 141, 11),
        (2500, 255, 166, 69),
        (3000, 255, 185, 105),
        (4000, 255, 213, 161),
        (5000, 255, 231, 204),
        (6500, 255, 249, 253),
        (8000, 229, 235, 255),
        (10000, 207, 218, 255),
        (15000, 184, 203, 255),
    ],
    float,
)


def blackbody(kelvin: float) -> RGB:
    """The colour of a body at this temperature, luminance 1."""
    colours = srgb_to_linear(_BLACKBODY[:, 1:] / 255)
    # Colour changes evenly with the reciprocal of temperature.
    at = [np.interp(-1 / kelvin, -1 / _BLACKBODY[:, 0], colours[:, channel]) for channel in range(3)]
    red, green, blue = np.asarray(at) / luminance(at)
    return float(red), float(green), float(blue)

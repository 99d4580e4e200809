"""Pictures of labels for people to look at: how each kind of field is coloured."""

from __future__ import annotations

import zlib
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import VISIBILITY, Array, Field, Kind, field

Picture = NDArray[np.uint8]

UNKNOWN = (72, 78, 104)  # where there is no label: a slate that no grey, colour map or id has
# Okabe & Ito's palette, told apart by colour-blind readers too; id 0 (none, background) is near black.
_PALETTE = (
    (16, 16, 16),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (200, 200, 200),
)
# The wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (IJCV 2011): colour at
# the turn's fraction; motion to the right is red, down yellow, left light blue, up violet.
_WHEEL_AT = np.array([0, 15, 21, 25, 36, 49, 55]) / 55
_WHEEL = np.array(
    [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0)], float
)
_TOLD_APART = 64  # ids whose colours are as far from each other as they can be
# Of categories, the class that is nearly everywhere: pale, and clear as a layer, so that it floods nothing.
_SEEN = VISIBILITY.index("visible")
_PALE = (226, 226, 220)
_TINTS = {"edges": 4, "motion": 6, "foreground": 3, "saliency": 3, "shadow": 5}  # numbers in the palette
_SATURATION = 99.0  # percentile at which a colour scale without natural ends saturates


def picture(name: str, values: Array, confidence: Array | None = None) -> Picture:
    """Colour one frame, or a whole clip on one common scale, of the field called `name`.

    values: as stored, without or with a leading frame axis. confidence: the label's confidence × 255, (y, x)
    or (frame, y, x); colours fade into `UNKNOWN` as trust goes to 0. Returns uint8 sRGB (y, x, 3) or
    (frame, y, x, 3); packed masks come out as wide as their bytes reach (a multiple of 8). Raises KeyError
    for an unknown field, ValueError for a field that is not a map or for values of another shape.
    """
    kind_of = field(name)
    values = np.asarray(values)
    if not (kind_of.is_map or kind_of.kind is Kind.BITS):
        raise ValueError(f"{name} has no value per pixel, so there is no picture of it")
    if values.ndim not in (len(kind_of.axes), 1 + len(kind_of.axes)):
        raise ValueError(
            f"{name}: values have shape {values.shape}, want ([frame,] {', '.join(kind_of.axes)})"
        )
    single = values.ndim == len(kind_of.axes)
    frames = values[None] if single else values
    colours = _coloured(kind_of, frames)
    if confidence is not None:
        trust = np.asarray(confidence, np.float32).reshape(*colours.shape[:3], 1) / 255
        colours = np.asarray(UNKNOWN) + trust * (colours.astype(np.float32) - UNKNOWN)
        colours = np.rint(colours).astype(np.uint8)
    return np.asarray(colours[0] if single else colours, np.uint8)


def overlay(name: str, values: Array, confidence: Array | None = None) -> Picture:
    """The field of one frame as a layer to lay over its image, uint8 sRGB and opacity (y, x, 4).

    A probability is a tint of its own as opaque as it is probable; other fields have the colours of `picture`.
    Where there is no label, or no trust in it, the layer is clear. Raises as `picture`.
    """
    colours = picture(name, values)
    kind_of = field(name)
    opacity = kind_of.valid(np.asarray(values)[None])[0].astype(np.float32)
    if kind_of.kind is Kind.PROBABILITY:
        opacity = np.asarray(values, np.float32) / 255
        colours = np.broadcast_to(np.array(tint(name), np.uint8), colours.shape)
    elif kind_of.kind is Kind.IDENTITY or kind_of.names[:1] == ("none",):
        opacity = (np.asarray(values) > 0).astype(np.float32)
    elif kind_of.names == VISIBILITY:
        opacity = opacity * (np.asarray(values) != _SEEN)
    if confidence is not None:
        opacity = opacity * np.asarray(confidence, np.float32) / 255
    return np.dstack([colours, _as_bytes(opacity)])


def tint(name: str) -> tuple[int, int, int]:
    """The colour that stands for a field: always the same, and not that of the built-in probabilities."""
    if name in _TINTS:
        return _PALETTE[_TINTS[name]]
    others = [k for k in range(1, len(_PALETTE) - 1) if k not in _TINTS.values()]
    return _PALETTE[others[zlib.crc32(name.encode()) % len(others)]]


def id_colours(ids: Array) -> Picture:
    """A colour (..., 3) for each integer id: always the same, neighbours far apart, 0 near black."""
    palette = _distinct()
    known, index = np.unique(np.asarray(ids, np.int64), return_inverse=True)
    table = palette[np.minimum(known, len(palette) - 1)]
    late = known >= len(palette)
    if late.any():  # steps of the golden ratio keep hues apart, however many ids there are
        hue = (known[late] * 0.6180339887498949) % 1 * 360
        saturation = 0.45 + 0.4 * ((known[late] * 0.7548776662466927) % 1)
        value = 0.6 + 0.4 * ((known[late] * 0.5698402909980532) % 1)
        hsv = np.stack([hue, saturation, value], -1).astype(np.float32)[None]
        table[late] = np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] * 255)
    return np.asarray(table[index.reshape(np.shape(ids))])


@cache
def _distinct() -> Picture:
    """(ids, 3) the palette, gone on with colours that are each as far from all before and from slate as can be.

    Distances are those of CIELAB, in which equal steps look equal.
    """
    levels = np.linspace(30, 250, 12).astype(np.uint8)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    taken = np.array([*_PALETTE, UNKNOWN, _PALE], np.uint8)
    lab, known = (
        cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0] for rgb in (candidates, taken)
    )
    least = np.linalg.norm(lab[:, None] - known, axis=-1).min(axis=1)
    out = [np.array(colour, np.uint8) for colour in _PALETTE]
    while len(out) < _TOLD_APART:
        best = int(least.argmax())
        out.append(candidates[best])
        least = np.minimum(least, np.linalg.norm(lab - lab[best], axis=-1))
    return np.stack(out)


def class_colours(name: str, numbers: Array) -> Picture:
    """The colours (..., 3) that `picture` gives to classes of a category."""
    colours = id_colours(numbers)
    if field(name).names == VISIBILITY:
        colours[np.asarray(numbers) == _SEEN] = _PALE
    return colours


def _coloured(kind_of: Field, frames: Array) -> Picture:
    """Colours (frame, y, x, 3) of values with a frame axis."""
    match kind_of.kind:
        case Kind.IMAGE:
            return np.asarray(frames, np.uint8)
        case Kind.PROBABILITY | Kind.CONFIDENCE:
            grey = np.repeat(frames[..., None].astype(np.uint8), 3, axis=-1)
            if kind_of.kind is Kind.CONFIDENCE:
                grey[frames == 0] = UNKNOWN
            return grey
        case Kind.METRIC:
            return _nearness(kind_of, frames)
        case Kind.RELATIVE:
            colours = _scale(frames.astype(np.float32), np.isfinite(frames))
        case Kind.DIRECTION:
            colours = _as_bytes((frames.astype(np.float32) + 1) / 2)
        case Kind.COORDINATE:
            colours = _as_bytes(frames.astype(np.float32))
        case Kind.DISPLACEMENT:
            colours = _wheel(frames.astype(np.float32))
        case Kind.IDENTITY:
            colours = id_colours(frames)
        case Kind.CATEGORY:
            colours = class_colours(kind_of.name, frames)
        case _:
            return _layers(frames)
    colours[~kind_of.valid(frames)] = UNKNOWN
    return colours


def _as_bytes(unit: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(np.nan_to_num(unit) * 255), 0, 255), np.uint8)


def _scale(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Picture:
    """Inferno from the lowest to the highest percent of the valid values; larger is brighter."""
    if not valid.any():
        return np.zeros((*values.shape, 3), np.uint8)
    low, high = np.percentile(values[valid], (100 - _SATURATION, _SATURATION))
    unit = (np.where(valid, values, low) - low) / max(high - low, 1e-6)
    flat = _as_bytes(unit).reshape(-1, 1)
    return np.asarray(cv2.applyColorMap(flat, cv2.COLORMAP_INFERNO)[..., ::-1].reshape(*values.shape, 3))


def _nearness(kind_of: Field, frames: Array) -> Picture:
    """Lengths on a logarithmic scale, nearer is brighter (as disparity); infinity is black."""
    valid = kind_of.valid(frames)
    log = -np.log(np.where(valid, frames, 1).astype(np.float32).clip(1e-6))
    colours = _scale(log, valid)
    colours[np.isinf(frames)] = 0
    colours[np.isnan(frames)] = UNKNOWN
    return colours


def _wheel(flow: NDArray[np.float32]) -> Picture:
    """Direction as hue, length as saturation, white where nothing moves."""
    known = np.nan_to_num(flow)
    length = np.linalg.norm(known, axis=-1)
    # At least a pixel at full colour, so that the noise of a still frame stays near white.
    full = max(float(np.percentile(length, _SATURATION)), 1.0)
    turn = np.arctan2(known[..., 1], known[..., 0]) / (2 * np.pi) % 1
    hue = np.stack([np.interp(turn, _WHEEL_AT, _WHEEL[:, channel]) for channel in range(3)], -1)
    saturation = np.minimum(length / full, 1)[..., None]
    return _as_bytes(1 - saturation + saturation * hue / 255)


def _layers(packed: Array) -> Picture:
    """Packed masks (frame, object, y, x_byte): the mean colour of all objects that cover a pixel.

    Row 0, the static scene, is the ground they stand on and is left dark.
    """
    masks = np.unpackbits(packed[:, 1:], axis=-1).astype(np.float32)
    colours = id_colours(np.arange(1, masks.shape[1] + 1)).astype(np.float32)
    covering = masks.sum(1)[..., None]
    mean = np.einsum("tnyx,nc->tyxc", masks, colours) / np.maximum(covering, 1)
    return _as_bytes(np.where(covering > 0, mean, id_colours(np.array(0))) / 255)

"""What the colours of a picture mean: a strip, wheel or ball with words, or a swatch a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from freelabels.generators.contract.fields import Array, Kind, field
from freelabels.generators.contract.pictures import UNKNOWN, Picture, class_colours, picture

STRIP = (12, 96)  # pixels, height and width
ROUND = 48  # pixels, side of a wheel or ball
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Legend:
    """picture: (y, x, 3), None if swatches say it all; low, high: what its ends are. swatches: colour and word."""

    picture: Picture | None = None
    low: str = ""
    high: str = ""
    swatches: tuple[tuple[Colour, str], ...] = ()


def legend(name: str, names: Mapping[int, str] | None = None) -> Legend:
    """The legend of a field's pictures. names: of its classes, where these are not the field's own.

    The last swatch is the slate of what has no label, where the field can lack one. Raises KeyError if unknown.
    """
    spec = field(name)
    none: tuple[tuple[Colour, str], ...] = ((UNKNOWN, "no label"),)
    ramp = np.linspace(0, 1, STRIP[1], dtype=np.float32)[None].repeat(STRIP[0], 0)
    match spec.kind:
        case Kind.IMAGE | Kind.TABLE:
            return Legend()
        case Kind.PROBABILITY:
            return Legend(picture(name, np.rint(ramp * 255).astype(np.uint8)), "0", "1", none)
        case Kind.CONFIDENCE:
            return Legend(picture(name, np.rint(ramp * 254 + 1).astype(np.uint8)), "0", "1", none)
        case Kind.RELATIVE:
            return Legend(picture(name, ramp), "far", "near", none)
        case Kind.METRIC:
            sky: tuple[Colour, str] = (0, 0, 0), "background"
            return Legend(picture(name, np.exp(3 * (1 - ramp))), "far", "near", (sky, *none))
        case Kind.DIRECTION:
            return Legend(picture(name, _ball()), "right: red, down: green", "away: blue", none)
        case Kind.COORDINATE:
            return Legend(None, swatches=(((255, 0, 0), "x"), ((0, 255, 0), "y"), ((0, 0, 255), "z"), *none))
        case Kind.DISPLACEMENT:
            return Legend(picture(name, _wheel()), "hue: direction", "pale: slow", none)
        case Kind.CATEGORY:
            table = names or dict(enumerate(spec.names))
            known = {k: word for k, word in table.items() if k != spec.invalid}
            return Legend(
                None, swatches=(*_swatches(name, known), *(none if spec.invalid is not None else ()))
            )
        case _:
            return Legend(None, swatches=_swatches(name, {0: "none", 1: "any"}))


def confidence_legend() -> Legend:
    """The legend of confidences drawn in colours of their own (cividis)."""
    ramp = np.linspace(0, 255, STRIP[1], dtype=np.uint8)[None].repeat(STRIP[0], 0)
    colours = np.array(cv2.applyColorMap(ramp, cv2.COLORMAP_CIVIDIS)[..., ::-1], np.uint8)
    return Legend(colours, "0", "1", ((UNKNOWN, "no label"),))


def _swatches(name: str, table: Mapping[int, str]) -> tuple[tuple[Colour, str], ...]:
    numbers = sorted(table)
    colours = class_colours(name, np.array(numbers, int)).tolist()
    return tuple(((r, g, b), table[n]) for n, (r, g, b) in zip(numbers, colours, strict=True))


def _disc() -> tuple[Array, Array, Array]:
    """x, y in -1 … 1 and whether within the unit circle."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, ROUND, dtype=np.float32)] * 2)
    return x, y, np.hypot(x, y) <= 1


def _ball() -> Array:
    x, y, inside = _disc()
    facing = -np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    return np.where(inside[..., None], np.stack([x, y, facing], -1), 0)


def _wheel() -> Array:
    x, y, inside = _disc()
    return np.where(inside[..., None], np.stack([x, y], -1) * 8, np.nan)

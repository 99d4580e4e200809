"""Depth pictures of an item → whether they can be used, and how many metres a stored number is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from freelabels.pipeline.media.depth_maps import read_depth
from freelabels.pipeline.sources.cameras.rig import Rig
from freelabels.pipeline.sources.cameras.told import Camera
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.layouts.known import MILLIMETRES, Layout, layout_of
from freelabels.pipeline.storage.uris import SourceError, read_bytes, sha256_of, why

SHAPE = 0.02  # by which the shape of depth may differ from that of colour
VIEW = 0.03  # by which its field of view may
ROOM = (0.25, 8.0)  # metres within which the median of a depth camera's picture lies
STREET = (2.0, 100.0)  # of laser scanners on cars
WORLD = (0.05, 300.0)  # of anything
ASSUMED_TRUST, DOUBTED_TRUST = (
    0.5,
    0.25,
)  # of depth whose unit was assumed, or gives a median that no sensor has
FOLDERS = ("rgb", "color", "colour")  # beside `depth`: a depth camera's pictures, though nothing tells which
WEAK_ICL = 6500  # counts of a median beyond which rgb/0.png and depth/0.png are ICL-NUIM's, not millimetres


@dataclass
class Depths:
    """What can be used of an item's depth. digests: of each frame's file, "" where it can't be used.

    unit: metres a stored number is; origin: who says so; trust: how far that is to be believed, 0..1.
    """

    digests: list[str] = field(default_factory=list)
    unit: float = MILLIMETRES
    origin: str = ""
    trust: float = 1.0
    refused: list[Refusal] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def depth_of(
    item: Item, sizes: Sequence[tuple[int, int] | None], known: Rig, options: SourceOptions
) -> Depths:
    """Read all depth pictures of an item once and tell their unit. sizes: of the colour pictures."""
    found, medians, metric = Depths(), list[float](), False
    shape: tuple[int, int] | None = None
    for uri in item.depth:
        if not uri:
            found.digests.append("")
            continue
        try:
            data = read_bytes(uri)
            values, metres = read_depth(uri, data)
        except (SourceError, OSError) as error:
            found.digests.append("")
            found.refused.append(Refusal(uri, why(error)))
            continue
        found.digests.append(sha256_of(data))
        metric, shape = metric or metres, (values.shape[0], values.shape[1])
        some = values[:: max(1, values.shape[0] // 64), :: max(1, values.shape[1] // 64)]
        if np.isfinite(some).any():
            medians.append(float(np.nanmedian(some)))
    size = next((size for size in sizes if size), None)
    if shape is None or size is None:
        return found
    deep, middle = _first(item.depth), float(np.median(medians)) if medians else 0.0
    folder, layout = deep.rpartition("/")[0], layout_of(item.uris[0], deep, item.beside)
    why_not = _unregistered(item, size, shape, known)
    if layout and layout.note:
        why_not = f"{layout.name} {layout.note}"
    if not why_not:
        told = _unit(item, metric, layout, middle, known, options)
        if told is None:
            why_not = "nothing tells its unit: give --depth-unit METRES (0.001 for millimetres) to use it"
        else:
            found.unit, found.origin, found.trust, bounds = told
    if why_not:
        found.digests = [""] * len(item.depth)
        found.remarks.append(Remark(folder, f"depth is left out, colour is used: {why_not}"))
        return found
    if found.trust < 1:
        found.remarks.append(
            Remark(folder, f"the unit of depth is {found.origin}; --depth-unit METRES says otherwise")
        )
    metres_away = middle * found.unit
    if medians and not bounds[0] <= metres_away <= bounds[1]:
        found.trust = min(found.trust, DOUBTED_TRUST)
        text = (
            f"half of the depth lies beyond {metres_away:.3g} m, which no such sensor sees ({found.origin}): "
            "is the unit right? See --depth-unit"
        )
        found.remarks.append(Remark(folder, text))
    return found


def _first(depth: Sequence[str]) -> str:
    """Of the depth pictures that there are."""
    return next(filter(None, depth))


def _unit(
    item: Item, metric: bool, layout: Layout | None, middle: float, known: Rig, options: SourceOptions
) -> tuple[float, str, float, tuple[float, float]] | None:
    """Metres a number, who says so, how far that is to be believed, and between what its median may lie."""
    if options.depth_unit is not None:
        return options.depth_unit, "given", 1.0, WORLD
    if metric:
        return 1.0, "metres, as the file stores floating point numbers", 1.0, WORLD
    told = known.depth_unit()
    if told is not None:
        return told[0], f"told by {told[1]}", 1.0, WORLD
    if layout is not None:
        sure = any(uri.endswith((".freiburg", "/associations.txt")) for uri in item.beside)
        if layout.name != "ICL-NUIM" or sure:
            bounds = STREET if "KITTI" in layout.name else ROOM
            return layout.unit, f"that of {layout.name}, whose layout this is", 1.0, bounds
        if middle >= WEAK_ICL:
            return (
                layout.unit,
                "assumed to be that of ICL-NUIM (÷ 5000), by names and range",
                ASSUMED_TRUST,
                ROOM,
            )
    colour, depth = (uri.split("/")[-2].lower() for uri in (item.uris[0], _first(item.depth)))
    if colour in FOLDERS and depth.startswith("depth"):
        return MILLIMETRES, "assumed to be millimetres", ASSUMED_TRUST, ROOM
    return None


def _unregistered(item: Item, size: tuple[int, int], shape: tuple[int, int], known: Rig) -> str:
    """Why depth pixels can't lie on the colour pixels they are stored for; "" if they can."""
    if abs(size[0] * shape[1] / (size[1] * shape[0]) - 1) > SHAPE:
        return f"it is {shape[1]} × {shape[0]} and colour {size[1]} × {size[0]}, so it isn't registered to colour"
    colour, depth = (_camera(known, kind) for kind in ("color", "depth"))
    if colour and depth:
        ratio = (colour.of_size(size).fx / size[1]) / (depth.of_size(shape).fx / shape[1])
        if abs(ratio - 1) > VIEW:
            return "its camera sees another field than the colour camera, so it isn't registered to colour"
    return ""


def _camera(known: Rig, kind: str) -> Camera | None:
    """The camera that files beside the pictures tell for "color" or "depth" alone."""
    return next((told.cameras[kind] for _, told in known.told if kind in told.cameras), None)

"""The contract: every array a shard may hold, with its type, shape, unit, frame and invalid value.

Storage, checks, pictures, heads and losses follow from a field's *kind*, so a new label is one `Field`
here (or one entry point in the group ``freelabels.fields``) and one generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from freelabels.generators.contract.schema import IMAGE_AXES as IMAGE_AXES
from freelabels.generators.contract.schema import Array as Array
from freelabels.generators.contract.schema import Field as Field
from freelabels.generators.contract.schema import Kind as Kind
from freelabels.generators.contract.vectors import channel_sum as channel_sum
from freelabels.generators.contract.vectors import converted as converted
from freelabels.generators.contract.vectors import lengths as lengths
from freelabels.ground.plugins import with_plugins

CONFIDENCE_SUFFIX = "_confidence"


def _map(name: str, kind: Kind, dtype: str, meaning: str, channels: str = "", **extra: Any) -> Field:
    if not channels:
        return Field(name, kind, dtype, IMAGE_AXES, (None, None), meaning, **extra)
    axes = (*IMAGE_AXES, channels)
    return Field(name, kind, dtype, axes, (None, None, len(channels)), meaning, **extra)


def _table(name: str, dtype: str, axes: Mapping[str, int | None], meaning: str, **extra: Any) -> Field:
    return Field(name, Kind.TABLE, dtype, tuple(axes), tuple(axes.values()), meaning, **extra)


VISIBILITY = ("undefined", "visible", "occluded", "out of view")
NAN = float("nan")
PIXELS: dict[str, Any] = {"unit": "px", "invalid": NAN}
SIGHT: dict[str, Any] = {"names": VISIBILITY, "invalid": 0}
MATRIX = {"row": 4, "column": 4}
WORLD = {"frame": "world (z up, metres)"}
EDGE_TYPES = ("none", "occluding", "crease", "contact", "shadow", "texture")
DOMAINS = ("real", "synthetic")

STEPS = (2, 4, 8)  # frames beyond the next to which renders tell flow, if asked


def _flow_over(steps: int) -> tuple[Field, ...]:
    """Flow over several frames, both ways, and what of it the other frame shows."""
    where = ((f"flow_{steps}", f"{steps} frames later"), (f"flow_backward_{steps}", f"{steps} frames before"))
    flow = tuple(
        _map(name, Kind.DISPLACEMENT, "float16", f"(u, v) displacement to the frame {there}", "uv", **PIXELS)
        for name, there in where
    )
    seen = tuple(
        _map(
            f"{name}_visibility",
            Kind.CATEGORY,
            "uint8",
            f"whether the surface point is seen in the frame {there}",
            **SIGHT,
        )
        for name, there in where
    )
    return (*flow, *seen)


# Axis "object" is indexed by instance id; row 0 is the static scene. Rows beyond a clip's objects are empty.
BUILT_IN = (
    _map("image", Kind.IMAGE, "uint8", "the frame, sRGB", "rgb", unit="sRGB"),
    _map(
        "edges", Kind.PROBABILITY, "uint8", "probability × 255 that an object or surface boundary passes here"
    ),
    _map("edge_type", Kind.CATEGORY, "uint8", "what makes the boundary", names=EDGE_TYPES),
    _map(
        "motion",
        Kind.PROBABILITY,
        "uint8",
        "probability × 255 that the surface moves independently of the camera",
    ),
    _map(
        "foreground",
        Kind.PROBABILITY,
        "uint8",
        "probability × 255 that the pixel belongs to a thing, moving or not, rather than to the place it is in",
    ),
    _map(
        "saliency",
        Kind.PROBABILITY,
        "uint8",
        "probability × 255 that the pixel is part of what stands out of the picture, seen by itself",
    ),
    _map(
        "shadow",
        Kind.PROBABILITY,
        "uint8",
        "probability × 255 that the strongest light is kept from the surface",
    ),
    _map("regions", Kind.IDENTITY, "uint16", "superpixel id, its own numbering in every frame"),
    _map(
        "disparity",
        Kind.RELATIVE,
        "float16",
        "relative inverse depth: nearer is larger; up to a positive scale and a shift per frame",
        invalid=NAN,
    ),
    _map(
        "depth",
        Kind.METRIC,
        "float32",
        "z-depth along the optical axis; +inf: background, NaN: unknown",
        unit="m",
        frame="camera",
        invalid=NAN,
    ),
    _map(
        "sensor_depth",
        Kind.METRIC,
        "float32",
        "z-depth as a depth camera measures it: noisy, its steps coarse, with holes; NaN: no reading",
        unit="m",
        frame="camera",
        invalid=NAN,
    ),
    _map(
        "normals",
        Kind.DIRECTION,
        "float16",
        "unit geometric surface normal facing the camera",
        "xyz",
        frame="camera (x right, y down, z forward)",
        invalid=0,
    ),
    _map("flow", Kind.DISPLACEMENT, "float16", "(u, v) displacement to the next frame", "uv", **PIXELS),
    _map(
        "flow_backward",
        Kind.DISPLACEMENT,
        "float16",
        "(u, v) displacement to the previous frame",
        "uv",
        **PIXELS,
    ),
    _map(
        "flow_visibility",
        Kind.CATEGORY,
        "uint8",
        "whether the surface point is seen in the next frame",
        **SIGHT,
    ),
    _map(
        "flow_backward_visibility",
        Kind.CATEGORY,
        "uint8",
        "whether the surface point is seen in the previous frame",
        **SIGHT,
    ),
    *(field for steps in STEPS for field in _flow_over(steps)),
    _map("instance", Kind.IDENTITY, "uint16", "object id, stable over a clip; 0: background"),
    _map("part", Kind.IDENTITY, "uint16", "link id within the object, 1 = base; 0: background"),
    _map(
        "semantic", Kind.CATEGORY, "uint8", "class id; its names stand in the array's attributes", invalid=255
    ),
    _map(
        "object_coordinates",
        Kind.COORDINATE,
        "float16",
        "position in the object's own frame, scaled into (0, 1) by its bounding box",
        "xyz",
        frame="object",
        invalid=0,
    ),
    Field(
        "amodal",
        Kind.BITS,
        "uint8",
        ("object", "y", "x_byte"),
        (None, None, None),
        "full extent of each object, seen or not; bits packed along x, most significant first",
    ),
    _table("object_visible", "float32", {"object": None}, "visible share of the amodal mask"),
    _table(
        "object_box",
        "float32",
        {"object": None, "corner": 4},
        "visible box (x0, y0, x1, y1), upper ends exclusive; NaN: not seen",
        unit="px",
    ),
    _table(
        "object_pose", "float64", {"object": None, **MATRIX}, "object → world; NaN: no such object", **WORLD
    ),
    _table(
        "object_velocity",
        "float32",
        {"object": None, "velocity": 6},
        "velocity of its centre of mass along x, y, z (m/s) and about them (rad/s); NaN: no such object",
        **WORLD,
    ),
    _table(
        "part_pose",
        "float64",
        {"object": None, "link": None, **MATRIX},
        "part → world, indexed by part id; NaN: no such part",
        **WORLD,
    ),
    _table(
        "part_velocity",
        "float32",
        {"object": None, "link": None, "velocity": 6},
        "velocity of its origin along x, y, z (m/s) and of the part about it (rad/s); NaN: no such part",
        **WORLD,
    ),
    _table("object_contact", "uint8", {"object": None, "other": None}, "1 where two objects touch"),
    _table(
        "camera_K",
        "float64",
        {"k_row": 3, "k_column": 3},
        "intrinsics; the centre of the pixel in row i, column j is (j + 0.5, i + 0.5)",
        unit="px",
    ),
    _table(
        "camera_distortion",
        "float64",
        {"coefficient": 5},
        "lens distortion k1, k2, p1, p2, k3 (Brown–Conrady, as OpenCV has them), beside camera_K; "
        "0 or no such column: none known",
    ),
    _table(
        "camera_shutter",
        "float64",
        {"exposure_readout": 2},
        "seconds that a row is exposed, and from the upper border's time to the lower's (rolling shutter)",
        unit="s",
    ),
    _table(
        "camera_velocity",
        "float64",
        {"velocity": 6},
        "velocity of its centre along x, y, z (m/s) and about it (rad/s) while the frame is taken",
        frame="world",
    ),
    _table(
        "camera_pose",
        "float64",
        MATRIX,
        "camera → world, OpenCV axes; NaN: unknown",
        frame="world",
    ),
    Field("baseline", Kind.TABLE, "float64", (), (), "from the camera to that of the right view", unit="m"),
    _map("right", Kind.IMAGE, "uint8", "the rectified right view of a stereo pair, sRGB", "rgb", unit="sRGB"),
    Field(
        "sound",
        Kind.TABLE,
        "int16",
        ("sample",),
        (None,),
        "samples from the frame's time to the next frame's, mono, 16 kHz, 32767 = full scale; then 0",
        trusted=True,
    ),
    Field(
        "sound_texture",
        Kind.TABLE,
        "float16",
        ("statistic",),
        (509,),
        "statistics of the sound around the frame, by cochlear band; NaN: none",
        invalid=NAN,
        trusted=True,
    ),
    _table(
        "speed",
        "float32",
        {"mover": 2},
        "median displacement to the next frame: of all that is seen, of what moves of its own; NaN: unknown",
        unit="px",
        invalid=NAN,
    ),
    Field("clip", Kind.TABLE, "int32", (), (), "index of the frame's clip in the shard's clip table"),
    Field("frame_index", Kind.TABLE, "int32", (), (), "index of the frame in its source clip"),
    Field("time", Kind.TABLE, "float64", (), (), "time of the frame in its source", unit="s"),
    Field("domain", Kind.TABLE, "uint8", (), (), "0 real, 1 synthetic", names=DOMAINS),
    Field("cluster", Kind.TABLE, "int32", (), (), "cluster that a run's features gave its clip", invalid=-1),
)


@cache
def fields() -> Mapping[str, Field]:
    """All known fields by name: the built-in ones and those of installed plug-ins, without confidences."""
    return with_plugins(BUILT_IN, "freelabels.fields")


def field(name: str) -> Field:
    """The field called `name`; ``x_confidence`` is derived from field ``x``. Raises KeyError if unknown."""
    known = fields()
    if name in known:
        return known[name]
    label = name.removesuffix(CONFIDENCE_SUFFIX)
    if label != name and label in known:
        meaning = f"how far {label} can be trusted, × 255; 0 = ignore"
        if known[label].is_label:
            return _map(name, Kind.CONFIDENCE, "uint8", meaning, invalid=0)
        if known[label].trusted:
            return Field(name, Kind.TABLE, "uint8", (), (), meaning, invalid=0)
    raise KeyError(f"there is no field called {name!r}")


def known_field(name: str) -> Field | None:
    """The field called `name`; None if this version does not know it."""
    try:
        return field(name)
    except KeyError:
        return None


def confidence_name(label: str) -> str:
    """The name of the confidence field of a label."""
    return label + CONFIDENCE_SUFFIX


def as_stored(name: str, values: DTypeLike | Array) -> Array:
    """`values` in the dtype the contract stores for field `name`, contiguous."""
    return converted(np.asarray(values), field(name).dtype)


def as_bytes(probability: Array) -> NDArray[np.uint8]:
    """Probabilities in [0, 1], of any shape, as stored: uint8 of that shape, × 255 and rounded."""
    return np.asarray(np.clip(np.rint(np.asarray(probability) * 255.0), 0, 255).astype(np.uint8))

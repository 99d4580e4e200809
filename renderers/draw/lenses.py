"""What the camera's lens is like, drawn for a clip."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.values import rounded
from freelabels.renderers.scene.scene import Camera, lens_of

_number = partial(rounded, digits=9)
SQUARE = (256, 256)  # no picture's corners lie farther out than a square one's
WEAKER = 0.9  # of its distortion, a lens whose last circle doesn't reach them
HIGHER = 0.2  # of the distortion that r⁴ and r⁶ add at most


def with_lens(camera: Camera, rng: np.random.Generator, ranges: SceneRanges) -> Camera:
    """The camera with a lens: distortion and principal point."""
    bent, p1, p2 = rng.uniform(*ranges.distortion), *rng.uniform(*ranges.tangential, size=2)
    off_centre = rng.uniform(*ranges.off_centre, size=2)
    shares = rng.uniform(-HIGHER, HIGHER, size=2)
    if rng.random() >= ranges.distorted:
        return camera
    square = 2 * float(np.tan(np.radians(camera.fov) / 2)) ** 2  # r² in the corner of a square picture
    while True:
        drawn = dataclasses.replace(
            camera,
            off_centre=(_number(off_centre[0]), _number(off_centre[1])),
            distortion=(
                _number(bent * (1 - shares[0] - shares[1]) / square),
                _number(bent * shares[0] / square**2),
                _number(p1),
                _number(p2),
                _number(bent * shares[1] / square**3),
            ),
        )
        if lens_of(drawn, SQUARE).covers(SQUARE):
            return drawn
        bent, p1, p2 = WEAKER * bent, WEAKER * p1, WEAKER * p2


def with_shutter(camera: Camera, rng: np.random.Generator, ranges: SceneRanges, fps: int) -> Camera:
    """The camera with a shutter that is open for a while, row after row or all at once, and a lens that is."""
    readout, exposure = min(rng.uniform(*ranges.readout), 1 / fps), rng.uniform(*ranges.exposure) / fps
    aperture, focus = rng.uniform(*ranges.aperture), rng.uniform(*ranges.focus) * camera.distance
    rolls, blurs, opens = rng.random(3) < (ranges.rolling, ranges.blurred, ranges.defocused)
    return dataclasses.replace(
        camera,
        readout=_number(readout) if rolls else 0.0,
        exposure=_number(exposure) if blurs else 0.0,
        aperture=_number(aperture) if opens else 0.0,
        focus=_number(focus) if opens else 1.0,
    )

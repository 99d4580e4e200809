"""What looks at a scene beside the camera: a second camera, a projector of dots, a sensor of depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dots:
    """A projector of dots midway between two cameras, as those of active stereo have it.

    pitch: between the cells that hold a dot or none, as a tangent. power: irradiance of a dot's middle at one
    metre, in units of `Light.irradiance`. seed: which of all such patterns.
    """

    pitch: float
    power: float
    seed: int


@dataclass(frozen=True)
class DepthSensor:
    """A structured-light sensor of depth whose readings are registered to the camera.

    baseline: metres along the camera's x axis to its projector. quantum: step of inverse depth, 1 / metres. reach:
    the nearest and the farthest that it reads, metres.
    """

    baseline: float
    quantum: float
    reach: tuple[float, float]


@dataclass(frozen=True)
class Rig:
    """What a camera carries besides. baseline: metres along its x axis to a second camera, 0: none."""

    baseline: float = 0.0
    dots: Dots | None = None
    sensor: DepthSensor | None = None


def beside(pose: NDArray[np.float64], metres: float) -> NDArray[np.float64]:
    """The pose (4, 4) of a camera that looks the same way, so far along the x axis."""
    out = np.array(pose, np.float64)
    out[:3, 3] += metres * out[:3, 0]
    return out

"""What strikes what, when and how hard: told by the engine's contact forces, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from freelabels.renderers.engines.bullet import pybullet

SLIGHT = 0.03  # m/s that a blow changes an object's speed by at least; less is heard as nothing
STEADY = 2.0  # a force so many times that of the step before is a blow, less is a thing at rest or pushed

Pair = tuple[int, int]


@dataclass(frozen=True)
class Impact:
    """One blow between two objects.

    time: seconds since the first frame. one, other: instance ids, 0 the place itself. impulse: N s. speed: m/s by
    which it changes the lighter one's speed. place: of the contact, world, metres.
    """

    time: float
    one: int
    other: int
    impulse: float
    speed: float
    place: tuple[float, float, float]


@dataclass
class Listener:
    """Collects the blows of a simulation; `mass` (kg) by the engine's body number, 0 for what never moves."""

    object_of: Mapping[int, int]
    mass: Mapping[int, float]
    engine: int
    impacts: list[Impact] = field(default_factory=list)
    _before: dict[Pair, float] = field(default_factory=dict)

    def listen(self, time: float, step: float) -> None:
        """After a step of `step` seconds that ended at `time`."""
        impulses: dict[Pair, float] = {}
        places: dict[Pair, tuple[float, tuple[float, float, float]]] = {}
        for point in pybullet.getContactPoints(physicsClientId=self.engine) or ():
            pair, impulse = (point[1], point[2]), point[9] * step
            if impulse <= 0:
                continue
            impulses[pair] = impulses.get(pair, 0.0) + impulse
            if impulse > places.get(pair, (0.0,))[0]:
                places[pair] = impulse, point[5]
        for pair, impulse in impulses.items():
            blow = impulse - STEADY * self._before.get(pair, 0.0)
            light = min((mass for body in pair if (mass := self.mass.get(body, 0.0)) > 0), default=0.0)
            one, other = (self.object_of[body] for body in pair)
            if light and one != other and blow > SLIGHT * light:
                self.impacts.append(Impact(time, one, other, blow, blow / light, places[pair][1]))
        self._before = impulses

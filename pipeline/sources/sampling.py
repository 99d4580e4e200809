"""Which frames of a shot are taken, and how they are dealt out to clips."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from itertools import pairwise

UNEVEN, CONSTANT = 0.1, 0.9  # at a constant rate this share of steps differs by no more from the usual one
HOLE = 1.75  # usual steps from which on a frame is missing
SOON = 4  # frames within which time must be back for a stamp to be no more than wrong


def sample(times: Sequence[float], fps: float | None) -> list[int]:
    """Numbers of the frames to take for `fps` a second: for each tick the nearest in time, none twice.

    times: seconds, rising, however uneven. None: all frames.
    """
    if fps is None:
        return list(range(len(times)))
    taken: list[int] = []
    tick = 0
    for index, time in enumerate(times):
        due = times[0] + tick / fps
        following = times[index + 1] if index + 1 < len(times) else 2 * time - times[index - 1]
        if abs(time - due) <= abs(following - due) and time - due > -0.5 / fps:
            taken.append(index)
            tick = max(tick, math.floor((time - times[0]) * fps + 0.5)) + 1
    return taken


def stamps_that_fall(times: Sequence[float]) -> tuple[list[int], set[int]]:
    """Numbers of the frames at which time begins again, and of those whose stamps are no later than one before.

    Time begins again where it falls for good: recordings were joined. Where it is soon back, the stamp was wrong.
    """
    falls: list[int] = []
    timeless: set[int] = set()
    latest = -math.inf
    for number, time in enumerate(times):
        if time > latest:
            latest = time
        elif time < latest and max(times[number : number + SOON]) <= latest:
            falls.append(number)
            latest = time
        else:
            timeless.add(number)
    return falls, timeless


def holes(
    times: Sequence[float], keys: Sequence[bool], known: Container[int] = ()
) -> tuple[list[int], set[int], int]:
    """Numbers of the frames after holes, of those made from missing ones, and how many are missing.

    There are holes only in recordings of a constant rate. keys: which frames need no others. known: frames after
    gaps that are known without this.
    """
    steps = [later - earlier for earlier, later in pairwise(times)]
    rising = sorted(step for step in steps if step > 0)
    usual = rising[len(rising) // 2] if rising else 0.0
    if sum(abs(step - usual) <= UNEVEN * usual for step in rising) < CONSTANT * len(rising):
        return [], set(), 0
    after = [
        number + 1
        for number, step in enumerate(steps)
        if usual and step > HOLE * usual and number + 1 not in known
    ]
    spoilt: set[int] = set()
    for number in after:
        while number < len(times) and not keys[number]:
            spoilt.add(number)
            number += 1
    return after, spoilt, sum(round(steps[number - 1] / usual) - 1 for number in after)


def parts_of(count: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of as few parts as possible, none longer than `longest`, their lengths nearly equal."""
    parts = -(-count // longest)
    return list(pairwise(round(k * count / parts) for k in range(parts + 1)))

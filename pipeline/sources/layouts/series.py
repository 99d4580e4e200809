"""Names of pictures in one folder → runs of frames that may follow each other, by the numbers in their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

NUMBER = re.compile(r"\d{9,}\.\d+|\d+")
MIN_SEQUENCE = 3  # numbered images from which on a folder may be a sequence
MAX_SEQUENCE = 512  # frames of one item; a longer sequence is examined in pieces
LARGEST_STEP = 10  # between the numbers of frames; beyond, pictures taken from a video are too far apart
COMMON_STEP = 0.5  # share of the steps that are equal, from which on frames may be further apart than one
STAMPS = {10: 1.0, 13: 1e-3, 16: 1e-6, 19: 1e-9}  # digits of a time since 1970 → seconds a unit
SLOWEST = 2.0  # seconds between pictures that may be frames
PAUSE = 4.0  # times the usual time between frames that end a run


@dataclass(frozen=True)
class Run:
    """Pictures that may be frames of one sequence, or a single one. times: (names,) seconds, () if not told.

    least: so many frames in a row make a sequence, if pixels agree.
    """

    names: tuple[str, ...]
    times: tuple[float, ...] = ()
    least: int = MIN_SEQUENCE


def runs(names: Iterable[str], least: int = MIN_SEQUENCE) -> list[Run]:
    """Names of one folder as runs of up to 512 frames, the others alone.

    Names that differ in one number follow each other by it; the steps may be of any one size. A number that is a
    time (seconds, milli-, micro- or nanoseconds since 1970, or seconds with decimals) gives the times too. least:
    so many frames in a row may be a sequence.
    """
    found = []
    for members in _series(names).values():
        found += _timed(members) or _counted(members, least)
    return [piece for run in found for piece in _pieces(run)]


def stamp(name: str) -> float | None:
    """Seconds since 1970 that a file's name gives, or None."""
    for number in NUMBER.findall(_stem(name)):
        seconds = _seconds(number)
        if seconds is not None:
            return seconds
    return None


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _seconds(number: str) -> float | None:
    whole, dot, _ = number.partition(".")
    if dot:
        return float(number)
    return int(whole) * STAMPS[len(whole)] if len(whole) in STAMPS and whole[0] in "123" else None


def _series(names: Iterable[str]) -> dict[object, list[tuple[str, str]]]:
    """(number that tells them apart, name) of those names that are alike but for it."""
    alike: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
    for name in sorted(names):
        stem = _stem(name)
        numbers = NUMBER.findall(stem)
        texts = (*NUMBER.split(stem), name[len(stem) :], str(len(numbers)))
        alike.setdefault(texts if numbers else (name,), []).append((numbers, name))
    series: dict[object, list[tuple[str, str]]] = {}
    for texts, members in alike.items():
        columns = list(zip(*(numbers for numbers, _ in members), strict=True))
        varying = [k for k, column in enumerate(columns) if len(set(column)) > 1]
        spot = varying[-1] if varying else len(columns) - 1
        for numbers, name in members:
            rest = tuple(n for k, n in enumerate(numbers) if k != spot)
            series.setdefault((texts, rest), []).append((numbers[spot] if numbers else "", name))
    return series


def _counted(members: Sequence[tuple[str, str]], shortest: int) -> list[Run]:
    """Runs of names whose numbers rise by the same step; where there is no usual step, by one."""
    ordered = sorted((float(number) if number else 0.0, name) for number, name in members)
    steps = Counter(b - a for (a, _), (b, _) in pairwise(ordered))
    step, often = max(steps.items(), key=lambda one: (one[1], -one[0])) if steps else (1.0, 0)
    common = 0 < step <= LARGEST_STEP and often >= max(COMMON_STEP * (len(ordered) - 1), MIN_SEQUENCE - 1)
    usual = step if common else 1.0
    whole: list[list[str]] = []
    for position, (number, name) in enumerate(ordered):
        if position == 0 or number - ordered[position - 1][0] != usual:
            whole.append([])
        whole[-1].append(name)
    # A frame that is missing ends a run; what is left of a long series between two gaps are frames all the same.
    least = 2 if any(len(run) >= MIN_SEQUENCE for run in whole) else shortest
    made: list[Run] = []
    for run in whole:
        made += [Run(tuple(run), (), least)] if len(run) >= least else [Run((name,)) for name in run]
    return made


def _timed(members: Sequence[tuple[str, str]]) -> list[Run]:
    """Runs of names whose numbers are times, none if they aren't."""
    stamps = [(_seconds(number), name) for number, name in members]
    known = sorted((seconds, name) for seconds, name in stamps if seconds is not None)
    if len(known) < len(stamps) or len(known) < MIN_SEQUENCE:
        return []
    usual = median(b - a for (a, _), (b, _) in pairwise(known))
    if not 0 < usual <= SLOWEST:
        return []
    whole: list[list[tuple[float, str]]] = []
    for position, (seconds, name) in enumerate(known):
        if position == 0 or seconds - known[position - 1][0] > PAUSE * usual:
            whole.append([])
        whole[-1].append((seconds, name))
    least = 2 if any(len(run) >= MIN_SEQUENCE for run in whole) else MIN_SEQUENCE
    return [
        run
        for part in whole
        for run in (
            [Run(tuple(n for _, n in part), tuple(s for s, _ in part), least)]
            if len(part) >= least
            else [Run((n,), (s,)) for s, n in part]
        )
    ]


def _pieces(run: Run) -> list[Run]:
    """A long run in pieces."""
    starts = range(0, len(run.names), MAX_SEQUENCE)
    return [Run(run.names[k : k + MAX_SEQUENCE], run.times[k : k + MAX_SEQUENCE], run.least) for k in starts]

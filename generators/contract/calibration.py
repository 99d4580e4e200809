"""Turning a detector's raw trust score into a probability that its label is right.

`calibration.json` holds one monotone map per detector, fitted by `freelabels calibrate` on the project's own
renders, whose truth is exact and free, and, where that helps, on counts taken on real footage with truth
(`footage_counts.json`). A detector without a map keeps its raw score. A label that says yes or no (a boundary,
moving, foreground) has a map for each: yes is rarer, and harder to be right about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array, as_bytes

STORED = "calibration.json"
LEVELS = 65535  # scores are read in so many steps: a table of them is many times as fast as interpolation


@dataclass(frozen=True)
class ConfidenceMap:
    """Raw scores in [0, 1], increasing, and the confidence at each, not decreasing; linear in between."""

    score: tuple[float, ...]
    confidence: tuple[float, ...]

    def __call__(self, score: Array) -> Array:
        """Confidence of raw scores of any shape; flat beyond the last knot."""
        return np.interp(score, self.score, self.confidence)


Maps = Mapping[str, ConfidenceMap]
_chosen: ContextVar[Maps | None] = ContextVar("maps", default=None)


def maps_from_json(text: str) -> dict[str, ConfidenceMap]:
    """The maps by detector name in the text of a `calibration.json`."""
    return {
        name: ConfidenceMap(tuple(m["score"]), tuple(m["confidence"]))
        for name, m in json.loads(text)["maps"].items()
    }


@cache
def stored_maps() -> Maps:
    """The maps that come with the package."""
    stored = files("freelabels.generators.contract").joinpath(STORED)
    return maps_from_json(stored.read_text()) if stored.is_file() else {}


def maps_in_use() -> Maps:
    """The maps that detectors use here: the stored ones, or those of `using`."""
    chosen = _chosen.get()
    return stored_maps() if chosen is None else chosen


@contextmanager
def using(maps: Maps) -> Iterator[None]:
    """Inside, detectors use these maps instead of the stored ones; with ``{}`` they give raw scores."""
    token = _chosen.set(maps)
    try:
        yield
    finally:
        _chosen.reset(token)


def map_name(detector: str, yes: bool = False) -> str:
    """The name of a detector's map: for all its labels or those that say no, or for those that say yes."""
    return f"{detector}: yes" if yes else detector


def detector_of(name: str) -> str:
    """The detector that a map of this name belongs to."""
    return name.removesuffix(map_name("", yes=True))


def calibration_digest(detector: str) -> str | None:
    """16 hexadecimal digits that change with the maps of a detector that are in use; None if it has none."""
    maps = maps_in_use()
    names = [name for yes in (False, True) if (name := map_name(detector, yes)) in maps]
    described = json.dumps({name: asdict(maps[name]) for name in names})
    return hashlib.sha256(described.encode()).hexdigest()[:16] if names else None


def calibrated(detector: str, score: Array, yes: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Confidence × 255 for raw scores in [0, 1] of the named detector; a score of 0 or NaN gives 0 (= ignore).

    yes: where the label says yes, for labels that say yes or no; of the score's shape.
    """
    score = np.fmin(
        np.fmax(np.asarray(score, np.float32), 0), 1
    )  # of a number and NaN, these take the number
    level = np.ceil(score * np.float32(LEVELS)).astype(np.uint16)  # up, so that only 0 is 0
    known = maps_in_use()
    mapped = _table(known.get(map_name(detector)))[level]
    if yes is not None:
        mapped = np.where(yes, _table(known.get(map_name(detector, True)))[level], mapped)
    return np.asarray(mapped, np.uint8)


@lru_cache(maxsize=64)
def _table(confidence: ConfidenceMap | None) -> NDArray[np.uint8]:
    """Confidence × 255 (`LEVELS` + 1,) of each level of the score, by a map or, without one, as it is."""
    score = np.arange(LEVELS + 1) / LEVELS
    table = as_bytes(score if confidence is None else confidence(score))
    table[0] = 0
    return table

"""How much motion hangs on each of its constants: J on the chosen half as the product stores it, each ± 30 %."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.labels.footage import Mask, moving_clips
from benchmarks.labels.metrics import Row
from benchmarks.labels.motion import DEFAULTS, region_score, stored
from freelabels.generators import motion
from freelabels.generators.contract.clip import Clip
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.motion import IndependentMotion
from freelabels.generators.tools import border_distance, camera_motion

CONSTANTS = {
    motion: ("FLOW_NOISE", "COLOUR_NOISE", "NOISE_REACH", "MISSED", "COMMON", "LONGER", "TRUSTED"),
    border_distance: ("SMOOTH", "COMMON", "ALIKE"),
    camera_motion: ("OFF", "SPREAD", "AGREEING", "SINE", "WIDER"),
}
FACTORS = (0.7, 1.3)


def sensitivity_rows(data: Path | None) -> Iterator[Row]:
    """Mean J of the chosen clips with the constants as they are, then with each, and each parameter, changed."""
    clips = []
    for _, frames, truth in moving_clips(data, "chosen"):
        bare, masks = stored(frames, truth)
        assert masks is not None
        clips.append((replace(bare.with_labels(DenseInverseSearch()(bare)), between=()), masks))
    if not clips:
        return
    about: Row = {"label": "motion", "data": f"chosen half, {DEFAULTS}", "metric": "J, mean of clips"}
    usual = IndependentMotion()
    yield {**about, "method": "as it is", "value": _mean(usual, clips)}
    for field in fields(usual):
        value = getattr(usual, field.name)
        if isinstance(value, float):
            for factor in FACTORS:
                changed = IndependentMotion(**{**asdict(usual), field.name: value * factor})
                yield {**about, "method": f"{field.name} × {factor}", "value": _mean(changed, clips)}
    for module, names in CONSTANTS.items():
        for name in names:
            for factor in FACTORS:
                with _changed(module, name, factor):
                    value = _mean(usual, clips)
                where = module.__name__.rpartition(".")[2]
                yield {**about, "method": f"{where}.{name} × {factor}", "value": value}


def _mean(detector: IndependentMotion, clips: list[tuple[Clip, Mask]]) -> float:
    scores = []
    for clip, masks in clips:
        made = detector(clip)
        moving = (made["motion"] > 127) & (made["motion_confidence"] > 0)
        scores.append(np.mean([region_score(*pair) for pair in zip(moving, masks, strict=True)]))
    return float(np.mean(scores))


@contextmanager
def _changed(module: ModuleType, name: str, factor: float) -> Iterator[None]:
    usual = getattr(module, name)
    setattr(module, name, usual * factor)
    try:
        yield
    finally:
        setattr(module, name, usual)

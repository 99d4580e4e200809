"""Figures of a label that a shard keeps beside it."""

import numpy as np
import pytest

from freelabels.generators.contract.fields import field
from freelabels.pipeline.shards.statistics import BINS, statistics


@pytest.mark.parametrize("name", ["depth", "disparity", "flow", "normals", "edges"])
@pytest.mark.parametrize("value", [0.0625, 0.5, 1.0, 4.0, 1000.0])
def test_a_constant_label_has_figures_like_any_other(name: str, value: float) -> None:
    spec = field(name)
    trailing = {"flow": (2,), "normals": (3,)}.get(name, ())
    values = np.full((2, 16, 16, *trailing), value, spec.dtype)
    if name == "normals":
        values[:] = (0, 0, -1)
    figures = statistics(name, values, np.full((2, 16, 16), 255, np.uint8))
    low, high = figures["range"]
    assert len(figures["histogram"]) == BINS and sum(figures["histogram"]) > 0
    assert low <= figures["mean"] <= high or figures["mean"] == pytest.approx(low, rel=1e-5)

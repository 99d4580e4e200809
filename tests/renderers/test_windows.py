"""Big pictures are made window by window: the windows tile the picture and leave no trace in it."""

from __future__ import annotations

import numpy as np
import pytest

from freelabels.generators.contract.fields import confidence_name
from freelabels.renderers import render
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.windows import MARGIN, whole, windows
from freelabels.renderers.scene.assets import library


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (100, 40), (2160, 3840), (3, 600_000), (5000, 64)])
def test_windows_tile_the_picture_with_margins(size: tuple[int, int]) -> None:
    found = windows(size, pixels=20_000)
    kept = np.concatenate([np.arange(w.first, w.last) for w in found])
    np.testing.assert_array_equal(kept, np.arange(size[0]))
    for window in found:
        assert window.top in (0, window.first - MARGIN) and window.bottom in (size[0], window.last + MARGIN)
        assert window.top % 8 == 0  # patterns of eight rows go on
        assert window.shape[0] * size[1] <= 20_000 or window.last - window.first <= MARGIN
    assert windows((256, 256)) == [whole((256, 256))]


@pytest.mark.slow
@pytest.mark.renders
def test_windows_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    assets, size = library(), (120, 90)
    scene, motion = render.find_scene(3, 1, SceneRanges(families={"table": 1}), assets, 2, size)
    at_once = render.render_clip(scene, assets, 2, size, simulation=motion).columns
    monkeypatch.setattr(render, "windows", lambda size: windows(size, pixels=60 * 90))
    assert len(render.windows(size)) > 3
    in_windows = render.render_clip(scene, assets, 2, size, simulation=motion).columns
    assert in_windows.keys() == at_once.keys()
    for name in at_once.keys() - {"image"}:
        assert in_windows[name].tobytes() == at_once[name].tobytes(), (name, confidence_name(name))
    # The light of windows may differ in the last digits, where rays cross their borders.
    apart = np.abs(in_windows["image"].astype(int) - at_once["image"].astype(int))
    assert np.percentile(apart, 99) <= 1 and apart.mean() < 0.05

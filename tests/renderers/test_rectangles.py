"""Which pixels may see a box: never one fewer than those whose rays meet what lies in it."""

from __future__ import annotations

import numpy as np
import pytest

from freelabels.generators.contract.geometry import intrinsics
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Parts, covers, pose_surfaces
from freelabels.renderers.engines.raycast import pose as pose_geometries
from freelabels.renderers.engines.rectangles import reaching, rectangles
from tests.renderers.test_render_labels import box, pose


@pytest.mark.parametrize("bent", [(0.0, 0.0, 0.0, 0.0, 0.0), (-0.05, 0.01, 0.001, -0.002, 0.0)])
def test_a_box_is_seen_only_by_the_pixels_of_its_rectangle(bent: tuple[float, ...]) -> None:
    """Before the camera, at the border of the picture, around the camera's plane, and behind it."""
    size, meshes = (40, 56), [box(), box(), box(), box()]
    poses = np.array(
        [pose((0.3, -0.2, 3.0)), pose((-2.1, 0.9, 3.0)), pose((0.4, 0.0, 0.2)), pose((0, 0, -3))]
    )
    tables = Parts(*(np.arange(4, dtype=np.int32) for _ in range(4)))
    still = pose_geometries(meshes[:1], poses[:1], np.zeros(1, np.int32), (0, 0, 0))
    surfaces = pose_surfaces(meshes, poses, tables, (0, 0, 0), still)
    lens = Lens(intrinsics(40.0, size[1], size[0]), bent)
    places = rectangles(surfaces.geometry_box, lens, size)
    near = reaching(surfaces, np.eye(4), lens, size)
    assert near is not None
    towards = lens.world_rays(np.eye(3), size)
    for number, (top, bottom, left, right) in enumerate(places):
        within = np.zeros(size, bool)
        within[top:bottom, left:right] = True
        hit = covers(surfaces, number, towards).reshape(size)
        assert hit.any() == (number != 3) == within.any()
        assert within[hit].all() and (number == 0 or near[hit].all())

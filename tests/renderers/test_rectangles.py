"""Which pixels may see a box: never one fewer than those whose rays meet what lies in it."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from freelabels.generators.contract.geometry import intrinsics
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.raycast import Parts, covers, pose_surfaces
from freelabels.renderers.engines.raycast import pose as pose_geometries
from freelabels.renderers.engines.rectangles import rectangles
from freelabels.renderers.engines.screens import reaching
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.surfaces.meshes import as_mesh
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
    near = reaching(surfaces, np.eye(4), lens, whole(size))
    assert near is not None
    towards = lens.world_rays(np.eye(3), size)
    for number, (top, bottom, left, right) in enumerate(places):
        within = np.zeros(size, bool)
        within[top:bottom, left:right] = True
        hit = covers(surfaces, number, towards).reshape(size)
        assert hit.any() == (number != 3) == within.any()
        assert within[hit].all() and (number == 0 or near[hit].all())


def test_what_reaches_behind_the_camera_is_seen_where_its_front_is() -> None:
    """A long box to the right passes the camera: rays to the left of it need not ask."""
    size, lens = (40, 56), Lens(intrinsics(60.0, 56, 40))
    bar = as_mesh(trimesh.creation.box((0.4, 0.4, 8.0)))
    parts = Parts(*np.zeros((4, 1), np.int32))
    surfaces = pose_surfaces([bar], np.array([pose((0.5, 0, 0))]), parts, (0, 0, 0))
    ((top, bottom, left, right),) = rectangles(surfaces.geometry_box, lens, size)
    hit = covers(surfaces, 0, lens.world_rays(np.eye(3), size)).reshape(size)
    rows, columns = np.nonzero(hit)
    assert size[1] / 2 < left <= columns.min() <= columns.max() < right == size[1]
    assert top <= rows.min() <= rows.max() < bottom

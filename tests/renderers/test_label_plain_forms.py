"""What labels compute where it is needed alone is what the plain form says everywhere, bit by bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.fields import EDGE_TYPES
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.contract.lens import distort
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.lens import Lens
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Parts, occluded, pose_surfaces
from freelabels.renderers.engines.rectangles import rectangles
from freelabels.renderers.engines.screens import screens
from freelabels.renderers.engines.windows import whole
from freelabels.renderers.labels import displacements
from freelabels.renderers.labels.edge_types import (
    ALBEDO_STEP,
    CONTACT,
    CREASE,
    GAP,
    OCCLUDING,
    PRIORITY,
    SHADOW,
    STEEPEST,
    TEXTURE,
    Seen,
    borders,
    edge_types,
)
from freelabels.renderers.labels.half import SMALLEST, half
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.simulate.world import build_world
from freelabels.renderers.surfaces.meshes import as_mesh

FOCAL = 60.0


def picture(seed: int) -> Seen:
    """Patches of random planes, some of nothing, lit by two lights in patches, with a pattern of two colours."""
    rng, size, count = np.random.default_rng(seed), (23, 31), 24
    rows, columns = np.indices(size)
    sites = rng.uniform(0, 1, (count, 2)) * size
    face = np.argmin([np.hypot(rows - y, columns - x) for y, x in sites], axis=0) - 1  # −1 is nothing
    table = np.stack([rng.normal(0, 0.004, count), rng.normal(0, 0.004, count), rng.uniform(0.3, 0.5, count)])
    table[2, ::3] = 0.4 - table[0, ::3] * 15 - table[1, ::3] * 11  # these meet in the middle
    table[:, 0] = 0.0
    of = table[:, face + 1]
    thing, geometry, patch = (np.append(-1, rng.integers(0, n, count - 1))[face + 1] for n in (3, 5, 3))
    lit = rng.random((*size, 2)) < 0.7
    drawn = (np.hypot(rows - 9, columns - 14) % 7 < 3) & (face >= 0)
    pattern = drawn[..., None] * rng.uniform(0.1, 0.4, 3)
    return Seen(
        face=face,
        inverse_depth=np.maximum(of[0] * columns + of[1] * rows + of[2], 0.0),
        slope=of[:2],
        thing=thing.astype(np.int32),
        geometry=geometry.astype(np.int32),
        patch=patch.astype(np.int32),
        lit=lit & (face >= 0)[..., None],
        facing=(rng.random((count, 2)) < 0.8)[face + 1] & (face >= 0)[..., None],
        albedo=pattern.astype(np.float32),
        filtered=(pattern * rng.uniform(0.2, 1.0, (*size, 1))).astype(np.float32),
    )


def everywhere(seen: Seen, focal: float) -> NDArray[np.uint8]:
    """The edge types by comparing all neighbours, whatever they hit."""
    out, strength = np.zeros(seen.face.shape, np.uint8), [0, *PRIORITY]
    height, width = seen.face.shape
    for down in (1, 0):
        for row in range(height - down):
            for column in range(width - (1 - down)):
                one, other = (row, column), (row + down, column + 1 - down)
                near, far = seen.inverse_depth[one], seen.inverse_depth[other]
                nothing = seen.geometry[one] < 0, seen.geometry[other] < 0
                alike = seen.thing[one] == seen.thing[other]
                footprint = max(near, far) / focal
                limit = np.inf if alike else STEEPEST * footprint
                slopes = np.clip([seen.slope[(down, *of)] for of in (one, other)], -limit, limit)
                meets = slopes.min() - GAP * footprint <= far - near <= slopes.max() + GAP * footprint
                kind = 0
                if seen.albedo is not None and seen.filtered is not None:
                    change, shown = (np.abs(a[other] - a[one]) for a in (seen.albedo, seen.filtered))
                    if (change > ALBEDO_STEP).any() and (shown > ALBEDO_STEP / 3).any():
                        kind = TEXTURE
                if ((seen.lit[one] != seen.lit[other]) & seen.facing[one] & seen.facing[other]).any():
                    kind = SHADOW
                if seen.geometry[one] != seen.geometry[other] or seen.patch[one] != seen.patch[other]:
                    kind = CREASE
                if not alike:
                    kind = CONTACT
                if not meets or any(nothing):
                    kind = OCCLUDING
                if all(nothing):
                    kind = 0
                first = (kind == OCCLUDING and near > far) or (
                    kind == CONTACT and seen.thing[one] > seen.thing[other]
                )
                at = one if first else other
                out[at] = max(int(out[at]), strength.index(kind))
    return np.array(strength, np.uint8)[out]


@pytest.mark.parametrize("seed", range(4))
def test_edges_are_those_that_all_neighbours_compared_would_give(seed: int) -> None:
    seen = picture(seed)
    expected = everywhere(seen, FOCAL)
    assert set(range(len(EDGE_TYPES))) <= set(np.unique(expected).tolist()) | {0}
    np.testing.assert_array_equal(edge_types(seen, FOCAL), expected)


def test_what_is_told_at_borders_alone_is_asked_nowhere_else() -> None:
    seen = picture(9)
    inner = ~borders(seen.face)
    assert inner.any() and not inner.all()
    wrong = {name: getattr(seen, name).copy() for name in ("slope", "thing", "patch")}
    for values in wrong.values():
        values[..., inner] = 77
    np.testing.assert_array_equal(
        edge_types(dataclasses.replace(seen, **wrong), FOCAL), edge_types(seen, FOCAL)
    )


@pytest.mark.parametrize("bent", [(0.0, 0.0, 0.0, 0.0, 0.0), (-0.05, 0.01, 0.001, -0.002, 0.0)])
def test_boxes_around_the_cameras_plane_are_found_together_as_one_by_one(bent: tuple[float, ...]) -> None:
    rng, lens = np.random.default_rng(0), Lens(intrinsics(40.0, 56, 40), bent)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1).reshape(8, 3)
    turns = np.linalg.qr(rng.normal(size=(40, 3, 3)))[0]
    boxes = np.einsum("gij,gkj->gki", turns, signs * rng.uniform(0.1, 1.5, (40, 1, 3)))
    boxes += rng.normal(0, 1, (40, 1, 3))
    before = (boxes[..., 2] > 1e-6).sum(axis=1)
    assert len(set(before[(before > 0) & (before < 8)].tolist())) > 3  # of unlike numbers of corners
    apart = np.concatenate([rectangles(box[None], lens, (40, 56)) for box in boxes])
    np.testing.assert_array_equal(rectangles(boxes, lens, (40, 56)), apart)


@pytest.mark.parametrize("k", [(-0.1, 0.02, 0.0, 0.0, 0.0), (-0.1, 0.02, 0.003, -0.002, 0.004)])
def test_a_lens_bends_as_the_formula_of_the_contract_does(k: tuple[float, ...]) -> None:
    x, y = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 500))
    k1, k2, p1, p2, k3 = k
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    both = 2 * (p2 * x + p1 * y)
    kept = x.copy(), y.copy()
    found = distort(x, y, k)
    np.testing.assert_array_equal(found[0], x * radial + p2 * square + x * both)
    np.testing.assert_array_equal(found[1], y * radial + p1 * square + y * both)
    np.testing.assert_array_equal((x, y), kept)


def test_halves_are_rounded_once_and_what_is_too_small_is_nought() -> None:
    values = np.array([[1 / 3, -2.0, np.nan], [70.1, np.inf, 5e3]])
    np.testing.assert_array_equal(half(values), values.astype(np.float16))
    small = np.array([SMALLEST, SMALLEST * 0.99, -SMALLEST / 3, 0.0])
    assert half(small).tolist() == [SMALLEST, 0.0, 0.0, 0.0] and small[1] != 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "bent"), [("table", 0.0), ("room", 1.0), ("street", 0.0), ("street", 1.0), ("shelf", 0.0)]
)
def test_points_that_boxes_leave_in_sight_are_hidden_from_no_ray(
    family: str, bent: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rays cast find hidden what the rays find that are cast where boxes may hide something."""
    ranges = dataclasses.replace(SceneRanges(), families={family: 1.0}, distorted=bent, rolling=0.0)
    assets, counts = library(), []

    def both(surfaces, origins, towards, near, far, some):  # type: ignore[no-untyped-def]
        found = occluded(surfaces, origins, towards, near, far, some)
        np.testing.assert_array_equal(found, occluded(surfaces, origins, towards, near, far))
        counts.append((len(found), len(some[0]), int(found.sum())))
        return found

    monkeypatch.setattr(displacements, "occluded", both)
    for clip in (50, 51):
        scene, simulation = find_scene(0, clip, ranges, assets, 3, (96, 128))
        render_clip(scene, assets, 3, (96, 128), image=None, simulation=simulation)
    points, asked, hidden = np.sum([row for row in counts if row[0] > 4096], axis=0)
    assert 0 < hidden < asked < 0.9 * points


def slab(sides: tuple[float, float, float], at: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(sides, transform=trimesh.transformations.translation_matrix(at))


def test_a_large_box_hides_only_what_lies_beyond_all_sides_that_are_seen() -> None:
    """Two blocks of one surface are two boxes; on, before and between them nothing is asked."""
    size, lens = (40, 56), Lens(intrinsics(60.0, 56, 40))
    blocks = [slab((1.0, 2.0, 0.5), (x, 0.0, 3.0)) for x in (-0.9, 0.9)]
    wall = as_mesh(trimesh.util.concatenate(blocks))
    assert wall.pieces.shape == (2, 8, 3)
    surfaces = pose_surfaces([wall], np.eye(4)[None], Parts(*np.zeros((4, 1), np.int32)), (0, 0, 0))
    made = screens(surfaces, surfaces.posed[0], np.eye(4), lens, whole(size))
    assert np.isinf(made.nearest).all() and [len(boxes) for _, boxes in made.large] == [2]
    point = np.array(
        [(0.9, 0, 2.75), (0.9, 0, 2.0), (0.0, 0, 9.0), (0.9, 0, 2.8), (2.0, 0.5, 7.0)], np.float32
    )
    x, y = (np.floor(v).astype(int) for v in lens.project(point.astype(float)))
    asked = made.may_hide(y * size[1] + x, point[:, 2].copy(), np.asfortranarray(point))
    assert asked.tolist() == [False, False, False, True, True]
    assert screens(surfaces, surfaces.posed[0], np.eye(4), lens, whole(size)) is made


def test_a_small_box_hides_what_its_pixels_show_beyond_its_nearest_corner() -> None:
    size, lens = (40, 56), Lens(intrinsics(60.0, 56, 40))
    cube = as_mesh(slab((0.1, 0.1, 0.1), (0.0, 0.0, 3.0)))
    surfaces = pose_surfaces([cube], np.eye(4)[None], Parts(*np.ones((4, 1), np.int32)), (0, 0, 0))
    made = screens(surfaces, surfaces.posed[0], np.eye(4), lens, whole(size))
    point = np.array([(0, 0, 2.9), (0, 0, 3.5), (0.5, 0, 3.5)], np.float32)
    x, y = (np.floor(v).astype(int) for v in lens.project(point.astype(float)))
    asked = made.may_hide(y * size[1] + x, point[:, 2].copy(), np.asfortranarray(point))
    assert asked.tolist() == [False, True, False] and not made.large


@pytest.mark.slow
def test_pieces_are_the_blocks_that_surfaces_are_made_of() -> None:
    ranges = dataclasses.replace(SceneRanges(), families={"street": 1.0})
    scene, _ = find_scene(0, 50, ranges, library(), 1, (64, 80))
    world = build_world(scene, library())
    surfaces = [mesh for mesh, owner in zip(world.meshes, world.parts.object, strict=True) if owner == 0]
    assert sum(len(mesh.pieces) for mesh in surfaces) == len(scene.structure) > len(surfaces)
    lone = Mesh(np.eye(3) * 2, np.array([[0, 1, 2]], np.uint32), np.zeros(1, np.int32))
    np.testing.assert_array_equal(lone.pieces[0], lone.box)

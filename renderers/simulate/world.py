"""The geometries of a scene, in the order of their ids: the place, clutter, then each body link by link."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.products import product
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.mesh import Mesh
from freelabels.renderers.engines.raycast import Parts
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset, Link
from freelabels.renderers.scene.scene import Block, Body, Scene
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.appearance import Substance

MARGIN = 1e-3  # an object's box is larger by this share, so that no point of it lies at the invalid (0, 0, 0)
KEPT = 512  # meshes of the scenes built last, which are built again to be rendered


@dataclass(frozen=True)
class World:
    """A scene's meshes at their size, and what each of them is.

    meshes: one per geometry. parts: what they are; instance ids are 0 for the place itself, then one for each body
    and after them one for each piece of clutter. body: (G,) index into the scene's bodies, −1 for what never
    moves. link: (G,) PyBullet link index. static_pose: (G, 4, 4) part → world, identity for what may move.
    canonical: (G, 4, 4) part → its object's bounding box, scaled into (0, 1), all joints at zero. assets,
    clutter: of the bodies and of the clutter.
    """

    meshes: tuple[Mesh, ...]
    parts: Parts
    body: NDArray[np.int32]
    link: NDArray[np.int32]
    static_pose: NDArray[np.float64]
    canonical: NDArray[np.float64]
    assets: tuple[Asset, ...]
    clutter: tuple[Asset, ...]

    @property
    def things(self) -> tuple[Asset, ...]:
        """The asset of every instance id from 1 on."""
        return (*self.assets, *self.clutter)


@dataclass(frozen=True)
class _Part:
    """One row of the tables of a `World`."""

    mesh: Mesh
    cls: str
    pose: NDArray[np.float64]
    object: int = 0
    body: int = -1
    link: int = -1
    part: int = 0
    canonical: NDArray[np.float64] | None = None


def substances(
    structure: Sequence[Block], clutter: Sequence[Body], bodies: Sequence[Body], assets: Library
) -> list[Substance]:
    """What each geometry's material is drawn from, in the order of geometry ids."""
    found: list[Substance] = [blocks[0].substance for blocks in surfaces_of(structure)]
    for body in (*clutter, *bodies):
        found += [link.substance for link in assets.load(body.asset).links]
    return found


def surfaces_of(structure: Sequence[Block]) -> list[list[Block]]:
    """The blocks of each surface, in the order of their numbers."""
    ordered = sorted(structure, key=lambda block: block.surface)
    return [list(blocks) for _, blocks in groupby(ordered, key=lambda block: block.surface)]


def upright(yaw: float) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) of a turn about z by `yaw` radians."""
    return 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))


@lru_cache(maxsize=KEPT)
def _surface(blocks: tuple[Block, ...]) -> _Part:
    """The blocks of one surface as one mesh, in a frame that is turned as they are."""
    turn = bullet.matrix((0.0, 0.0, 0.0), upright(blocks[0].yaw))
    vertices: list[NDArray[np.float64]] = []
    triangles: list[NDArray[np.int64]] = []
    count = 0
    for block in blocks:
        corners, faces = _SHAPES["plane" if not block.sides[2] else block.shape]
        middle = product([block.position], turn[:3, :3])
        vertices.append(meshes.snapped(corners * block.sides + middle))
        triangles.append(faces + count)
        count += len(corners)
    corner, face = np.concatenate(vertices), np.concatenate(triangles).astype(np.uint32)
    mesh = Mesh(corner, face, _planes_of(corner[face]))
    return _Part(mesh, blocks[0].kind, turn)


def _planes_of(corner: NDArray[np.float64]) -> NDArray[np.int32]:
    """(F,) the number of the plane in which each triangle (F, corner, 3) lies: a wall in pieces has no creases."""
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.sqrt((normal * normal).sum(axis=1, keepdims=True))
    distance = (normal * corner[:, 0]).sum(axis=1, keepdims=True)
    plane = np.rint(np.concatenate([normal, distance], axis=1) * 1e4)
    return np.asarray(np.unique(plane, axis=0, return_inverse=True)[1].reshape(-1), np.int32)


def _shapes() -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Corners and triangles of blocks of sides 1 about the origin."""
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    plane = np.array([(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)])
    roof = [(x, y, -0.5) for x in (-0.5, 0.5) for y in (-0.5, 0.5)] + [(-0.5, 0.0, 0.5), (0.5, 0.0, 0.5)]
    sides = [(0, 1, 3), (0, 3, 2), (0, 2, 5), (0, 5, 4), (1, 4, 5), (1, 5, 3), (0, 4, 1), (2, 3, 5)]
    return {
        "box": (np.array(box.vertices), np.array(box.faces, np.int64)),
        "plane": (plane, np.array([(0, 1, 2), (0, 2, 3)], np.int64)),
        "gable": (np.array(roof), np.array(sides, np.int64)),
    }


_SHAPES = _shapes()


def build_world(scene: Scene, assets: Library) -> World:
    """Load and scale what stands in a scene. Raises ValueError for an asset that can't be used."""
    return _built(scene.structure, scene.clutter, scene.bodies, assets)


@lru_cache(maxsize=2)  # a scene's world is built where it is looked for and again where it is rendered
def _built(
    structure: tuple[Block, ...], placed: tuple[Body, ...], bodies: tuple[Body, ...], assets: Library
) -> World:
    rows = [_surface(tuple(blocks)) for blocks in surfaces_of(structure)]
    clutter = tuple(assets.load(body.asset) for body in placed)
    loaded = tuple(assets.load(body.asset) for body in bodies)
    for number, (body, asset) in enumerate(zip(placed, clutter, strict=True), start=len(loaded) + 1):
        pose = bullet.matrix(body.position, body.orientation)
        rows += [
            dataclasses.replace(row, pose=product(pose, link.rest), object=number)
            for row, link in zip(_parts(asset, body.size / asset.extent), asset.links, strict=True)
        ]
    for index, (body, asset) in enumerate(zip(bodies, loaded, strict=True)):
        rows += [
            dataclasses.replace(row, object=index + 1, body=index)
            for row in _parts(asset, body.size / asset.extent)
        ]
    class_of = {name: index for index, name in enumerate(assets.classes)}
    return World(
        meshes=tuple(row.mesh for row in rows),
        parts=Parts(
            object=np.array([row.object for row in rows], np.int32),
            part=np.array([row.part for row in rows], np.int32),
            semantic=np.array([class_of[row.cls] for row in rows], np.int32),
            material=np.arange(len(rows), dtype=np.int32),
        ),
        body=np.array([row.body for row in rows], np.int32),
        link=np.array([row.link for row in rows], np.int32),
        static_pose=np.array([row.pose for row in rows]),
        canonical=np.array([np.eye(4) if row.canonical is None else row.canonical for row in rows]),
        assets=loaded,
        clutter=clutter,
    )


def _parts(asset: Asset, scale: float) -> list[_Part]:
    """The rows of an asset's links at a scale."""
    return [
        _Part(
            mesh=_scaled(link.mesh, scale),
            cls=asset.cls,
            pose=np.eye(4),
            link=link.index,
            part=part,
            canonical=_canonical(asset, link, scale),
        )
        for part, link in enumerate(asset.links, start=1)
    ]


@lru_cache(maxsize=KEPT)
def _scaled(mesh: Mesh, scale: float) -> Mesh:
    made = Mesh(mesh.vertices * scale, mesh.triangles, mesh.patch, mesh.skin)
    # Directions stay as they are; they take longer to find than all the rest.
    vars(made).update(corner_normal=mesh.corner_normal, curved=mesh.curved)
    return made


def _canonical(asset: Asset, link: Link, scale: float) -> NDArray[np.float64]:
    """(4, 4) scaled part frame → (0, 1)³."""
    sides = (asset.upper - asset.lower) * (1 + MARGIN)
    natural, box = np.diag([1 / scale, 1 / scale, 1 / scale, 1]), np.diag([*(1 / sides), 1.0])
    box[:3, 3] = 0.5 - (asset.lower + asset.upper) / 2 / sides
    affine: NDArray[np.float64] = product(box, link.rest, natural)
    return affine

"""The geometries of a scene, in the order of their ids: floor, walls, clutter, then each body link by link."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.products import product
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.raycast import Mesh, Parts
from freelabels.renderers.scene.assets import Library
from freelabels.renderers.scene.loading import Asset, Link
from freelabels.renderers.scene.scene import Body, Scene, Wall
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.appearance import Role

FLOOR_REACH = 30.0  # metres from the middle to a side of the floor
WALL_THICKNESS = 0.2
MARGIN = 1e-3  # an object's box is larger by this share, so that no point of it lies at the invalid (0, 0, 0)


@dataclass(frozen=True)
class World:
    """A scene's meshes at their size, and what each of them is.

    meshes: one per geometry. parts: what they are; instance ids are 0 for floor and walls, then one for each body
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


def material_roles(
    walls: Sequence[Wall], clutter: Sequence[Body], bodies: Sequence[Body], assets: Library
) -> list[Role]:
    """The role of each geometry's material, in the order of geometry ids."""
    links = sum(len(assets.load(body.asset).links) for body in (*clutter, *bodies))
    roles: list[Role] = ["floor"]
    roles += ["wall"] * len(walls)
    roles += ["object"] * links
    return roles


def wall_box(wall: Wall) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sides (3,) and pose (4, 4) of a wall's slab."""
    away = wall.distance + WALL_THICKNESS / 2
    position = (away * np.cos(wall.azimuth), away * np.sin(wall.azimuth), wall.height / 2)
    turn = (0.0, 0.0, np.sin(wall.azimuth / 2), np.cos(wall.azimuth / 2))
    return np.array([WALL_THICKNESS, wall.width, wall.height]), bullet.matrix(position, turn)


def build_world(scene: Scene, assets: Library) -> World:
    """Load and scale what stands in a scene. Raises ValueError for an asset that can't be used."""
    corners = FLOOR_REACH * np.array([(-1.0, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    floor = trimesh.Trimesh(corners, [(0, 1, 2), (0, 2, 3)])
    rows = [_Part(meshes.as_mesh(floor), "floor", np.eye(4))]
    for wall in scene.walls:
        sides, pose = wall_box(wall)
        rows.append(_Part(meshes.as_mesh(trimesh.creation.box(sides)), "wall", pose))
    clutter = tuple(assets.load(body.asset) for body in scene.clutter)
    loaded = tuple(assets.load(body.asset) for body in scene.bodies)
    for number, (body, asset) in enumerate(zip(scene.clutter, clutter, strict=True), start=len(loaded) + 1):
        pose = bullet.matrix(body.position, body.orientation)
        rows += [
            dataclasses.replace(row, pose=product(pose, link.rest), object=number)
            for row, link in zip(_parts(asset, body.size / asset.extent), asset.links, strict=True)
        ]
    for index, (body, asset) in enumerate(zip(scene.bodies, loaded, strict=True)):
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


def _scaled(mesh: Mesh, scale: float) -> Mesh:
    return Mesh(mesh.vertices * scale, mesh.triangles, mesh.patch, mesh.skin)


def _canonical(asset: Asset, link: Link, scale: float) -> NDArray[np.float64]:
    """(4, 4) scaled part frame → (0, 1)³."""
    sides = (asset.upper - asset.lower) * (1 + MARGIN)
    natural, box = np.diag([1 / scale, 1 / scale, 1 / scale, 1]), np.diag([*(1 / sides), 1.0])
    box[:3, 3] = 0.5 - (asset.lower + asset.upper) / 2 / sides
    affine: NDArray[np.float64] = product(box, link.rest, natural)
    return affine

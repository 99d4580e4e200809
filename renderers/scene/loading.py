"""One asset from its file, or from nothing: meshes for rays, a file for physics, joints."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import invert_pose
from freelabels.generators.contract.products import product
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.mesh import Mesh, Skin
from freelabels.renderers.objects import catalogue
from freelabels.renderers.objects.solids import HULL, Support, rpy
from freelabels.renderers.surfaces import meshes, skins
from freelabels.renderers.surfaces.appearance import Substance, Vector
from freelabels.renderers.surfaces.cache import cache_folder, write, write_cached
from freelabels.renderers.surfaces.collisions import convex_pieces

Group = Literal["primitive", "random", "household", "articulated", "made", "own"]


@dataclass(frozen=True)
class Entry:
    """One asset before it is loaded. path: its file, "" for what code makes."""

    name: str
    cls: str
    group: Group
    path: str


@dataclass(frozen=True)
class Link:
    """One rigid part with something to see.

    index: PyBullet's link index, −1 = base. mesh: in the link's frame. rest: (4, 4) link → base frame with
    all joints at zero. substance: what its material is drawn from.
    """

    index: int
    name: str
    mesh: Mesh
    rest: NDArray[np.float64]
    substance: Substance = "object"


@dataclass(frozen=True)
class Joint:
    """One joint that can be driven; lower and upper in radians or metres at natural size."""

    index: int
    lower: float
    upper: float
    slides: bool


@dataclass(frozen=True)
class Asset:
    """A loaded asset at its natural size.

    urdf: the file physics loads. lower, upper: (3,) corners of its bounding box in the base link's frame with
    all joints at zero, metres. supports: where other things can stand on it, in that frame.
    """

    name: str
    cls: str
    urdf: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    supports: tuple[Support, ...] = ()

    @property
    def extent(self) -> float:
        """Longest side of the bounding box, metres."""
        return float((self.upper - self.lower).max())


@lru_cache(maxsize=1200)
def load_asset(entry: Entry) -> Asset:
    """The asset of an entry. Raises ValueError saying why it can't be used."""
    if entry.group == "made":
        return _made(entry)
    if entry.group == "primitive":
        kind = entry.name.removeprefix("primitive/")
        return _single(entry, _primitive(kind), _primitive_collision(kind))
    if entry.path.endswith(".urdf"):
        return _from_urdf(entry)
    return _single(entry, _thinned(Path(entry.path)), None)


def _thinned(path: Path) -> trimesh.Trimesh:
    """The mesh of a file, thinned; what takes long, thinning it or unpacking its texture map, is kept on disk."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such mesh file")
    content = hashlib.sha256(b"".join(file.read_bytes() for file in skins.belonging(path)))
    kept = cache_folder() / f"thinned-{content.hexdigest()[:24]}-{meshes.FACES}-{path.suffix[1:].lower()}.npz"
    if kept.exists():
        stored = np.load(kept)
        mesh = trimesh.Trimesh(stored["vertices"], stored["faces"], process=False)
        picture = str(stored["picture"])
        if not picture:
            return mesh
        if Path(picture).is_file():
            return skins.put(mesh, Skin(picture, stored["uv"]))
    full = meshes.read_mesh(path)
    mesh = meshes.thinned(full)
    skin = skins.skin_of(mesh)
    if mesh is not full or skin is not None:
        skin = skin or Skin("", np.zeros((0, 3, 2)))
        data = io.BytesIO()
        np.savez(data, vertices=mesh.vertices, faces=mesh.faces, picture=skin.picture, uv=skin.uv)
        write(kept, data.getvalue())
    return mesh


def _made(entry: Entry) -> Asset:
    """A rigid asset of a made thing's parts, moved so that its bounding box is centred."""
    thing = catalogue.make(entry.name)
    solids = [solid for part in thing.parts for solid in part.solids]
    corners = np.concatenate([solid.mesh.vertices for solid in solids])
    lower, upper = corners.min(axis=0), corners.max(axis=0)
    middle = (lower + upper) / 2
    links = []
    for part in thing.parts:
        whole = trimesh.util.concatenate([solid.mesh for solid in part.solids])
        mesh = trimesh.Trimesh(meshes.snapped(whole.vertices - middle), whole.faces, process=False)
        links.append(Link(-1, part.name, meshes.as_mesh(mesh), np.eye(4), part.substance))
    stem = entry.name.removeprefix("made/").replace(" ", "-").replace("/", "-")
    collisions, weights, centres = [], [], []
    for solid in solids:
        if not solid.collides:
            continue
        mesh = trimesh.Trimesh(meshes.snapped(solid.mesh.vertices - middle), solid.mesh.faces, process=False)
        piece = meshes.hull([mesh], entry.name)
        weights.append(float(piece.volume))
        centres.append(piece.center_mass)
        shape, origin = solid.collides, ""
        if shape == HULL:
            shape = _as_shape(piece, stem)
        else:
            place = " ".join(f"{x:.9g}" for x in np.asarray(solid.at) - middle)
            origin = f'<origin xyz="{place}" rpy="{rpy(solid.turn)}"/>'
        collisions.append(f"<collision>{origin}<geometry>{shape}</geometry></collision>")
    share = np.array(weights)[:, None] / sum(weights)
    centre = " ".join(f"{x:.9g}" for x in (np.array(centres) * share).sum(axis=0))
    seen = trimesh.util.concatenate(
        [trimesh.Trimesh(link.mesh.vertices, link.mesh.triangles, process=False) for link in links]
    )
    visual = write_cached(f"{stem}.obj", seen.export(file_type="obj").encode())
    urdf = _URDF.format(centre=centre, visual=visual, collisions="\n".join(collisions))
    path = write_cached(f"{stem}.urdf", urdf.encode())
    half = (upper - lower) / 2
    supports = tuple(
        dataclasses.replace(place, at=_three(np.asarray(place.at) - middle)) for place in thing.supports
    )
    return Asset(entry.name, entry.cls, str(path), tuple(links), (), -half, half, supports)


def _three(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _single(entry: Entry, mesh: trimesh.Trimesh, collision: str | None) -> Asset:
    """A rigid asset of one mesh, moved so that its bounding box is centred; collides as convex pieces of it."""
    lower, upper = mesh.bounds
    skin = skins.skin_of(mesh)
    mesh = trimesh.Trimesh(meshes.snapped(mesh.vertices - (lower + upper) / 2), mesh.faces, process=False)
    ring = entry.name == "primitive/ring"
    pieces = _arcs(mesh) if ring else convex_pieces(mesh, entry.path or entry.name)
    weight = np.array([piece.volume for piece in pieces])
    middle = (np.array([piece.center_mass for piece in pieces]) * weight[:, None]).sum(axis=0) / weight.sum()
    stem = Path(entry.name).stem.replace(" ", "_")
    visual = write_cached(f"{stem}.obj", mesh.export(file_type="obj").encode())
    shapes = [collision] if collision is not None else [_as_shape(piece, stem) for piece in pieces]
    collisions = "\n".join(f"<collision><geometry>{shape}</geometry></collision>" for shape in shapes)
    centre = " ".join(f"{x:.9g}" for x in middle)
    urdf = _URDF.format(centre=centre, visual=visual, collisions=collisions)
    path = write_cached(f"{stem}.urdf", urdf.encode())
    half = (upper - lower) / 2
    link = Link(-1, "base", meshes.as_mesh(skins.put(mesh, skin)), np.eye(4))
    return Asset(entry.name, entry.cls, str(path), (link,), (), -half, half)


_URDF = """<robot name="body"><link name="base">
<inertial><origin xyz="{centre}"/><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/>
</inertial>
<visual><geometry><mesh filename="{visual}"/></geometry></visual>
{collisions}</link></robot>
"""


def _as_shape(piece: trimesh.Trimesh, stem: str) -> str:
    file = write_cached(f"{stem}-piece.obj", piece.export(file_type="obj").encode())
    return f'<mesh filename="{file}"/>'


def _arcs(ring: trimesh.Trimesh, count: int = 16) -> list[trimesh.Trimesh]:
    """The convex hulls of even arcs of a ring about z, whose corners lie where the arcs meet."""
    x, y, _ = ring.vertices.T
    turn = (np.arctan2(y, x) / (2 * np.pi) * count) % count
    return [
        meshes.hull(
            [trimesh.Trimesh(ring.vertices[(turn - k + 0.01) % count < 1.02], process=False)], "an arc"
        )
        for k in range(count)
    ]


def _primitive(kind: str) -> trimesh.Trimesh:
    """A primitive of a size about 1 metre."""
    boxes = {"cube": (1, 1, 1), "brick": (1, 0.5, 0.35), "slab": (1, 0.8, 0.12), "pillar": (0.3, 0.3, 1)}
    if kind in boxes:
        return trimesh.creation.box(boxes[kind])
    if kind in ("sphere", "egg"):
        ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
        ball.apply_scale((1, 1, 1) if kind == "sphere" else (1, 0.7, 0.7))
        return ball
    if kind in ("cylinder", "disc"):
        return trimesh.creation.cylinder(*((0.3, 1) if kind == "cylinder" else (0.5, 0.15)), sections=48)
    if kind == "cone":
        return trimesh.creation.cone(0.4, 0.9, sections=48)
    if kind == "capsule":
        return trimesh.creation.capsule(0.6, 0.2, count=[24, 24])
    if kind == "ring":
        return trimesh.creation.torus(0.35, 0.15, major_sections=48, minor_sections=24)
    corners = [(x, y, z) for x in (0, 1) for y in (0, 0.6) for z in (0, 0.5) if not (x == 1 and z == 0.5)]
    return trimesh.Trimesh(np.array(corners), process=False).convex_hull


def _primitive_collision(kind: str) -> str | None:
    """The exact shape for what should roll; None: the convex hull does."""
    return {
        "sphere": '<sphere radius="0.5"/>',
        "cylinder": '<cylinder radius="0.3" length="1"/>',
        "disc": '<cylinder radius="0.5" length="0.15"/>',
        "capsule": '<capsule radius="0.2" length="0.6"/>',
    }.get(kind)


def _from_urdf(entry: Entry) -> Asset:
    """A URDF as PyBullet understands it: one mesh per link that has something to see, and the joints."""
    if not Path(entry.path).is_file():
        raise ValueError(f"{entry.path}: there is no such file")
    with bullet.client() as number:
        body = bullet.load_urdf(entry.path, number, visuals=True)
        shapes = pybullet.getVisualShapeData(body, physicsClientId=number)
        poses = bullet.link_poses(body, number)
        infos = [
            pybullet.getJointInfo(body, j, physicsClientId=number)
            for j in range(pybullet.getNumJoints(body, physicsClientId=number))
        ]
    names = {-1: "base", **{info[0]: info[12].decode() for info in infos}}
    share = max(meshes.FACES // max(len(shapes), 1), 300)
    links, corners = [], []
    for index in sorted({shape[1] for shape in shapes}):
        parts = [_visual(shape, share) for shape in shapes if shape[1] == index]
        parts = [part for part in parts if part is not None]
        if not parts:
            continue
        mesh = _joined(parts)
        rest = product(invert_pose(poses[0]), poses[index + 1])
        links.append(Link(index, names[index], meshes.as_mesh(mesh), rest))
        corners.append(meshes.moved(mesh.vertices, rest))
    if not links:
        raise ValueError(f"{entry.path}: has no link with anything to see")
    points = np.concatenate(corners)
    if np.ptp(points, axis=0).min() <= 1e-4 * np.ptp(points, axis=0).max():
        raise ValueError(f"{entry.path}: is flat, it has no volume to collide with")
    joints = tuple(
        Joint(info[0], info[8], info[9], info[2] == pybullet.JOINT_PRISMATIC)
        if info[8] < info[9]  # else: turns without end
        else Joint(info[0], -np.pi, np.pi, False)
        for info in infos
        if info[2] in (pybullet.JOINT_REVOLUTE, pybullet.JOINT_PRISMATIC)
    )
    return Asset(
        entry.name, entry.cls, entry.path, tuple(links), joints, points.min(axis=0), points.max(axis=0)
    )


def _joined(parts: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh:
    """The visual shapes of a link as one mesh; a texture map stays if all of them have the same."""
    whole = trimesh.util.concatenate([trimesh.Trimesh(p.vertices, p.faces, process=False) for p in parts])
    found = [skins.skin_of(part) for part in parts]
    same = [
        skin
        for skin in found
        if skin is not None and found[0] is not None and skin.picture == found[0].picture
    ]
    if len(same) < len(parts):
        return whole
    return skins.put(whole, Skin(same[0].picture, np.concatenate([skin.uv for skin in same])))


def _visual(shape: Sequence[Any], faces: int) -> trimesh.Trimesh | None:
    """One entry of getVisualShapeData as a mesh in its link's frame; None for one of no size."""
    kind, size, file, position, orientation = shape[2:7]
    skin = None
    if kind == pybullet.GEOM_MESH:
        mesh = meshes.thinned(_thinned(Path(file.decode())), faces)
        skin = skins.skin_of(mesh)
        mesh = trimesh.Trimesh(mesh.vertices * size, mesh.faces, process=False)
    elif not size[0]:
        return None
    elif kind == pybullet.GEOM_BOX:
        mesh = trimesh.creation.box(size)
    elif kind == pybullet.GEOM_SPHERE:
        mesh = trimesh.creation.icosphere(subdivisions=2, radius=size[0])
    elif kind == pybullet.GEOM_CYLINDER:
        mesh = trimesh.creation.cylinder(size[1], size[0], sections=24)
    elif kind == pybullet.GEOM_CAPSULE:
        mesh = trimesh.creation.capsule(size[0], size[1], count=[12, 12])
    else:
        raise ValueError(
            f"a visual shape of kind {kind} is not supported; use a mesh, box, sphere or cylinder"
        )
    pose = bullet.matrix(position, orientation)
    vertices = meshes.moved(meshes.snapped(mesh.vertices), pose)
    return skins.put(trimesh.Trimesh(vertices, mesh.faces, process=False), skin)

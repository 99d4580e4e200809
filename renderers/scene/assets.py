"""The things scenes are made of: what ships with PyBullet, primitives, the user's own meshes and photos."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import invert_pose
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.raycast import Mesh
from freelabels.renderers.surfaces import meshes

Group = Literal["primitive", "random", "household", "articulated", "own"]
Split = Literal["all", "train", "test"]
TEST_SHARE = 0.2  # of the assets of the random and own groups
STATIC_CLASSES = ("background", "floor", "wall", "clutter")
MOST_CLASSES = 255  # semantic ids are bytes, 255 is invalid
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

HOUSEHOLD = {
    "duck": "duck_vhacd.urdf",
    "teddy": "teddy_vhacd.urdf",
    "mug": "objects/mug.urdf",
    "ball": "soccerball.urdf",
    "lego": "lego/lego.urdf",
    "domino": "domino/domino.urdf",
    "jenga block": "jenga/jenga.urdf",
    "tray": "tray/traybox.urdf",
    "table": "table/table.urdf",
}
ARTICULATED = {
    "arm": "kuka_iiwa/model_free_base.urdf",
    "gripper": "pr2_gripper.urdf",
    "dog": "laikago/laikago_toes_zup_lores.urdf",
    "droid": "r2d2.urdf",
    "humanoid": "humanoid/humanoid.urdf",
    "rover": "husky/husky.urdf",
    "pendulum": "pendulum5.urdf",
    "bicycle": "bicycle/bike.urdf",
}
PRIMITIVES = {
    "cube": "box",
    "brick": "box",
    "slab": "box",
    "pillar": "box",
    "sphere": "sphere",
    "egg": "sphere",
    "cylinder": "cylinder",
    "disc": "cylinder",
    "cone": "cone",
    "capsule": "capsule",
    "ring": "ring",
    "wedge": "wedge",
}  # name → class


@dataclass(frozen=True)
class Entry:
    """One asset before it is loaded. path: its file, "" for a primitive."""

    name: str
    cls: str
    group: Group
    path: str


@dataclass(frozen=True)
class Link:
    """One rigid part with something to see.

    index: PyBullet's link index, −1 = base. mesh: in the link's frame. rest: (4, 4) link → base frame with
    all joints at zero.
    """

    index: int
    name: str
    mesh: Mesh
    rest: NDArray[np.float64]


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
    all joints at zero, metres.
    """

    name: str
    cls: str
    urdf: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def extent(self) -> float:
        """Longest side of the bounding box, metres."""
        return float((self.upper - self.lower).max())


@dataclass(frozen=True)
class Library:
    """All assets a scene may be drawn from, and the user's photos.

    classes: the table of the semantic field. photos: paths. broken: photos left out because they can't be read.
    """

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    photos: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def names(self, group: Group) -> list[str]:
        """Names of the assets of a group, sorted."""
        return sorted(entry.name for entry in self.entries if entry.group == group)

    def load(self, name: str) -> Asset:
        """The asset of that name. Raises ValueError saying why it can't be used."""
        for entry in self.entries:
            if entry.name == name:
                return _load(entry)
        raise ValueError(f"there is no asset called {name!r} in this library")


def library(own: Path | None = None, photos: Path | None = None, split: Split = "all") -> Library:
    """Everything that ships, the meshes under folder `own` and the pictures under folder `photos`.

    An own mesh's class is the first folder on its path, or the stem of a file directly under `own`. split: "train"
    and "test" share primitives, household and articulated assets and part the others by a hash of their names.
    Raises ValueError for a missing or empty folder and for more classes than a byte holds, UserError without
    PyBullet.
    """
    root = bullet.data_folder()
    entries = [Entry(f"primitive/{name}", cls, "primitive", "") for name, cls in PRIMITIVES.items()]
    entries += [Entry(f"household/{cls}", cls, "household", str(root / p)) for cls, p in HOUSEHOLD.items()]
    entries += [
        Entry(f"articulated/{cls}", cls, "articulated", str(root / path)) for cls, path in ARTICULATED.items()
    ]
    entries += [
        Entry(f"random/{number:03d}", "blob", "random", str(path))
        for number in range(1000)
        if (path := root / f"random_urdfs/{number:03d}/{number:03d}.urdf").is_file()
    ]
    if own is not None:
        entries += _own_entries(own)
    classes = (*STATIC_CLASSES, *sorted({entry.cls for entry in entries} - set(STATIC_CLASSES)))
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{own}: its folders make {len(classes)} classes, a semantic id can tell {MOST_CLASSES} apart; "
            "gather the meshes into fewer folders"
        )
    kept = tuple(entry for entry in entries if split == "all" or _split(entry) in ("both", split))
    return Library(kept, classes, *(_pictures(photos) if photos is not None else ()))


def faults(assets: Library, names: Sequence[str] | None = None) -> dict[str, str]:
    """Why assets can't be used, by name, of those that can't; checks all of the library unless told which."""
    found = {}
    for name in names if names is not None else [entry.name for entry in assets.entries]:
        try:
            assets.load(name)
        except ValueError as error:
            found[name] = str(error)
    return found


def _split(entry: Entry) -> str:
    if entry.group not in ("random", "own"):
        return "both"
    share = int.from_bytes(hashlib.sha256(entry.name.encode()).digest()[:4]) / 2**32
    return "test" if share < TEST_SHARE else "train"


def _own_entries(folder: Path) -> list[Entry]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of meshes")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (*meshes.SUFFIXES, ".urdf"))
    if not found:
        raise ValueError(f"{folder}: holds no mesh; put {', '.join(meshes.SUFFIXES)} or .urdf files there")
    return [
        Entry(
            f"own/{path.relative_to(folder).as_posix()}",
            path.stem if path.parent == folder else path.relative_to(folder).parts[0],
            "own",
            str(path.resolve()),
        )
        for path in found
    ]


def _pictures(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The photos under a folder that can be read, and those that can't."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of photos")
    found = sorted(str(p.resolve()) for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    readable = {path: cv2.imread(path, cv2.IMREAD_REDUCED_COLOR_8) is not None for path in found}
    if not any(readable.values()):
        kinds = ", ".join(PHOTO_SUFFIXES)
        raise ValueError(f"{folder}: holds no photo that can be read; put {kinds} files there")
    return tuple(p for p in found if readable[p]), tuple(p for p in found if not readable[p])


@lru_cache(maxsize=400)
def _load(entry: Entry) -> Asset:
    if entry.group == "primitive":
        kind = entry.name.removeprefix("primitive/")
        return _single(entry, _primitive(kind), _primitive_collision(kind))
    if entry.path.endswith(".urdf"):
        return _from_urdf(entry)
    return _single(entry, _thinned(Path(entry.path)), None)


def _thinned(path: Path) -> trimesh.Trimesh:
    """The mesh of a file, thinned; thinning is slow for big ones, so that its result is kept on disk."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such mesh file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    kept = meshes.cache_folder() / f"thinned-{digest}-{meshes.FACES}.npz"
    if kept.exists():
        stored = np.load(kept)
        return trimesh.Trimesh(stored["vertices"], stored["faces"], process=False)
    full = meshes.read_mesh(path)
    mesh = meshes.thinned(full)
    if mesh is not full:
        content = io.BytesIO()
        np.savez(content, vertices=mesh.vertices, faces=mesh.faces)
        meshes.write(kept, content.getvalue())
    return mesh


def _single(entry: Entry, mesh: trimesh.Trimesh, collision: str | None) -> Asset:
    """A rigid asset of one mesh, moved so that its bounding box is centred; collides as its convex hull."""
    lower, upper = mesh.bounds
    mesh = trimesh.Trimesh(mesh.vertices - (lower + upper) / 2, mesh.faces, process=False)
    convex = meshes.hull([mesh], entry.path or entry.name)
    stem = Path(entry.name).stem.replace(" ", "_")
    visual = meshes.write_cached(f"{stem}.obj", mesh.export(file_type="obj").encode())
    if collision is None:
        file = meshes.write_cached(f"{stem}-hull.obj", convex.export(file_type="obj").encode())
        collision = f'<mesh filename="{file}"/>'
    centre = " ".join(f"{x:.9g}" for x in convex.center_mass)
    urdf = _URDF.format(centre=centre, visual=visual, collision=collision)
    path = meshes.write_cached(f"{stem}.urdf", urdf.encode())
    half = (upper - lower) / 2
    link = Link(-1, "base", meshes.as_mesh(mesh), np.eye(4))
    return Asset(entry.name, entry.cls, str(path), (link,), (), -half, half)


_URDF = """<robot name="body"><link name="base">
<inertial><origin xyz="{centre}"/><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/>
</inertial>
<visual><geometry><mesh filename="{visual}"/></geometry></visual>
<collision><geometry>{collision}</geometry></collision></link></robot>
"""


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
        return trimesh.creation.torus(0.35, 0.15, major_sections=40, minor_sections=18)
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
        mesh = trimesh.util.concatenate(parts)
        rest = invert_pose(poses[0]) @ poses[index + 1]
        links.append(Link(index, names[index], meshes.as_mesh(mesh), rest))
        corners.append(trimesh.transform_points(mesh.vertices, rest))
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


def _visual(shape: Sequence[Any], faces: int) -> trimesh.Trimesh | None:
    """One entry of getVisualShapeData as a mesh in its link's frame; None for one of no size."""
    kind, size, file, position, orientation = shape[2:7]
    if kind == pybullet.GEOM_MESH:
        mesh = meshes.thinned(_thinned(Path(file.decode())), faces)
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
    mesh.apply_transform(bullet.matrix(position, orientation))
    return mesh

"""The things scenes are made of: what ships with PyBullet, primitives, the user's own meshes and photos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import cv2

from freelabels.renderers.engines import bullet
from freelabels.renderers.objects import catalogue
from freelabels.renderers.scene.loading import Asset, Entry, Group, load_asset
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.environments import SUFFIXES, brightest

Split = Literal["all", "train", "test"]
TEST_SHARE = 0.2  # of the assets of the random, made and own groups
STATIC_CLASSES = ("background", "floor", "wall")
# Came later, so they stand at the end of the table: class ids of older datasets mean what they meant.
PLACE_CLASSES = ("ceiling", "ground", "road", "pavement", "building", "roof", "window", "door")
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
class Library:
    """All assets a scene may be drawn from, and the user's photos and environment maps.

    classes: the table of the semantic field. photos, environments: paths. broken: photos left out because they
    can't be read.
    """

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    photos: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    def names(self, group: Group, cls: str = "") -> list[str]:
        """Names of the assets of a group, or of one class of it, sorted."""
        return self._names.get((group, cls), [])

    def load(self, name: str) -> Asset:
        """The asset of that name. Raises ValueError saying why it can't be used."""
        if name not in self._by_name:
            raise ValueError(f"there is no asset called {name!r} in this library")
        return load_asset(self._by_name[name])

    def lacks(self, names: Iterable[str]) -> list[str]:
        """Those of some names that no asset here has, sorted."""
        return sorted(set(names) - self._by_name.keys())

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def _names(self) -> dict[tuple[Group, str], list[str]]:
        found: dict[tuple[Group, str], list[str]] = {}
        for entry in sorted(self.entries, key=lambda entry: entry.name):
            found.setdefault((entry.group, ""), []).append(entry.name)
            found.setdefault((entry.group, entry.cls), []).append(entry.name)
        return found


def library(
    own: Path | None = None,
    photos: Path | None = None,
    split: Split = "all",
    environments: Path | None = None,
) -> Library:
    """Everything that ships, the meshes under folder `own` and the pictures under `photos` and `environments`.

    An own mesh's class is the first folder on its path, or the stem of a file directly under `own`. split: "train"
    and "test" share primitives, household and articulated assets and part the others by a hash of their names.
    Raises ValueError for a missing or empty folder and for more classes than a byte holds, UserError without
    PyBullet.
    """
    entries = list(_shipped(bullet.data_folder()))
    if own is not None:
        entries += _own_entries(own)
    classes = (*STATIC_CLASSES, *sorted({entry.cls for entry in entries} - set(STATIC_CLASSES)))
    classes += tuple(cls for cls in (*PLACE_CLASSES, *catalogue.MAKERS) if cls not in classes)
    entries += _made()
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{own}: its folders make {len(classes)} classes, a semantic id can tell {MOST_CLASSES} apart; "
            "gather the meshes into fewer folders"
        )
    kept = tuple(entry for entry in entries if split == "all" or _split(entry) in ("both", split))
    seen, broken = _pictures(photos) if photos is not None else ((), ())
    return Library(kept, classes, seen, broken, _maps(environments) if environments is not None else ())


@cache
def _shipped(root: Path) -> tuple[Entry, ...]:
    """The assets whose files ship, and primitives; looking for a thousand files takes its time."""
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
    return tuple(entries)


@cache
def _made() -> tuple[Entry, ...]:
    """The assets that code makes."""
    return tuple(Entry(name, cls, "made", "") for cls in catalogue.MAKERS for name in catalogue.variants(cls))


def _maps(folder: Path) -> tuple[str, ...]:
    """The environment maps under a folder. Raises ValueError for one that can't be used."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of environment maps")
    found = tuple(sorted(str(p.resolve()) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES))
    if not found:
        raise ValueError(f"{folder}: holds no environment map; put {' or '.join(SUFFIXES)} files there")
    for path in found:
        brightest(path)
    return found


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
    if entry.group not in ("random", "made", "own"):
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

"""Texture maps that mesh files bring along: found, kept as pictures, carried over to thinned meshes."""

from __future__ import annotations

import os
import re
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from freelabels.renderers.engines.mesh import Skin, affine_maps
from freelabels.renderers.surfaces.cache import write_cached
from freelabels.renderers.surfaces.palette import linear_to_srgb, srgb_to_linear

UV, PICTURE = (
    "uv",
    "skin",
)  # where a trimesh carries them: a face attribute (F, corner, 2), an entry of metadata


def with_skin(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh as read from a file, its texture map noted where `skin_of` finds it; untouched without one."""
    uv = getattr(mesh.visual, "uv", None)
    material = getattr(mesh.visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if uv is None or image is None or len(uv) != len(mesh.vertices) or not np.isfinite(uv).all():
        return mesh
    pixels = np.asarray(image.convert("RGB"), np.float32)
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None:
        tint = np.asarray(factor, np.float32)[:3] / (255 if np.max(factor) > 1 else 1)
        pixels = linear_to_srgb(srgb_to_linear(pixels / 255) * tint) * np.float32(255)
    _, code = cv2.imencode(".png", np.rint(pixels).astype(np.uint8)[..., ::-1])
    mesh.face_attributes[UV] = np.asarray(uv, np.float64)[mesh.faces]
    mesh.metadata[PICTURE] = str(write_cached("skin.png", code.tobytes()))
    return mesh


def skin_of(mesh: trimesh.Trimesh) -> Skin | None:
    """The texture map noted in a mesh."""
    if UV not in mesh.face_attributes or PICTURE not in mesh.metadata:
        return None
    return Skin(str(mesh.metadata[PICTURE]), np.asarray(mesh.face_attributes[UV], np.float64))


def put(mesh: trimesh.Trimesh, skin: Skin | None) -> trimesh.Trimesh:
    """The mesh with a texture map noted in it."""
    if skin is not None:
        mesh.face_attributes[UV], mesh.metadata[PICTURE] = skin.uv, skin.picture
    return mesh


def transferred(skin: Skin, of: trimesh.Trimesh, to: trimesh.Trimesh) -> Skin:
    """A texture map of one mesh for a thinner one: each face takes that of the nearest face it replaces."""
    corner = np.asarray(of.vertices, np.float64)[of.faces]
    aim = np.asarray(to.vertices, np.float64)[to.faces]
    maps = affine_maps(corner, skin.uv)
    nearest = cKDTree(corner.mean(axis=1)).query(aim.mean(axis=1))[1]
    return Skin(skin.picture, applied(maps[nearest], aim))


def applied(maps: NDArray[np.float64], corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Texture places (F, corner, 2) of corners (F, corner, 3) by the maps (F, 2, 4) of their faces."""
    total = np.tile(maps[:, None, :, 3], (1, corner.shape[1], 1))
    for axis in range(3):
        total = total + maps[:, None, :, axis] * corner[:, :, axis, None]
    return np.asarray(total)


def belonging(path: Path) -> list[Path]:
    """The files that make up a mesh file: itself, its materials and their pictures."""
    found = [path]
    suffix = path.suffix.lower()
    if suffix == ".obj":
        found += _named(path, path.read_bytes(), rb"^[ \t]*mtllib[ \t]+(.+?)\s*$")
        for material in found[1:]:
            found += _named(material, material.read_bytes(), rb"^[ \t]*map_Kd[ \t]+(.+?)\s*$")
    elif suffix == ".ply":
        with path.open("rb") as file:
            lines = takewhile(lambda line: line.strip() != b"end_header", file)
            head = b"".join(lines)
        found += _named(path, head, rb"^comment TextureFile[ \t]+(.+?)\s*$")
    elif suffix == ".glb":
        with path.open("rb") as file:
            file.seek(12)  # of its first chunk the length, the kind, the JSON
            head = file.read(4 + int.from_bytes(file.read(4), "little"))
        found += _named(path, head, rb'"uri"\s*:\s*"((?!data:)[^"]+)"')
    return found


def _named(path: Path, text: bytes, pattern: bytes) -> list[Path]:
    """The files beside one that a part of it names, as far as they are there."""
    names = re.findall(pattern, text, re.M | re.I)
    return [file for name in names if os.path.isfile(file := path.parent / os.fsdecode(name))]

"""What a mesh collides as: one convex hull where that fits, else convex pieces."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import trimesh

from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.raycast import Floats
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.cache import cache_folder, write

FITS = 0.95  # share of its hull that a mesh fills to collide as it
# Voxels. The next is for what looks convex and isn't: what is lacking of a hull is only seen where it is more than
# is uncertain at the surface, a fifth of the whole, a tenth, a twentieth.
RESOLUTIONS = (50_000, 400_000, 3_200_000)
CONCAVITY = 0.0025  # of the pieces, as V-HACD measures it
CORNERS = 48  # of a piece


def convex_pieces(mesh: trimesh.Trimesh, name: str) -> list[trimesh.Trimesh]:
    """Convex meshes that together fill what a mesh fills. Raises ValueError naming it if it has no volume.

    V-HACD (Mamou 2016), as PyBullet brings it; takes seconds, so its results are kept by the mesh's content.
    """
    hull = meshes.hull([mesh], name)
    if mesh.is_volume and mesh.volume >= FITS * hull.volume:
        return [hull]
    found = list[trimesh.Trimesh]()
    for resolution in RESOLUTIONS if mesh.is_volume else RESOLUTIONS[:1]:
        found = [
            piece for points in _pieces(_decomposed(mesh, resolution)) if (piece := _hull(points)) is not None
        ]
        if len(found) > 1:
            break
    return found or [hull]


def _decomposed(mesh: trimesh.Trimesh, resolution: int) -> str:
    """What V-HACD makes of a mesh, as an OBJ file of an object a piece."""
    text = mesh.export(file_type="obj")
    recipe = f"{text} {resolution} {CONCAVITY} {CORNERS}"
    kept = cache_folder() / f"pieces-{hashlib.sha256(recipe.encode()).hexdigest()[:24]}.obj"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder) / "mesh.obj", Path(folder) / "pieces.obj"
            source.write_text(text)
            with bullet.quiet():
                pybullet.vhacd(
                    str(source),
                    str(made),
                    str(Path(folder) / "log.txt"),
                    resolution=resolution,
                    concavity=CONCAVITY,
                    maxNumVerticesPerCH=CORNERS,
                )
            write(kept, made.read_bytes() if made.is_file() else b"")
    return kept.read_text()


def _pieces(text: str) -> list[Floats]:
    """The corners of each object of an OBJ file."""
    found: list[list[list[float]]] = []
    for line in text.splitlines():
        if line.startswith("o "):
            found.append([])
        elif line.startswith("v "):
            found[-1].append([float(number) for number in line.split()[1:4]])
    return [np.array(corners) for corners in found if len(corners) > 3]


def _hull(points: Floats) -> trimesh.Trimesh | None:
    """The convex hull of a piece, None for one as thin as a sheet."""
    try:
        return meshes.hull([trimesh.Trimesh(points, process=False)], "a piece")
    except ValueError:
        return None

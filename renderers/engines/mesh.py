"""Triangles of one rigid part in its own frame, and what follows from them alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Skin:
    """A texture map: the path of its picture, and places in it (F, corner, 2), u to the right and v upwards."""

    picture: str
    uv: Floats


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of one rigid part in its own frame.

    vertices: (V, 3) float64 metres. triangles: (F, 3) uint32. patch: (F,) int32, faces that meet without a
    crease share an id. skin: the texture map it came with, if any.
    """

    vertices: Floats
    triangles: NDArray[np.uint32]
    patch: Ints
    skin: Skin | None = None

    @cached_property
    def skin_maps(self) -> NDArray[np.float32] | None:
        """(F, 2, 4): each face's places in the texture map are its matrix · (x, y, z, 1), in the part's frame."""
        if self.skin is None:
            return None
        return affine_maps(self.vertices[self.triangles], self.skin.uv).astype(np.float32)

    @cached_property
    def planes(self) -> tuple[Floats, Floats]:
        """Unit normals (F, 3) of the faces and their planes' distances (F,) from the frame's origin."""
        corner = self.vertices[self.triangles]  # (F, corner, 3)
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asfortranarray(normal), np.einsum("fi,fi->f", normal, corner[:, 0])

    @cached_property
    def box(self) -> Floats:
        """The corners (8, 3) of the bounding box, the lowest first and the highest last."""
        return _boxed(self.vertices.min(axis=0), self.vertices.max(axis=0))

    @cached_property
    def pieces(self) -> Floats:
        """The corners (P, 8, 3) of boxes, as of `box`, around triangles that share corners with no others."""
        corner = self.triangles.astype(np.int64)
        one, other = corner[:, :2].ravel(), corner[:, 1:].ravel()
        count = len(self.vertices)
        met = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(count, count))
        of = np.unique(connected_components(met, directed=False)[1][corner[:, 0]], return_inverse=True)[1]
        low, high = np.full((2, int(of.max()) + 1, 3), np.inf)
        points = self.vertices[corner]
        np.minimum.at(low, of, points.min(axis=1))
        np.minimum.at(high, of, -points.max(axis=1))
        return _boxed(low[:, None], -high[:, None])

    @cached_property
    def extent(self) -> float:
        """The longest side of that box."""
        return float((self.box[-1] - self.box[0]).max())

    @cached_property
    def corner_normal(self) -> NDArray[np.float32]:
        """(F, corner, 3) unit normals for smooth shading: the mean, by area, over the patch around a corner."""
        corner = np.asarray(self.vertices, np.float64)[self.triangles]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        shared = np.asarray(self.patch, np.int64)[:, None] * len(self.vertices) + self.triangles
        _, index = np.unique(shared, return_inverse=True)
        index = index.reshape(shared.shape)
        total = np.zeros((int(index.max(initial=-1)) + 1, 3))
        np.add.at(total, index, face[:, None])
        length = np.linalg.norm(total, axis=1, keepdims=True)
        normal = (total / np.where(length > 0, length, 1))[index]
        # Where the mean leans far off the face (a thin sheet, a fold) the face's own normal is better.
        flat = face / np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-300)
        leans = np.einsum("fci,fi->fc", normal, flat) < 0.5
        return np.where(leans[..., None], flat[:, None], normal).astype(np.float32)

    @cached_property
    def curved(self) -> bool:
        """Whether smooth shading changes anything."""
        normal = self.corner_normal
        return bool(np.abs(normal - normal[:, :1]).max(initial=0) > 1e-3)


def _boxed(low: Floats, high: Floats) -> Floats:
    share = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
    return np.asarray(np.where(share, high, low))


def affine_maps(corner: Floats, values: Floats) -> Floats:
    """(F, C, 4) matrices that take the corners (F, 3, 3) of triangles, as (x, y, z, 1), to values (F, 3, C)."""
    one, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    normal = np.cross(one, other)
    square = np.maximum((normal * normal).sum(axis=1, keepdims=True), 1e-300)
    # The dual basis: 1 along one side, 0 along the other.
    along, across = np.cross(other, normal) / square, np.cross(normal, one) / square
    rise = values[:, 1:] - values[:, :1]
    slope = rise[:, 0, :, None] * along[:, None] + rise[:, 1, :, None] * across[:, None]
    level = values[:, 0] - (slope * corner[:, None, 0]).sum(axis=-1)
    return np.concatenate([slope, level[..., None]], axis=-1)

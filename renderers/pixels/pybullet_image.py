"""Pixels by PyBullet's own renderers, on the labels' lattice: TinyRenderer (CPU) or the EGL plug-in (GPU)."""

from __future__ import annotations

import importlib.util
from types import TracebackType
from typing import Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import invert_pose
from freelabels.renderers.engines import bullet
from freelabels.renderers.engines.bullet import pybullet
from freelabels.renderers.engines.raycast import Floats
from freelabels.renderers.scene.scene import Scene
from freelabels.renderers.simulate.world import World
from freelabels.renderers.surfaces.cache import write_cached

NEAR, FAR = 0.05, 60.0  # metres
TINY_SHIFT = (-0.5, 0.5)  # pixels, from TinyRenderer's lattice to that of pixel centres
EGL_LARGEST = (768, 1024)  # EGL silently scales larger images up from this


class PyBulletCamera:
    """A PyBullet client that shows a world's parts at given poses; a context manager.

    Plain colours, the mean albedo of each material, and no shadows, as labels of edges must know. Raises
    ValueError if `kind` can't be used here.
    """

    def __init__(self, world: World, scene: Scene, kind: Literal["tiny", "egl"]) -> None:
        self.world, self.scene, self.kind = world, scene, kind
        self._engine = bullet.client()
        self.number = -1
        self._plugin = -1
        self._bodies: list[int] = []

    def __enter__(self) -> PyBulletCamera:
        self.number = self._engine.__enter__()
        if self.kind == "egl":
            found = importlib.util.find_spec("eglRenderer")
            with bullet.quiet():
                if found is not None and found.origin:
                    self._plugin = pybullet.loadPlugin(
                        found.origin, "_eglRendererPlugin", physicsClientId=self.number
                    )
            if self._plugin < 0:
                self._engine.__exit__(None, None, None)
                raise ValueError(
                    "--image egl: PyBullet's EGL plug-in can't start here (no GPU driver); take tiny or ray"
                )
        for index, mesh in enumerate(self.world.meshes):
            self._bodies.append(
                self._load(trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False), index)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.__exit__(kind, error, trace)

    def _load(self, mesh: trimesh.Trimesh, index: int) -> int:
        # From a file: meshes handed over as arrays are never freed.
        file = write_cached("part.obj", mesh.export(file_type="obj").encode())
        colours = np.array(self.scene.appearance.materials[index].colours).mean(axis=0)
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH,
            fileName=str(file),
            rgbaColor=[*np.clip(colours, 0, 1) ** (1 / 2.2), 1],
            physicsClientId=self.number,
        )
        body: int = pybullet.createMultiBody(0, -1, shape, physicsClientId=self.number)
        return body

    def image(
        self, poses: Floats, K: Floats, camera_pose: Floats, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """The picture (H, W, 3) uint8 of the parts at `poses` (G, 4, 4)."""
        return self._shoot(poses, K, camera_pose, size)[0]

    def geometry_ids(
        self, poses: Floats, K: Floats, camera_pose: Floats, size: tuple[int, int]
    ) -> NDArray[np.int32]:
        """PyBullet's own mask as geometry ids (H, W), −1 where nothing is hit."""
        mask = self._shoot(poses, K, camera_pose, size)[1]
        number = np.full(max(self._bodies) + 2, -1, np.int32)
        number[self._bodies] = np.arange(len(self._bodies))
        return number[np.where(mask < 0, len(number) - 1, mask)]

    def _shoot(
        self, poses: Floats, K: Floats, camera_pose: Floats, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        height, width = size
        if self.kind == "egl" and (height > EGL_LARGEST[0] or width > EGL_LARGEST[1]):
            raise ValueError(f"--image egl: {height} × {width} is beyond {EGL_LARGEST[0]} × {EGL_LARGEST[1]}")
        for body, pose in zip(self._bodies, poses, strict=True):
            pybullet.resetBasePositionAndOrientation(
                body, list(pose[:3, 3]), bullet.quaternion(pose), physicsClientId=self.number
            )
        sun = self.scene.appearance.lights[0] if self.scene.appearance.lights else None
        drawer = pybullet.ER_TINY_RENDERER if self.kind == "tiny" else pybullet.ER_BULLET_HARDWARE_OPENGL
        with bullet.quiet():
            _, _, colour, _, mask = pybullet.getCameraImage(
                width,
                height,
                viewMatrix=view_matrix(camera_pose),
                projectionMatrix=projection_matrix(K, size, self.kind),
                lightDirection=list(sun.place) if sun else [0.3, 0.2, 1.0],
                shadow=0,  # TinyRenderer's are full of holes, EGL's end elsewhere than the light's do
                renderer=drawer,
                physicsClientId=self.number,
            )
        picture = np.asarray(colour, np.uint8).reshape(height, width, 4)[..., :3]
        return np.ascontiguousarray(picture), np.asarray(mask, np.int64).reshape(height, width)


def view_matrix(camera_pose: Floats) -> list[float]:
    """OpenGL view matrix (column by column) of a camera → world pose with OpenCV axes."""
    flipped = np.asarray(camera_pose) * (1.0, -1.0, -1.0, 1.0)
    return [float(value) for value in invert_pose(flipped).T.ravel()]


def projection_matrix(K: Floats, size: tuple[int, int], kind: str) -> list[float]:
    """OpenGL projection matrix (column by column) of intrinsics K (3, 3).

    TinyRenderer samples pixel corners, not centres: its lattice is moved by half a pixel to meet the rays'.
    """
    height, width = size
    cx, cy = float(K[0, 2]), float(K[1, 2])
    if kind == "tiny":
        cx, cy = cx + TINY_SHIFT[0], cy + TINY_SHIFT[1]
    out = np.zeros((4, 4))
    out[0, 0], out[1, 1] = 2 * K[0, 0] / width, 2 * K[1, 1] / height
    out[0, 2], out[1, 2] = 1 - 2 * cx / width, 2 * cy / height - 1
    out[2, 2], out[2, 3] = -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    out[3, 2] = -1
    return [float(value) for value in out.T.ravel()]

"""Does a rendered clip agree with itself: depth, poses and object motion against the stored flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import invert_pose, pixel_centres
from freelabels.generators.contract.lens import lens_project, lens_rays
from freelabels.renderers.engines.drift import Drift, turned_by
from freelabels.renderers.engines.lens import PINHOLE, Lens
from freelabels.renderers.labels.long_flow import NAMES

NEEDS = ("depth", "instance", "part", "camera_K", "camera_pose", "part_pose", "flow", "flow_backward")
SHUTTER = ("camera_shutter", "camera_velocity", "part_velocity")
USES = ("camera_distortion", *SHUTTER, *NAMES.values())  # where they are there
LIMIT = 0.05  # pixels that the 99th percentile of all residuals may reach


@dataclass(frozen=True)
class Residual:
    """How far stored flow lies from what depth, poses and object motion say, pixels; NaN if nothing compares.

    What its type rounds off is no distance: a half float of 300 px is right to 1/8 px.
    median, p99: over all pixels whose flow is valid. pixels: how many.
    """

    median: float
    p99: float
    pixels: int

    @property
    def agrees(self) -> bool:
        """Whether the labels agree; a clip of one frame has nothing to disagree with."""
        return self.pixels == 0 or self.p99 <= LIMIT


def reproject_residual(columns: Mapping[str, Array]) -> Residual:
    """Compare the flow between a clip's frames with the motion of its surface points.

    columns: at least `NEEDS` and what there is of `USES`, as stored, (T, …) of one clip whose frames follow one
    another. Raises KeyError for a missing column.
    """
    stored = {name: columns[name] for name in NEEDS}
    stored |= {name: columns[name] for name in USES if name in columns}
    found = [np.zeros(0)]
    for frame in range(len(stored["depth"]) - 1):
        found.append(_residual(stored, frame, frame + 1, "flow"))
        found.append(_residual(stored, frame + 1, frame, "flow_backward"))
    for apart, name in NAMES.items():
        for one in range(max(-apart, 0), len(stored["depth"]) - max(apart, 0)) if name in stored else ():
            found.append(_residual(stored, one, one + apart, name))
    everything = np.concatenate(found)
    if not len(everything):
        return Residual(np.nan, np.nan, 0)
    median, p99 = np.percentile(everything, (50, 99))
    return Residual(float(median), float(p99), len(everything))


def _residual(stored: Mapping[str, Array], one: int, other: int, flow: str) -> NDArray[np.float64]:
    """Distances (M,) of predicted from stored displacement of `one`'s pixels in frame `other`, past rounding."""
    depth, measured = stored["depth"][one].astype(np.float64), stored[flow][one].astype(np.float64)
    K, size = stored["camera_K"], depth.shape
    seen = np.isfinite(depth)
    bent = stored.get("camera_distortion", [None] * len(K))
    ray = lens_rays(K[one], bent[one], *size)
    point = ray * np.where(seen, depth, 1.0)[..., None]
    instance, part = stored["instance"][one].astype(int), stored["part"][one].astype(int)
    motion = _part_motion(stored["part_pose"], one, other)
    if set(SHUTTER) <= set(stored) and (stored["camera_shutter"][[one, other], 1] > 0).any():
        end, valid = _end_rolling(stored, one, other, point, seen, motion)
        return _past_rounding(end, measured, valid, stored[flow][one])
    to_world, from_world = stored["camera_pose"][one], invert_pose(stored["camera_pose"][other])
    table = (from_world @ motion @ to_world).reshape(-1, 4, 4)
    chosen = table[instance * stored["part_pose"].shape[2] + part]
    there = np.einsum("hwij,hwj->hwi", chosen[..., :3, :3], point) + chosen[..., :3, 3]
    turned = point @ (from_world @ to_world)[:3, :3].T  # what lies at infinity only turns
    there = np.where(seen[..., None], there, turned)
    end = lens_project(there, K[other], bent[other])
    return _past_rounding(end, measured, there[..., 2] > 0, stored[flow][one])


def _past_rounding(
    end: NDArray[np.float64], measured: NDArray[np.float64], known: NDArray[np.bool_], stored: Array
) -> NDArray[np.float64]:
    """Distances (M,) of displacements (H, W, 2) from those that lead to the places `end`, where known."""
    valid = np.isfinite(measured).all(axis=-1) & known
    apart = np.abs((end - pixel_centres(*known.shape))[valid] - measured[valid])
    rounded = np.abs(np.spacing(stored[valid])).astype(np.float64) / 2
    return np.asarray(np.hypot(*np.maximum(apart - rounded, 0).T))


def _end_rolling(
    stored: Mapping[str, Array],
    one: int,
    other: int,
    point: NDArray[np.float64],
    seen: NDArray[np.bool_],
    motion: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where the other frame's rows see points (H, W, 3), each in the axes of its row's camera; whether they do."""
    size, near, pose = seen.shape, seen.reshape(-1), stored["camera_pose"]
    here, there = _drift(stored, one), _drift(stored, other)
    links = stored["part_pose"].shape[2]
    geometry = (stored["instance"][one].astype(int) * links + stored["part"][one]).reshape(-1)
    after = here.when(np.arange(size[0]) + 0.5, size[0])
    cameras = np.repeat(here.cameras(pose[one], after), size[1], axis=0)
    world = turned_by(cameras[:, :3, :3], point.reshape(-1, 3))
    world[near] += cameras[near, :3, 3]
    world, _ = here.back(np.where(near, geometry, -1), np.repeat(after, size[1]), world, world)
    step = motion.reshape(-1, 4, 4)[geometry[near]]
    world[near] = turned_by(step[:, :3, :3], world[near]) + step[:, :3, 3]
    bent = tuple(map(float, stored["camera_distortion"][other])) if "camera_distortion" in stored else PINHOLE
    lens = Lens(stored["camera_K"][other], bent)
    found = there.lands(world, geometry, near, pose[other], lens, size[0])
    return np.stack([found.x, found.y], axis=-1).reshape(*size, 2), found.in_front.reshape(size)


def _drift(stored: Mapping[str, Array], frame: int) -> Drift:
    """What moves while a frame is taken; geometries are numbered by object and part."""
    exposure, readout = stored["camera_shutter"][frame]
    velocity = np.nan_to_num(stored["part_velocity"][frame].astype(np.float64)).reshape(-1, 6)
    place = np.nan_to_num(stored["part_pose"][frame][..., :3, 3]).reshape(-1, 3)
    return Drift(float(readout), float(exposure), stored["camera_velocity"][frame], velocity, place)


def _part_motion(pose: Array, one: int, other: int) -> NDArray[np.float64]:
    """(object, part, 4, 4) motion of each part in the world between two frames."""
    motion: NDArray[np.float64] = pose[other] @ invert_pose(pose[one])
    return motion

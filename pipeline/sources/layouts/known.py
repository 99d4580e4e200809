"""Public layouts of RGB-D data, told by names, and the unit in which each stores depth."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from freelabels.pipeline.sources.layouts.series import stamp

MILLIMETRES = 0.001


@dataclass(frozen=True)
class Layout:
    """A public way of storing depth. unit: metres that one count of the stored numbers is. note: why no depth."""

    name: str
    unit: float
    note: str = ""


TUM = Layout("TUM RGB-D", 1 / 5000)
ICL = Layout("ICL-NUIM", 1 / 5000)
KITTI = Layout("KITTI", 1 / 256)
REPLICA = Layout("Replica", 1 / 6553.5)
SEVEN_SCENES = Layout("7-Scenes", MILLIMETRES)
SCANNET = Layout("ScanNet", MILLIMETRES)
NYU = Layout("NYU Depth", MILLIMETRES)
REDWOOD = Layout("Redwood", MILLIMETRES)
REALSENSE = Layout("RealSense", MILLIMETRES)
KINECT = Layout("Kinect", MILLIMETRES)
VKITTI = Layout("Virtual KITTI", 0.01)
RECORD3D = Layout("Record3D", 1.0)
POLYCAM = Layout("Polycam", MILLIMETRES)
BOP = Layout("BOP", MILLIMETRES)
NERFSTUDIO = Layout("nerfstudio", MILLIMETRES)
KUBRIC = Layout("Kubric", 1.0, "stores the distance from the camera, which is not depth")
FLOATING = (".exr", ".pfm", ".npy", ".npz", ".hdr")


def layout_of(colour: str, depth: str, notes: Collection[str]) -> Layout | None:
    """The layout that stores `colour` and `depth` (paths of one frame) with these notes, if it is known."""
    parts = [part.lower() for part in colour.split("/")]
    name, deep, folder = parts[-1], depth.rpartition("/")[2].lower(), "/".join(parts[:-1])
    beside = {note.rpartition("/")[2].lower() for note in notes}
    where = {note.rpartition("/")[0].rpartition("/")[2].lower() for note in notes}
    if re.fullmatch(r"depth_\d+\.tiff?", deep) and name.startswith("rgba_"):
        return KUBRIC
    if ".color." in name and ".depth." in deep:
        return SEVEN_SCENES
    if re.fullmatch(r"frame\d+\.\w+", name) and re.fullmatch(r"depth\d+\.png", deep):
        return REPLICA
    if name.startswith("rgb_") and deep.startswith(("sync_depth_", "depth_")) and "camera_" not in folder:
        return NYU
    if re.search(r"(^|/)rgb/camera_\d", folder) and deep.startswith("depth_"):
        return VKITTI
    if "scene_camera.json" in beside:
        return BOP
    if "proj_depth" in depth or "groundtruth_depth" in depth or "/depth_selection/" in depth:
        return KITTI
    if "intrinsic" in where or any(re.match(r"scene\d{4}_\d\d\.txt", note) for note in beside):
        return SCANNET
    if "keyframes" in parts:
        return POLYCAM
    if parts[-2:-1] == ["rgb"] and depth.endswith(FLOATING) and "metadata.json" in beside:
        return RECORD3D
    if any(note.endswith(".freiburg") for note in beside):
        return ICL
    if parts[-2:-1] == ["rgb"]:
        if beside & {"rgb.txt", "depth.txt", "associated.txt"} or (stamp(name) and stamp(deep)):
            return TUM
        if beside & {"associations.txt"} or _unpadded(name):
            return ICL
    if any("realsense" in note for note in beside) or any("realsense" in part for part in parts):
        return REALSENSE
    if any("kinect" in part for part in parts):
        return KINECT
    if any("redwood" in part for part in parts) or "trajectory.log" in beside:
        return REDWOOD
    return NERFSTUDIO if "transforms.json" in beside else None


def _unpadded(name: str) -> bool:
    """Whether a picture is called 0.png, 1.png, …, as ICL-NUIM's are."""
    return re.fullmatch(r"(0|[1-9]\d*)\.png", name) is not None

"""Frames as cameras would have recorded them, without their labels: what `label` reads again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.pipeline.convert.coding import as_png
from freelabels.pipeline.convert.folders import write_about
from freelabels.pipeline.convert.frames import Frames, Source

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # turns a camera's axes from OpenCV's to OpenGL's
RECORDED = ("image", "right", "sensor_depth")
DISTORTION = ("k1", "k2", "p1", "p2", "k3")


def cameras(source: Source, out: Path) -> int:
    """A folder a clip, or, of stereo pairs, a frame; returns how many frames.

    Pairs as Middlebury 2014 has them (im0.png, im1.png, calib.txt), all else as nerfstudio has it (images/,
    depths/ in millimetres where a depth sensor measured them, transforms.json with cameras and poses).
    nerfstudio has no word for a shutter that takes rows one after the other: poses are of the middle row, and
    `camera_shutter` stands beside them. Raises UserError if labels are asked for.
    """
    for name in source.fields:
        if name not in RECORDED:
            raise UserError(f"--fields {name}: cameras record {', '.join(RECORDED)} and no labels")
    count = 0
    for clip in source.clips():
        write = _pairs if "right" in clip.columns else _scene
        write(clip, out)
        count += len(clip)
    write_about(source, out)
    return count


def _scene(clip: Frames, out: Path) -> None:
    folder, frames = out / clip.keys[0], []
    for k in range(len(clip)):
        frame: dict[str, Any] = {"file_path": f"images/frame_{k + 1:05d}.png", **_intrinsics(clip, k)}
        _save(folder / frame["file_path"], "image", clip.columns["image"][k])
        if "sensor_depth" in clip.columns:
            frame["depth_file_path"] = f"depths/frame_{k + 1:05d}.png"
            _save(folder / frame["depth_file_path"], "sensor_depth", clip.columns["sensor_depth"][k])
        pose = clip.columns["camera_pose"][k] if "camera_pose" in clip.columns else np.full((4, 4), np.nan)
        if np.isfinite(pose).all():
            frame["transform_matrix"] = (pose @ OPENGL).tolist()
        if "camera_shutter" in clip.columns and clip.columns["camera_shutter"][k].any():
            frame["camera_shutter"] = clip.columns["camera_shutter"][k].tolist()
        frames.append(frame)
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}, indent=1) + "\n")


def _intrinsics(clip: Frames, k: int) -> dict[str, float]:
    """Of a frame, as nerfstudio has them: the picture's upper left corner is (0, 0). {}: not known."""
    if "camera_K" not in clip.columns:
        return {}
    K, (height, width) = clip.columns["camera_K"][k], clip.columns["image"].shape[1:3]
    known = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    if "camera_distortion" in clip.columns and clip.columns["camera_distortion"][k].any():
        known |= dict(zip(DISTORTION, clip.columns["camera_distortion"][k], strict=True))
    return {**{name: float(value) for name, value in known.items()}, "w": width, "h": height}


def _pairs(clip: Frames, out: Path) -> None:
    for k, key in enumerate(clip.keys):
        for name, column in (("im0.png", "image"), ("im1.png", "right")):
            _save(out / key / name, "image", clip.columns[column][k])
        if "camera_K" not in clip.columns or "baseline" not in clip.columns:
            continue
        K, (height, width) = clip.columns["camera_K"][k], clip.columns["image"].shape[1:3]
        # There the middle of the first pixel is (0, 0), and lengths are millimetres.
        matrix = f"[{K[0, 0]!s} 0 {K[0, 2] - 0.5!s}; 0 {K[1, 1]!s} {K[1, 2] - 0.5!s}; 0 0 1]"
        told = {"cam0": matrix, "cam1": matrix, "doffs": 0, "baseline": 1000 * clip.columns["baseline"][k]}
        lines = [f"{name}={value!s}\n" for name, value in {**told, "width": width, "height": height}.items()]
        (out / key / "calib.txt").write_text("".join(lines))


def _save(path: Path, name: str, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_png(name, values)[0])

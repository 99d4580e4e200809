"""What accompanies frames may be broken: that costs the companion, named by its own file, never the frames."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freelabels.generators.contract.clip import CONSECUTIVE, INTRINSICS, SENSOR_DEPTH
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.examine import Examined
from tests.pipeline.sources.test_sources import one, pan, save, stereo_pair

FRAMES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole RGB-D sequence with poses and intrinsics."""
    cv2.setNumThreads(1)
    depth = np.random.default_rng(0).integers(500, 3000, (96, 128)).astype(np.uint16)
    for number, picture in enumerate(pan(1, FRAMES)):
        save(tmp_path / f"f-{number}.color.png", picture)
        Image.fromarray(depth).save(tmp_path / f"f-{number}.depth.png")
        np.savetxt(tmp_path / f"f-{number}.pose.txt", np.eye(4))
    np.savetxt(tmp_path / "camera-intrinsics.txt", [[100, 0, 64], [0, 100, 48], [0, 0, 1]])
    return tmp_path


def refused(found: Examined) -> dict[str, str]:
    return {Path(refusal.uri).name: refusal.reason for refusal in found.refusals}


def test_one_broken_depth_image_costs_its_depth(folder: Path) -> None:
    file = folder / "f-2.depth.png"
    file.write_bytes(file.read_bytes()[:2000])
    found = one(str(folder))
    assert refused(found) == {"f-2.depth.png": "is truncated"}
    (clip,) = found.clips
    assert (clip.kind, clip.frames) == ("rgbd", FRAMES)
    made = read(clip, (48, 64))
    assert made.sensor_depth is not None
    assert np.isfinite(made.sensor_depth).all(axis=(1, 2)).tolist() == [True, True, False, True, True, True]
    assert np.isnan(made.sensor_depth[2]).all()


@pytest.mark.parametrize("broken", ["empty", "text", "unreadable", "colour"])
def test_however_it_is_broken(folder: Path, broken: str) -> None:
    file = folder / "f-0.depth.png"
    if broken == "unreadable":
        file.unlink()
        file.symlink_to("/proc/self/mem")
    elif broken == "colour":
        save(file, pan(1, 1)[0])
    else:
        file.write_text("" if broken == "empty" else "no depth")
    found = one(str(folder))
    assert list(refused(found)) == ["f-0.depth.png"]
    assert [(clip.kind, clip.frames) for clip in found.clips] == [("rgbd", FRAMES)]


def test_a_folder_of_8_bit_depth_leaves_a_sequence(folder: Path) -> None:
    for number in range(FRAMES):
        Image.fromarray(pan(2, 1)[0][..., 0]).save(folder / f"f-{number}.depth.png")
    found = one(str(folder))
    assert refused(found) == {
        f"f-{k}.depth.png": "its depth image is not a 16-bit single-channel image" for k in range(FRAMES)
    }
    (clip,) = found.clips
    assert (clip.kind, clip.frames, clip.depth) == ("sequence", FRAMES, ())
    assert clip.provides == {CONSECUTIVE, INTRINSICS}
    assert np.array_equal(read(clip, (96, 128)).image, pan(1, FRAMES))


@pytest.mark.parametrize("text", ["", "fx = tbd", "1 2 3"])
def test_an_unreadable_calibration_is_refused_and_intrinsics_are_assumed(folder: Path, text: str) -> None:
    (folder / "camera-intrinsics.txt").write_text(text)
    found = one(str(folder))
    assert list(refused(found)) == ["camera-intrinsics.txt"]
    (clip,) = found.clips
    assert clip.intrinsics == "assumed" and clip.provides == {CONSECUTIVE, SENSOR_DEPTH}


def test_an_unreadable_calibration_leaves_a_stereo_pair(tmp_path: Path) -> None:
    for name, picture in zip(("im0", "im1"), stereo_pair(1), strict=True):
        save(tmp_path / f"{name}.png", picture)
    (tmp_path / "calib.txt").write_text("cam0=[1 2")
    found = one(str(tmp_path))
    assert list(refused(found)) == ["calib.txt"] and [clip.kind for clip in found.clips] == ["stereo"]


def test_a_pose_that_is_gone_is_unknown(folder: Path) -> None:
    (folder / "f-3.pose.txt").write_text("")
    (clip,) = one(str(folder)).clips
    os.remove(folder / "f-4.pose.txt")
    pose = read(clip, (48, 64)).camera_pose
    assert pose is not None
    assert np.isfinite(pose).all(axis=(1, 2)).tolist() == [True, True, True, False, False, True]


def test_a_missing_pose_costs_that_frame_its_pose(tmp_path: Path) -> None:
    for k, frame in enumerate(pan(2, 5)):
        save(tmp_path / f"frame-{k:06}.color.png", frame)
        if k != 2:
            (tmp_path / f"frame-{k:06}.pose.txt").write_text(f"1 0 0 {k}\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    [clip] = one(str(tmp_path)).clips
    poses = read(clip, (32, 32)).camera_pose
    assert poses is not None and len(poses) == 5
    np.testing.assert_array_equal(poses[:, 0, 3], [0, 1, np.nan, 3, 4])

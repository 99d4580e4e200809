"""Metres are metres: units, cameras, baselines and poses are told by layouts and files, never guessed unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import plan, run_detectors
from freelabels.generators.contract.fields import Array
from freelabels.generators.depth.video_disparity import VideoDisparity
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.examine import Examined, examine
from freelabels.pipeline.sources.find import Item, find
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.work.runner import Cluster
from tests.pipeline.sources.test_sources import EVERY, pan, save, scene

SIZE = (96, 128)


def examined(root: Path, options: SourceOptions = EVERY) -> Examined:
    """What comes of everything below a folder."""
    found = [examine(item, options) for item in find([str(root)]) if isinstance(item, Item)]
    return Examined(
        tuple(clip for one in found for clip in one.clips),
        tuple(refusal for one in found for refusal in one.refusals),
        tuple(remark for one in found for remark in one.remarks),
    )


def rgbd(
    root: Path, counts: float, colour: str = "rgb/{}.png", depth: str = "depth/{}.png", frames: int = 4
) -> Path:
    """A sequence whose depth is stored as so many counts everywhere."""
    for number, picture in enumerate(pan(1, frames)):
        save(root / colour.format(number), picture)
        path = root / depth.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, np.full(SIZE, counts, np.float32))
        elif path.suffix == ".tiff":
            Image.fromarray(np.full(SIZE, counts, np.float32)).save(path)
        else:
            Image.fromarray(np.full(SIZE, counts, np.uint16)).save(path)
    return root


def metres(clip: ClipSpec) -> float:
    made = read(clip, SIZE)
    assert made.sensor_depth is not None
    return float(np.nanmedian(made.sensor_depth))


@pytest.mark.parametrize(
    ("colour", "depth", "counts", "beside", "expected"),
    [
        ("rgb/170000000{}.100000.png", "depth/170000000{}.113000.png", 10000, {}, 2.0),
        ("rgb/{}.png", "depth/{}.png", 10000, {"traj0.gt.freiburg": "0 0 0 0 0 0 0 1\n"}, 2.0),
        ("f-{}.color.png", "f-{}.depth.png", 2000, {}, 2.0),
        ("results/frame00000{}.jpg", "results/depth00000{}.png", 13107, {}, 2.0),
        ("rgb_0000{}.jpg", "sync_depth_0000{}.png", 2000, {}, 2.0),
        ("rgb/Camera_0/rgb_0000{}.jpg", "depth/Camera_0/depth_0000{}.png", 2000, {}, 20.0),
        (
            "color/{}.jpg",
            "depth/{}.png",
            2000,
            {"intrinsic/intrinsic_color.txt": "100 0 64\n0 100 48\n0 0 1\n"},
            2.0,
        ),
        ("image/{}.jpg", "depth/{}.npy", 2.0, {}, 2.0),
        ("image/{}.jpg", "depth/{}.tiff", 2.0, {}, 2.0),
        (
            "rgb/00000{}.png",
            "depth/00000{}.png",
            20000,
            {
                "scene_camera.json": json.dumps(
                    {str(k): {"cam_K": [99, 0, 64, 0, 99, 48, 0, 0, 1], "depth_scale": 0.1} for k in range(4)}
                )
            },
            2.0,
        ),
        (
            "results/frame00000{}.jpg",
            "results/depth00000{}.png",
            2000,
            {
                "cam_params.json": json.dumps(
                    {"camera": {"w": 128, "h": 96, "fx": 99, "fy": 99, "cx": 64, "cy": 48, "scale": 1000}}
                )
            },
            2.0,
        ),
    ],
)
def test_the_unit_is_that_of_the_layout_or_of_a_file(
    tmp_path: Path, colour: str, depth: str, counts: float, beside: dict[str, str], expected: float
) -> None:
    rgbd(tmp_path, counts, colour, depth)
    for name, text in beside.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = examined(tmp_path)
    (clip,) = found.clips
    assert clip.kind == "rgbd" and metres(clip) == pytest.approx(expected)
    assert clip.depth_trust == 1 and not found.remarks and dict(clip.origins)["depth unit"]


def test_what_is_assumed_is_said_and_costs_confidence(tmp_path: Path) -> None:
    (clip,), (remark,) = (
        (found := examined(rgbd(tmp_path, 2000, "rgb/a_{}.png", "depth/a_{}.png"))).clips,
        found.remarks,
    )
    assert metres(clip) == pytest.approx(2) and clip.depth_trust == 0.5 and "assumed" in remark.text
    trusted = {name: run(clip, name) for name in ("depth_confidence", "disparity_confidence")}
    assert 0 < trusted["depth_confidence"] < 0.6 * trusted["disparity_confidence"]  # order needs no unit


def run(clip: ClipSpec, name: str) -> float:
    labels = run_detectors(read(clip, SIZE), plan(["depth", "disparity"], clip.provides, {}).detectors)
    return float(labels[name].mean())


@pytest.mark.parametrize("counts", [15000, 100])
def test_a_median_that_no_such_sensor_has_is_questioned(tmp_path: Path, counts: int) -> None:
    found = examined(rgbd(tmp_path, counts, "f-{}.color.png", "f-{}.depth.png"))
    assert found.clips[0].depth_trust == 0.25
    assert [remark.text for remark in found.remarks if "no such sensor sees" in remark.text]


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    found = examined(rgbd(tmp_path, 2000), SourceOptions(depth_unit=0.002))
    assert metres(found.clips[0]) == pytest.approx(4) and found.clips[0].depth_trust == 1
    assert examined(rgbd(tmp_path / "b", 2000, "{}.png", "{}_depth.png")).clips[0].kind == "sequence"
    assert examined(tmp_path / "b", SourceOptions(depth_unit=0.001)).clips[0].kind == "rgbd"


@pytest.mark.parametrize("shape", [(106, 128), (96, 96), (128, 96), (72, 128)])
def test_depth_of_another_shape_is_left_out(tmp_path: Path, shape: tuple[int, int]) -> None:
    rgbd(tmp_path, 2000, "color/{}.png")
    for number in range(4):
        Image.fromarray(np.full(shape, 2000, np.uint16)).save(tmp_path / f"depth/{number}.png")
    found = examined(tmp_path)
    assert [clip.kind for clip in found.clips] == ["sequence"] and "isn't registered" in found.remarks[0].text


def test_depth_of_another_field_of_view_is_left_out(tmp_path: Path) -> None:
    rgbd(tmp_path, 2000, "color/{}.png")
    (tmp_path / "intrinsic").mkdir()
    for name, focal in (("color", 150), ("depth", 100)):
        (tmp_path / f"intrinsic/intrinsic_{name}.txt").write_text(f"{focal} 0 64\n0 {focal} 48\n0 0 1\n")
    found = examined(tmp_path)
    assert [clip.kind for clip in found.clips] == ["sequence"] and "another field" in found.remarks[0].text
    assert found.clips[0].camera == (150, 150, 64.5, 48.5)


# Pairs


def pair(root: Path, left: str, right: str, calibration: dict[str, str]) -> ClipSpec:
    wide = (
        scene(
            3,
            *SIZE,
        )
        if False
        else scene(3, 96, 150)
    )
    save(root / left, wide[:, :128])
    save(root / right, wide[:, 8:136])
    for name, text in calibration.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (clip,) = examined(root).clips
    assert clip.kind == "stereo"
    return clip


KITTI = "".join(
    f"{name}: 100 0 64 {-100 * shift} 0 100 48 0 0 0 1 0\n"
    for name, shift in (("P0", 0), ("P1", 0.54), ("P2", -0.06), ("P3", 0.48))
)
OPENCV = """%YAML:1.0
---
M1: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 90., 0., 64., 0., 90., 48., 0., 0., 1. ]
P1: !!opencv-matrix
   rows: 3
   cols: 4
   dt: d
   data: [ 100., 0., 64., 0., 0., 100., 48., 0., 0., 0., 1., 0. ]
P2: !!opencv-matrix
   rows: 3
   cols: 4
   dt: d
   data: [ 100., 0., 64., -54., 0., 100., 48., 0., 0., 0., 1., 0. ]
"""


@pytest.mark.parametrize(
    ("left", "right", "calibration"),
    [
        ("image_0/000000.png", "image_1/000000.png", {"calib.txt": KITTI}),
        ("image_2/000000.png", "image_3/000000.png", {"calib.txt": KITTI}),
        ("image_2/000000.png", "image_3/000000.png", {"calib/000000.txt": KITTI}),
        (
            "image_02/data/0.png",
            "image_03/data/0.png",
            {"calib_cam_to_cam.txt": KITTI.replace("P", "P_rect_0")},
        ),
        ("left/0.png", "right/0.png", {"stereo.yaml": OPENCV}),
        ("im0.png", "im1.png", {"calib.txt": "cam0=[100 0 64; 0 100 48; 0 0 1]\nbaseline=540\n"}),
        (
            "left.png",
            "right.png",
            {"camera.json": '{"fx": 100, "fy": 100, "cx": 64, "cy": 48, "baseline": 0.54}'},
        ),
    ],
)
def test_baseline_and_focal_length_give_metres(
    tmp_path: Path, left: str, right: str, calibration: dict[str, str]
) -> None:
    clip = pair(tmp_path, left, right, calibration)
    assert clip.camera == (100, 100, 64.5, 48.5) and clip.baseline == pytest.approx(0.54)
    labels = run_detectors(read(clip, SIZE), plan(["depth"], clip.provides, {}).detectors)
    near = labels["depth_confidence"] > 64
    assert near.mean() > 0.3 and np.median(labels["depth"][near]) == pytest.approx(100 * 0.54 / 8, rel=0.03)


@pytest.mark.parametrize("doffs", [20.0, 7.4, -3.0])
def test_doffs_are_added(tmp_path: Path, doffs: float) -> None:
    text = f"cam0=[100 0 64; 0 100 48; 0 0 1]\ncam1=[100 0 {64 + doffs}; 0 100 48; 0 0 1]\nbaseline=100\n"
    clip = pair(tmp_path, "im0.png", "im1.png", {"calib.txt": text})
    assert clip.doffs == pytest.approx(doffs)
    labels = run_detectors(read(clip, SIZE), plan(["disparity"], clip.provides, {}).detectors)
    sure = labels["disparity_confidence"] > 64
    assert np.median(labels["disparity"][sure].astype(float)) == pytest.approx(8 + doffs, abs=0.1)


def test_a_calibration_that_says_nothing_costs_itself(tmp_path: Path) -> None:
    clip = pair(tmp_path, "image_0/0.png", "image_1/0.png", {"calib.txt": "Tr: 1 0 0\n"})
    assert clip.baseline is None and clip.intrinsics == "assumed"
    assert [Path(one.uri).name for one in examined(tmp_path).refusals] == ["calib.txt"]


# Poses and times


def test_tum_pairs_by_time_and_brings_poses(tmp_path: Path) -> None:
    rgbd(tmp_path, 10000, "rgb/170000000{}.100000.png", "depth/170000000{}.113000.png")
    lines = [
        f"170000000{k}.050000 {k} 0 0 0 0 0 1\n170000000{k}.150000 {k + 1} 0 0 0 0 0 1" for k in range(4)
    ]
    (tmp_path / "groundtruth.txt").write_text("# x\n" + "\n".join(lines))
    (clip,) = examined(tmp_path).clips
    assert (
        clip.times == pytest.approx([1700000000.1 + k for k in range(4)])
        and clip.rate == 1
        and not clip.rate_assumed
    )
    pose = read(clip, SIZE).camera_pose
    assert pose is not None and np.allclose(pose[:, 0, 3], [0.5, 1.5, 2.5, 3.5], atol=1e-4)
    assert "groundtruth.txt" in dict(clip.origins)["poses"]


TUM = {  # stamps of colour and of depth, whether names show them, the metres that each frame then sees
    "depth late by a third of a frame": (
        (1.0, 1.03, 1.06, 1.09),
        (1.01, 1.04, 1.07, 1.10),
        True,
        (1, 2, 3, 4),
    ),
    "depth at half the rate": ((1.0, 1.1, 1.2, 1.3), (1.0, 1.2), True, (1, None, 2, None)),
    "one of depth is lost": ((1.0, 1.1, 1.2, 1.3), (1.0, 1.2, 1.3), True, (1, None, 2, 3)),
    "names are numbers": ((1.0, 1.1, 1.2, 1.3), (1.01, 1.11, 1.21, 1.31), False, (1, 2, 3, 4)),
}


@pytest.mark.parametrize("case", TUM)
def test_tum_pairs_nearest_stamps_and_where_there_is_none_has_no_depth(case: str, tmp_path: Path) -> None:
    colour, depth, shown, expected = TUM[case]
    for kind, stamps in (("rgb", colour), ("depth", depth)):
        lines = ["# timestamp filename"]
        for k, stamp in enumerate(stamps):
            name = f"{kind}/{1305031100 + stamp:.6f}.png" if shown else f"{kind}/{k}.png"
            lines.append(f"{1305031100 + stamp:.6f} {name}")
            (tmp_path / kind).mkdir(exist_ok=True)
            if kind == "rgb":
                save(tmp_path / name, pan(1, 4)[k])
            else:
                Image.fromarray(np.full(SIZE, 5000 * (k + 1), np.uint16)).save(tmp_path / name)
        (tmp_path / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    (clip,) = examined(tmp_path).clips
    assert clip.times == pytest.approx([1305031100 + stamp for stamp in colour], abs=1e-4)
    made = read(clip, SIZE).sensor_depth
    assert made is not None
    seen = [float(frame[48, 64]) for frame in made]
    assert seen == pytest.approx([np.nan if metres is None else metres for metres in expected], nan_ok=True)


def test_tum_poses_are_not_told_across_a_gap(tmp_path: Path) -> None:
    rgbd(tmp_path, 10000, "rgb/170000000{}.100000.png", "depth/170000000{}.113000.png")
    track = [f"170000000{k}.100000 {k} 0 0 0 0 0 1" for k in (0, 1, 3)]
    (tmp_path / "groundtruth.txt").write_text("\n".join(track))
    (clip,) = examined(tmp_path).clips
    pose = read(clip, SIZE).camera_pose
    assert pose is not None
    assert pose[:, 0, 3].tolist() == pytest.approx([0, 1, np.nan, 3], nan_ok=True)


def frames_of(root: Path, pattern: str = "images/frame_0000{}.png") -> Path:
    for number, picture in enumerate(pan(1, 4)):
        save(root / pattern.format(number), picture)
    return root


def test_nerfstudio_brings_camera_and_poses(tmp_path: Path) -> None:
    frames = []
    for k in range(4):
        matrix = np.eye(4)
        matrix[0, 3] = k
        frames.append({"file_path": f"images/frame_0000{k}.png", "transform_matrix": matrix.tolist()})
    about = {"fl_x": 100, "fl_y": 101, "cx": 64, "cy": 48, "w": 128, "h": 96, "frames": frames}
    (frames_of(tmp_path) / "transforms.json").write_text(json.dumps(about))
    (clip,) = examined(tmp_path).clips
    assert clip.camera == (100, 101, 64, 48) and clip.intrinsics == "given"
    pose = read(clip, SIZE).camera_pose
    assert pose is not None and pose[2, 0, 3] == 2 and np.allclose(pose[0, :3, :3], np.diag([1, -1, -1]))


@pytest.mark.parametrize("first", [["disparity"], ["regions"]])
def test_detectors_are_given_the_poses_however_late_they_run(
    first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_nerfstudio_brings_camera_and_poses(tmp_path / "scan")
    given: list[NDArray[np.float64] | None] = []
    before = VideoDisparity.__call__

    def noted(self: VideoDisparity, clip: Clip) -> dict[str, Array]:
        given.append(clip.camera_pose)
        return before(self, clip)

    monkeypatch.setattr(VideoDisparity, "__call__", noted)
    for labels in (first, ["regions", "disparity"]):
        label(tmp_path / "scan", tmp_path / "out", labels=labels, size=(32, 32), cluster=Cluster(workers=0))
    [poses] = given
    assert poses is not None and poses[:, 0, 3].tolist() == [0, 1, 2, 3]


def test_colmap_brings_camera_and_poses(tmp_path: Path) -> None:
    sparse = frames_of(tmp_path) / "sparse" / "0"
    sparse.mkdir(parents=True)
    (sparse / "cameras.txt").write_text("# Camera list\n1 SIMPLE_RADIAL 256 192 200 128 96 0.01\n")
    images = "".join(f"{k + 1} 1 0 0 0 {-k} 0 0 1 frame_0000{k}.png\n\n" for k in range(4))
    (sparse / "images.txt").write_text(images)
    (clip,) = examined(tmp_path).clips
    assert clip.camera == (100, 100, 64, 48)  # the model was made at twice the size
    pose = read(clip, SIZE).camera_pose
    assert pose is not None and pose[3, 0, 3] == 3


def test_numbers_that_are_times_are_kept(tmp_path: Path) -> None:
    frames_of(tmp_path, "14036365797{}0000000.png")
    (clip,) = examined(tmp_path).clips
    assert np.diff(clip.times) == pytest.approx([0.01] * 3, abs=1e-5)
    assert clip.kind == "sequence" and not clip.rate_assumed

"""Renders of pairs and depth sensors, written as cameras would have recorded them, are read as what they are."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import freelabels
from freelabels.generators.contract.geometry import intrinsics
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from tests.pipeline.sources.test_metres import examined, read

SIZE = (64, 96)
# One shot without a cut.
IMAGE = np.random.default_rng(0).integers(0, 255, (1, *SIZE, 3), np.uint8).repeat(3, 0)


def converted(tmp_path: Path, **columns: np.ndarray) -> Path:
    """The folder that a clip of three frames with these columns is written to."""
    rows = 3
    K = intrinsics(80.0, SIZE[1], SIZE[0])
    pose = np.tile(np.eye(4), (rows, 1, 1))
    pose[:, 0, 3] = np.arange(rows)
    whole = {"image": IMAGE, "domain": np.ones(rows, np.uint8)}
    whole |= {"camera_K": np.tile(K, (rows, 1, 1)), "camera_pose": pose, **columns}
    clip = {"rows": [0, rows], "kind": "render", "source": ["seed:0/clip:0"], "key": "a"}
    made_by = {name: {"generator": "test", "version": 1} for name in whole}
    made = Dataset.create(tmp_path / "made", {"size": list(SIZE)})
    commit_shard(made, "render-0", whole, [clip], made_by)
    assert freelabels.convert(tmp_path / "made", "cameras", tmp_path / "out").frames == rows
    return tmp_path / "out"


def test_measured_depth_is_read_with_its_camera_and_poses(tmp_path: Path) -> None:
    depth = np.random.default_rng(1).uniform(0.5, 4, (3, *SIZE)).astype(np.float32)
    depth[:, :10] = np.nan
    (clip,) = examined(converted(tmp_path, sensor_depth=depth)).clips
    assert clip.camera == (80, 80, 48, 32) and clip.intrinsics == "given"
    frames = read(clip, SIZE)
    assert frames.sensor_depth is not None and frames.camera_pose is not None
    np.testing.assert_allclose(frames.sensor_depth, depth, atol=0.0006)
    np.testing.assert_allclose(frames.camera_pose[:, 0, 3], [0, 1, 2], atol=1e-6)
    np.testing.assert_allclose(frames.camera_pose[:, :3, :3], np.eye(3)[None].repeat(3, 0), atol=1e-6)


def test_pairs_are_read_with_their_baseline(tmp_path: Path) -> None:
    right = np.roll(IMAGE, -8, axis=2)
    clips = examined(converted(tmp_path, right=right, baseline=np.full(3, 0.12))).clips
    assert len(clips) == 3
    for clip, expected in zip(clips, right, strict=True):
        assert clip.camera == (80, 80, 48, 32) and clip.baseline == pytest.approx(0.12)
        np.testing.assert_array_equal(read(clip, SIZE).right, expected[None])


def test_labels_are_not_what_a_camera_records(tmp_path: Path) -> None:
    converted(tmp_path, edges=np.zeros((3, *SIZE), np.uint8))
    with pytest.raises(UserError, match="--fields edges: cameras record image, right, sensor_depth"):
        freelabels.convert(tmp_path / "made", "cameras", tmp_path / "again", fields=["edges"])


def test_what_lens_and_shutter_do_goes_with_intrinsics_and_pose(tmp_path: Path) -> None:
    """Without them intrinsics and poses say where a pinhole sees things, and pictures show them elsewhere."""
    bent, shutter = [-0.1, 0.01, 0.001, -0.002, 0.003], [0.01, 0.02]
    columns = {"camera_distortion": np.tile(bent, (3, 1)), "camera_shutter": np.tile(shutter, (3, 1))}
    out = converted(tmp_path, **columns, camera_velocity=np.ones((3, 6)))
    (scene,) = out.glob("*/transforms.json")
    frame = json.loads(scene.read_text())["frames"][1]
    assert [frame[name] for name in ("k1", "k2", "p1", "p2", "k3")] == bent
    assert frame["camera_shutter"] == shutter
    about = json.loads((out / "freelabels.json").read_text())
    assert "rolling shutter" in about["tables"]["camera_shutter"]["meaning"]
    for to, file in (("parquet", "frames.parquet"), ("huggingface", "data/frames-00000.parquet")):
        freelabels.convert(tmp_path / "made", to, tmp_path / to)
        row = pq.read_table(tmp_path / to / file).to_pylist()[1]
        assert (row["camera_distortion"], row["camera_shutter"]) == (bent, shutter)
        assert row["camera_velocity"] == [1.0] * 6 and row["baseline"] is None

"""Labels at 10 frames a second come from flow at the source's own rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.flow import DenseInverseSearch, chained
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.sources.clip_specs import MOST_BETWEEN, ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.examine import examine
from freelabels.pipeline.sources.find import Passed, Refusal, find
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.sources import write_video

SIDE, STEP, PERIOD, STORED = 96, 8, 32, 4  # pixels, frames: every fourth looks as if nothing had moved


def repeating(frames: int) -> NDArray[np.uint8]:
    """A texture of period `PERIOD` across that moves `STEP` pixels to the right a frame."""
    rng = np.random.default_rng(0)
    tile = cv2.GaussianBlur(np.tile(rng.random((SIDE, PERIOD, 3)), (1, 3, 1)), (0, 0), 1.2)[:, PERIOD:-PERIOD]
    tile = 255 * (tile - tile.min()) / np.ptp(tile)
    wide = np.tile(tile, (1, SIDE // PERIOD, 1)).astype(np.uint8)
    return np.stack([np.roll(wide, STEP * t, axis=1) for t in range(frames)])


def numbered(frames: int) -> NDArray[np.uint8]:
    """Frames that each show their number, as grey."""
    grain = np.random.default_rng(1).integers(-15, 16, (SIDE, SIDE, 1))
    return np.stack(
        [np.clip(20 + 5 * t + grain, 0, 255).repeat(3, axis=2).astype(np.uint8) for t in range(frames)]
    )


def number(frame: NDArray[np.uint8]) -> int:
    return round((float(frame.mean()) - 20) / 5)


def spec_of(path: Path, options: SourceOptions | None = None) -> list[ClipSpec]:
    (item,) = find([str(path)])
    assert not isinstance(item, Refusal | Passed)
    return list(examine(item, options or SourceOptions()).clips)


def test_flow_is_followed_through_the_frames_between() -> None:
    frames = repeating(STORED + 1)
    stored = Clip(frames[::STORED], np.arange(2) / 10, np.eye(3))
    inner = (0, slice(16, -16), slice(24, -24), 0)
    alone = DenseInverseSearch()(stored)["flow"][inner]
    made = DenseInverseSearch()(replace(stored, between=(frames[1:STORED],)))
    assert np.abs(np.median(alone)) < 1  # what the two frames alone say
    assert np.median(made["flow"][inner]) == pytest.approx(PERIOD, abs=0.3)
    back = made["flow_backward"][1][inner[1:]]
    assert np.median(back) == pytest.approx(-PERIOD, abs=0.3)
    assert np.median(made["flow_confidence"][inner[:3]]) > 200


def test_chained_flow_goes_on_from_where_it_led() -> None:
    first = np.full((8, 8, 2), (2, 0), np.float32)
    second = np.zeros((8, 8, 2), np.float32)
    second[:, 5:] = (0, 3)
    whole = chained([first, second])
    assert np.array_equal(whole[:, :3], np.broadcast_to((2, 0), (8, 3, 2)))
    assert np.array_equal(whole[:, 3:], np.broadcast_to((2, 3), (8, 5, 2)))


def test_frames_between_are_those_of_the_source(tmp_path: Path) -> None:
    """From the start of the file, and of a later part of it, which is sought."""
    path = write_video(tmp_path / "clip.mp4", numbered(24), 30)
    parts = spec_of(path, SourceOptions(clip_length=4))
    assert [spec.indices for spec in parts] == [(0, 3, 6, 9), (12, 15, 18, 21)]
    for spec in parts:
        clip = read(spec, (SIDE, SIDE), between=True)
        assert tuple(map(number, clip.image)) == spec.indices
        shown = [[number(frame) for frame in some] for some in clip.between]
        assert shown == [[k + 1, k + 2] for k in spec.indices[:-1]]
        assert read(spec, (SIDE, SIDE)).between == ()


@pytest.mark.slow
def test_of_many_frames_between_a_few_are_looked_at(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", numbered(25), 60)
    (spec,) = spec_of(path, SourceOptions(fps=5.0))
    assert spec.indices == (0, 12, 24)
    assert spec.between == ((3, 6, 9), (15, 18, 21)) and MOST_BETWEEN == 3
    (whole,) = spec_of(path, SourceOptions(fps=None))
    assert whole.between == ()


def test_labels_at_ten_frames_a_second_come_from_the_sources_rate(tmp_path: Path) -> None:
    """Also where the column is made later, of a shard that holds every fourth frame alone."""
    path, out = write_video(tmp_path / "clip.mp4", repeating(2 * STORED + 1), 40), tmp_path / "out"
    quiet = {"cluster": Cluster(workers=0), "reporter": Reporter("quiet"), "size": (SIDE, SIDE)}
    label(path, out, labels=["regions"], **quiet)
    label(path, out, labels=["flow"], **quiet)
    (name,) = Dataset(out).shards()
    shard = Dataset(out).open(name)
    assert shard.read_rows("frame_index").tolist() == [0, 4, 8]
    flow = shard.read_rows("flow")[:-1, 16:-16, 24:-24]
    assert np.median(flow[..., 0]) == pytest.approx(PERIOD, abs=0.3)
    assert abs(np.median(flow[..., 1])) < 0.3

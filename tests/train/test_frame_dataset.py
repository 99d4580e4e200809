"""`freelabels.FrameDataset`: frames and labels for plain PyTorch."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import freelabels
from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, write_exclusions

SIZE, CLIPS, FRAMES = 32, 5, 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("made") / "shapes", 1, CLIPS, SIZE, FRAMES, confidence=102)


@pytest.fixture(scope="module")
def frames(path: Path) -> freelabels.FrameDataset:
    return freelabels.FrameDataset(path, ["depth", "flow"])


def test_every_frame_is_there_as_it_is_stored(path: Path, frames: freelabels.FrameDataset) -> None:
    dataset = Dataset(path)
    shards = [dataset.open(name) for name in dataset.shards()]
    stored = [(shard, row) for shard in shards for row in range(shard.rows)]
    assert len(frames) == len(stored) == CLIPS * FRAMES
    for item, (shard, row) in zip((frames[k] for k in range(len(frames))), stored, strict=True):
        np.testing.assert_array_equal(item["image"].numpy(), shard.read("image", row).transpose(2, 0, 1))
        depth = shard.read("depth", row)
        known = np.isfinite(depth)
        np.testing.assert_array_equal(item["depth"][0].numpy(), np.where(known, depth, 0))
        np.testing.assert_allclose(item["depth_weight"].numpy(), known * 0.4, rtol=1e-6)
        assert item["flow"].shape == (2, SIZE, SIZE) and item["domain"] == 1


def test_size_frames_and_transform(path: Path) -> None:
    def only_image(item: dict[str, torch.Tensor]) -> torch.Tensor:
        return item["image"].float() / 255

    windows = freelabels.FrameDataset([path], size=16, frames=2, transform=only_image)
    assert len(windows) == CLIPS * (FRAMES - 1)
    assert windows[-1].shape == (2, 3, 16, 16) and windows[-1].max() <= 1


@pytest.mark.slow
def test_workers_read_the_same(frames: freelabels.FrameDataset) -> None:
    here = torch.stack([frames[k]["image"] for k in range(len(frames))])
    read = torch.cat([batch["image"] for batch in DataLoader(frames, batch_size=4, num_workers=2)])
    assert torch.equal(read, here)


def test_it_is_pickled_without_what_is_open(frames: freelabels.FrameDataset) -> None:
    frames[0]
    again = pickle.loads(pickle.dumps(frames))
    assert torch.equal(again[7]["depth"], frames[7]["depth"])


def test_excluded_frames_are_left_out(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", 0, 1, 16, 3, labels=("edges",))
    write_exclusions(Dataset(path), [FrameIdentity("0-0", 1)])
    assert len(freelabels.FrameDataset(path)) == 2


def test_mistakes_are_said(path: Path, frames: freelabels.FrameDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shard holds 'dpeth': did you mean 'depth'"):
        freelabels.FrameDataset(path, ["dpeth"])
    with pytest.raises(UserError, match="not a Freelabels dataset"):
        freelabels.FrameDataset(tmp_path)
    with pytest.raises(IndexError, match="there are 15 items"):
        frames[15]
    assert repr(frames).startswith("FrameDataset(15 of ")

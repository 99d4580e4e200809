"""The map of frames by a network: where features are kept, what is computed again, and how points lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.tools.shapes import write_dataset
from freelabels.cli.main import main
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.viewer import frame_map
from freelabels.pipeline.viewer.frame_map import FrameFeatures, FrameMap
from freelabels.pipeline.viewer.inspect import index_to_look
from freelabels.pipeline.viewer.layout import layout_of


class Random:
    """A random net of one layer; counts the frames it is shown."""

    def __init__(self, folder: Path):
        self.weights = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
        self.shown = 0
        self.features = FrameFeatures("random", self, folder)

    def __call__(self, images: Any) -> Any:
        self.shown += len(images)
        return np.maximum(images.mean((1, 2), dtype=np.float32) @ self.weights, 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of 16 frames."""
    return write_dataset(tmp_path_factory.mktemp("map") / "d", 0, 20, 32, labels=("edges",))


@pytest.fixture(autouse=True)
def two_shards_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_map, "BLOCK", 32)


def looked(net: Random, *paths: Path, most: int = 10**9) -> FrameMap:
    """The map after a look at all datasets, or one that ends after `most` frames of each."""
    made = FrameMap([layout_of(index_to_look(Dataset(path))) for path in paths], net.features)
    for number in range(len(paths)):
        made.look(number, lambda done: done < most)
    return made


def points(made: FrameMap, number: int = 0) -> Any:
    return np.frombuffer(made.known(number), "<f4").reshape(2, -1).T


def test_features_are_computed_once_for_a_shard_and_what_is_torn_anew(data: Path, tmp_path: Path) -> None:
    net = Random(tmp_path / "kept")
    first = points(looked(net, data))
    assert net.shown == 80 and first.shape == (80, 2) and np.isfinite(first).all()
    assert first.min(0).tolist() == [0, 0] and first.max(0).tolist() == [1, 1]
    files = sorted((tmp_path / "kept").iterdir())
    assert [path.suffix for path in files] == [".npy"] * 3
    assert (points(looked(net, data)) == first).all() and net.shown == 80
    files[0].write_bytes(files[0].read_bytes()[:-9])
    assert (points(looked(net, data)) == first).all() and 80 < net.shown <= 112


def test_a_look_that_ends_early_keeps_what_it_saw(data: Path, tmp_path: Path) -> None:
    net = Random(tmp_path / "kept")
    early = looked(net, data, most=48)
    assert early.placed == [32] and net.shown == 48
    looked(net, data)
    assert net.shown == 48 + 48


def test_what_cannot_be_read_has_no_place_and_is_tried_again(data: Path, tmp_path: Path) -> None:
    shard = data / Dataset(data).shards()[0]
    [image] = (path for path in (shard / "image").rglob("*") if path.name == "0" and path.is_file())
    whole = image.read_bytes()
    image.write_bytes(whole[:100] + bytes(len(whole) - 100))
    net = Random(tmp_path / "kept")
    made = FrameMap([layout_of(index_to_look(Dataset(data)))], net.features)
    assert made.look(0, lambda done: True) == 16
    assert np.isnan(points(made)[:16]).all() and np.isfinite(points(made)[16:]).all()
    image.write_bytes(whole)
    assert np.isfinite(points(looked(net, data))).all()


def test_two_datasets_lie_on_one_map_and_alike_frames_close(data: Path, tmp_path: Path) -> None:
    net = Random(tmp_path / "kept")
    made = looked(net, data, data)
    assert made.placed == [80, 80] and (points(made, 0) == points(made, 1)).all()
    assert net.shown == 80  # the second is the first, so its features are there
    clips = points(made).reshape(20, 4, 2)
    within = np.linalg.norm(clips - clips.mean(1, keepdims=True), axis=-1).mean()
    assert within < 0.5 * np.linalg.norm(clips.mean(1) - clips.mean((0, 1)), axis=-1).mean()


def test_a_folder_that_takes_nothing_costs_nothing_but_time(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    net = Random(tmp_path / "file" / "kept")
    assert np.isfinite(points(looked(net, data))).all()


def test_one_colour_and_an_unserved_map_are_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    alike = FrameFeatures("flat", lambda images: np.ones((len(images), 1)), tmp_path / "kept")
    made = FrameMap([layout_of(index_to_look(Dataset(data)))], alike)
    made.look(0, lambda done: True)
    assert np.isfinite(points(made)).all()
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(data), "--map-run", str(tmp_path)])
    assert end.value.code == 2
    assert "--map-run maps the frames of the served page: give --serve too" in capsys.readouterr().err

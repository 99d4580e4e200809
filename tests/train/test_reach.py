"""Frames that tasks have for themselves: which they are, and that nobody else's change."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig
from freelabels.train.data.catalogue import Catalogue, read_catalogue
from freelabels.train.data.loader import Batch, Loader, collate
from freelabels.train.data.reach import Reach, own
from freelabels.train.data.windows import REAL, SYNTHETIC, Window
from freelabels.train.tasks.contract.task import Needs, Task
from freelabels.train.tasks.tasks import choose, fields_of, lacking, reaches_of, tasks

CONFIG = LoaderConfig(size=32, batch=6, held_out=0.0)
RATE = 10  # frames a second


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Photos, and clips of 12 frames whose every frame is its number, at ten frames a second."""
    root = tmp_path_factory.mktemp("data")
    photos = write_dataset(root / "photos", REAL, 4, 32, frames=1, labels=("edges",))
    clips = Dataset.create(root / "clips", {"size": [32, 32]})
    number = np.arange(12)
    columns = {
        "image": np.broadcast_to(20 * number[:, None, None, None], (12, 32, 32, 3)).astype(np.uint8),
        "flow": np.broadcast_to(number[:, None, None, None], (12, 32, 32, 2)).astype(np.float16),
        "time": 5 + number / RATE,
        "cluster": number.astype(np.int32),
        "speed": np.stack([np.zeros(12), np.where(number < 6, 0, 2)], 1).astype(np.float32),
        "domain": np.ones(12, np.uint8),
    }
    made_by = {name: {"generator": "numbers", "version": 1} for name in columns}
    table = [{"rows": [0, 12], "kind": "render", "source": ["numbers"], "key": "numbers"}]
    commit_shard(clips, "numbers", columns, table, made_by)
    return read_catalogue([str(photos)], [str(root / "clips")], 1)


def batches(catalogue: Catalogue, *reaches: Reach) -> Batch:
    loader = Loader(catalogue, ("edges", "flow"), CONFIG, 3, reaches=reaches)
    return next(iter(loader.batches(0, 1)))


def test_photos_train_beside_clips_and_what_all_tasks_share_stays_as_it_was(catalogue: Catalogue) -> None:
    plain, more = batches(catalogue), batches(catalogue, Reach(3, fields=("flow", "camera_pose", "cluster")))
    for name, tensor in plain.items():
        assert torch.equal(tensor, more[name]), name
    mine = own(more, Reach(3))
    photos = mine["domain"] == REAL
    assert mine["image"].shape == (6, 3, 3, 32, 32) and mine["camera_pose"].shape == (6, 3, 4, 4)
    assert mine["serves"].tolist() == (~photos).float().tolist()
    assert mine["present"][photos].tolist() == [[True, False, False]] * int(photos.sum())
    assert mine["present"][~photos].all() and (mine["flow_weight"][~photos] == 1).all()
    assert (mine["flow_weight"][photos] == 0).all() and torch.isnan(mine["camera_pose"]).all()
    rows = mine["cluster"][~photos]
    assert (rows.diff(dim=1) == 1).all() and (rows <= 11).all()
    light = mine["image"][~photos].float().mean((2, 3, 4))
    assert (light.diff(dim=1) >= 0).all() and (light[:, -1] > light[:, 0]).any()  # one light for all frames
    assert torch.equal(mine["cluster_weight"] > 0, mine["present"] & ~photos[:, None])


@pytest.mark.parametrize(
    ("start", "reach", "wanted"),
    [
        (2, Reach(3), [2, 3, 4]),
        (11, Reach(3), [9, 10, 11]),  # begins earlier where the clip would end
        (0, Reach(3, span=0.6), [0, 3, 6]),
        (9, Reach(3, span=0.6), [5, 8, 11]),
        (4, Reach(3, span=60), [1, 6, 11]),  # no longer than the clip
        (4, Reach(3, span=0.01), [4, 5, 6]),
        (0, Reach(12), list(range(12))),
        (3, Reach(14), [*range(12), 11, 11]),  # two are not there
    ],
)
def test_frames_are_evenly_spaced_and_lie_in_the_clip(start: int, reach: Reach, wanted: list[int]) -> None:
    window = Window("data", "shard", start, SYNTHETIC, 0, "video", 0, start, 11 - start)
    rows, present = reach.rows(window, 1, np.arange(12) / RATE)
    assert rows == wanted and present.tolist() == [k < 12 for k in range(reach.frames)]


def test_a_window_knows_how_far_its_clip_reaches(catalogue: Catalogue) -> None:
    clips = [w for w in catalogue.windows if w.domain == SYNTHETIC]
    assert [(w.before, w.after) for w in clips] == [(k, 11 - k) for k in range(12)]
    assert catalogue.longest == 12


def test_what_moves_too_little_does_not_serve() -> None:
    there, speed = np.ones(3, bool), np.array([[0.2, 0.1], [0.2, 2.0], [0.1, 2.0]], np.float32)
    assert Reach(3, moving=1).serves(there, speed) and not Reach(3, moving=3).serves(there, speed)
    unknown = np.full((3, 2), np.nan, np.float32)
    assert Reach(3, moving=3).serves(there, unknown) and Reach(3, moving=3).serves(there, None)
    assert not Reach(3).serves(np.array([True, True, False]), None)


def test_windows_that_stand_still_by_the_stored_speed_do_not_serve(catalogue: Catalogue) -> None:
    clips = [w for w in catalogue.windows if w.domain == SYNTHETIC]
    loader = Loader(catalogue, (), CONFIG, 3, reaches=(Reach(3, moving=1), Reach(3)))
    batch = loader.centred([clips[k] for k in (0, 4, 5, 9)])  # 0 2, 4 6, 5 7, 9 11
    assert own(batch, Reach(3, moving=1))["serves"].tolist() == [0, 0, 1, 1]
    assert own(batch, Reach(3))["serves"].tolist() == [1, 1, 1, 1]


def test_a_batch_says_how_far_apart_frames_lie(catalogue: Catalogue) -> None:
    clips = [w for w in catalogue.windows if w.domain == SYNTHETIC]
    apart = Reach(3, span=0.6)
    batch = Loader(catalogue, (), CONFIG, 3, reaches=(Reach(3), apart)).centred(clips[:2])
    assert own(batch, Reach(3))["step"].tolist() == [1, 1] and own(batch, apart)["step"].tolist() == [3, 3]


@dataclass(frozen=True)
class Three(Task):
    """Looks at three frames."""

    name = "three"
    needs = Needs(3, ("flow",), span=0.5, uses=("depth",))


def test_tasks_that_look_equally_far_have_their_frames_together() -> None:
    four = {"a": Three(), "b": replace_needs(("camera_K",)), "edges": tasks()["edges"]}
    assert reaches_of(four) == (Reach(3, 0.5, 0.0, ("flow", "depth", "camera_K")),)
    assert fields_of(four) == ("edges",)
    assert not reaches_of({"flow": tasks()["flow"]})  # between neighbours that all tasks share


def replace_needs(fields: tuple[str, ...]) -> Task:
    @dataclass(frozen=True)
    class Other(Three):
        """Others."""

        needs = replace(Three.needs, fields=fields, uses=())

    return Other()


def test_clips_that_are_all_too_short_are_a_sentence() -> None:
    assert lacking(Three(), lambda name: True, {}, 1, 3) == ""
    said = lacking(Three(), lambda name: True, {}, 1, 2)
    assert said == "the task three looks at 3 frames of a clip, and the longest clip has 2"
    with pytest.raises(UserError, match=r"give --loader\.frames 2"):
        choose(["flow"], lambda name: True, {}, 1)


def test_rows_that_are_longer_in_one_shard_are_filled_up() -> None:
    batch = collate([{"x": np.ones((2, 3), np.float32)}, {"x": np.ones((2, 5), np.float32)}])
    assert batch["x"].sum(2).tolist() == [[3, 3], [5, 5]]

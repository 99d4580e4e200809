"""Rows of `benchmarks.pretexts video`; and the clips of `controls` hold the cue that they are made for."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.pretexts import aims, controls, video
from benchmarks.pretexts.controls import FRAMES, SEED, SORTS, STORED
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.scene.scene import Scene, camera_poses
from freelabels.renderers.simulate.simulate import Simulation, simulate
from freelabels.renderers.simulate.sounding import _voice, sounded
from freelabels.renderers.simulate.world import build_world
from freelabels.train.config import TrainConfig
from freelabels.train.tasks.camera.sfm_learner import SfMLearner
from freelabels.train.tasks.generation.video_gan import VideoGAN
from freelabels.train.tasks.sound.ambient_sound import AmbientSound
from freelabels.train.tasks.tasks import tasks


def motion_of(name: str, clip: int = 0) -> tuple[Scene, Simulation]:
    """A clip's scene and how it moves."""
    sort, assets = SORTS[name], library(None, None, "all", None)
    scene = sort.change(find_scene(SEED, clip, sort.ranges, assets, sort.frames, STORED)[0])
    return scene, simulate(scene, build_world(scene, assets), sort.frames)


@pytest.mark.renders
def test_a_thing_falls_and_is_heard_while_it_is_seen() -> None:
    _, motion = motion_of("falls")
    assert not motion.problems
    height = motion.body_pose[:, 0, 2, 3]
    assert height[1] > 0.3 and np.diff(height[:5]).max() < 0  # row 1 is the first frame
    assert any(0.15 < blow.time < 0.6 and blow.speed > 0.5 for blow in motion.impacts)


@pytest.mark.slow
@pytest.mark.renders
@pytest.mark.parametrize("name", ["thuds", "pitches"])
def test_what_is_heard_falls_in_either_half_of_a_clip(name: str) -> None:
    blows = [min(blow.time for blow in motion_of(name, clip)[1].impacts) for clip in range(6)]
    assert 0 < min(blows) < FRAMES / 24 / 2 and max(blows) < FRAMES / 24


@pytest.mark.renders
def test_things_of_one_make_ring_as_much_higher_as_they_are_smaller() -> None:
    voices = []
    for clip in range(2):
        scene, motion = motion_of("pitches", clip)
        world = build_world(scene, library(None, None, "all", None))
        heard = sounded(scene, world, motion, FRAMES)
        columns = {"image": np.zeros((FRAMES, 8, 8, 3), np.uint8), "time": np.arange(FRAMES) / 24} | heard
        texture = controls.textures(columns | {"camera_K": np.eye(3)[None]})
        assert heard["sound"].any() and np.isfinite(texture["sound_texture"]).all()
        voices.append(_voice(scene, world, 1)[0] * scene.bodies[0].size)
    known = min(map(len, voices))
    assert known >= 3
    np.testing.assert_allclose(voices[0][:known], voices[1][:known])


def test_clips_that_are_there_are_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run that was stopped goes on with the next shard of clips; a shard holds all of a dataset made before."""
    asked = []

    def make(dataset: Dataset, name: str, clips: range) -> None:
        asked.append(clips)
        if clips.start == 80:
            raise KeyboardInterrupt
        columns = {"image": np.zeros((len(clips), 2, 2, 3), np.uint8)}
        table = [{"rows": [n, n + 1], "key": str(n)} for n in range(len(clips))]
        commit_shard(dataset, f"{name}-{clips.start}", columns, table, {"image": {"generator": "test"}})

    monkeypatch.setattr(controls, "_make", make)
    with pytest.raises(KeyboardInterrupt):
        controls.made(tmp_path / "clips", "falls", 90)
    with pytest.raises(KeyboardInterrupt):
        controls.made(tmp_path / "clips", "falls", 90)
    assert asked == [range(0, 40), range(40, 80), range(80, 90), range(80, 90)]
    assert controls.made(tmp_path / "clips", "falls", 80) == str(tmp_path / "clips") and len(asked) == 4


@pytest.mark.renders
def test_what_passes_moves_evenly_to_the_end() -> None:
    _, motion = motion_of("passes")
    assert not motion.problems
    steps = np.linalg.norm(np.diff(motion.body_pose[1:-1, 0, :2, 3], axis=0), axis=1)
    assert steps.min() > 0.04 and steps.max() < 1.1 * steps.min()  # metres a frame, of some two that are seen


@pytest.mark.renders
def test_a_column_stands_until_it_is_struck_and_comes_apart() -> None:
    _, motion = motion_of("breaks")
    assert not motion.problems
    *bricks, ball = range(1, motion.contact.shape[1])
    above = [motion.contact[:, one, one + 1] for one in bricks[:-1]]
    hit = motion.contact[:, ball, bricks].any(1).argmax()
    assert hit > 1 and all(touches[1:hit].all() for touches in above)
    place = motion.body_pose[:, [b - 1 for b in bricks], :3, 3]
    assert np.abs(place[1] - place[-1]).max() > 0.05


@pytest.mark.renders
def test_a_tour_is_of_still_patterned_things_that_a_camera_passes() -> None:
    sort, assets = SORTS["tours"], library(None, None, "all", None)
    scene = sort.change(find_scene(SEED, 0, sort.ranges, assets, sort.frames, STORED)[0])
    assert {material.texture for material in scene.appearance.materials} <= {"noise", "terrazzo"}
    place = simulate(scene, build_world(scene, assets), sort.frames).body_pose[1:-1, :, :3, 3]
    assert np.abs(place - place[0]).max() < 0.01
    camera = camera_poses(scene.camera, [0, 1 / scene.fps])[:, :3, 3]
    assert 0.04 < np.linalg.norm(camera[1] - camera[0]) < 0.4  # metres, some two away from what is seen


@pytest.mark.renders
def test_dots_fall_on_the_same_pair_of_views() -> None:
    assets, shown = library(None, None, "all", None), []
    for name in ("dotted", "pairs"):
        sort = SORTS[name]
        scene = sort.change(find_scene(SEED, 0, sort.ranges, assets, sort.frames, STORED)[0])
        shown.append(render_clip(scene, assets, sort.frames, STORED).columns)
    dotted, bare = shown
    for same in ("depth", "disparity", "baseline", "camera_K"):
        np.testing.assert_array_equal(dotted[same], bare[same])
    assert 3 < np.median(bare["disparity"]) < 12
    for view in ("image", "right"):  # few pixels of a dot's brightness, and none that is darker
        brighter = dotted[view].astype(int) - bare[view]
        assert 0.02 < (brighter.max(-1) > 20).mean() < 0.4 and (brighter.min(-1) < -20).mean() < 0.02


def test_a_gap_is_to_each_sample_s_own_trivial_answer_whatever_is_kept_besides() -> None:
    figures, clips = torch.tensor([[0.9, 1.0], [4.8, 5.0], [1.9, 2.0], [3.8, 4.0]]), torch.arange(4)
    told = video.gap(SfMLearner(), [figures, torch.zeros(4), torch.ones(4)], clips)
    better = figures[:, 1] - figures[:, 0]
    assert told == pytest.approx(float(better.mean() / (better.std() / 2)), rel=1e-4)


def test_a_gap_is_over_clips_to_the_commonest_class_where_a_task_keeps_hits_alone() -> None:
    hits, kind = torch.tensor([1.0, 1, 1, 0, 1, 1, 0, 0]).double(), torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    told = video.gap(AmbientSound(), [hits, kind, torch.ones(8)], torch.arange(8) // 2)
    better = torch.tensor([0.5, 0.0, 0.5, -0.5])  # a clip, of .5 that are of the commonest
    assert told == pytest.approx(float(better.mean() / (better.std() / 2)))
    assert video.gap(AmbientSound(), [1 - hits, kind, torch.ones(8)], torch.arange(8) // 2) < 0


def test_a_score_of_all_clips_together_is_as_sure_as_it_stays_when_one_is_left_out() -> None:
    """Of a mean it is the mean's standard error."""

    class Mean(VideoGAN):
        def summary(self, columns: Sequence[torch.Tensor]) -> tuple[float, float, float]:
            score, trivial = columns[0][:, :2].mean(0).tolist()
            return score, trivial, math.nan

    features = torch.rand(8, 96, generator=torch.Generator().manual_seed(0)).double()
    told = video.gap(Mean(), [features, torch.ones(8)], torch.arange(8))
    better = features[:, 1] - features[:, 0]  # less is better
    assert told == pytest.approx(float(better.mean() / better.std()) * 8**0.5)
    assert video.gap(Mean(), [features[:1], torch.ones(1)], torch.arange(1)) is None
    assert video.gap(tasks()["flow"], [torch.rand(4, 3, 8), torch.ones(4)], torch.arange(4)) is None


def test_judges_of_generators_learn_longer_and_more_slowly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = {}

    def finished(_: Path, called: str, name: str, config: TrainConfig, seconds: float, *rest: object) -> None:
        asked[name] = config.lr, seconds

    monkeypatch.setattr(video, "rendered", lambda folder, clips, size: str(folder))
    monkeypatch.setattr(
        video, "read_catalogue", lambda *sides: SimpleNamespace(has=None, names=None, longest=20)
    )
    monkeypatch.setattr(video, "by_domain", lambda datasets: ([], []))
    monkeypatch.setattr(video, "finished", finished)
    video.main(str(tmp_path), only=("opn", "video_gan", "temporal_gan"), seconds=10.0)
    assert asked == {"opn": (2e-3, 10.0), "video_gan": (1e-3, 30.0), "temporal_gan": (1e-3, 30.0)}


def test_a_row_says_what_real_clips_score_or_why_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(state: object, loader: object) -> dict[str, Any]:
        raise UserError("none of the windows has depth")

    monkeypatch.setattr(video, "_loader", lambda real, state: None)
    monkeypatch.setattr(video, "scored", lacking)
    scores, reason = video.on_real(None, "real")  # type: ignore[arg-type]
    assert scores is None
    facts = {"task": "t", "lines": 3, "seconds": 5, "measure": "m", "real": None, "real_missing": reason}
    facts |= {"score": 0.25, "trivial": 0.5, "gap": 3.1}
    told = " ".join(video.line(facts).split())
    assert told == "t 3 0.250 0.500 3.1 5 m; not on real clips: none of the windows has depth"
    told = video.line({**facts, "real": {"score": 0.4, "trivial": 0.5, "gap": None}, "real_missing": ""})
    assert " ".join(told.split()) == "t 3 0.250 0.500 3.1 0.400 0.500 5 m"


def test_clips_that_all_score_alike_have_no_gap_but_for_rounding() -> None:
    clips = torch.arange(1, 9).repeat_interleave(torch.arange(1, 9))  # of one to eight windows
    figures = torch.tensor([[0.0, 0.01]]).expand(len(clips), 2)  # single precision rounds their means
    assert video.gap(SfMLearner(), [figures, torch.zeros(len(clips)), torch.ones(len(clips))], clips) is None


def test_aims_are_ratios_of_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        ("un_flow", "tours", 0): (1.2, 2.0, {}),
        ("un_flow", "tours", 3): (1.3, 2.0, {}),
        ("flow_net", "tours", 0): (1.0, 2.0, {}),
        ("flow", "tours", 0): (1.2, 2.0, {}),
        ("sfm_learner", "tours", 0): (0.1, 0.2, {aims.DIRECTION: 25.0}),
        ("active_stereo", "dotted", 0): (0.1, 0.2, {aims.BAD: 0.1}),
        ("active_stereo", "pairs", 0): (0.1, 0.2, {aims.BAD: 0.4}),
    }

    def row(_: object, name: str, sort: str, own: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
        score, trivial, beside = rows[name, sort, seed]
        return {"score": score, "trivial": trivial, "beside": beside}

    monkeypatch.setattr(controls.Training, "row", row)
    aims.main(seeds=(0, 3))
    [_, *lines] = capsys.readouterr().out.splitlines()
    assert [line.split()[-3:] for line in lines] == [
        ["0.600", "0.6", "met"],
        ["0.650", "0.6", "missed"],
        ["0.833", "0.8", "missed"],
        ["0.500", "0.8", "met"],
        ["25.000", "20", "missed"],
        ["0.250", "0.5", "met"],
    ]


def test_a_row_that_fails_says_why_and_the_next_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def measured(name: str, *_: Any) -> dict[str, Any]:
        if name == "opn":
            raise UserError("none of the windows")
        return {"task": name, "lines": 1, "score": 0.5, "trivial": 0.5, "gap": None, "real": None} | {
            "seconds": 1,
            "measure": "accuracy",
        }

    monkeypatch.setattr(video, "measured", measured)
    for unread in ("by_domain", "read_catalogue"):
        monkeypatch.setattr(video, unread, lambda *_: ([], []))
    video.main(str(tmp_path), ("opn", "o3n"), renders="somewhere")
    said = capsys.readouterr().out
    assert "opn failed: none of the windows" in said and "o3n  " in said
    assert [path.stem for path in (tmp_path / "rows").iterdir()] == ["o3n"]

"""Sound on its way from shards to nets: joined, pictured alike in any batch, and silence weighs nothing."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from freelabels.generators.contract.sounds import FULL, RATE, rows_of, sample_bounds
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig, TrainConfig
from freelabels.train.data.catalogue import Catalogue, read_catalogue
from freelabels.train.data.loader import Batch, Loader
from freelabels.train.data.reach import Reach, own
from freelabels.train.model.network import Model
from freelabels.train.run.labelling import embedded
from freelabels.train.run.state import RunState
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips
from freelabels.train.tasks.contract.task import Asked
from freelabels.train.tasks.sound.ambient_sound import AmbientSound
from freelabels.train.tasks.sound.audio_visual import AudioVisual
from freelabels.train.tasks.sound.hearing import STEPS, audible, levels, wave
from freelabels.train.tasks.sound.look_listen_learn import LookListenLearn
from freelabels.train.tasks.sound.others import another

REACH = Reach(10, fields=("sound",))
FRAMES = 12
# Frames a second unevenly, evenly and faster; the last clip is silent.
TIMES = [7 + np.cumsum([0.08, 0.12] * (FRAMES // 2)), np.arange(FRAMES) / 10, np.arange(FRAMES) / 24]
TIMES.append(TIMES[1])


def tone(hertz: float, time: np.ndarray) -> np.ndarray:
    first, *_, last = sample_bounds(time)
    return np.rint(0.5 * FULL * np.sin(2 * np.pi * hertz * np.arange(first, last) / RATE)).astype(np.int16)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Clips with sound and a clip that has none at all."""
    root = tmp_path_factory.mktemp("heard") / "clips"
    dataset = Dataset.create(root, {"size": [32, 32]})
    for number, time in enumerate([*TIMES, None]):
        columns = {
            "image": np.full((FRAMES, 32, 32, 3), 40 * number, np.uint8),
            "domain": np.zeros(FRAMES, np.uint8),
            "time": np.arange(FRAMES) / 10 if time is None else time,
        }
        if time is not None:
            columns["sound"] = rows_of(tone(200.0 * (number + 1), time), time)
            columns["sound_confidence"] = np.full(FRAMES, 255 * (number < 3), np.uint8)
            columns["sound_texture"] = np.full((FRAMES, 509), number, np.float16)
            columns["sound_texture_confidence"] = columns["sound_confidence"]
        made_by = {name: {"generator": "test", "version": 1} for name in columns}
        clip = {"rows": [0, FRAMES], "kind": "video", "source": [f"{number}"], "key": f"{number}"}
        commit_shard(dataset, f"clip-{number}", columns, [clip], made_by)
    return read_catalogue([str(root)], [], 1)


@pytest.fixture(scope="module")
def batch(catalogue: Catalogue) -> Batch:
    """A window of each clip, one row into it."""
    loader = Loader(catalogue, (), LoaderConfig(size=32, held_out=0.0), 0, reaches=(REACH,))
    windows = sorted((w for w in catalogue.windows if w.before == 1), key=lambda w: w.shard)
    return own(loader.centred(windows), REACH)


def test_rows_are_joined_without_gap_whatever_the_rate(batch: Batch) -> None:
    signal, lengths = wave(batch)
    for number, time in enumerate(TIMES[:3]):
        bounds = sample_bounds(time)
        begin, stop = (int(bounds[k] - bounds[0]) for k in (1, 10))
        expected = tone(200.0 * (number + 1), time)[begin:stop]
        assert abs(int(lengths[number]) - (bounds[11] - bounds[1])) <= 0.04 * RATE  # the last row may be cut
        np.testing.assert_allclose(signal[number, : stop - begin], expected / FULL, atol=1e-6)
        assert not signal[number, int(lengths[number]) :].any()


def test_silence_and_what_has_no_sound_weigh_nothing(batch: Batch) -> None:
    assert audible(batch).tolist() == [1, 1, 1, 0, 0]
    task = LookListenLearn()
    assert task.ask(batch, Draw(batch["seed"], task.name)).weight.tolist() == [1, 1, 1, 0, 0]


def test_the_other_sound_is_of_another_clip_that_can_be_heard() -> None:
    """Held-out windows of one clip stand beside each other in a batch, so the next sample will not do."""
    clip, weight = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([1.0, 1, 1, 0, 1, 1])
    which, fair = another(clip, weight)
    assert which.tolist() == [4, 4, 4, 4, 0, 0] and fair.all()
    assert not another(clip[:3], weight[:3])[1].any()
    task = LookListenLearn()
    asked = Asked(None, torch.ones(3))
    answer = torch.tensor([[1.0, 0.0], [0.0, torch.nan], [0.0, 1.0]])
    assert task.summary(task.keep(answer, asked))[:2] == (0.5, 0.5)


def test_a_clip_is_asked_with_its_own_sound_and_with_the_other_halfs(batch: Batch) -> None:
    """So whoever doesn't listen, or doesn't look, is right once in two, whatever the draw."""
    task = AudioVisual(frames=10)
    sounds = task.ask(batch, Draw(batch["seed"], task.name)).target
    first, second = (levels(*wave(batch, part)) for part in (slice(0, 5), slice(5, 10)))
    drawn = [torch.equal(own, half) for own, half in zip(sounds[:, 0], first, strict=True)]
    for k, early in enumerate(drawn):
        pair = (first[k], second[k]) if early else (second[k], first[k])
        assert torch.equal(sounds[k, 0], pair[0]) and torch.equal(sounds[k, 1], pair[1])
    deaf = torch.tensor([[2.0, 2.0], [-1.0, -1.0], [0.0, 0.0]])
    assert task.score(deaf, Asked(None, torch.ones(3)))[:, 0].tolist() == [0.5, 0.5, 0.5]
    assert task.score(torch.tensor([[1.0, -1.0]]), Asked(None, torch.ones(1)))[0].tolist() == [1, 0.5]


def test_a_picture_is_of_one_sound_alone_and_says_its_pitch_but_not_its_loudness(batch: Batch) -> None:
    signal, lengths = wave(batch)
    pictures = levels(signal, lengths)
    assert pictures.shape == (5, 1, 64, STEPS) and pictures.isfinite().all()
    for k in range(3):
        alone = levels(signal[k : k + 1, : lengths[k]], lengths[k : k + 1])
        torch.testing.assert_close(alone[0], pictures[k], rtol=1e-4, atol=1e-4)
        quiet = levels(0.2 * signal[k : k + 1], lengths[k : k + 1])
        assert (quiet[0] - pictures[k]).abs().mean() < 0.3
    pitches = pictures[:3, 0].mean(2).argmax(1)
    assert pitches.tolist() == sorted(set(pitches.tolist()))  # 200, 400, 600 Hz


def test_a_click_is_pictured_when_it_falls() -> None:
    signal = torch.zeros(2, RATE)
    signal[0, RATE // 4], signal[1, 3 * RATE // 4] = 1, 1
    loudest = levels(signal, torch.tensor([RATE, RATE]))[:, 0].mean(1).argmax(1)
    assert (loudest - torch.tensor([STEPS // 4, 3 * STEPS // 4])).abs().max() <= 1


def test_labels_of_places_are_made_of_what_is_stored_and_the_trunk_is_not_asked(catalogue: Catalogue) -> None:
    config = TrainConfig(loader=LoaderConfig(size=32, batch=2))
    state = SimpleNamespace(config=config, device=torch.device("cpu"), catalogue=catalogue)
    found = embedded(cast(RunState, state), cast(Model, None), "ambient_sound", AmbientSound(), 0, 1)
    assert found.shape == (5, 509)
    assert [float(row[0]) for row in found[:3]] == [0, 1, 2] and np.isnan(found[3:]).all()


def test_places_are_clustered_by_what_they_sound_like_and_silent_ones_by_nothing() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 3
    textures = (4 * np.eye(3)[kind] @ rng.normal(size=(3, 509)) + rng.normal(size=(60, 509))).astype(
        np.float32
    )
    textures[50:] = np.nan
    learned = np.arange(60) % 5 != 0
    made = AmbientSound(clusters=8).assign(Clips(textures, np.arange(60, dtype=np.uint64), learned), None, 0)
    label, weight = made.clips["label"], made.clips["weight"]
    assert (label[50:] == -1).all() and (weight == (np.arange(60) < 50)).all()
    assert all(len(set(kind[:50][label[:50] == cluster])) == 1 for cluster in range(8))

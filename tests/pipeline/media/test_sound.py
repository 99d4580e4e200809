"""Sound tracks: every sample where the time stamps put it, and nothing where nothing tells or nothing is heard."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.generators.contract.clip import SOUND
from freelabels.generators.contract.sounds import RATE, rows_of, sample_bounds, signal_of
from freelabels.pipeline.media.tracks import listen
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, SourceOptions
from freelabels.pipeline.sources.examine import examine
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.stages.planning import PlannedShards
from freelabels.pipeline.viewer.inspect import inspect
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.films import clap, talkie
from tests.pipeline.sources.test_sources import save, stereo_pair
from tests.pipeline.stages.test_label import contents
from tests.sources import moving_frames, write_video

AT = 1.234  # seconds at which there is a clap


def clips(path: Path, length: int = 64) -> tuple[ClipSpec, ...]:
    return examine(Item("video", (str(path),), ""), SourceOptions(clip_length=length)).clips


def onset(signal: np.ndarray, first: int) -> float:
    """Seconds at which it gets loud."""
    loud = np.abs(np.nan_to_num(signal))
    return float(np.argmax(loud > 0.4 * loud.max()) + first) / RATE


def labelled(out: Path, *paths: Path, **options: Any) -> Dataset:
    given = {"size": (16, 16), "labels": ["sound_texture", "sound"], "cluster": Cluster(workers=0), **options}
    label([str(path) for path in paths], out, reporter=Reporter("quiet"), **given)
    return Dataset(out)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "begin", "late"),
    [
        ("mp4", "aac", 44_100, 0.0, 0.0),
        ("mp4", "aac", 48_000, 0.0, 0.31),
        ("mov", "pcm_s16le", 22_050, 0.0, 0.0),
        ("mkv", "libopus", 48_000, 7.5, 0.0),
        ("mkv", "pcm_s16le", 16_000, 0.0, 0.5),
        ("mkv", "libmp3lame", 32_000, 3600.0, 0.0),
        ("avi", "pcm_s16le", 11_025, 0.0, 0.0),
        ("ts", "aac", 48_000, 12.25, 0.2),
    ],
)
def test_a_clap_is_heard_when_it_was_seen(
    tmp_path: Path, suffix: str, codec: str, rate: int, begin: float, late: float
) -> None:
    """Whatever the container, codec and rate, from wherever on time is counted, and when sound begins later."""
    stereo = rate == 48_000
    path = talkie(
        tmp_path / f"a.{suffix}", clap(2.4, AT, rate), rate, 30, 10, codec, begin, late, stereo=stereo
    )
    (clip,) = clips(path)
    assert clip.sound and SOUND in clip.provides
    bounds = sample_bounds(clip.times)
    signal = listen(str(path), int(bounds[0]), int(bounds[-1]))
    assert len(signal) == bounds[-1] - bounds[0]
    assert onset(signal, int(bounds[0])) - clip.times[0] == pytest.approx(AT + late, abs=0.01)
    known = np.isfinite(signal)
    assert known.any() and not known[-RATE // 10 :].any()  # it ends before the film does
    if late > 0.1:
        assert not known[: round((late - 0.1) * RATE)].any()


def test_parts_of_a_shot_are_cut_from_one_signal(tmp_path: Path) -> None:
    path = talkie(tmp_path / "a.mov", clap(4.0, 2.8, 44_100), 44_100, 40, codec="pcm_s16le")
    whole, parts = clips(path), clips(path, 10)
    (first, last) = (sample_bounds(whole[0].times)[k] for k in (0, -1))
    signal = listen(str(path), int(first), int(last))
    assert len(parts) == 4
    for part in parts:
        bounds = sample_bounds(part.times)
        mine = listen(str(path), int(bounds[0]), int(bounds[-1]))
        np.testing.assert_allclose(mine, signal[bounds[0] - first :][: len(mine)], atol=1e-5)


def test_rows_follow_each_other_without_gap_or_overlap() -> None:
    time = 3.21 + np.cumsum([0, 0.08, 0.12, 0.08, 0.0833, 0.1])
    bounds = sample_bounds(time)
    np.testing.assert_array_equal(bounds[:-1], np.floor(RATE * time))
    signal = np.arange(1, bounds[-1] - bounds[0] + 1).astype(np.int16)
    rows = rows_of(signal, time)
    assert rows.shape == (6, np.diff(bounds).max())
    np.testing.assert_array_equal(signal_of(rows, time), signal)
    np.testing.assert_array_equal(signal_of(rows[2:4], time[2:4])[: bounds[3] - bounds[2]], rows[2][:1280])


@pytest.mark.slow
def test_what_can_not_be_heard_weighs_nothing(tmp_path: Path) -> None:
    """Digital silence, a constant, a track cut off at full scale; beside them one to listen to."""
    tone = 0.5 * np.sin(np.arange(3 * 16_000) * 0.3)
    tracks = {
        "heard": tone,
        "silent": 0 * tone,
        "faint": 1e-4 * tone,
        "constant": 0 * tone + 0.5,
        "clipped": np.clip(9 * tone, -1, 1),
    }
    paths = [
        talkie(tmp_path / f"{name}.mkv", wave, 16_000, 30, codec="pcm_s16le", side=32)
        for name, wave in tracks.items()
    ]
    trust = {}
    for path in paths:
        dataset = labelled(tmp_path / path.stem, path)
        shard = dataset.open(dataset.shards()[0])
        trust[path.stem] = shard.read_rows("sound_confidence"), shard.read_rows("sound_texture_confidence")
        texture = shard.read_rows("sound_texture")
        np.testing.assert_array_equal(np.isfinite(texture).all(axis=1), trust[path.stem][0] > 0)
    assert all((confidence == 255).all() for confidence in trust.pop("heard"))
    assert trust and not any(confidence.any() for pair in trust.values() for confidence in pair)


@pytest.mark.slow
def test_a_film_is_labelled_with_its_sound_and_one_without_stays_as_it_was(tmp_path: Path) -> None:
    loud = talkie(tmp_path / "loud.mp4", clap(3.0, AT, 44_100), 44_100)
    mute = write_video(tmp_path / "mute.mp4", moving_frames(8))
    dataset = labelled(tmp_path / "out", loud, mute, labels=["sound_texture", "sound", "regions"])
    assert verify(dataset.path, reporter=Reporter("quiet")).problems == ()
    shards = {Path(s.clips[0]["source"][0]).stem: s for s in dataset.open_all(dataset.shards())}
    time, rows = (shards["loud"].read_rows(name) for name in ("time", "sound"))
    assert onset(signal_of(rows, time), int(sample_bounds(time)[0])) == pytest.approx(AT, abs=0.01)
    assert shards["loud"].clips[0]["spec"]["sound"] is True
    assert not {"sound", "sound_confidence", "sound_texture"} & set(shards["mute"].fields)
    assert "sound" not in shards["mute"].clips[0]["spec"]
    figures = inspect(dataset.path)["fields"]["sound"]
    assert (figures["rows"], figures["coverage"], figures["confidence"]) == (30, 1.0, 1.0)


@pytest.mark.ray
def test_any_number_of_workers_cuts_the_same_sound(tmp_path: Path) -> None:
    films = [
        talkie(
            tmp_path / f"{n}.mkv", clap(1.0 + n, AT, 16_000), 16_000, frames=10 * (n + 1), codec="pcm_s16le"
        )
        for n in range(1, 6)
    ]
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        outs = {n: tmp_path / str(n) for n in (1, 2, 4)}
        for n, out in outs.items():
            labelled(out, *films, cluster=Cluster(workers=n))
    finally:
        ray.shutdown()
    made = [contents(out) for out in outs.values()]
    assert sum(name.endswith("/sound/zarr.json") for name in made[0]) > 2
    assert made[0] == made[1] == made[2]


def test_a_shard_offers_what_all_its_clips_do(tmp_path: Path) -> None:
    """An earlier version, which knew nothing of sound, may have put a silent film and another into one shard."""
    (loud,) = clips(talkie(tmp_path / "loud.mkv", clap(3.0, AT, 16_000), 16_000, codec="pcm_s16le"))
    mute = replace(loud, sound=False)
    assert loud.key == mute.key
    for pair in ([loud, mute], [mute, loud]):
        columns = ClipColumns.of(pair)
        shards = PlannedShards.of(columns, np.array([0, 1, 0], np.uint32), np.array([0, 2, 3]))
        offered = [columns.kinds[offer][1] for offer in shards.offers]
        assert offered == [mute.provides, pair[0].provides]


def test_the_right_view_of_a_pair_is_stored_beside_the_left_one(tmp_path: Path) -> None:
    left, right = stereo_pair(1)
    save(tmp_path / "pair" / "im0.png", left)
    save(tmp_path / "pair" / "im1.png", right)
    dataset = labelled(tmp_path / "out", tmp_path / "pair", size=left.shape[:2], labels=["right"])
    shard = dataset.open(dataset.shards()[0])
    np.testing.assert_array_equal(shard.read("image", 0), left)
    np.testing.assert_array_equal(shard.read("right", 0), right)
    assert verify(dataset.path, reporter=Reporter("quiet")).problems == ()

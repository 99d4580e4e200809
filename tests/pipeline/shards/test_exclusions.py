"""Frames that a person has ticked stay out of training, wherever they lie and however they are labelled again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    FILE,
    FrameIdentity,
    clip_identity,
    excluded_rows,
    exclusions_json,
    exclusions_of,
    identities_of,
    parse_exclusions,
    write_exclusions,
)
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.config import LoaderConfig, TrainConfig
from freelabels.train.data.catalogue import group_of, read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.run.trainer import fit
from tests.sources import moving_frames

LISTED = frozenset({FrameIdentity("aa", 3), FrameIdentity("bb", 0)})


def write(path: Path, clips: dict[str, list[int]], size: int = 48, shard_frames: int = 64) -> Dataset:
    """Frames of sources by their content hash; the shade of a frame tells which it is."""
    dataset = Dataset.create(path, {"size": [size, size]})
    cut = [
        (sha, indices[k : k + shard_frames])
        for sha, indices in clips.items()
        for k in range(0, len(indices), shard_frames)
    ]
    for number, (sha, indices) in enumerate(cut):
        rows = len(indices)
        shade = np.array([ord(sha[0]) + index for index in indices], np.uint8)
        columns = {
            "image": np.tile(shade[:, None, None, None], (1, size, size, 3)),
            "edges": np.zeros((rows, size, size), np.uint8),
            "frame_index": np.array(indices, np.int32),
            "domain": np.zeros(rows, np.uint8),
        }
        clip: dict[str, Any] = {"rows": [0, rows], "kind": "video", "sha256": sha, "key": f"{sha}{number}"}
        made_by = {name: {"generator": "test", "version": 1} for name in columns}
        commit_shard(dataset, f"video-{number:04d}", columns, [clip], made_by)
    return dataset


def shades(catalogue: Any, frames: int = 1) -> set[int]:
    """Which frames a loader gives out."""
    loader = Loader(catalogue, (), LoaderConfig(size=32, frames=frames, held_out=0), 0)
    found: set[int] = set()
    for window in catalogue.windows:
        found |= set(loader.centred([window])["image"].flatten(2).float().mean(2).flatten().int().tolist())
    return found


def test_a_list_is_what_was_written(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", {"aa": [0, 1]})
    assert exclusions_of(dataset) == frozenset()
    write_exclusions(dataset, LISTED)
    assert exclusions_of(dataset) == LISTED
    assert json.loads((tmp_path / "d" / FILE).read_text())["exclude"][0] == {"clip": "aa", "frame": 3}
    assert {p.name for p in (tmp_path / "d").iterdir() if p.is_file()} == {"zarr.json", FILE}


def test_a_list_holds_for_other_sizes_rates_and_clip_lengths(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"aa": [0, 1, 2, 3, 4, 5], "bb": [0, 1]})
    other = write(tmp_path / "other", {"bb": [0, 2], "aa": [1, 3, 5]}, size=32, shard_frames=2)
    for dataset in (one, other):
        found = set()
        for name in dataset.shards():
            shard = dataset.open(name)
            out = excluded_rows(shard, LISTED)
            found |= {frame for frame, is_out in zip(identities_of(shard), out, strict=True) if is_out}
        assert found == LISTED


def test_numbered_images_are_excluded_however_their_shot_is_cut(tmp_path: Path) -> None:
    for number, frame in enumerate(moving_frames(7)):
        Image.fromarray(frame).save(tmp_path / f"frame-{number:03d}.png")
    found: dict[int, list[list[dict[str, Any]]]] = {}
    for length in (64, 3):
        out = tmp_path / f"cut at {length}"
        label(
            str(tmp_path / "*.png"),
            out,
            labels=["edges"],
            size=(32, 32),
            shard_frames=length,
            options=SourceOptions(clip_length=length),
            cluster=Cluster(0),
        )
        opened = [Dataset(out).open(name) for name in Dataset(out).shards()]
        found[length] = [list(shard.clips) for shard in opened]
        every = {frame for shard in opened for frame in identities_of(shard)}
        assert len({frame.clip for frame in every}) == 1 and {frame.index for frame in every} == set(range(7))
        assert len({group_of(clip) for shard in opened for clip in shard.clips}) == 1
    [whole], parts = found[64], found[3]
    assert len(parts) == 3 and len({clip["sha256"] for [clip] in parts}) == 3
    # Lists as the page writes them, and as it wrote them when a clip was called by its own hash.
    lists = {
        "today's": [FrameIdentity(clip_identity(whole[0]), 4), FrameIdentity(clip_identity(whole[0]), 5)],
        "of the whole shot": [FrameIdentity(whole[0]["sha256"], 4), FrameIdentity(whole[0]["sha256"], 5)],
        "of a part": [
            FrameIdentity(clip["sha256"], index)
            for [clip] in parts
            for index in (4, 5)
            if index in clip["spec"]["indices"]
        ],
    }
    for name, listed in lists.items():
        assert _excluded(tmp_path / "cut at 3", listed) == [4, 5], name
    for name in ("today's", "of the whole shot"):
        assert _excluded(tmp_path / "cut at 64", lists[name]) == [4, 5], name


def _excluded(path: Path, listed: list[FrameIdentity]) -> list[int]:
    """Which frames of a shot are left out."""
    dataset, found = Dataset(path), []
    for name in dataset.shards():
        shard = dataset.open(name)
        found += [
            frame.index
            for frame, out in zip(identities_of(shard), excluded_rows(shard, frozenset(listed)), strict=True)
            if out
        ]
    return sorted(found)


def test_the_loader_never_reads_an_excluded_frame(tmp_path: Path) -> None:
    path = str(tmp_path / "d")
    dataset = write(tmp_path / "d", {"aa": [0, 1, 2, 3, 4, 5], "bb": [0, 1]})
    before = read_catalogue([path], [], 1)
    assert shades(before) == {ord("a") + k for k in range(6)} | {ord("b"), ord("b") + 1}
    write_exclusions(dataset, {FrameIdentity("aa", 3)})
    after = read_catalogue([path], [], 1)
    assert after.excluded == 1 and len(after.windows) == len(before.windows) - 1
    assert ord("a") + 3 not in shades(after)
    assert after.digest != before.digest  # so that a run can't be resumed on other data unnoticed
    pairs = read_catalogue([path], [], 2)
    assert [w.start for w in pairs.windows if w.shard == "video-0000.0"] == [0, 1, 4]


def test_a_named_list_counts_too_and_an_empty_one_changes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "d")
    dataset = write(tmp_path / "d", {"aa": [0, 1, 2, 3]})
    before = read_catalogue([path], [], 1)
    file = tmp_path / "bad frames.json"
    file.write_text(exclusions_json([FrameIdentity("aa", 1)]))
    assert read_catalogue([path], [], 1, [str(file)]).excluded == 1
    write_exclusions(dataset, [FrameIdentity("aa", 2)])
    assert read_catalogue([path], [], 1, [str(file)]).excluded == 2
    write_exclusions(dataset, [])
    assert read_catalogue([path], [], 1).digest == before.digest


@pytest.mark.slow
def test_training_says_how_many_frames_are_excluded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write(tmp_path / "d", {f"{k:02d}": [0, 1, 2] for k in range(4)})
    write_exclusions(dataset, [FrameIdentity("00", 1), FrameIdentity("01", 0)])
    config = TrainConfig(steps=1, tasks=("rotation",), loader=LoaderConfig(size=32, batch=2), device="cpu")
    fit([str(dataset.path)], [], str(tmp_path / "run"), config, quiet=False)
    captured = capsys.readouterr()
    assert "10 real" in captured.out + captured.err and "2 frames excluded" in captured.out + captured.err


def test_mistakes_cost_one_sentence(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", {"aa": [0, 1]})
    write_exclusions(dataset, [FrameIdentity("aa", 0), FrameIdentity("aa", 1)])
    with pytest.raises(UserError, match="no frames left to train on"):
        read_catalogue([str(dataset.path)], [], 1)
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 1, "exclude": [{"clip": "a"}]}', '{"schema": "x"}'):
        with pytest.raises(UserError, match=r"the exclusion list here can't be read"):
            parse_exclusions(text, "here")
    with pytest.raises(UserError, match=r"newer version \(schema 9"):
        parse_exclusions('{"schema": 9, "exclude": []}', "here")
    with pytest.raises(UserError, match=r"none\.json can't be read \(No such file"):
        read_catalogue([str(dataset.path)], [], 1, [str(tmp_path / "none.json")])

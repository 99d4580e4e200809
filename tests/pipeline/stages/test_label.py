"""The label stage: from sources to committed shards; only what is missing or out of date is made."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.generators.contract.detector import detectors, plan
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.viewer.contact_sheet import draw_contact_sheet
from freelabels.pipeline.viewer.inspect import inspect
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.sources import moving_frames, write_photos, write_video

IN_PROCESS = Cluster(workers=0)
SIZE = (64, 64)


def run(sources: list[Path], out: Path | str, **options: Any) -> Any:
    options = {"size": SIZE, "cluster": IN_PROCESS, "reporter": Reporter("quiet"), **options}
    return label([str(s) for s in sources], out, **options)


def contents(out: Path) -> dict[str, str]:
    """sha256 of every file of every shard, by path."""
    files = [p for p in out.glob("[!.]*.*/**/*") if p.is_file()]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def without_revision(files: dict[str, str]) -> dict[str, str]:
    return {key.partition(".")[0] + "/" + key.partition("/")[2]: value for key, value in files.items()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_photos(folder / "photos", 5)
    write_video(folder / "clip.mp4", moving_frames(8))
    return folder


@pytest.fixture(scope="module")
def labelled(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled") / "out"
    run([sources], out, shard_frames=8)
    return out


@pytest.fixture
def copy(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "copy"))


@pytest.mark.slow
def test_every_label_a_source_can_give_is_there_and_valid(labelled: Path) -> None:
    assert verify(labelled, reporter=Reporter("quiet")).problems == ()
    dataset = Dataset(labelled)
    kinds = {dataset.open(name).clips[0]["kind"]: dataset.open(name) for name in dataset.shards()}
    assert set(kinds) == {"photo", "video"}
    for kind, shard in kinds.items():
        provides = frozenset({"consecutive frames", "a seed"}) if kind == "video" else frozenset({"a seed"})
        wanted = plan([n for c in detectors().values() for n in c.makes if "_conf" not in n], provides, {})
        made = {name for detector in wanted.detectors for name in detector.makes}
        assert made and made <= set(shard.fields)
        for name in made:
            assert shard.made_by(name)["generator"] in detectors()
    assert "flow" in kinds["video"].fields and "flow" not in kinds["photo"].fields


@pytest.mark.slow
def test_the_shard_traces_every_frame_to_its_source(labelled: Path, sources: Path) -> None:
    dataset = Dataset(labelled)
    for name in dataset.shards():
        shard = dataset.open(name)
        for clip in shard.clips:
            [source] = clip["source"]
            assert Path(source).is_relative_to(sources)
            if clip["kind"] == "photo":
                assert clip["sha256"] == hashlib.sha256(Path(source).read_bytes()).hexdigest()


def test_running_again_does_nothing(copy: Path, sources: Path) -> None:
    before = contents(copy)
    summary = run([sources], copy, shard_frames=8)
    assert (summary.made, summary.failed) == (0, 0)
    assert contents(copy) == before


@pytest.mark.slow
def test_order_and_packing_of_work_do_not_change_bytes(labelled: Path, sources: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    run([sources / "clip.mp4"], half, shard_frames=8)
    run([sources], half, shard_frames=8)
    assert contents(half) == contents(labelled)


def test_one_changed_parameter_remakes_that_column_and_those_that_need_it(copy: Path, sources: Path) -> None:
    before = contents(copy)
    flow = next(cls for cls in detectors().values() if "flow" in cls.makes)
    name, value = next((k, v) for k, v in vars(flow()).items() if isinstance(v, float))
    summary = run([sources], copy, shard_frames=8, detectors=[replace(flow(), **{name: value * 1.5})])
    dataset = Dataset(copy)
    video = [n for n in dataset.shards() if n.startswith("video")]
    assert summary.made == len(video)
    after = contents(copy)
    changed_shards = {key.partition("/")[0].partition(".")[0] for key in set(before) ^ set(after)}
    assert all(shard.startswith("video") for shard in changed_shards)
    needy = {"flow"}
    for cls in detectors().values():
        if (cls.needs | getattr(cls, "uses", frozenset())) & needy:
            needy |= set(cls.makes)
    for old, new in zip(
        sorted(without_revision(before).items()), sorted(without_revision(after).items()), strict=True
    ):
        assert old[0] == new[0]
        column = old[0].split("/")[1]
        if column not in {
            *needy,
            "flow_confidence",
            "flow_backward",
            "flow_backward_confidence",
            "zarr.json",
        }:
            assert old == new, f"{column} does not depend on flow"
    for shard_name in video:
        assert dataset.open(shard_name).made_by("flow")["parameters"][name] == value * 1.5


def test_a_label_asked_for_later_joins_its_shard(sources: Path, tmp_path: Path, labelled: Path) -> None:
    out = tmp_path / "out"
    run([sources / "photos"], out, shard_frames=8, labels=["regions"])
    before = contents(out)
    assert {p.split("/")[1] for p in before} >= {"regions", "image"} and not any(
        "/edges/" in p for p in before
    )
    run([sources / "photos"], out, shard_frames=8)
    after = contents(out)
    [shard] = Dataset(out).shards()
    assert shard.endswith(".1") and "edges" in Dataset(out).open(shard).fields
    assert (
        without_revision(after).items()
        >= {k: v for k, v in without_revision(before).items() if "regions/" in k or "image/" in k}.items()
    )


def test_a_new_photo_is_labelled_alone(copy: Path, sources: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(sources / "photos", more)
    write_photos(tmp_path / "extra", 6)
    shutil.copy(tmp_path / "extra" / "photo f.png", more / "a new one.png")
    before = contents(copy)
    summary = run([more, sources / "clip.mp4"], copy, shard_frames=8)
    assert summary.made == 1
    after = contents(copy)
    assert after.items() >= before.items()
    rows = [clip["key"] for n in Dataset(copy).shards() for clip in Dataset(copy).open(n).clips]
    assert len(rows) == len(set(rows)) == 7
    assert run([more, sources / "clip.mp4"], copy, shard_frames=8).made == 0


def test_duplicates_are_refused_by_name(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    shutil.copytree(sources / "photos", folder)
    shutil.copy(folder / "photo a.png", folder / "photo z.png")
    out = tmp_path / "out"
    summary = run([folder], out, labels=["regions"])
    assert summary.refused == 1 and summary.frames == 5
    [line] = [json.loads(x) for x in (out / "rejected.jsonl").read_text().splitlines()]
    assert line["uri"].endswith("photo z.png") and "same content as" in line["reason"]


def test_strict_ends_before_any_labelling(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(sources / "photos", folder)
    (folder / "empty.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="1 file refused and --strict"):
        run([folder], tmp_path / "out", strict=True)
    assert Dataset(tmp_path / "out").shards() == []


@pytest.mark.slow
def test_a_detector_that_fails_is_recorded_and_the_rest_goes_on(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = next(cls for cls in detectors().values() if "flow" in cls.makes)

    def broken(self: Any, clip: Any) -> Any:
        raise ArithmeticError("no good")

    monkeypatch.setattr(flow, "__call__", broken)
    summary = run([sources], tmp_path / "out", shard_frames=8)
    assert summary.failed == 1 and summary.made >= 1 and not summary.complete
    [failure] = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert failure["error"] == "ArithmeticError: no good"
    assert failure["sources"][0].endswith("clip.mp4")
    monkeypatch.undo()
    assert run([sources], tmp_path / "out", shard_frames=8).complete
    assert (tmp_path / "out" / "failures.jsonl").read_text() == ""


def test_repair_drops_just_what_is_broken_and_the_next_run_makes_it_again(copy: Path, sources: Path) -> None:
    before = contents(copy)
    name = next(n for n in Dataset(copy).shards() if n.startswith("photo"))
    column = next(p for p in (copy / name / "regions" / "c").rglob("*") if p.is_file())
    data = bytearray(column.read_bytes())
    data[len(data) // 2] ^= 1
    column.write_bytes(bytes(data))
    [problem] = verify(copy, reporter=Reporter("quiet")).problems
    assert (problem.shard, problem.column) == (name, "regions") and "checksum" in problem.reason
    assert verify(copy, repair=True, reporter=Reporter("quiet")).repaired == 1
    assert verify(copy, reporter=Reporter("quiet")).problems == ()
    repaired = next(n for n in Dataset(copy).shards() if n.startswith("photo"))
    assert (
        "regions" not in Dataset(copy).open(repaired).fields
        and "edges" in Dataset(copy).open(repaired).fields
    )
    run([sources], copy, shard_frames=8)
    assert without_revision(contents(copy)) == without_revision(before)


def test_a_missing_record_costs_its_shard_and_no_other(copy: Path, sources: Path) -> None:
    before = contents(copy)
    name = Dataset(copy).shards()[0]
    (copy / name / "zarr.json").unlink()
    assert [p.shard for p in verify(copy, reporter=Reporter("quiet")).problems] == [name]
    verify(copy, repair=True, reporter=Reporter("quiet"))
    assert run([sources], copy, shard_frames=8).made == 1
    assert contents(copy) == before


def test_inspection_tells_what_is_there(labelled: Path, tmp_path: Path) -> None:
    figures = inspect(labelled)
    assert figures["rows"] == 13 and figures["sources"]["photo"] == {"clips": 5, "frames": 5}
    assert 0 < figures["fields"]["flow"]["coverage"] <= 1
    on_disk = sum(p.stat().st_size for p in labelled.glob("*.*/*/**/*") if p.is_file())
    assert figures["bytes"] == on_disk
    sheet = draw_contact_sheet(labelled, tmp_path / "sheet.png", frames=4)
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(
        UserError, match="--fields egdes: these frames have no such field: did you mean 'edges'"
    ):
        draw_contact_sheet(labelled, tmp_path / "none.png", frames=4, fields=("flow", "egdes"))


def test_unknown_labels_and_empty_places_are_one_sentence(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'regions'"):
        run([sources], tmp_path / "out", labels=["region"])
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="no photo or video found"):
        run([tmp_path / "void"], tmp_path / "out")
    with pytest.raises(UserError, match="no source"):
        run([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clips_keep_to_shots_and_lengths(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([sources / "clip.mp4"], out, labels=["regions"], options=SourceOptions(clip_length=4), shard_frames=4)
    shards = [Dataset(out).open(n) for n in Dataset(out).shards()]
    assert sorted(s.rows for s in shards) == [4, 4]
    assert sorted(t for s in shards for t in s.read_rows("frame_index")) == list(range(8))
    assert all(np.diff(s.read_rows("time")).min() > 0 for s in shards)

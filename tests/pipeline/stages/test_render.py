"""The render stage: the same seed gives the same bytes, however the work was cut, killed or resumed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages import render as stage
from freelabels.pipeline.stages.bookkeeping import tell_failed
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.stages.render_inputs import load_ranges, load_scene
from freelabels.pipeline.viewer.inspect import write_scenes
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.renderers.draw.ranges import SceneRanges
from tests.pipeline.stages.test_label import contents

pytestmark = [pytest.mark.renders, pytest.mark.slow]

QUIET = Reporter("quiet")
SMALL = SceneRanges(
    families={"table": 1}, objects=(2, 3), clutter=(0, 0), groups={"primitive": 1}, attempts=2
)
OPTIONS = RenderOptions(seed=0, frames=32, size=(32, 40), ranges=SMALL)


def run(out: Path, clips: int, options: RenderOptions = OPTIONS, **more: Any) -> Any:
    return render(out, clips, options, cluster=Cluster(workers=0), reporter=QUIET, **more)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "out"
    assert run(out, 4).made == 2
    return out


def test_renders_keep_the_contract_and_agree_with_themselves(rendered: Path) -> None:
    summary = verify(rendered, reporter=QUIET)
    assert summary.problems == ()
    assert summary.residual is not None and summary.residual <= 0.05
    shard = Dataset(rendered).open(Dataset(rendered).shards()[0])
    assert shard.shape("image") == (64, 32, 40, 3)
    assert set(shard.read_rows("domain")) == {1}
    assert [o["id"] for o in shard.clips[0]["objects"]] == list(range(1, len(shard.clips[0]["objects"]) + 1))


def test_clips_added_later_leave_those_before_as_they_are(rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 2)
    first = contents(out)
    assert run(out, 4).made == 1
    assert contents(out) == contents(rendered)
    assert contents(out).items() >= first.items()
    assert run(out, 4).made == 0


@pytest.mark.parametrize("place", [3, None])
def test_a_dataset_has_one_table_of_classes(tmp_path: Path, place: int | None) -> None:
    out, classes = tmp_path / "out", OPTIONS.library.classes
    # As meshes of a class between the third and fourth of today's would have it; or the first three alone.
    table = list(classes[:3]) if place is None else [*classes[:place], "anvil", *classes[place:]]
    commit_shard(
        Dataset.create(out, {"size": [32, 40], "seed": 0}),
        "render-0123456789abcdef",
        {"semantic": np.zeros((1, 32, 40), np.uint8)},
        [{"rows": [0, 1], "kind": "render", "key": "0" * 16}],
        {"semantic": {"generator": "render", "version": 1}},
        attributes={"semantic": {"names": table}},
    )
    if place is None:  # the ids they share mean the same
        assert run(out, 1, dataclasses.replace(OPTIONS, frames=1)).made == 1
        return
    sentence = f"its class 3 is 'anvil' and would be '{classes[3]}'; give the same --meshes"
    with pytest.raises(UserError, match=sentence):
        run(out, 1)
    assert Dataset(out).shards() == ["render-0123456789abcdef.0"]


def test_another_seed_gives_another_clip(tmp_path: Path) -> None:
    shards = []
    for seed, clips in ((0, 2), (1, 1)):
        run(tmp_path / str(seed), clips, dataclasses.replace(OPTIONS, seed=seed, frames=2))
        [name] = Dataset(tmp_path / str(seed)).shards()
        shards.append(Dataset(tmp_path / str(seed)).open(name))
    theirs = shards[1].read_rows("image")
    for clip in shards[0].clips:
        ours = shards[0].read_rows("image", *clip["rows"])
        assert ours.shape == theirs.shape and not np.array_equal(theirs, ours)


def test_a_stored_scene_renders_to_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    write_scenes(rendered, tmp_path / "scenes")
    shard = Dataset(rendered).open(Dataset(rendered).shards()[0])
    clip = shard.clips[1]
    scene, beside = load_scene(tmp_path / "scenes" / f"{clip['key']}.json")
    options = RenderOptions(frames=beside["frames"], size=tuple(beside["size"]), scene=scene)
    run(tmp_path / "again", 1, options)
    again = Dataset(tmp_path / "again").open(Dataset(tmp_path / "again").shards()[0])
    for name in shard.fields:
        if name not in ("clip", "amodal") and not name.startswith(("object", "part_")):
            made, first = again.read_rows(name), shard.read_rows(name, *clip["rows"])
            if name == "sound":  # as wide as a shard's longest frame
                first, beyond = np.split(first, [made.shape[1]], axis=1)
                assert not beyond.any()
            np.testing.assert_array_equal(made, first, name)


@pytest.mark.parametrize("what", ["bodies", "clutter"])
def test_a_scene_of_other_meshes_names_the_option(rendered: Path, what: str) -> None:
    clip = Dataset(rendered).open(Dataset(rendered).shards()[0]).clips[0]
    body = clip["scene"]["bodies"][0] | {"asset": "own/mug"}
    options = RenderOptions(scene=clip["scene"] | {what: [body]})
    with pytest.raises(
        UserError, match=r"--scene holds own/mug, which what ships .* came from with --meshes"
    ):
        _ = options.library


def test_what_failed_is_told_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset.create(tmp_path / "out", {"size": [32, 40]})
    tell_failed(dataset, [{"error": "ValueError: no mesh"}], Reporter())
    tell_failed(dataset, [{"error": "no mesh"}, {"error": "no light"}], Reporter())
    one, two = capsys.readouterr().err.splitlines()
    assert one == f"1 shard failed (for: no mesh), see {dataset.failures_log()}"
    assert two.startswith("2 shards failed (the first for: no mesh), see ")


def test_labels_that_disagree_fail_verification(rendered: Path, tmp_path: Path) -> None:
    shard = Dataset(rendered).open(Dataset(rendered).shards()[0])
    dataset = Dataset.create(tmp_path / "wrong", {"size": [32, 40], "seed": 0})
    columns = {name: np.array(shard.read_rows(name)) for name in shard.fields}
    columns["flow"] = (columns["flow"] + np.float16(0.25)).astype(np.float16)
    made_by = {name: shard.made_by(name) for name in columns}
    attributes = {"semantic": {"names": shard.attributes("semantic")["names"]}}
    commit_shard(dataset, shard.id, columns, shard.clips, made_by, attributes=attributes)
    problems = verify(dataset.path, reporter=QUIET).problems
    assert problems and {p.column for p in problems} == {"flow"}
    assert "disagrees" in problems[0].reason


def test_memory_is_asked_for_by_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray is told follows what a task needs, and never falls below what the user said."""
    asked: dict[tuple[int, int], int] = {}

    def watch(make: Any, work: Any, name: Any, cluster: Cluster, **more: Any) -> Any:
        asked[work[0].options.size] = cluster.memory
        return iter(())

    monkeypatch.setattr(stage, "run", watch)
    for size in ((64, 64), (1080, 1920), (2160, 3840)):
        run(tmp_path / str(size), 4, RenderOptions(frames=1, size=size, ranges=SMALL))
    assert asked[64, 64] == Cluster().memory < asked[1080, 1920] < asked[2160, 3840] < 4 << 30
    clips = [stage._clips_per_shard(RenderOptions(frames=1, size=size)) for size in asked]
    assert clips == [64, 2, 1]


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--clips must be at least 1"):
        run(tmp_path / "out", 0)
    with pytest.raises(UserError, match="--frames must lie in"):
        RenderOptions(frames=0)
    with pytest.raises(UserError, match="--flow-steps 8: clips of 6 frames end before that"):
        RenderOptions(frames=6, flow_steps=(2, 8))
    assert RenderOptions(frames=8, flow_steps=(8, 2)).flow_steps == (2, 8)  # physics knows one frame more
    with pytest.raises(UserError, match="missing"):
        run(tmp_path / "out", 1, RenderOptions(meshes=str(tmp_path / "missing")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        run(tmp_path / "out", 1, RenderOptions(photos=str(tmp_path / "empty")))
    (tmp_path / "ranges.toml").write_text("objects = [5, 2]")
    with pytest.raises(UserError, match="objects"):
        load_ranges(str(tmp_path / "ranges.toml"))
    (tmp_path / "scene.json").write_text(json.dumps({"no": "scene"}))
    with pytest.raises(UserError, match=r"scene\.json"):
        load_scene(tmp_path / "scene.json")
    assert not (tmp_path / "out").exists()


def test_pairs_are_whole_and_are_clips_of_their_own(tmp_path: Path) -> None:
    options = RenderOptions(seed=0, frames=2, size=(32, 40), ranges=SMALL, stereo="active")
    assert options.key(0) != dataclasses.replace(options, stereo="none").key(0)
    assert run(tmp_path / "out", 2, options).made == 1
    summary = verify(tmp_path / "out", reporter=QUIET)
    assert summary.problems == () and summary.residual is not None and summary.residual <= 0.05
    shard = Dataset(tmp_path / "out").open(Dataset(tmp_path / "out").shards()[0])
    assert shard.shape("right") == (4, 32, 40, 3) and shard.read_rows("baseline").min() > 0
    with pytest.raises(UserError, match="--stereo active needs --image ray"):
        dataclasses.replace(options, image="tiny")
    with pytest.raises(UserError, match="--scene holds a pair's camera"):
        RenderOptions(image="tiny", scene={"rig": {"baseline": 0.1}})

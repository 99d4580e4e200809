"""Datasets made of datasets: what is chosen, copied, merged, divided and taken out, and what a kill leaves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import freelabels
from freelabels.cli.main import main
from freelabels.generators.contract.fields import Array
from freelabels.ground import faults
from freelabels.ground.errors import UserError
from freelabels.pipeline.curate.expression import Expression
from freelabels.pipeline.curate.selection import Selection
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, write_exclusions
from freelabels.pipeline.shards.splits import Splits, splits_of
from freelabels.pipeline.work.progress import Reporter
from freelabels.train.config import LoaderConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.held_out import held_out
from freelabels.train.data.loader import Loader

QUIET = Reporter("quiet")
SIDE = 8
MADE_BY = {"generator": "test", "version": 1}


def write(
    path: Path,
    clips: Mapping[str, int],
    *,
    classes: tuple[str, ...] = ("thing",),
    each: int = 2,
    side: int = SIDE,
    attributes: Mapping[str, Any] | None = None,
    layout: str | None = None,
) -> Path:
    """A dataset of clips of two frames, `each` a shard; of each name → the class that fills its right half.

    The left half of clip number k is k + 1 metres away, the rest unknown.
    """
    dataset = Dataset.create(path, {"size": [side, side], **(attributes or {})}, layout)
    names = list(clips)
    for first in range(0, len(names), each):
        some = names[first : first + each]
        rows = 2 * len(some)
        depth = np.full((rows, side, side), np.nan, np.float32)
        semantic = np.full((rows, side, side), 255, np.uint8)
        for k, name in enumerate(some):
            depth[2 * k : 2 * k + 2, :, : side // 2] = first + k + 1
            semantic[2 * k : 2 * k + 2, :, side // 2 :] = clips[name]
        columns: dict[str, Array] = {
            "image": np.random.default_rng(first).integers(0, 255, (rows, side, side, 3), dtype=np.uint8),
            "clip": np.repeat(np.arange(len(some), dtype=np.int32), 2),
            "frame_index": np.tile(np.arange(2, dtype=np.int32), len(some)),
            "domain": np.zeros(rows, np.uint8),
            "depth": depth,
            "depth_confidence": np.where(np.isfinite(depth), 51, 0).astype(np.uint8),
            "semantic": semantic,
        }
        table = [
            {
                "rows": [2 * k, 2 * k + 2],
                "kind": "video",
                "source": [f"/films/{name}.mp4"],
                "key": name.encode().hex().zfill(16),
                "sha256": name * 16,
                "tags": [{"kind": "caption", "text": f"about {name}", "origin": "x"}],
            }
            for k, name in enumerate(some)
        ]
        made_by = dict.fromkeys(columns, MADE_BY)
        commit_shard(
            dataset,
            f"video-{some[0]}",
            columns,
            table,
            made_by,
            attributes={"semantic": {"names": list(classes)}},
        )
    return path


def clips_of(path: Path) -> list[str]:
    """Names of the clips of a dataset."""
    dataset = Dataset(path)
    return sorted(clip["source"][0][7:-4] for n in dataset.shards() for clip in dataset.open(n).clips)


def seen(path: Path) -> dict[str, dict[str, str]]:
    """By clip, the columns' bytes, and what its class is called."""
    found: dict[str, dict[str, str]] = {}
    dataset = Dataset(path)
    for name in dataset.shards():
        shard = dataset.open(name)
        for number, clip in enumerate(shard.clips):
            columns = shard.read_columns(shard.fields, *clip["rows"])
            assert (columns.pop("clip") == number).all()
            ids = columns.pop("semantic")[0, 0]
            assert ids[0] == 255
            table = shard.attributes("semantic")["names"]
            entry = {name: values.tobytes().hex() for name, values in columns.items()}
            found[clip["source"][0]] = {**entry, "class": table[ids[-1]], "made": str(shard.recipe)}
    return found


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("curate") / "five", dict.fromkeys("abcde", 0))


CONDITIONS = {
    "depth.coverage > .4 and depth.coverage < .6": "abcde",
    "depth.mean >= 3": "cde",
    "2 <= depth.mean < 4 or source in ('/films/e.mp4',)": "bce",
    "not 'b.mp4' in source and depth.confidence == .1": "acde",
    "flow.coverage == 0": "abcde",
    "flow.mean > 0 or flow.mean <= 0": "",  # not known: no comparison holds
    "-depth.mean + 1 < -2 * frames / 2": "de",
    "'thing' in semantic.classes and 'about a' == tags": "a",
    "brightness > .3 and brightness < .7 and contrast > .1": "abcde",
    "kind == 'video' and split == ''": "abcde",
}


@pytest.mark.parametrize(("text", "names"), CONDITIONS.items())
def test_a_condition_chooses_clips(five: Path, text: str, names: str) -> None:
    selection = Selection.of(where=text)
    dataset = Dataset(five)
    chosen = []
    for name in dataset.shards():
        shard = dataset.open(name)
        chosen += [shard.clips[k]["source"][0][7] for k in selection.of_shard(shard, None)]
    assert "".join(sorted(chosen)) == names


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("__import__('os').system('x')", "is not part of the language"),
        ("().__class__", "is not part of the language"),
        ("[k for k in 'ab']", "is not part of the language"),
        ("lambda: 1", "is not part of the language"),
        ("depth.__class__ == 1", "depth has no '__class__'"),
        ("2 ** 9 ** 9 > 1", "is not part of the language"),
        ("depth > 1", "depth has depth.coverage, depth.confidence"),
        ("depht.mean > 1", "there is no label 'depht'"),
        ("frame > 1", "nothing is called 'frame': did you mean 'frames'"),
        ("depth.mean >", "can't be read"),
        ("(" * 900 + "1" + ")" * 900, "can't be read"),
        ("kind == 'a'" + " or kind == 'a'" * 300, "longer than"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("(", r"\(")):
        Expression.parse(text)


@pytest.mark.parametrize("text", ["kind < 3", "'a' * 9 == kind", "1 / 0 > 1"])
def test_values_that_do_not_fit_are_said(five: Path, text: str) -> None:
    with pytest.raises(UserError, match="--where"):
        freelabels.prune(five, selection=Selection.of(where=text), dry_run=True)


def test_a_copy_holds_the_same_bytes_in_any_layout(five: Path, tmp_path: Path) -> None:
    write_exclusions(Dataset(five), [FrameIdentity("b" * 16, 1)])
    freelabels.split(five, val=0.1, test=0.4)
    done = freelabels.copy(five, tmp_path / "packed", layout="packed", reporter=QUIET)
    assert (done.made, done.clips, done.frames) == (3, 5, 10)
    back = freelabels.copy(tmp_path / "packed", tmp_path / "back", layout="folders", reporter=QUIET)
    assert back.complete
    own, other = (
        {
            str(f.relative_to(p)): f.read_bytes()
            for f in p.rglob("*")
            if f.is_file() and ".index" not in str(f)
        }
        for p in (five, tmp_path / "back")
    )
    assert own == other
    assert freelabels.verify(tmp_path / "packed", reporter=QUIET).problems == ()
    assert freelabels.copy(five, tmp_path / "packed", reporter=QUIET).made == 0


def test_some_clips_of_shards_are_copied_as_they_are(five: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# wanted\na.mp4\n" + "d" * 16 + "\n/films/e.mp4\n")
    with pytest.raises(SystemExit) as end:
        main(["copy", str(five), "--out", str(tmp_path / "some"), "--listed", str(tmp_path / "list.txt")])
    assert not end.value.code
    assert clips_of(tmp_path / "some") == ["a", "d", "e"]
    everything = seen(five)
    assert seen(tmp_path / "some").items() <= everything.items()
    assert freelabels.verify(tmp_path / "some", reporter=QUIET).problems == ()
    rest = Selection.of(listed=tmp_path / "list.txt", invert=True)
    freelabels.copy(five, tmp_path / "rest", rest, reporter=QUIET)
    assert clips_of(tmp_path / "rest") == ["b", "c"]
    freelabels.copy([tmp_path / "some", tmp_path / "rest"], tmp_path / "whole", reporter=QUIET)
    assert seen(tmp_path / "whole") == everything
    with pytest.raises(UserError, match="no clip is called 'f'"):
        freelabels.copy(five, tmp_path / "none", Selection.of(clips=["a.mp4", "f"]), reporter=QUIET)


def test_merged_datasets_tell_classes_apart_by_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a": 0, "b": 1}, classes=("cat", "dog"))
    two = write(tmp_path / "two", {"c": 0, "d": 1, "b": 0}, classes=("dog", "fox"))
    before = {**seen(two), **seen(one)}
    done = freelabels.copy([one, two], tmp_path / "both", reporter=QUIET)
    assert done.duplicates == 1 and done.clips == 4
    assert seen(tmp_path / "both") == before
    dataset = Dataset(tmp_path / "both")
    tables = [dataset.open(name).attributes("semantic")["names"] for name in dataset.shards()]
    assert sorted(tables) == [["cat", "dog"], ["cat", "dog", "fox"]]
    [ids] = {
        shard.read("semantic", 2)[0, -1] for n in dataset.shards() if (shard := dataset.open(n)).id[6] > "a"
    }
    assert ids == 2, "fox has an id of its own, the same for every reader"
    assert freelabels.verify(tmp_path / "both", reporter=QUIET).problems == ()
    assert freelabels.copy([one, two], tmp_path / "both", reporter=QUIET).made == 0


def test_datasets_that_do_not_fit_are_refused(five: Path, tmp_path: Path) -> None:
    small = write(tmp_path / "small", {"x": 0}, side=4)
    crowd = write(tmp_path / "crowd", {"y": 0}, classes=tuple(f"kind {k}" for k in range(255)))
    other = write(tmp_path / "other", {"z": 0})
    freelabels.split(five, val=0.1, test=0.4)
    freelabels.split(other, val=0.2)
    for datasets, sentence in (
        ([five, small], "make them of one size"),
        ([five, crowd], "no more than 255 can be told apart"),
        ([five, other], "are split otherwise"),
        ([five, tmp_path], "is not a Freelabels dataset"),
    ):
        with pytest.raises(UserError, match=sentence):
            freelabels.copy(datasets, tmp_path / "out", reporter=QUIET)
        assert not (tmp_path / "out").exists(), "a refused copy begins nothing"
    with pytest.raises(UserError, match="is one of the datasets to copy"):
        freelabels.copy([five, other], other, reporter=QUIET)


class Killed(BaseException):
    """As a kill: nothing handles it."""


@pytest.mark.parametrize("layout", ["folders", "packed"])
def test_a_kill_at_any_point_leaves_whole_shards_and_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    one = write(tmp_path / "one", {"a": 0, "b": 1}, classes=("cat", "dog"), each=1)
    two = write(tmp_path / "two", {"c": 0, "d": 1, "b": 0}, classes=("dog", "fox"))
    out, whole = tmp_path / "out", tmp_path / "whole"

    def merge(path: Path) -> None:
        freelabels.copy([one, two], path, layout=layout, reporter=QUIET)

    merge(whole)
    want = seen(whole)
    passed = 0
    while True:
        left = passed + 1

        def trouble(point: str) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Killed(point)

        monkeypatch.setattr(faults, "trouble", trouble)
        try:
            merge(out)
        except Killed:
            monkeypatch.undo()
            if out.exists() and (out / "zarr.json").exists():
                assert seen(out).items() <= want.items()
                assert freelabels.verify(out, reporter=QUIET).problems == ()
            passed += 3  # every third point, another one each time
            continue
        break
    monkeypatch.undo()
    assert passed > 9 and seen(out) == want
    assert Dataset(out).shards() == Dataset(whole).shards()


def test_clips_are_taken_out_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "data", dict.fromkeys("abcde", 0))
    before = seen(path)
    chosen = Selection.of(where="depth.mean == 1 or depth.mean > 3.5")
    told = freelabels.prune(path, selection=chosen, dry_run=True)
    assert (told.clips, told.frames, seen(path)) == (3, 6, before)
    with pytest.raises(SystemExit):
        main(["prune", str(path), "--where", "frames > 0", "--dry-run"])
    told_by_hand = "".join(capsys.readouterr())
    assert "a dry run" in told_by_hand and "leftovers removed" not in told_by_hand

    def trouble(point: str) -> None:
        if point == "commit: stands":
            raise Killed(point)

    monkeypatch.setattr(faults, "trouble", trouble)
    with pytest.raises(Killed):
        freelabels.prune(path, selection=chosen)
    monkeypatch.undo()
    assert seen(path) == before, "what stays is there twice for a moment, nothing is missing"
    freelabels.prune(path, selection=chosen)
    assert clips_of(path) == ["b", "c"] and seen(path).items() <= before.items()
    assert freelabels.verify(path, reporter=QUIET).problems == ()
    with pytest.raises(UserError, match="say which clips"):
        freelabels.prune(path, selection=Selection())


def test_clips_whose_source_is_gone_are_taken_out(tmp_path: Path) -> None:
    path = write(tmp_path / "data", dict.fromkeys("ab", 0))
    with pytest.raises(UserError, match="is a disk not mounted"):
        freelabels.prune(path, gone=True)
    assert clips_of(path) == ["a", "b"]
    there = tmp_path / "c.mp4"
    there.touch()
    dataset = Dataset(path)
    shard = dataset.open(dataset.shards()[0])
    clip = {**shard.clips[0], "rows": [0, 2], "source": [str(there)], "key": "c"}
    columns = shard.read_columns(["image", "depth"], 0, 2)
    commit_shard(dataset, "video-c", columns, [clip], dict.fromkeys(columns, MADE_BY))
    assert freelabels.prune(path, gone=True).sources == ("/films/a.mp4", "/films/b.mp4")
    assert len(Dataset(path).shards()) == 1


def test_growth_moves_no_clip_and_no_source_is_on_two_sides(tmp_path: Path) -> None:
    names = [f"{k:02d}" for k in range(24)]
    path = write(tmp_path / "data", dict.fromkeys(names[:12], 0))
    first = freelabels.split(path, val=0.25, test=0.25)
    assert first.changed and sum(n["clips"] for n in first.splits.values()) == 12

    def sides() -> dict[str, str]:
        rule, dataset = splits_of(Dataset(path)), Dataset(path)
        assert rule is not None
        shards = map(dataset.open, dataset.shards())
        return {clip["source"][0]: rule.of(shard, clip) for shard in shards for clip in shard.clips}

    before = sides()
    assert len(set(before.values())) == 3
    write(path, dict.fromkeys(names[12:], 0))
    after = sides()
    assert before.items() <= after.items() and len(after) == 24
    counted = freelabels.split(path).splits
    assert {n: list(after.values()).count(n) for n in counted} == {
        n: its["clips"] for n, its in counted.items()
    }
    with pytest.raises(UserError, match="is split already"):
        freelabels.split(path, val=0.5)
    moved = next(source for source, side in after.items() if side == "train")
    freelabels.split(path, put="test", selection=Selection.of(clips=[moved]))
    assert sides() == {**after, moved: "test"}
    assert Splits(0.25, 0.25, {7: "val"}).merged(Splits(0.25, 0.25, {7: "test"})) is None
    (path / "splits.json").write_text("{}")
    with pytest.raises(UserError, match="not as freelabels split writes it"):
        freelabels.split(path)


def test_training_keeps_to_the_splits(tmp_path: Path) -> None:
    path = write(tmp_path / "data", dict.fromkeys([f"{k:02d}" for k in range(24)], 0))
    whole = read_catalogue([str(path)], [], 1)
    freelabels.split(path, val=0.25, test=0.25)
    rule = splits_of(Dataset(path))
    assert rule is not None
    catalogue = read_catalogue([str(path)], [], 1, only=("train", "val"))
    assert catalogue.digest != whole.digest, "a run on other clips can't be gone on with"
    loader = Loader(catalogue, ("depth",), LoaderConfig(size=32), 0)
    places = rule.places(catalogue.windows.group)
    assert set(places.tolist()) == {0, 1} and len(whole.windows) > len(catalogue.windows)
    np.testing.assert_array_equal(loader.held, places == 1)
    np.testing.assert_array_equal(loader.held, held_out(catalogue.windows, 0.9, catalogue.splits))
    sides = [freelabels.FrameDataset(path, ["depth"], split=split) for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(whole.windows) == 48
    assert len(sides[2]) == 48 - len(catalogue.windows) and sides[2][0]["image"].shape == (3, SIDE, SIDE)
    freelabels.copy(path, tmp_path / "tested", Selection.of(split="test"), reporter=QUIET)
    assert len(freelabels.FrameDataset(tmp_path / "tested")) == len(sides[2])
    with pytest.raises(UserError, match="no clips in train or val"):
        read_catalogue([str(tmp_path / "tested")], [], 1, only=("train", "val"))


def test_splits_are_exported(tmp_path: Path) -> None:
    path = write(tmp_path / "data", dict.fromkeys([f"{k:02d}" for k in range(8)], 0))
    counts = freelabels.split(path, val=0.3, test=0.3).splits
    assert all(its["frames"] for its in counts.values())
    freelabels.convert(path, "webdataset", tmp_path / "tars")
    assert sorted(p.name for p in (tmp_path / "tars").glob("*.tar")) == [
        f"{split}-000000.tar" for split in ("test", "train", "val")
    ]
    freelabels.convert(path, "npy", tmp_path / "npy")
    lines = [json.loads(line) for line in (tmp_path / "npy" / "frames.jsonl").read_text().splitlines()]
    told = [line["split"] for line in lines]
    assert {name: told.count(name) for name in counts} == {n: its["frames"] for n, its in counts.items()}
    freelabels.convert(path, "huggingface", tmp_path / "hub")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "  - split: validation\n    path: data/val-*.parquet" in card


def test_without_splits_none_is_chosen_by_and_alone_nothing_is_inverted(tmp_path: Path) -> None:
    whole = write(tmp_path / "a", {"one": 0})
    with pytest.raises(UserError, match="--only train: there are no splits"):
        freelabels.prune(whole, selection=Selection.of(split="train", invert=True), dry_run=True)
    with pytest.raises(UserError, match="--only trian: did you mean 'train'"):
        Selection.of(split="trian")
    with pytest.raises(UserError, match="--invert turns a choice around"):
        Selection.of(invert=True)


def test_a_refused_copy_leaves_splits_and_exclusions_of_the_target(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a", {"one": 0}), write(tmp_path / "b", {"two": 0})
    freelabels.split(source, val=0.5)
    with pytest.raises(UserError, match="no clip is called 'three'"):
        freelabels.copy(source, target, Selection.of(["three"]), reporter=QUIET)
    assert splits_of(Dataset(target)) is None

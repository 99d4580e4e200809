"""Two drivers that differ on one dataset, at the worst moments: both report the truth, and both end whole."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelabels.generators.edges import ContourEdges
from freelabels.ground.errors import Replaced
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import SCAN_CACHE, Dataset
from freelabels.pipeline.shards.index import read_index
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.stages import label as stage
from freelabels.pipeline.stages import label_shard as worker
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.pipeline.shards.test_s3 import root, server  # noqa: F401, fixtures
from tests.pipeline.shards.test_shards import CLIPS, HEIGHT, ROWS, WIDTH, some_columns
from tests.pipeline.stages.test_label import run
from tests.sources import write_photos

QUIET = Reporter("quiet")


def meanwhile(patch: pytest.MonkeyPatch, other: Callable[[], object], times: int = 1) -> list[int]:
    """Just before the next commits, once a revision is made and encoded, somebody else works; returns a count."""
    real, left = worker.commit_shard, [times]

    def late(*args: Any, **options: Any) -> str:
        if left[0]:
            left[0] -= 1
            with pytest.MonkeyPatch.context() as undisturbed:
                undisturbed.setattr(worker, "commit_shard", real)
                other()
        return real(*args, **options)

    patch.setattr(worker, "commit_shard", late)
    return left


def columns_of(out: Path | str) -> dict[str, Any]:
    [name] = Dataset(out).shards()
    shard = Dataset(out).open(name)
    return {column: shard.made_by(column) for column in shard.fields}


@pytest.mark.parametrize(
    ("begun", "first", "second"), [((), "edges", "regions"), (("regions",), "edges", "foreground")]
)
def test_two_with_other_labels_both_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: tuple[str, ...], first: str, second: str
) -> None:
    """Before the shard is there, and when it is to be completed."""
    photos, out = write_photos(tmp_path / "photos", 2), tmp_path / "out"
    if begun:
        run(photos, out, labels=list(begun))
    said = []
    meanwhile(monkeypatch, lambda: said.append(run(photos, out, labels=[first])))
    said.append(run(photos, out, labels=[second]))
    assert [(summary.made, summary.failed) for summary in said] == [(1, 0)] * 2
    assert columns_of(out).keys() >= {first, second, *begun, "image"}
    assert verify(out, reporter=QUIET).problems == ()
    assert len(Dataset(out).storage.folders()) == 1
    run(photos, tmp_path / "alone", labels=[first, second, *begun])
    assert columns_of(out) == columns_of(tmp_path / "alone")
    assert run(photos, out, labels=[first, second, *begun]).made == 0


def test_two_with_other_parameters_the_last_counts_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = write_photos(tmp_path / "photos", 2), tmp_path / "out"
    name, number = next(
        (f.name, f.default) for f in dataclasses.fields(ContourEdges) if isinstance(f.default, float)
    )
    other = ContourEdges(**{name: number * 1.01})  # type: ignore[arg-type, operator]
    meanwhile(monkeypatch, lambda: run(photos, out, labels=["edges"], detectors=[other]))
    assert run(photos, out, labels=["edges"]).made == 1
    assert columns_of(out)["edges"]["parameters"][name] == number
    assert verify(out, reporter=QUIET).problems == ()


def test_a_plan_whose_base_is_gone_goes_on_from_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = write_photos(tmp_path / "photos", 2), tmp_path / "out"
    run(photos, out, labels=["foreground"])
    real = stage.run

    def late(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(stage, "run", real)
        run(photos, out, labels=["edges"])
        run(photos, out, labels=["edges", "regions"])
        return real(*args, **options)

    monkeypatch.setattr(stage, "run", late)
    summary = run(photos, out, labels=["regions"])
    assert (summary.made, summary.failed) == (1, 0)
    assert columns_of(out).keys() >= {"edges", "regions", "foreground"}
    assert verify(out, reporter=QUIET).problems == ()


def test_a_plan_whose_shard_was_taken_out_is_not_reported_as_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = write_photos(tmp_path / "photos", 2), tmp_path / "out"
    run(photos, out, labels=["foreground"])
    real = stage.run

    def late(*args: Any, **options: Any) -> Any:
        Dataset(out).storage.drop(Dataset(out).shards()[0])
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", late)
        summary = run(photos, out, labels=["regions"])
    assert (summary.made, summary.failed) == (0, 1)
    assert run(photos, out, labels=["regions"]).complete and "regions" in columns_of(out)


# --- shards ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["folders", "packed", "folders in a store", "packed in a store"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    layout, _, store = request.param.partition(" ")
    where = request.getfixturevalue("root") if store else tmp_path / "data"
    return Dataset.create(where, {"size": [HEIGHT, WIDTH]}, layout)


def begin(dataset: Dataset) -> Shard:
    columns = {"image": some_columns()["image"]}
    return dataset.open(commit_shard(dataset, "video-1", columns, CLIPS, {"image": {"generator": "decode"}}))


def add(dataset: Dataset, base: Shard, name: str, value: int, **made_by: Any) -> str:
    values = {name: np.full((ROWS, HEIGHT, WIDTH), value, np.uint8)}
    return commit_shard(dataset, base.id, values, CLIPS, {name: {"value": value, **made_by}}, base=base)


@pytest.mark.slow
def test_who_comes_second_adds_to_what_the_first_has_committed(dataset: Dataset) -> None:
    """Also when the revision that both knew is gone already, and so are its files."""
    bases = [begin(dataset)] + [dataset.open("video-1.0") for _ in range(2)]
    names = [
        add(dataset, base, name, k)
        for k, (base, name) in enumerate(zip(bases, ("edges", "motion", "edges"), strict=True))
    ]
    assert names == ["video-1.1", "video-1.2", "video-1.3"]
    assert dataset.shards() == ["video-1.3"] and dataset.superseded() == []
    shard = dataset.open("video-1.3")
    assert set(shard.fields) == {"image", "edges", "motion"}
    assert (shard.read("edges", 0) == 2).all() and (shard.read("motion", 0) == 1).all()
    assert (shard.read("image", 1) == some_columns()["image"][1]).all()


@pytest.mark.slow
def test_who_finds_its_work_done_leaves_it(dataset: Dataset) -> None:
    bases = [begin(dataset), dataset.open("video-1.0")]
    assert [add(dataset, base, "edges", 5) for base in bases] == ["video-1.1"] * 2
    assert dataset.shards() == ["video-1.1"] and dataset.superseded() == []


def test_a_column_is_not_laid_beside_what_it_was_not_made_from(dataset: Dataset) -> None:
    first = dataset.open(add(dataset, begin(dataset), "motion", 1))
    late = dataset.open(first.name)
    made_from = {"motion": digest(first.made_by("motion"))[:16]}
    add(dataset, first, "motion", 2)
    with pytest.raises(
        Replaced, match="another process has made motion otherwise, from which edges was made"
    ):
        add(dataset, late, "edges", 3, inputs=made_from)
    assert set(dataset.open(dataset.shards()[0]).fields) == {"image", "motion"}


def test_an_index_is_read_though_shards_are_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(tmp_path / "data", {"size": [HEIGHT, WIDTH]})
    first, real = begin(dataset), Dataset.stamps

    def stamps(self: Dataset) -> dict[str, str]:
        found = real(self)
        if "video-1.0" in found:
            add(dataset, first, "edges", 1)
        return found

    monkeypatch.setattr(Dataset, "stamps", stamps)
    assert read_index(dataset, Cluster(workers=0), QUIET).names.tolist() == [b"video-1.1"]


# --- what is remembered of sources ------------------------------------------------------------------------------


def test_a_run_with_other_sources_forgets_nothing_of_the_first(tmp_path: Path) -> None:
    """Nor does one with the same sources otherwise cut up; its own are forgotten when their files have changed."""
    one, two = (write_photos(tmp_path / name, 2) for name in ("one", "two"))
    out = tmp_path / "out"
    run(one, out, labels=["regions"])
    remembered = set((out / SCAN_CACHE).iterdir())
    run(two, out, labels=["regions"])
    assert remembered < set((out / SCAN_CACHE).iterdir())
    for photo in one:
        photo.write_bytes(photo.read_bytes() + b"\0")
    run(one, out, labels=["regions"])
    assert not remembered & set((out / SCAN_CACHE).iterdir())

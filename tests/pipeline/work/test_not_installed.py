"""A worker that lacks a package is no bad photo: the job ends with a sentence."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from freelabels.ground.errors import UserError
from freelabels.pipeline.sources import scan
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.work import ray_executor
from freelabels.pipeline.work.attempt import NOT_INSTALLED, Cluster
from freelabels.pipeline.work.ray_executor import connect
from freelabels.pipeline.work.runner import run
from tests.sources import write_photos

TRIED: list[int] = []


def lacking(number: int) -> int:
    TRIED.append(number)
    if number == 2:
        importlib.import_module("no_such_package")
    return number


def test_the_job_ends_at_once_and_says_what_is_missing() -> None:
    TRIED.clear()
    outcomes = run(lacking, [1, 2, 3], str, Cluster(workers=0))
    assert next(outcomes).result == 1
    with pytest.raises(
        UserError, match=r"this process can't import what it needs.*No module named 'no_such_package'"
    ):
        next(outcomes)
    assert TRIED == [1, 2]  # not three times, and nothing after it


def test_no_photo_is_refused_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", 2)

    def broken(*_: object) -> None:
        importlib.import_module("no_such_package")

    with monkeypatch.context() as patched:
        patched.setattr(scan, "examine", broken)
        with pytest.raises(UserError, match="can't import what it needs"):
            label(
                tmp_path / "photos",
                tmp_path / "out",
                size=(32, 32),
                labels=["regions"],
                cluster=Cluster(workers=0),
            )
    assert not (tmp_path / "out" / "rejected.jsonl").exists()
    done = label(
        tmp_path / "photos", tmp_path / "out", size=(32, 32), labels=["regions"], cluster=Cluster(workers=0)
    )
    assert (done.frames, done.refused) == (2, 0)  # nothing of it was remembered


@pytest.mark.parametrize(
    "said",
    [
        "The remote function failed to import on the worker. This may be because needed library dependencies are "
        "not installed in the worker environment:\n\nModuleNotFoundError: No module named 'cv2'",
        "ray::examine()\n  File \"x.py\"\nImportError: cannot import name 'x' from 'train' (/home/a/train.py)",
    ],
)
def test_what_ray_says_of_it_is_understood(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def get(_: object) -> None:
        raise ray.exceptions.RayError(said)

    monkeypatch.setattr(ray, "get", get)
    executor = ray_executor.RayExecutor(lacking, str, lambda _: 1.0, Cluster())
    outcome = executor._outcome(None, 1)
    assert (outcome.kind, outcome.error) == (NOT_INSTALLED, said.splitlines()[-1])


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        (Cluster(2), "starting Ray with 2 CPUs …"),
        (Cluster(), "starting Ray …"),
        (Cluster(address="auto"), "joining the Ray cluster at auto …"),
    ],
)
def test_what_takes_seconds_is_said_before_it_begins(
    cluster: Cluster, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    said: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: said.append("begun"))
    connect(replace(cluster, say=said.append))
    connect(cluster)
    assert said == [sentence, "begun", "begun"]

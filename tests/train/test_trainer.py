"""A run: it learns, it resumes bit for bit, its checkpoints are whole, and it says what is wrong."""

import json
import shutil
import signal
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.config import (
    AdversaryConfig,
    BalanceConfig,
    LoaderConfig,
    ModelConfig,
    RobustConfig,
    TrainConfig,
)
from freelabels.train.data.windows import REAL, SYNTHETIC
from freelabels.train.export import trained_backbone
from freelabels.train.run import checkpoint
from freelabels.train.run.config_file import CONFIG, read_config
from freelabels.train.run.trainer import TrainSummary, fit
from freelabels.train.tasks.contract.task import Rate
from freelabels.train.tasks.space.rotation import Rotation
from tests.preloaded import Programs

SMALL = TrainConfig(
    steps=4,
    precision="fp32",
    device="cpu",
    save_every=20,
    log_every=5,
    picture_every=100,
    evaluate=8,
    loader=LoaderConfig(size=32, batch=4, held_out=0.25),
    model=ModelConfig("test_resnet", width=16),
)
RESUMED = replace(
    SMALL,
    steps=16,
    save_every=8,
    tasks=("edges", "depth", "normals", "rotation"),
    ema=0.9,
    adversary=AdversaryConfig("lsgan", pool=8),
    balance=BalanceConfig("gradnorm"),
    robust=RobustConfig("bootstrap"),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    root = tmp_path_factory.mktemp("data")
    real = write_dataset(root / "real", REAL, 8, 48, labels=("edges", "normals"), confidence=200)
    return [str(real)], [str(write_dataset(root / "synthetic", SYNTHETIC, 8, 48))]


def run(data: tuple[list[str], list[str]], out: Path, config: TrainConfig, **options: Any) -> TrainSummary:
    return fit(*data, str(out), config, quiet=True, **options)


def assert_bits_equal(a: Any, b: Any, path: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_bits_equal(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for key, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_bits_equal(x, y, f"{path}.{key}")
    else:
        assert a == b, path


@pytest.mark.kill
def test_killed_and_resumed_is_bit_for_bit_the_same(
    data: tuple[list[str], list[str]], tmp_path: Path, programs: Programs
) -> None:
    # Weights, optimiser, average, ramp, history pool, balance, position of the loader and random numbers.
    run(data, tmp_path / "whole", RESUMED)
    script = f"""
        import os, signal, torch
        from tests.train.test_trainer import RESUMED, run
        from pathlib import Path
        torch.set_num_threads(1)
        def kill(step, learner):
            if step == 10:
                os.kill(os.getpid(), signal.SIGKILL)
        run({data!r}, Path({str(tmp_path / "killed")!r}), RESUMED, on_step=kill)
    """
    ended = programs.run("-c", textwrap.dedent(script))
    assert ended.returncode == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "killed" / checkpoint.CHECKPOINT)["step"] == 8
    run(data, tmp_path / "killed", RESUMED, resume=True)
    whole, killed = (checkpoint.load(tmp_path / name / checkpoint.CHECKPOINT) for name in ("whole", "killed"))
    assert whole["step"] == 16 and whole["learner"]["adversary.ramp"] > 0.99
    assert_bits_equal(whole, killed)
    lines = [
        [
            {k: v for k, v in json.loads(line).items() if k not in ("time", "samples_per_second", "waited")}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "killed")
    ]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_short_run_learns_and_leaves_its_record(data: tuple[list[str], list[str]], tmp_path: Path) -> None:
    config = replace(SMALL, steps=60, lr=3e-3, ema=0.9, tasks=("edges", "depth", "normals"))
    summary = run(data, tmp_path / "run", config)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (line["losses"] for line in (lines[0], lines[-2]))
    assert sum(last.values()) < 0.8 * sum(first.values())
    assert summary.finished and {s["task"] for s in summary.scores} == {"edges", "depth", "normals"}
    assert next(s["better"] for s in summary.scores if s["task"] == "edges")
    assert (tmp_path / "run" / "pictures" / "step-000060.png").stat().st_size > 1000
    assert list((tmp_path / "run").glob("events.out.tfevents*"))
    assert summary.domains is not None and 0 <= summary.domains <= 1
    backbone, config_read, record = trained_backbone(str(tmp_path / "run"))
    assert config_read == config and record["real"] == data[0]
    with torch.no_grad():
        feature = backbone(torch.zeros(1, 3, 32, 32))[-1]
    assert torch.isfinite(feature).all()


@pytest.mark.slow
@pytest.mark.parametrize("adversary", ["reversal", "multilevel", "cdan", "ridge", "coral", "mmd", "fourier"])
def test_every_adversary_trains_and_reports(
    data: tuple[list[str], list[str]], tmp_path: Path, adversary: str
) -> None:
    config = replace(
        SMALL,
        steps=2,
        log_every=1,
        adversary=AdversaryConfig(adversary),
        tasks=("edges", "normals"),
        evaluate=2,
    )
    run(data, tmp_path / "run", config)
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[1])
    assert line["adversary"]["ramp"] > 0.99
    if adversary in ("reversal", "multilevel", "cdan", "ridge"):
        assert 0 <= line["adversary"]["domain_accuracy"] <= 1 and line["adversary"]["gradient_ratio"] > 0


@pytest.mark.slow
def test_tasks_between_frames_pretexts_and_accumulation(
    data: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    loader = replace(SMALL.loader, frames=2, batch=2)
    config = replace(
        SMALL,
        steps=2,
        accumulate=2,
        loader=loader,
        tasks=("flow", "edges", "jigsaw", "rotation", "contours"),
    )
    summary = run(data, tmp_path / "run", config)
    assert {s["task"] for s in summary.scores} == set(config.tasks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uncertainty", "dwa", "pcgrad", "famo"])
def test_every_balance_trains(data: tuple[list[str], list[str]], tmp_path: Path, name: str) -> None:
    config = replace(SMALL, steps=2, evaluate=1, tasks=("edges", "depth"), balance=BalanceConfig(name))
    assert run(data, tmp_path / "run", config).finished


@pytest.mark.slow
def test_a_stopped_run_saves_and_goes_on(data: tuple[list[str], list[str]], tmp_path: Path) -> None:
    def interrupt(step: int, learner: Any) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    summary = run(data, tmp_path / "run", SMALL, on_step=interrupt)
    assert not summary.finished and summary.steps == 2
    assert run(data, tmp_path / "run", SMALL, resume=True).finished


@pytest.mark.slow
def test_a_run_goes_on_with_more_steps_and_whatever_cannot_matter(
    data: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    run(data, tmp_path / "run", replace(SMALL, steps=2, tasks=("edges",)))
    loader = replace(SMALL.loader, workers=2, ahead=1, cache=str(tmp_path / "cache"), cache_gib=1.0)
    other = replace(SMALL, steps=4, tasks=("edges",), device="auto", log_every=1, save_every=7, loader=loader)
    summary = run(data, tmp_path / "run", other, resume=True)
    assert summary.finished and summary.steps == 4
    assert read_config(tmp_path / "run" / CONFIG)[0] == other  # what it goes on with is written down
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == [2, 3, 4]
    with pytest.raises(UserError, match="has taken 4 steps already; give --steps 4 or more"):
        run(data, tmp_path / "run", replace(other, steps=3), resume=True)
    assert read_config(tmp_path / "run" / CONFIG)[0] == other


def test_a_loss_that_is_not_finite_stops_and_the_checkpoint_stands(
    data: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    config = replace(SMALL, steps=10, save_every=2, tasks=("edges", "depth"))

    def poison(step: int, learner: Any) -> None:
        if step == 3:
            with torch.no_grad():
                learner.model.heads["depth"].out.weight.fill_(float("nan"))

    with pytest.raises(UserError, match="step 4: the loss of depth is not finite"):
        run(data, tmp_path / "run", config, on_step=poison)
    state = checkpoint.load(tmp_path / "run" / checkpoint.CHECKPOINT)
    assert state["step"] == 2


def test_a_good_checkpoint_is_never_overwritten_by_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    checkpoint.save(path, {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(UserError, match=r"weights has values that are not finite"):
        checkpoint.save(path, {"step": 2, "weights": torch.tensor([1.0, float("nan")])})
    whole = torch.save

    def full(state: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, r"No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"No space left on device.*the one before is untouched"):
        checkpoint.save(path, {"step": 2})
    monkeypatch.setattr(torch, "save", lambda state, file: file.write(b"torn"))
    with pytest.raises(UserError, match="can't be written"):
        checkpoint.save(path, {"step": 2})
    monkeypatch.setattr(torch, "save", whole)
    assert checkpoint.load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.load(path)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_is_named(
    data: tuple[list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"can't write to .*file/run"):
        run(data, tmp_path / "file" / "run", SMALL)

    # The disk fills after the last checkpoint: the run ends with a sentence, the checkpoint is whole.
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"can't write to .*No space left"):
        run(data, tmp_path / "run", replace(SMALL, tasks=("edges",)))
    assert checkpoint.load(tmp_path / "run" / checkpoint.CHECKPOINT)["step"] == 4


def test_what_is_wrong_with_the_data_ends_a_run_with_a_sentence(tmp_path: Path) -> None:
    config = replace(SMALL, tasks=("edges",))
    (tmp_path / "none").mkdir()
    shutil.copy(
        write_dataset(tmp_path / "few", SYNTHETIC, 4, 48, labels=("edges",)) / "zarr.json", tmp_path / "none"
    )
    with pytest.raises(UserError, match="none holds no shards: label or render into it first"):
        fit([], [str(tmp_path / "none")], str(tmp_path / "run"), config, quiet=True)
    for chunk in (tmp_path / "few").glob("*/edges/c/0/0/0"):
        content = bytearray(chunk.read_bytes())
        content[10] ^= 1
        chunk.write_bytes(content)
    with pytest.raises(UserError, match="edges"):
        fit([], [str(tmp_path / "few")], str(tmp_path / "run"), config, quiet=True)


@pytest.mark.slow
def test_bad_input_is_said_in_a_sentence(data: tuple[list[str], list[str]], tmp_path: Path) -> None:
    real, synthetic = data
    for sentence, options in (
        (
            "needs the field depth",
            {"real": real, "synthetic": [], "config": replace(SMALL, tasks=("depth",))},
        ),
        ("timm has no backbone 'resnet19'", {"config": replace(SMALL, model=ModelConfig("resnet19"))}),
        (
            "there is no synthetic dataset",
            {"synthetic": [], "config": replace(SMALL, adversary=AdversaryConfig("mmd"))},
        ),
        ("did you mean 'trimmed'", {"config": replace(SMALL, robust=RobustConfig("trimed"))}),
        ("multiple of 32", {"config": replace(SMALL, loader=replace(SMALL.loader, size=50))}),
        ("holds no checkpoint", {"resume": True}),
    ):
        arguments = {"real": real, "synthetic": synthetic, "config": SMALL, "quiet": True, **options}
        with pytest.raises(UserError, match=sentence):
            fit(out=str(tmp_path / "bad"), **arguments)  # type: ignore[arg-type]
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
    config = replace(SMALL, steps=1)
    run(data, tmp_path / "run", config)
    with pytest.raises(UserError, match="holds a run already"):
        run(data, tmp_path / "run", config)
    with pytest.raises(UserError, match="another configuration: seed was 0 and is now 2"):
        run(data, tmp_path / "run", replace(config, seed=2), resume=True)
    with pytest.raises(UserError, match=r"--precision bf61: .*bf16"):
        run(data, tmp_path / "bad", replace(config, precision="bf61"))
    with pytest.raises(UserError, match=r"--out s3://bucket/run: a run writes into a folder"):
        fit(*data, "s3://bucket/run", config, quiet=True)
    assert not Path("s3:").exists()
    with pytest.raises(UserError, match=r"data of .* has changed"):
        run((real, []), tmp_path / "run", config, resume=True)


@pytest.mark.slow
def test_a_run_whose_task_is_built_otherwise_now_is_refused_in_a_sentence(
    data: tuple[list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(SMALL, steps=1, tasks=("rotation",))
    run(data, tmp_path / "run", config)
    longer = replace(config, steps=2)
    with monkeypatch.context() as now:
        now.setattr(Rotation, "head", lambda task, shape: nn.Linear(shape.channels[-1], 9))
        said = r"begun by another version: weight of the task rotation was 4 × \d+ and is now 9 × \d+; go on with"
        with pytest.raises(UserError, match=said):
            run(data, tmp_path / "run", longer, resume=True)
    with monkeypatch.context() as now:
        now.setattr(Rotation, "rates", {"": Rate(0.5)})
        with pytest.raises(UserError, match=r"its parameters lay in groups of \[\d+, \d+\], now of \[\d+, "):
            run(data, tmp_path / "run", longer, resume=True)
    assert run(data, tmp_path / "run", longer, resume=True).steps == 2

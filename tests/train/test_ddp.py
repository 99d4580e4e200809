"""Two gloo processes: the gradient is that of one process, and a run that stopped goes on exactly."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.tools.shapes import write_dataset
from freelabels.train.config import (
    AdversaryConfig,
    BalanceConfig,
    LoaderConfig,
    ModelConfig,
    TrainConfig,
)
from freelabels.train.data.windows import REAL, SYNTHETIC
from freelabels.train.model import ranks
from freelabels.train.objective.adversary import ADVERSARIES
from freelabels.train.objective.inputs import Inputs
from freelabels.train.objective.learner import Learner
from freelabels.train.run import checkpoint
from freelabels.train.run.step import backward
from freelabels.train.run.trainer import fit
from freelabels.train.tasks.contract.task import Asked
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.tasks import tasks
from tests.preloaded import Programs
from tests.train.test_trainer import assert_bits_equal

ROOT = Path(__file__).parents[2]
SIZE = 32
NAMES = ("edges", "depth", "normals", "disparity")
RANK_OF = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])  # uneven batches
CONFIG = TrainConfig(
    steps=3,
    tasks=("edges", "normals"),
    precision="fp32",
    device="cpu",
    log_every=1,
    evaluate=8,
    loader=LoaderConfig(size=SIZE, batch=2),
    model=ModelConfig("test_convnext2", width=16),  # no batch norm, whose statistics would differ by design
)
NORMED = replace(CONFIG, steps=2, device="auto", evaluate=2, model=ModelConfig("test_resnet", width=16))


def learner(balance: str) -> Learner:
    torch.manual_seed(0)
    chosen = {name: tasks()[name] for name in NAMES}
    return Learner(chosen, replace(CONFIG, balance=BalanceConfig(balance)))


def inputs(which: torch.Tensor) -> Inputs:
    """Some images of one fixed batch: uneven numbers of valid pixels, and no depth on rank 1."""
    g = torch.Generator().manual_seed(1)
    n = len(RANK_OF)
    image = torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    asked = {}
    for name in NAMES:
        task = tasks()[name]
        assert isinstance(task, Labelled)
        target = torch.rand(n, task.channels or 1, SIZE, SIZE, generator=g) + 0.1
        target = torch.nn.functional.normalize(target, dim=1) if name == "normals" else target
        target = (target > 0.8).float() if name == "edges" else target
        share = torch.linspace(0.05, 1, n).view(-1, 1, 1)
        weight = torch.rand(n, SIZE, SIZE, generator=g) * (torch.rand(n, SIZE, SIZE, generator=g) < share)
        if name == "depth":
            weight[RANK_OF == 1] = 0
        asked[name] = Asked(target[which], weight[which], maps=True)
    return Inputs(image[which][:, None], asked, (torch.arange(n) % 2)[which])


def gradients(balance: str, parts: list[torch.Tensor], parallelised: bool = False) -> dict[str, torch.Tensor]:
    made = learner(balance)
    wrapped = DistributedDataParallel(made, find_unused_parameters=True) if parallelised else made
    backward(made, wrapped, [inputs(part) for part in parts])
    return {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


def work(out: str, real: str, synthetic: str) -> None:
    """What each rank of the test does."""
    torch.set_num_threads(1)
    with ranks.group("cpu"):
        mine = torch.nonzero(ranks.rank() == RANK_OF)[:, 0]
        found = {balance: gradients(balance, [mine], True) for balance in ("fixed", "pcgrad", "uncertainty")}
        found["accumulated"] = gradients("fixed", [mine[:1], mine[1:]], True)
        if ranks.rank() == 0:
            torch.save(found, out)
        fit([real], [synthetic], f"{out}.run", CONFIG, quiet=True)
        for name in ADVERSARIES:
            whole_and_resumed(out, real, synthetic, name)


def whole_and_resumed(out: str, real: str, synthetic: str, adversary: str) -> None:
    """A run with batch norm to its end, and one that stops half-way and goes on."""
    config = replace(NORMED, adversary=AdversaryConfig(adversary, pool=8))

    def interrupt(step: int, learner: object) -> None:
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    fit([real], [synthetic], f"{out}.{adversary}.whole", config, quiet=True)
    fit([real], [synthetic], f"{out}.{adversary}.resumed", config, quiet=True, on_step=interrupt)
    asked = ranks.rank() == 0  # rank 0 decides whether to resume, as one that sees the folder later can't
    again = replace(config, device="cpu", log_every=5)
    fit([real], [synthetic], f"{out}.{adversary}.resumed", again, resume=asked, quiet=True)


def assert_close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() >= wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp_min(1)
        assert ((found[name] - gradient).abs().max() / scale) < 1e-6, name
        assert (gradient != 0).any() or name.endswith("bias"), name


@pytest.mark.slow
@pytest.mark.timeout(900)  # two processes make twenty small runs
def test_two_ranks_train_as_one_and_resume_exactly(tmp_path: Path, programs: Programs) -> None:
    real = write_dataset(tmp_path / "real", REAL, 8, 48, frames=2, labels=("edges", "normals"))
    synthetic = write_dataset(tmp_path / "synthetic", SYNTHETIC, 8, 48, frames=2)
    arguments = tuple(map(str, (tmp_path / "grads.pt", real, synthetic)))
    script, rank = tmp_path / "work.py", tmp_path / "rank"
    script.write_text(f"from tests.train.test_ddp import work; work(*{arguments!r})")
    programs.shim(rank, str(script))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--no-python", rank)
    done = programs.run(*torchrun, env=env, timeout=900)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "grads.pt", weights_only=True)
    everything = torch.arange(len(RANK_OF))
    whole = gradients("fixed", [everything])
    assert_close(found["fixed"], whole)
    assert_close(found["accumulated"], whole)
    assert_close(gradients("fixed", [everything[:3], everything[3:]]), whole)  # accumulation in one process
    assert_close(found["pcgrad"], gradients("pcgrad", [everything]))
    assert_close(found["uncertainty"], gradients("uncertainty", [everything]))

    # Two ranks of two windows train like one process with batches of four.
    one = replace(CONFIG, loader=replace(CONFIG.loader, batch=4))
    fit([str(real)], [str(synthetic)], str(tmp_path / "one"), one, quiet=True)
    a, b = (
        checkpoint.load(folder / checkpoint.CHECKPOINT)
        for folder in (tmp_path / "one", tmp_path / "grads.pt.run")
    )
    assert a["step"] == b["step"] == 3 and len(b["random"]) == 2
    for name, weight in a["learner"].items():
        torch.testing.assert_close(b["learner"][name], weight, rtol=1e-3, atol=2e-4)

    # With batch norm and any adversary a run that stopped goes on as if it had not, on both ranks.
    for adversary in ADVERSARIES:
        whole, resumed = (
            checkpoint.load(tmp_path / f"grads.pt.{adversary}.{name}" / checkpoint.CHECKPOINT)
            for name in ("whole", "resumed")
        )
        assert whole["step"] == resumed["step"] == 2 and len(whole["buffers"]) == 2
        assert_bits_equal(whole, resumed, adversary)
        first, second = (
            torch.cat([t.double().flatten() for t in b["learner"].values()]) for b in whole["buffers"]
        )
        assert not torch.equal(first, second)  # each rank's own

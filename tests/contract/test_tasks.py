"""The tasks keep their contract, and its test finds those that don't."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from freelabels.testing import ContractBroken, check_task
from freelabels.testing.task import FEW, check_ranks
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Needs, Seen, Task, everyone, first
from freelabels.train.tasks.tasks import tasks
from tests.preloaded import Programs


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(tasks()))
def test_a_built_in_task(name: str) -> None:
    check_task(tasks()[name], elsewhere=False)


@pytest.mark.slow
def test_every_task_learns_on_two_ranks_what_it_learns_on_one(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], env: dict[str, str], timeout: float, **_: bool) -> object:
        assert command[0] == sys.executable
        return programs.run(*command[1:], env=env, timeout=timeout)

    monkeypatch.setattr(subprocess, "run", run)  # what starts the ranks would import for six seconds
    check_ranks(list(tasks().values()))


@dataclass(frozen=True)
class Brightest(Task):
    """Which quarter of the image is brightest."""

    name = "brightest"
    classes = 4

    def head(self, shape: Shape) -> nn.Module:
        return nn.Linear(shape.channels[-1], 4)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        images = first(batch)[:, None]
        quarters = nn.functional.adaptive_avg_pool2d(images[:, 0].float().mean(1, keepdim=True), 2)
        return Asked(quarters.flatten(1).argmax(1), everyone(batch), images)


@dataclass(frozen=True)
class Moody(Brightest):
    """Asks for something else every time."""

    name = "moody"

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        asked = super().ask(batch, draw)
        return replace(asked, target=torch.randint(0, 4, asked.target.shape))


@dataclass(frozen=True)
class Neighbourly(Brightest):
    """Looks at the next sample of the batch."""

    name = "neighbourly"

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        asked = super().ask(batch, draw)
        return replace(asked, target=asked.target.roll(1))


@dataclass(frozen=True)
class Averaging(Brightest):
    """Takes a mean, so that a batch in two halves counts twice."""

    name = "averaging"

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        return super().judge(answer, asked) / len(answer)


@dataclass(frozen=True)
class Careless(Brightest):
    """Divides by how much counts."""

    name = "careless"

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        return super().judge(answer, asked) * 6 / asked.weight.sum()


@dataclass(frozen=True)
class Forgetful(Brightest):
    """Keeps what it learns where no checkpoint looks."""

    name = "forgetful"

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        out: Tensor = super().answer(head, seen, asked)
        if len(out) == FEW:  # not where batches of other sizes are compared
            head.count = count = getattr(head, "count", 0) + 1  # type: ignore[assignment]
            out = out * count
        return out


@dataclass(frozen=True)
class Hasty(Brightest):
    """Counts clips that lack the frames it looks at."""

    name = "hasty"
    needs = Needs(3)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        return replace(super().ask(batch, draw), weight=torch.ones(len(batch["image"])))


@dataclass(frozen=True)
class Sanguine(Brightest):
    """Takes what it never saw for right."""

    name = "sanguine"

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        return super().summary(columns) if len(columns[0]) else (1.0, 0.25, 0.0)


BROKEN = {
    Moody: "asks for something else the second time",
    Neighbourly: "asks for other views of a sample in another batch",
    Averaging: "has another gradient when a batch is split",
    Careless: "has a loss of nan where nothing counts",
    Sanguine: "scores 1.0 where nothing was kept",
    Hasty: "must weigh a clip that has its frames, and not one that is too short",
    Forgetful: "doesn't go on bit for bit",
}


def test_a_task_of_ones_own_keeps_it() -> None:
    check_task(Brightest(), elsewhere=False)


@pytest.mark.parametrize("broken", list(BROKEN), ids=lambda cls: cls.__name__)
def test_what_breaks_it_is_told_in_a_sentence(broken: type[Task]) -> None:
    with pytest.raises(ContractBroken) as raised:
        check_task(broken(), elsewhere=False)
    assert str(raised.value).startswith(f"the task {broken.name} ")
    assert BROKEN[broken] in str(raised.value)


# --- random numbers ---------------------------------------------------------------------------------------------


def test_a_sample_draws_the_same_in_any_batch_and_every_name_something_else() -> None:
    seeds = torch.tensor([5, 0, 2**31 - 1, 7])

    def drawn(seeds: Tensor, name: str = "a") -> list[Tensor]:
        draw = Draw(seeds, name)
        return [draw.uniform(3), draw.integers(9, 2), draw.order(5), draw.normal(2, 2)]

    for one, other in zip(drawn(seeds), drawn(seeds.flip(0)), strict=True):
        assert torch.equal(one, other.flip(0))
    for one, other in zip(drawn(seeds), drawn(seeds, "b"), strict=True):
        assert not torch.equal(one, other)


def test_draws_are_spread_as_they_should_be() -> None:
    draw = Draw(torch.arange(20_000), "spread")
    uniform, normal = draw.uniform(), draw.normal()
    assert uniform.min() >= 0 and uniform.max() < 1
    assert torch.histc(uniform, 10, 0, 1).sub(2000).abs().max() < 200  # five standard deviations
    assert abs(float(normal.mean())) < 0.03 and abs(float(normal.std()) - 1) < 0.03
    assert torch.bincount(draw.integers(7), minlength=7).sub(20_000 / 7).abs().max() < 260
    orders = draw.order(3)
    assert torch.equal(orders.sort(1).values, torch.arange(3).expand(20_000, 3))
    assert torch.unique(orders, dim=0, return_counts=True)[1].sub(20_000 / 6).abs().max() < 260
    correlation = torch.corrcoef(torch.stack([draw.uniform()[1:], draw.uniform()[:-1]]))[0, 1]
    assert abs(float(correlation)) < 0.04

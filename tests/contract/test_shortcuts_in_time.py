"""Light that drifts doesn't tell the order of frames. Run by `make test-shortcuts`."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.objective.inputs import Inputs, prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.contract.views import grey
from freelabels.train.tasks.time.opn import OPN
from freelabels.train.tasks.time.shuffle_learn import ShuffleLearn

pytestmark = pytest.mark.shortcut

SIZE, BATCH = 48, 64
CONFIG = TrainConfig(loader=LoaderConfig(size=SIZE), model=ModelConfig("test_resnet", width=16))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def noise(number: int, frames: int) -> Tensor:
    """Clips (BATCH, frames, 3, SIZE, SIZE), 0 … 255, every frame other noise without content."""
    g = torch.Generator().manual_seed(number)
    grain = torch.randn(BATCH * frames, 1, SIZE, SIZE, generator=g)
    soft = 128 + 60 * F.avg_pool2d(grain, 3, 1, 1)
    return soft.view(BATCH, frames, 1, SIZE, SIZE).expand(-1, -1, 3, -1, -1)


def drift(clip: Tensor) -> Tensor:
    """The light rises from a frame to the next."""
    return clip * torch.linspace(0.7, 1.3, clip.shape[1])[None, :, None, None, None]


def nothing(clip: Tensor) -> Tensor:
    return clip


@dataclass(frozen=True)
class VerifiedAsTheyAre(ShuffleLearn):
    """Shuffle and learn with its guards off."""

    def stills(self, frames: Tensor, draw: Draw) -> Tensor:
        return grey(frames)


@dataclass(frozen=True)
class SortedAsTheyAre(OPN):
    """OPN with its guards off."""

    def stills(self, frames: Tensor, draw: Draw) -> Tensor:
        return grey(frames)


def accuracy(task: Task, plant: Callable[[Tensor], Tensor], steps: int) -> tuple[float, float]:
    """Of a small net trained on noise with a planted cue, on other noise; and the standard error of a guess."""
    torch.manual_seed(0)
    learner = Learner({task.name: task}, CONFIG)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for number in range(steps):
        backward(learner, learner, [_inputs(learner, number, plant)])
        optimizer.step()
        optimizer.zero_grad()
    learner.eval()
    hits = []
    with torch.no_grad():
        for number in range(1000, 1006):
            told = learner.predict(_inputs(learner, number, plant))
            hits.append(task.score(told.answers[task.name], told.asked[task.name])[:, 0])
    chance = 1 / task.classes
    return float(torch.cat(hits).mean()), (chance * (1 - chance) / (6 * BATCH)) ** 0.5


def _inputs(learner: Learner, number: int, plant: Callable[[Tensor], Tensor]) -> Inputs:
    [task] = learner.tasks.values()
    reach = task.needs.reach
    assert reach is not None
    clip = plant(noise(number, reach.frames)).round().clamp(0, 255).byte()
    batch: Batch = {
        "image": clip[:, :1],
        f"{reach.key}image": clip,
        f"{reach.key}serves": torch.ones(BATCH),
        "seed": torch.randint(2**31, (BATCH,), generator=torch.Generator().manual_seed(number)),
        "domain": torch.zeros(BATCH, dtype=torch.long),
    }
    return prepare(learner.tasks, batch)


CASES = {
    "light tells whether frames are in order": (ShuffleLearn(), VerifiedAsTheyAre(), drift, 20),
    "light tells the order": (OPN(), SortedAsTheyAre(), drift, 20),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_planted_cue_leads_nowhere_and_would_without_the_guard(case: str) -> None:
    guarded, open_to_it, plant, steps = CASES[case]
    chance = 1 / guarded.classes
    found, error = accuracy(open_to_it, plant, steps)
    assert found > chance + 8 * error, "with the guard off"
    found, error = accuracy(guarded, plant, steps)
    assert abs(found - chance) < 4 * error, "guarded"


def test_noise_alone_tells_nothing() -> None:
    found, error = accuracy(SortedAsTheyAre(), nothing, 10)
    assert abs(found - 1 / 12) < 4 * error

"""What a task could cheat by is not there: on noise that holds that cue alone its trained answer stays a guess."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.contract.views import cells, crop
from freelabels.train.tasks.space.context_prediction import ContextPrediction
from freelabels.train.tasks.space.jigsaw import Jigsaw
from freelabels.train.tasks.space.tiles import GRID, tile_side

pytestmark = pytest.mark.shortcut

SIZE, BATCH = 96, 64
CONFIG = TrainConfig(loader=LoaderConfig(size=SIZE), model=ModelConfig("test_resnet", width=16))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def noise(number: int, count: int) -> Tensor:
    """Images (count, 3, SIZE, SIZE), 0 … 255, of noise without content; the channels are the same."""
    g = torch.Generator().manual_seed(number)
    grain = torch.randn(count, 1, SIZE, SIZE, generator=g)
    return (128 + 60 * F.avg_pool2d(grain, 3, 1, 1)).expand(-1, 3, -1, -1).clamp(0, 255)


def chromatic(image: Tensor) -> Tensor:
    """Red is moved outwards and blue inwards by two whole pixels, as a lens does away from its centre."""
    place = torch.arange(SIZE)
    out = torch.where(place < SIZE // 3, -1, torch.where(place < 2 * SIZE // 3, 0, 1)) * 2
    planes = []
    for channel, sign in enumerate((1, 0, -1)):
        index = (place - sign * out).clamp(0, SIZE - 1)
        planes.append(image[:, channel][:, index][:, :, index])
    return torch.stack(planes, 1)


def vignette(image: Tensor) -> Tensor:
    """Each third of the image's height and width has a brightness of its own, as towards a dark corner."""
    steps = torch.linspace(-40, 40, 3).repeat_interleave(SIZE // 3)
    return (image + steps[None, None, :, None] + 0.5 * steps).clamp(0, 255)


def nothing(image: Tensor) -> Tensor:
    return image


def accuracy(
    task: Task, plant: Callable[[Tensor], Tensor], steps: int, batch: int = BATCH
) -> tuple[float, float]:
    """Of a small net trained on noise with a planted cue, on other noise; and the standard error of a guess."""
    torch.manual_seed(0)
    learner = Learner({task.name: task}, CONFIG)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for number in range(steps):
        backward(learner, learner, [prepare(learner.tasks, planted(number, plant, batch))])
        optimizer.step()
        optimizer.zero_grad()
    learner.eval()
    hits = []
    with torch.no_grad():
        for number in range(1000, 1006):
            told = learner.predict(prepare(learner.tasks, planted(number, plant)))
            hits.append(task.score(told.answers[task.name], told.asked[task.name])[:, 0])
    chance = 1 / task.classes
    return float(torch.cat(hits).mean()), (chance * (1 - chance) / (6 * BATCH)) ** 0.5


def planted(number: int, plant: Callable[[Tensor], Tensor], count: int = BATCH) -> Batch:
    seed = torch.randint(2**31, (count,), generator=torch.Generator().manual_seed(number))
    image = plant(noise(number, count)).round().byte()[:, None]
    return {"image": image, "seed": seed, "domain": torch.zeros(count, dtype=torch.long)}


@dataclass(frozen=True)
class ContextInColour(ContextPrediction):
    """Context prediction with its guards off."""

    def patches(self, image: Tensor, draw: Draw) -> Tensor:
        return plain(image, draw)


@dataclass(frozen=True)
class JigsawUnlevelled(Jigsaw):
    """Jigsaw with its guards off."""

    def tiles(self, image: Tensor, draw: Draw) -> Tensor:
        return plain(image, draw)


def plain(image: Tensor, draw: Draw) -> Tensor:
    """Tiles as they are, in colour and not levelled."""
    side = tile_side(SIZE)
    return crop(image, cells(SIZE, GRID, side, draw), side)


# With their guards off, 20 steps of FEW samples are enough to find each cue.
FEW = 16
CASES = {
    "a lens's shift of colours tells context": (ContextPrediction(), ContextInColour(), chromatic),
    "brightness tells context": (ContextPrediction(), ContextInColour(), vignette),
    "brightness tells the order of tiles": (Jigsaw(orders=4), JigsawUnlevelled(orders=4), vignette),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_planted_cue_leads_nowhere_and_would_without_the_guard(case: str) -> None:
    guarded, open_to_it, plant = CASES[case]
    chance = 1 / guarded.classes
    found, error = accuracy(guarded, plant, 20, FEW)
    assert abs(found - chance) < 4 * error, "guarded"
    found, error = accuracy(open_to_it, plant, 20, FEW)
    assert found > chance + 10 * error, "with the guard off"


def test_noise_alone_tells_nothing() -> None:
    found, error = accuracy(ContextInColour(), nothing, 20, FEW)
    assert abs(found - 1 / 8) < 4 * error

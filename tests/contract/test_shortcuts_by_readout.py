"""What is planted in noise doesn't tell the order of frames by what tasks show. Run by `make test-shortcuts`.

Nothing is trained: a closed-form readout looks for the planted cue itself, in the very views that the net is
given. Of each view it knows the brightness, the contrast and the sharpness, and it is the same readout that must
find the cue where the guards are off. Tasks that see no pictures (`arrow_of_time`), or compare places of one frame
(`ranking`, `transitive`), have nothing of the kind to be told by.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.reach import own
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Task
from freelabels.train.tasks.contract.views import grey
from freelabels.train.tasks.tasks import tasks

pytestmark = pytest.mark.shortcut

SIZE, CLIPS = 32, 800
PENALTY = 1.0
BEYOND = 4.0  # standard errors of a guess


@cache
def noise(frames: int) -> Tensor:
    """Clips (CLIPS, frames, 3, SIZE, SIZE), 0 … 255: every frame other noise, the channels are the same."""
    g = torch.Generator().manual_seed(frames)
    grain = torch.randn(CLIPS * frames, 1, SIZE, SIZE, generator=g)
    soft = 128 + 60 * F.avg_pool2d(grain, 3, 1, 1)
    return soft.view(CLIPS, frames, 1, SIZE, SIZE).expand(-1, -1, 3, -1, -1)


def light(clip: Tensor) -> Tensor:
    """It gets lighter from a frame to the next."""
    return clip * torch.linspace(0.7, 1.3, clip.shape[1])[None, :, None, None, None]


def pulse(clip: Tensor) -> Tensor:
    """A key frame is sharp, and each one after it is a little softer, as in a compressed video."""
    flat = clip.flatten(0, 1)
    soft = F.avg_pool2d(flat, 3, 1, 1, count_include_pad=False).view_as(clip)
    return clip + torch.linspace(0, 0.5, clip.shape[1])[None, :, None, None, None] * (soft - clip)


def nothing(clip: Tensor) -> Tensor:
    return clip


PLANTS: dict[str, Callable[[Tensor], Tensor]] = {"light": light, "pulse": pulse, "nothing": nothing}
CHOICES = ("shuffle_learn", "opn", "o3n", "lstm_permute", "video_jigsaw", "cubic_puzzles")
SEQUENCES = ("order_policy", "temporal_coherence")  # what they see is in the order of time


def statistics(views: Tensor) -> Tensor:
    """(N, views, 3) mean, spread and sharpness of planes (N, views, h, w)."""
    mean, spread = views.mean((2, 3)), views.std((2, 3))
    fine = sum(views.diff(dim=dim).square().mean((2, 3)) for dim in (2, 3))
    return torch.stack([mean, spread, (fine + 1e-6).log() - 2 * (spread + 1e-3).log()], 2)


def planes(asked: Asked) -> Tensor:
    """What the net is given of each view as planes (N, views, h, w): images' channels, clips' mean frames."""
    if asked.images is not None:
        alike = bool((asked.images[:2, :, 0] == asked.images[:2, :, 1]).all())
        return (asked.images[:, :, 0] if alike else asked.images.flatten(1, 2)).float()
    assert asked.clips is not None
    return asked.clips[:, :, :, 0].float().mean(2)


def readout(views: Tensor, target: Tensor, classes: int) -> float:
    """Accuracy, on the second half, of least squares on the first half from the statistic that tells most there.

    From each view's value, its square, and each pair's difference, its size and its sign.
    """
    truth = F.one_hot(target, classes).double()
    told = statistics(views).double()
    one, other = torch.triu_indices(told.shape[1], told.shape[1], 1)
    best, found = -1.0, 0.0
    half = len(target) // 2
    for f in told.unbind(2):
        f = (f - f.mean()) / f.std().clamp_min(1e-9)
        gap = f[:, one] - f[:, other]
        x = torch.cat([f, f.square(), gap.abs(), gap.sign()], 1)
        x = torch.cat([(x - x.mean(0)) / x.std(0).clamp_min(1e-9), torch.ones(len(x), 1)], 1)
        a, b = x[:half], truth[:half]
        weight = torch.linalg.solve(a.T @ a + PENALTY * half / 100 * torch.eye(a.shape[1]).double(), a.T @ b)
        hits = ((x @ weight).argmax(1) == target).double()
        if hits[:half].mean() > best:
            best, found = float(hits[:half].mean()), float(hits[half:].mean())
    return found


def shown(task: Task, plant: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, int]:
    """Planes, what they are asked for, and among how many answers."""
    reach = task.needs.reach
    assert reach is not None
    clip = plant(noise(reach.frames)).round().clamp(0, 255).byte()
    seed = torch.arange(CLIPS)
    batch = {
        "image": clip[:, :1],
        f"{reach.key}image": clip,
        f"{reach.key}serves": torch.ones(CLIPS),
        "seed": seed,
    }
    asked = task.ask(own(batch, reach), Draw(seed, task.name))
    views = planes(asked)
    if task.name in SEQUENCES:
        turned = seed * 7919 % 2
        return torch.where(turned[:, None, None, None].bool(), views.flip(1), views), turned, 2
    return views, asked.target, int(asked.target.max()) + 1


@pytest.mark.parametrize("plant", list(PLANTS))
@pytest.mark.parametrize("name", [*CHOICES, *SEQUENCES])
def test_a_planted_cue_tells_nothing(name: str, plant: str) -> None:
    views, target, classes = shown(tasks()[name], PLANTS[plant])
    most = float(torch.bincount(target).max()) / len(target)
    error = (most * (1 - most) / (CLIPS / 2)) ** 0.5
    found = readout(views, target, classes)
    assert found < most + BEYOND * error, f"{found:.3f} of {most:.3f}"


@pytest.mark.parametrize("plant", ["light", "pulse"])
def test_the_readout_finds_it_where_the_guards_are_off(plant: str) -> None:
    clip = grey(PLANTS[plant](noise(4)))[:, :, 0]
    target = torch.arange(CLIPS) * 7919 % 2
    views = torch.where(target[:, None, None, None].bool(), clip.flip(1), clip)
    assert readout(views, target, 2) > 0.95

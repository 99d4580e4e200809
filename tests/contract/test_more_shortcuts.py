"""More planted cues; a guard is taken off by taking it out of its module."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.space import arbitrary_jigsaw, damaged_jigsaw, deep_perm_net, improve_context
from tests.contract.test_shortcuts import BATCH, accuracy, chromatic, plain, vignette

pytestmark = pytest.mark.shortcut


def same(views: Tensor) -> Tensor:
    return views


# The task, what is planted, steps, its module, and what stands there with the guard off, by name.
CASES: dict[str, tuple[Task, object, int, ModuleType, dict[str, object]]] = {
    "brightness tells deep_perm_net": (
        deep_perm_net.DeepPermNet(puzzles=4),
        vignette,
        15,
        deep_perm_net,
        {"tiles": plain},
    ),
    "brightness tells arbitrary_jigsaw": (
        arbitrary_jigsaw.ArbitraryJigsaw(rounds=1),
        vignette,
        15,
        arbitrary_jigsaw,
        {"tiles": lambda image, draw, across: plain(image, draw)},
    ),
    "brightness tells damaged_jigsaw": (
        damaged_jigsaw.DamagedJigsaw(orders=4),
        vignette,
        15,
        damaged_jigsaw,
        {"level": same},
    ),
    "a lens's shift of colours tells improve_context": (
        improve_context.ImproveContext(),
        chromatic,
        20,
        improve_context,
        {"in_mean_colour": lambda views, draw: views},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", list(CASES))
def test_a_planted_cue_leads_nowhere_and_would_without_the_guard(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, plant, steps, module, off = CASES[case]
    chance = 1 / task.classes
    error = (chance * (1 - chance) / (6 * BATCH)) ** 0.5
    found, _ = accuracy(task, plant, steps)  # type: ignore[arg-type]
    assert abs(found - chance) < 4 * error, "guarded"
    for name, open_to_it in off.items():
        monkeypatch.setattr(module, name, open_to_it)
    found, _ = accuracy(task, plant, steps)  # type: ignore[arg-type]
    assert found > chance + 5 * error, "with the guard off"

"""Each task's own mix of the trunk's stages, and a trunk that sees brightness alone."""

from dataclasses import replace

import pytest
import torch

from freelabels.testing.task_samples import CONFIG, sample_batch
from freelabels.train.config import ModelConfig
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.tasks import tasks

NAMES = ("rotation", "masked")
LASSO = 0.1
BATCH = sample_batch(tasks()["masked"])


def made(**model: object) -> Learner:
    torch.manual_seed(0)
    config = replace(CONFIG, model=replace(CONFIG.model, **model))  # type: ignore[arg-type]
    chosen: dict[str, Task] = {name: tasks()[name] for name in NAMES}
    return Learner(chosen, config)


def whole(learner: Learner) -> float:
    inputs = prepare(learner.tasks, BATCH)
    return float(learner(inputs, inputs.counts()).detach())


def test_every_task_learns_shares_of_its_own_and_the_lasso_is_their_length() -> None:
    learner = made(mix=LASSO)
    inputs = prepare(learner.tasks, BATCH)
    backward(learner, learner, [inputs])
    gradients = [learner.mix.share[name].grad for name in NAMES]
    assert all(g is not None and bool((g != 0).all()) for g in gradients)
    assert not torch.equal(*gradients)
    objective = whole(learner)
    assert objective == pytest.approx(float(learner.losses.sum()) + LASSO * len(NAMES), rel=1e-5)
    with torch.no_grad():
        learner.mix.share["rotation"].mul_(-2)
    assert float(learner.mix.lasso()) == pytest.approx(len(NAMES) + 1)
    assert sum(map(float, learner.mix.shares()["rotation"].values())) == pytest.approx(1)


def test_a_task_is_blind_to_a_stage_that_it_has_no_share_of() -> None:
    learner = made(mix=LASSO).eval()
    share = learner.mix.share["rotation"]
    with torch.no_grad():
        share.copy_(torch.tensor([0.0, 0, 0, 1]))
    before = learner.predict(prepare(learner.tasks, BATCH)).answers
    with torch.no_grad():
        for layer in (learner.mix.deep[0], learner.mix.maps[0]):
            layer.weight.zero_()  # type: ignore[operator]
    after = learner.predict(prepare(learner.tasks, BATCH)).answers
    assert torch.equal(before["rotation"], after["rotation"])
    assert not torch.equal(before["masked"], after["masked"])


def test_a_split_batch_gives_the_same_gradient() -> None:
    parts = [{n: t[:2] for n, t in BATCH.items()}, {n: t[2:] for n, t in BATCH.items()}]
    found = []
    for batches in ([BATCH], parts):
        learner = made(mix=LASSO)
        backward(learner, learner, [prepare(learner.tasks, part) for part in batches])
        found.append(torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_without_it_nothing_is_added() -> None:
    assert ModelConfig().mix == 0
    assert not any("mix" in name for name in made().state_dict())


@pytest.mark.parametrize("grey", [True, False])
def test_a_grey_trunk_sees_brightness_alone(grey: bool) -> None:
    learner = made(grey=grey).eval()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    luma = (BATCH["image"].float() * weights).sum(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    answers = [
        learner.predict(prepare(learner.tasks, {**BATCH, "image": image})).answers["rotation"]
        for image in (BATCH["image"], luma)
    ]
    assert torch.allclose(*answers, atol=1e-4) == grey

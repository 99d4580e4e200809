"""Losses as mathematics: minimum, invariances, weights, and how they split."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.config import RobustConfig
from freelabels.train.tasks import losses, metrics
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.labelled import Labelled, loss
from freelabels.train.tasks.tasks import choose, parameters, tasks

N, H, W = 3, 12, 16
DENSE = [t for t in tasks().values() if isinstance(t, Labelled) and not t.whole]


def labelled(name: str) -> Labelled:
    task = tasks()[name]
    assert isinstance(task, Labelled)
    return task


def problem(task: Labelled, seed: int = 0, size: tuple[int, int] = (H, W)) -> tuple[Tensor, Tensor, Tensor]:
    """A random prediction, target and weight of a task."""
    g = torch.Generator().manual_seed(seed)
    channels = task.channels or 5
    prediction = torch.randn(N, channels, *size, generator=g)
    if task.channels is None:
        target = torch.randint(0, channels, (N, 1, *size), generator=g).float()
    elif task.value is torch.sigmoid and channels == 1:
        target = (torch.rand(N, 1, *size, generator=g) > 0.7).float()
    elif task.name == "normals":
        target = F.normalize(torch.randn(N, 3, *size, generator=g), dim=1)
    else:
        target = torch.rand(N, channels, *size, generator=g) + 0.5
    weight = torch.rand(N, *size, generator=g) * (torch.rand(N, *size, generator=g) > 0.3)
    return prediction.requires_grad_(), target, weight


@pytest.mark.parametrize("choice", ["confidence", "plain", "generalised", "trimmed", "bootstrap"])
@pytest.mark.parametrize("task", DENSE, ids=lambda t: t.name)
def test_without_labels_the_loss_is_zero_and_has_a_gradient(task: Labelled, choice: str) -> None:
    prediction, target, weight = problem(task)
    teacher = target.clone()
    total = loss(task, RobustConfig(choice), prediction, torch.zeros_like(target), weight * 0, teacher)
    total.backward()
    assert total == 0
    assert prediction.grad is not None and (prediction.grad == 0).all()


@pytest.mark.parametrize("task", DENSE, ids=lambda t: t.name)
def test_the_sum_over_frames_is_the_sum_of_the_parts(task: Labelled) -> None:
    prediction, target, weight = (x.detach() for x in problem(task))
    whole = loss(task, RobustConfig(), prediction, target, weight)
    parts = sum(
        loss(task, RobustConfig(), prediction[n : n + 1], target[n : n + 1], weight[n : n + 1])
        for n in range(N)
    )
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("task", DENSE, ids=lambda t: t.name)
def test_pixels_without_a_label_have_no_say(task: Labelled) -> None:
    prediction, target, weight = (x.detach() for x in problem(task))
    hidden = (weight == 0)[:, None]
    changed = torch.where(hidden, 3.7, prediction)
    torch.testing.assert_close(
        loss(task, RobustConfig(), prediction, target, weight),
        loss(task, RobustConfig(), changed, target, weight),
    )


@pytest.mark.parametrize("name", ["disparity", "depth", "normals", "flow", "object_coordinates"])
def test_the_truth_is_a_minimum_of_zero(name: str) -> None:
    task = labelled(name)
    _, target, weight = problem(task)
    target = target.clamp(0.01, 0.99) if name == "object_coordinates" else target
    truth = {"depth": target.log(), "object_coordinates": torch.logit(target)}.get(name, target)
    at_truth = float(loss(task, RobustConfig(), truth, target, weight))
    if name != "disparity":  # whose ranking asks for more the surer it is
        assert abs(at_truth) < 1e-2
    noise = 0.3 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    assert at_truth < float(loss(task, RobustConfig(), truth + noise, target, weight))


def test_disparity_does_not_care_for_scale_and_shift() -> None:
    prediction, target, weight = (x.detach() for x in problem(labelled("disparity")))
    once = losses.scale_shift_invariant(prediction, target, weight)
    torch.testing.assert_close(losses.scale_shift_invariant(3 * prediction - 7, target, weight), once)
    torch.testing.assert_close(
        losses.scale_shift_invariant(prediction, 0.2 * target + 5, weight), once, atol=1e-4, rtol=1e-3
    )
    aligned = losses.align(target * 4 - 2, target, weight)
    torch.testing.assert_close(
        aligned * (weight > 0)[:, None], target * (weight > 0)[:, None], atol=1e-4, rtol=1e-4
    )
    upside_down = losses.align(-target, target, weight)
    assert upside_down.flatten(1).std(1).max() < 1e-5  # a negative scale isn't granted: flat


def test_ranking_asks_for_the_order_only() -> None:
    _, target, weight = problem(labelled("disparity"))
    right = losses.ranking(target * 100, target, weight)
    warped = losses.ranking((target**3) * 100, target, weight)
    wrong = losses.ranking(-target * 100, target, weight)
    assert right < wrong / 100 and warped < wrong / 100


def test_scale_invariant_log_forgives_one_factor_by_its_share() -> None:
    _, target, weight = problem(labelled("depth"))
    off = target.log() + 0.3
    count = weight.sum()
    for share in (0.0, 0.5, 1.0):
        got = losses.scale_invariant_log(off, target, weight, share)
        torch.testing.assert_close(got, (1 - share) * 0.09 * count, atol=1e-4, rtol=1e-4)


def test_gradient_match_sees_steps_and_no_shift() -> None:
    flat = torch.zeros(1, 1, 8, 8)
    step = flat.clone()
    step[..., 4:] = 1
    weight = torch.ones(1, 8, 8)
    assert losses.gradient_match(flat + 5, flat, weight) == 0
    assert losses.gradient_match(step, flat, weight, scales=1) == 8
    weight[..., 4] = 0  # no neighbours on both sides of the step that have a label
    assert losses.gradient_match(step, flat, weight, scales=1) == 0


def test_angles_are_right_also_where_their_cosine_has_no_slope() -> None:
    a = torch.tensor([0.0, 0.5, math.pi / 2, 3.0, math.pi])
    prediction = torch.stack([a.cos(), a.sin(), 0 * a])[None, :, None].requires_grad_()
    target = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 5)
    got = losses.angular(prediction, target, torch.ones(1, 1, 5))
    torch.testing.assert_close(got[0, 0], a, atol=1e-5, rtol=1e-5)
    got.sum().backward()
    assert torch.isfinite(prediction.grad).all()


def test_class_balance_gives_both_classes_the_same_weight() -> None:
    target = torch.zeros(1, 1, 20, 20)
    target[..., :2] = 1  # a tenth
    weight = torch.ones(1, 20, 20)
    balanced = losses.class_balance(target, weight)
    torch.testing.assert_close((balanced * target[:, 0]).sum(), (balanced * (1 - target[:, 0])).sum())
    limited = losses.class_balance(target, weight, limit=3)
    assert limited.max() == 3


def test_generalised_cross_entropy_lies_between_its_limits() -> None:
    logits, target = torch.linspace(-4, 4, 9).view(1, 1, 1, 9), torch.ones(1, 1, 1, 9)
    weight = torch.ones(1, 1, 9)
    near_ce = losses.binary_generalised(logits, target, weight, q=1e-3)
    torch.testing.assert_close(near_ce, losses.binary(logits, target, weight), atol=1e-2, rtol=1e-2)
    mae = losses.binary_generalised(logits, target, weight, q=1.0)
    torch.testing.assert_close(mae, 1 - torch.sigmoid(logits)[:, 0])
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(
        losses.categorical_generalised(two, target, weight), losses.binary_generalised(logits, target, weight)
    )


def test_trimming_drops_the_worst_of_each_class() -> None:
    residual = torch.arange(10.0).view(1, 1, 10)
    group = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]).view(1, 1, 10)
    weight = torch.ones(1, 1, 10)
    weight[..., 4] = 0
    kept = losses.trim(residual, weight, group, 0.25)
    assert kept.flatten().tolist() == [1, 1, 1, 0, 0, 1, 1, 1, 1, 0]


def test_bootstrap_follows_the_teacher_as_far_as_it_may() -> None:
    task = labelled("motion")
    prediction, target, weight = (x.detach() for x in problem(task))
    config = RobustConfig("bootstrap", trust=0.6)
    mixed = loss(task, config, prediction, target, weight, teacher=1 - target)
    ours, theirs = (loss(task, RobustConfig(), prediction, t, weight) for t in (target, 1 - target))
    torch.testing.assert_close(mixed, 0.6 * ours + 0.4 * theirs)


def test_confidence_weighs_and_plain_does_not() -> None:
    task = labelled("flow")
    prediction, target, weight = (x.detach() for x in problem(task))
    half = loss(task, RobustConfig(), prediction, target, weight / 2)
    torch.testing.assert_close(2 * half, loss(task, RobustConfig(), prediction, target, weight))
    plain = RobustConfig("plain")
    torch.testing.assert_close(
        loss(task, plain, prediction, target, weight / 2), loss(task, plain, prediction, target, weight)
    )


def test_choosing_tasks_says_what_is_wrong() -> None:
    assert list(choose((), {"edges", "depth"}.__contains__, {}, 1)) == ["edges", "depth"]
    for wanted, sentence in (
        (("edgs",), "did you mean 'edges'"),
        (("normals",), "needs the field normals"),
        (("flow",), "--loader.frames 2"),
        (("semantic",), "no table of names"),
    ):
        with pytest.raises(UserError, match=sentence):
            choose(wanted, {"edges", "flow", "semantic"}.__contains__, {}, 1)
    with pytest.raises(UserError, match="no shard holds a label"):
        choose((), set().__contains__, {}, 1)
    chosen = choose(("semantic",), {"semantic"}.__contains__, {"semantic": ("a", "b")}, 1)["semantic"]
    assert isinstance(chosen, Labelled) and chosen.channels == 2


def test_parameters_of_tasks_are_set_by_name_or_refused_in_a_sentence() -> None:
    def chosen(*settings: str) -> Task:
        return choose(("rotation", "edges"), {"edges"}.__contains__, {}, 1, settings)["rotation"]

    assert parameters(chosen()) == {"views": 1}
    assert parameters(chosen("rotation.views=4")) == {"views": 4}
    for setting, sentence in (
        ("rotation=4", "--set is NAME.PARAMETER=VALUE, not 'rotation=4'"),
        ("jigsaw.orders=3", "--set jigsaw.orders=3: jigsaw is not among the tasks rotation, edges"),
        ("rotation.view=4", "rotation has no 'view': did you mean 'views'"),
        ("rotation.views=x", "--set rotation.views=x: want int, such as 1"),
        ("rotation.views=3", "--set rotation.views=3: views is 1 or 4"),
        ("edges.pair=1", "edges has no 'pair': it has no parameters"),
    ):
        with pytest.raises(UserError, match=re.escape(sentence)):
            chosen(setting)


def test_a_run_of_the_first_form_goes_on_with_what_its_names_meant_then() -> None:
    former = choose(("rotation",), set().__contains__, {}, 1, form=1)
    assert former == {"rotation": tasks()["rotation_maps"]}
    assert choose(("rotation",), set().__contains__, {}, 1) == {"rotation": tasks()["rotation"]}


def test_labels_without_a_positive_tell_nothing() -> None:
    target, weight = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]), torch.ones(1, 4)
    assert metrics.AVERAGE_PRECISION.constant(target, weight) == 0.25
    assert math.isnan(metrics.AVERAGE_PRECISION.constant(torch.zeros(1, 1, 4), weight))

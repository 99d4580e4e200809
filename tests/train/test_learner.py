"""A batch in, a scalar out: what the adversary is shown, in which format heads run, what a border tells."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from torch import Tensor

from freelabels.generators.contract.pictures import UNKNOWN
from freelabels.train.config import AdversaryConfig, LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.objective.rates import groups
from freelabels.train.run.evaluate import draw
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.tasks import tasks

SIZE, WINDOWS, LENGTH = 32, 4, 2
CONFIG = TrainConfig(
    loader=LoaderConfig(size=SIZE, frames=LENGTH),
    # No batch norm in the trunk for frames: a stream doesn't depend on the others.
    model=ModelConfig("test_convnext2", width=16, clip_share=1 / 8),
    adversary=AdversaryConfig("reversal", weight=1.0),
)


def batch(length: int = LENGTH) -> Batch:
    g = torch.Generator().manual_seed(0)
    shape = (WINDOWS, length)
    image = torch.randint(0, 256, (*shape, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    fields: Batch = {"image": image, "domain": torch.tensor([0, 1, 1, 0]), "seed": torch.arange(WINDOWS) + 1}
    for name, values in (("edges", 1), ("depth", 1)):
        fields[name] = torch.rand(*shape, values, SIZE, SIZE, generator=g) + 0.1
        fields[f"{name}_weight"] = torch.ones(*shape, SIZE, SIZE)
    return fields


def learner(names: Sequence[str], config: TrainConfig = CONFIG) -> Learner:
    torch.manual_seed(0)
    made = Learner({name: tasks()[name] for name in names}, config)
    made.adversary.advance(1.0)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [("edges", "rotation"), ("rotation", "edges"), ("jigsaw_whole", "rotation", "edges"), ("rotation",)],
)
def test_the_adversary_is_shown_the_frames_whatever_the_order_of_tasks(names: tuple[str, ...]) -> None:
    made = learner(names)
    shown: list[tuple[Tensor, Tensor]] = []
    made.adversary.register_forward_hook(lambda _, args, out: shown.append((args[0][-1], args[2])))
    inputs = prepare(made.tasks, batch())
    made(inputs, inputs.counts())
    [(stage, domain)] = shown
    with torch.no_grad():
        wanted = made.model.features(batch()["image"].flatten(0, 1)).stages[-1]
    torch.testing.assert_close(stage, wanted, rtol=1e-4, atol=1e-4)
    assert domain.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_frames_that_nobody_looks_at_cost_nothing() -> None:
    made = learner(("rotation",), replace(CONFIG, adversary=AdversaryConfig()))
    seen: list[int] = []
    made.model.backbone.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    inputs = prepare(made.tasks, batch())
    made(inputs, inputs.counts()).backward()
    assert seen == [WINDOWS]


@pytest.mark.slow
def test_images_of_one_size_go_through_the_trunk_in_one_call_whoever_asked_for_them() -> None:
    """Frames of 32 px, a view a window for rotation; nine tiles each for jigsaw and context, enlarged to 32 px."""
    made = learner(
        ("edges", "jigsaw", "rotation", "context", "dcgan"), replace(CONFIG, adversary=AdversaryConfig())
    )
    seen: list[tuple[int, ...]] = []
    made.model.backbone.register_forward_hook(lambda _, args, out: seen.append(tuple(args[0].shape)))
    inputs = prepare(made.tasks, batch())
    made(inputs, inputs.counts()).backward()
    live = WINDOWS * (LENGTH + 9 + 1 + 9 + 2)
    assert seen == [
        (live, 3, 32, 32),
        (2 * WINDOWS, 3, 32, 32),
    ]  # the second with weights held, for the generator


def test_a_generator_learns_through_the_trunk_that_learns_nothing_from_it() -> None:
    made = learner(("dcgan",), replace(CONFIG, adversary=AdversaryConfig()))
    inputs = prepare(made.tasks, batch())
    told = made.predict(inputs)
    maker = told.answers["dcgan"][2].sum()
    maker.backward()
    with_gradient = {name for name, p in made.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert with_gradient and all(name.startswith("model.heads.dcgan.generator.") for name in with_gradient)
    made.zero_grad()
    made.predict(inputs).answers["dcgan"][1].sum().backward()
    with_gradient = {name for name, p in made.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert "model.heads.dcgan.judge.weight" in with_gradient
    assert not any(name.startswith("model.heads.dcgan.generator.") for name in with_gradient)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "others", "trunk"),
    [
        *(
            (n, ("edges", "depth"), "backbone")
            for n in ("gan", "dcgan", "wgan", "self_gan", "bigan", "moco_gan")
        ),
        *((n, ("rotation_3d",), "clips") for n in ("video_gan", "moco_gan", "temporal_gan")),
    ],
)
def test_a_judge_of_a_generator_pulls_at_the_trunk_less_than_other_tasks_do(
    name: str, others: tuple[str, ...], trunk: str
) -> None:
    """Before the first step, where all pull most: wgan, were it to count whole, 2.5 times as much as they."""
    made = learner((*others, name), replace(CONFIG, adversary=AdversaryConfig()))
    frames = max(LENGTH, *(task.needs.frames for task in made.tasks.values()))
    inputs, losses = prepare(made.tasks, batch(frames)), list[Tensor]()
    made.balance.register_forward_pre_hook(lambda _, args: losses.extend(args[0]))
    made(inputs, inputs.counts())
    weights = list(getattr(made.model, trunk).parameters())
    pulls = [
        torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        for loss in (torch.stack(losses[:-1]).sum(), losses[-1])
    ]
    theirs, judge = (torch.cat([pull.flatten() for pull in each]).norm() for each in pulls)
    assert 0 < judge < theirs


@pytest.mark.parametrize("beside", [(), ("edges",)])
@pytest.mark.parametrize(("name", "share"), [("gan", 0.3), ("dcgan", 1.0), ("wgan", 0.05), ("self_gan", 1.0)])
def test_a_judge_counts_whole_where_it_is_alone(name: str, share: float, beside: tuple[str, ...]) -> None:
    found = []
    for whole in (False, True):
        made = learner((*beside, name), replace(CONFIG, adversary=AdversaryConfig()))
        if whole:
            made.tasks[name] = replace(made.tasks[name], among=1.0)  # type: ignore[type-var]
        inputs = prepare(made.tasks, batch())
        objective = made(inputs, inputs.counts())
        found.append((made.losses[-1], objective.detach()))
    counts = share if beside else 1.0
    assert float(found[0][0]) == pytest.approx(counts * float(found[1][0]), rel=1e-5)
    assert torch.equal(found[0][1], found[1][1]) == (counts == 1.0)


def test_a_generator_learns_at_a_rate_of_its_own() -> None:
    made = learner(("edges", "dcgan"), replace(CONFIG, adversary=AdversaryConfig()))
    some = groups(made, 0.05)
    assert sorted(id(p) for group in some for p in group["params"]) == sorted(
        id(p) for p in made.parameters()
    )
    generator = {id(p) for p in made.model.heads["dcgan"].generator.parameters()}
    for group in some:
        mine = {id(p) in generator for p in group["params"]}
        assert mine == {"lr_scale" in group}
        assert not mine.issubset({True}) or (group["lr_scale"], group["betas"]) == (0.15, (0.0, 0.99))
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    optimizer = torch.optim.AdamW(some, lr=1e-3)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=10, warmup_epochs=2)
    for step in range(10):
        scheduler.step(step)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates[-1] == pytest.approx(0.15 * rates[0])


def test_tasks_without_rates_of_their_own_leave_the_optimiser_as_it_was() -> None:
    made = learner(("edges", "rotation"))
    ours, plain = groups(made, 0.05), param_groups_weight_decay(made, 0.05)
    assert [{**group, "params": list(map(id, group["params"]))} for group in ours] == [
        {**group, "params": list(map(id, group["params"]))} for group in plain
    ]


@pytest.mark.parametrize("names", [("edges", "depth"), ("rotation", "depth")])
def test_heads_answer_in_float32_whatever_the_trunk_runs_in(names: tuple[str, ...]) -> None:
    made = learner(names)
    made.precision = torch.bfloat16
    trunk: list[Tensor] = []
    made.model.pyramid.smooth[0].register_forward_hook(lambda _, args, out: trunk.append(out))
    inputs = prepare(made.tasks, batch())
    with torch.no_grad():
        outputs = made.predict(inputs).answers
    assert trunk[0].dtype is torch.bfloat16
    for name, output in outputs.items():
        rounded = output.bfloat16().float()
        assert output.dtype is torch.float32, name
        assert (output != rounded).float().mean() > 0.9, name  # answers lie between bfloat16's numbers
    objective = made(inputs, inputs.counts())
    assert objective.dtype is made.losses.dtype is torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reversal", "multilevel", "cdan", "ridge", "coral", "mmd", "lsgan"])
def test_the_adversary_counts_once_however_many_parts_a_step_has(name: str) -> None:
    gradients = []
    for parts in (1, 3):
        made = learner(("edges", "depth"), replace(CONFIG, adversary=AdversaryConfig(name, weight=1.0)))
        made.adversary._remember = lambda *_: None  # type: ignore[assignment]  # no part sees those before
        _, adversarial = backward(made, made, [prepare(made.tasks, batch())] * parts)
        found = {n: p.grad for n, p in made.named_parameters() if p.grad is not None}
        gradients.append({"adversarial": adversarial, **found})
    assert gradients[0]["adversarial"].abs() > 0
    for key, gradient in gradients[0].items():
        assert (gradients[1][key] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-6, key


def test_where_an_object_is_cut_off_there_is_no_contour() -> None:
    ids = torch.zeros(1, 1, 1, 6, 6)
    ids[..., 1:4, 1:3] = 7
    weight = torch.ones(1, 1, 6, 6)
    weight[..., 3:, :] = 0  # what a rotated view sees outside of the frame; ids read 0 there
    ids[..., 3:, :] = 0
    ids[..., :3, 5] = 8  # cut off by the border of the view as well
    asked = tasks()["contours"].ask({"instance": ids, "instance_weight": weight}, Draw(torch.zeros(1), ""))
    target, told = asked.target, asked.weight
    wanted = torch.zeros(6, 6)
    wanted[0, 1:3] = wanted[1:3, 0] = wanted[1:3, 2] = wanted[:3, 4] = 1
    assert torch.equal(target[0, 0] * told[0], wanted)
    # Where the neighbour isn't seen, nothing is told, except that a contour which is seen on the other side is.
    known = torch.zeros(6, 6)
    known[:2, :5] = 1
    known[2, [0, 2, 4]] = 1
    assert torch.equal(told[0], known)


def test_pictures_of_training_have_titles_as_wide_as_what_stands_below() -> None:
    """DeepPermNet's picture is two images wide."""
    made, data = learner(["deep_perm_net"]), batch()
    assert draw(made, data, torch.device("cpu")).shape[1] == 3 * SIZE


def test_pictures_of_training_are_slate_where_there_is_no_label() -> None:
    """Also of probabilities, which have no value for it: black would say that there is no edge."""
    made, data = learner(["edges"]), batch()
    data["edges_weight"][..., : SIZE // 2, :] = 0
    sheet = draw(made, data, torch.device("cpu"))[-WINDOWS * SIZE :]
    label = sheet.reshape(WINDOWS, SIZE, 3, SIZE, 3)[:, :, 1]
    slate = (label == UNKNOWN).all(-1)
    assert slate[:, : SIZE // 2].all() and slate[:, SIZE // 2 :].mean() < 0.6

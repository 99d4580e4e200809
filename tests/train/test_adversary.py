"""Adversaries: what they do to gradients, statistics and images, and the probe that judges them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.config import AdversaryConfig
from freelabels.train.objective.adversaries.base import Adversary
from freelabels.train.objective.adversaries.fourier import swap_amplitudes
from freelabels.train.objective.adversaries.reversal import reverse
from freelabels.train.objective.adversary import ADVERSARIES, make_adversary
from freelabels.train.run.separability import domain_probe

CHANNELS = (4, 8)
WITH_JUDGE = ("reversal", "multilevel", "cdan", "lsgan")
MATCHING = ("coral", "mmd", "ridge")
DOMAIN = torch.tensor([0, 0, 0, 1, 1, 1])


def made(name: str, **config: float) -> Adversary:
    torch.manual_seed(0)
    made = make_adversary(AdversaryConfig(name, **config), CHANNELS, {"edges": 1})  # type: ignore[arg-type]
    made.advance(1.0)
    return made


def stages(gap: float = 1.0, grad: bool = True) -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    shift = gap * DOMAIN.view(-1, 1, 1, 1)
    return [
        (torch.randn(6, c, 8 // k, 8 // k, generator=g) + shift).requires_grad_(grad)
        for k, c in ((1, 4), (2, 8))
    ]


PREDICTIONS = {"edges": torch.zeros(6, 1, 32, 32)}


@pytest.mark.parametrize("name", WITH_JUDGE + MATCHING)
def test_a_step_of_the_trunk_brings_the_domains_closer(name: str) -> None:
    features = stages()
    loss = made(name, weight=1.0)(features, PREDICTIONS, DOMAIN)
    loss.backward()
    gradient = features[-1].grad
    assert gradient is not None and gradient.abs().sum() > 0
    if name in MATCHING:  # for a judge, closer means what it has learned so far
        gap = -gradient[DOMAIN == 1].sum() + gradient[DOMAIN == 0].sum()
        assert gap < 0


@pytest.mark.parametrize("name", ["reversal", "multilevel", "cdan"])
def test_reversal_turns_the_trunks_gradient_and_not_the_judges(name: str) -> None:
    full, half = made(name, weight=1.0), made(name, weight=0.5)
    one, two = stages(), stages()
    full(one, PREDICTIONS, DOMAIN).backward()
    half(two, PREDICTIONS, DOMAIN).backward()
    torch.testing.assert_close(one[-1].grad, 2 * two[-1].grad)
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        if a is not getattr(getattr(full, "narrow", None), "weight", None):
            torch.testing.assert_close(a.grad, b.grad)
    x = torch.ones(2, requires_grad=True)
    reverse(x, torch.tensor(3.0)).sum().backward()
    assert x.grad.tolist() == [-3, -3]


def test_multilevel_reaches_every_stage() -> None:
    features = stages()
    made("multilevel")(features, PREDICTIONS, DOMAIN).backward()
    assert all(f.grad is not None and f.grad.abs().sum() > 0 for f in features)


@pytest.mark.slow
def test_the_least_squares_judge_learns_and_the_trunk_cannot_move_it() -> None:
    judge = made("lsgan", weight=1.0, pool=64)
    solver = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(60):
        solver.zero_grad()
        judge(stages(2.0, grad=False), PREDICTIONS, DOMAIN).backward()
        solver.step()
    assert judge.seen == 1.0
    assert (judge.pooled_domain >= 0).float().mean() > 0.8  # the history fills
    trunk = stages(2.0)
    judge.zero_grad()
    judge.ramp.fill_(0)
    judge(trunk, PREDICTIONS, DOMAIN).backward()
    assert trunk[-1].grad is None or trunk[-1].grad.abs().sum() == 0


def test_the_trunks_loss_does_not_train_the_least_squares_judge() -> None:
    found = []
    for ramp in (0.0, 1.0):
        judge = made("lsgan", weight=10.0)
        judge.ramp.fill_(ramp)
        features = stages(2.0)
        judge(features, PREDICTIONS, DOMAIN).backward()
        trunk = features[-1].grad
        assert (trunk is not None and bool(trunk.abs().sum() > 0)) == (ramp > 0)
        norms = {name: b.clone() for name, b in judge.named_buffers() if "running" in name}
        found.append(({name: p.grad for name, p in judge.named_parameters()}, norms))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    # Seen twice, by the judge and by the trunk's loss, a batch counts once in the judge's statistics.
    mean = stages(2.0)[-1].detach().mean((0, 2, 3))
    torch.testing.assert_close(found[1][1]["judge.0.running_mean"], mean / 10)


def test_against_the_solved_judge_what_gives_the_domain_away_is_cancelled() -> None:
    # Two measurements of one shift: the domains look alike where the trunk takes their difference.
    g = torch.Generator().manual_seed(0)
    mixing = torch.zeros(1, requires_grad=True)
    solver = torch.optim.SGD([mixing], 0.03)
    judge = make_adversary(AdversaryConfig("ridge", weight=1.0, pool=32), (1,), {})
    judge.advance(1.0)

    def feature(count: int) -> tuple[Tensor, Tensor]:
        domain = torch.arange(count) % 2
        shifted = domain.view(-1, 1, 1, 1) + torch.randn(count, 2, 4, 4, generator=g) / 4
        return shifted[:, :1] - mixing * shifted[:, 1:], domain

    for _ in range(100):
        solver.zero_grad()
        x, domain = feature(16)
        judge([x], {}, domain).backward()
        solver.step()
    assert abs(mixing.item() - 1) < 0.1
    x, domain = feature(16)
    assert judge.eval()([x], {}, domain).item() < 0.2 and judge.written == 100 * 16


def test_matching_statistics_cost_nothing() -> None:
    same = torch.randn(3, 8, 4, 4)
    both = [torch.zeros(6, 4, 8, 8), torch.cat([same, same])]
    for name in MATCHING:
        assert abs(float(made(name)(both, PREDICTIONS, DOMAIN))) < 1e-6
        assert made(name)(stages(2.0), PREDICTIONS, DOMAIN) > made(name)(stages(0.5), PREDICTIONS, DOMAIN)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_batch_of_one_domain_is_harmless(name: str) -> None:
    features = stages()
    loss = made(name)(features, PREDICTIONS, torch.zeros(6, dtype=torch.long))
    assert torch.isfinite(loss)


def test_the_ramp_is_part_of_the_state() -> None:
    adversary = made("reversal")
    assert adversary.ramp > 0.99
    adversary.advance(0.0)
    assert adversary.ramp == 0
    adversary.advance(0.3)
    fresh = make_adversary(AdversaryConfig("reversal"), CHANNELS, {"edges": 1})
    fresh.load_state_dict(adversary.state_dict())
    assert fresh.ramp == adversary.ramp
    assert {"pool", "pooled_domain"} <= set(made("lsgan").state_dict())


def test_a_refiner_begins_with_the_render_and_tasks_do_not_train_it() -> None:
    refiner = made("refiner", width=16)
    images = torch.randint(0, 256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    shown = refiner.images(images, DOMAIN)
    assert torch.equal(shown, images.float()) and not shown.requires_grad


@pytest.mark.slow
def test_a_refiner_brings_renders_to_the_real_look_and_is_held_to_them() -> None:
    """Real frames are darker here; a pattern that only renders tell apart must stay."""
    found = {}
    for keep in (0.3, 100.0):
        refiner = made("refiner", width=16, weight=1.0, keep=keep)
        solver = torch.optim.Adam(refiner.parameters(), 3e-3)
        for step in range(80):
            images = frames(step)
            refiner.images(images, DOMAIN)
            refiner([torch.zeros(6, 1, 1, 1)], PREDICTIONS, DOMAIN).backward()
            solver.step()
            solver.zero_grad()
        images = frames(1000)
        shown = refiner.eval().images(images, DOMAIN)
        assert torch.equal(shown[:3], images[:3]) and torch.equal(shown, shown.round())
        found[keep] = float((shown - images)[3:].mean())
    assert found[0.3] < -20  # of the 60 that they differ by
    assert abs(found[100.0]) < 5


def frames(seed: int) -> Tensor:
    """Noise, renders 60 levels brighter."""
    grain = 20 * torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return (90 + 60 * DOMAIN.view(-1, 1, 1, 1) + grain).clamp(0, 255).round()


def test_fourier_gives_the_real_amplitude_and_keeps_the_phase() -> None:
    content, style = torch.rand(2, 3, 32, 32) * 255, torch.rand(2, 3, 32, 32) * 100
    swapped = swap_amplitudes(content, style, 0.04)
    a, b, c = (torch.fft.fft2(x) for x in (swapped, content, style))
    low = np.ix_([0, 1], [0, 1, 2], [0, 1, -1], [0, 1, -1])
    torch.testing.assert_close(a.abs()[low], c.abs()[low], rtol=1e-3, atol=1.0)
    torch.testing.assert_close(a[..., 5:10, 5:10], b[..., 5:10, 5:10], rtol=1e-3, atol=1.0)
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    shown = made("fourier").images(images, DOMAIN)
    assert torch.equal(shown[:3], images[:3].float()) and not torch.equal(shown[3:], images[3:].float())
    assert torch.equal(made("fourier").eval().images(images, DOMAIN), images)


def test_the_domain_probe_tells_what_is_there() -> None:
    g = torch.Generator().manual_seed(0)
    domain = torch.arange(400) % 2
    noise = torch.randn(400, 16, generator=g)
    told = noise + 3 * domain[:, None] * torch.eye(16)[0]
    assert domain_probe(told[:200], domain[:200], told[200:], domain[200:]) > 0.9
    assert abs(domain_probe(noise[:200], domain[:200], noise[200:], domain[200:]) - 0.5) < 0.12
    few = torch.cat([torch.arange(0, 400, 2), torch.arange(1, 40, 2)])  # ten to one
    assert domain_probe(told[few], domain[few], told[200:], domain[200:]) > 0.85


def test_bad_names_are_said_in_a_sentence() -> None:
    with pytest.raises(UserError, match="did you mean 'reversal'"):
        make_adversary(AdversaryConfig("revresal"), CHANNELS, {})
    with pytest.raises(UserError, match="2 stages"):
        make_adversary(AdversaryConfig("reversal", stage=5), CHANNELS, {})

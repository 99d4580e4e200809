"""Domain adversaries: what is added to the tasks so that features of real and synthetic images look alike.

One interface: `Adversary.images` may change the batch's images, `Adversary.forward` gives one scalar loss that is
added to the tasks' and minimised by the same optimiser. Each kind is one class, chosen by name in `ADVERSARIES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.config import AdversaryConfig
from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.tasks.losses import EPSILON


class Reverse(torch.autograd.Function):
    """Identity forward, gradient times −`factor` backward. Ganin and Lempitsky, 2015."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        """`x` itself."""
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient turned round."""
        (factor,) = ctx.saved_tensors
        return -factor * gradient, None


def reverse(x: Tensor, factor: Tensor) -> Tensor:
    """Reverse the gradient through `x`."""
    return cast(Tensor, Reverse.apply(x, factor))


def discriminator(channels: int, width: int) -> nn.Sequential:
    """Patch discriminator: feature map (N, C, h, w) → a logit per place (N, 1, h, w); positive = synthetic.

    It sees every channel at unit spread, so that the domain can't hide in channels that vary little.
    """
    return nn.Sequential(
        nn.BatchNorm2d(channels, affine=False),
        nn.Conv2d(channels, width, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 1, 1),
    )


def labels_like(logits: Tensor, domain: Tensor) -> Tensor:
    """The domain (N,) spread over the places of `logits` (N, 1, h, w)."""
    return domain.to(logits.dtype).view(-1, 1, 1, 1).expand_as(logits)


def balanced(values: Tensor, domain: Tensor) -> Tensor:
    """Mean over (N, …) in which both domains count the same; of one domain alone, its half."""
    per_image = values.flatten(1).mean(1)
    synthetic = (domain == SYNTHETIC).to(per_image.dtype)
    means = [(per_image * side).sum() / side.sum().clamp_min(1) for side in (synthetic, 1 - synthetic)]
    return (means[0] + means[1]) / 2


def accuracy(logits: Tensor, domain: Tensor) -> Tensor:
    """How often the sign tells the domain, both domains counting the same."""
    return balanced(((logits > 0) == (labels_like(logits, domain) > 0.5)).float(), domain)


class Adversary(nn.Module):
    """The base, which does nothing: the adversary called none.

    ramp: how far the adversary is turned up, 0 … 1; a buffer, so that a resumed run goes on with it.
    `seen` holds the domain accuracy of the last forward, where there is a discriminator.
    """

    ramp: Tensor
    needs_both_domains = True

    def __init__(self, config: AdversaryConfig, channels: Sequence[int], outputs: Mapping[str, int]):
        super().__init__()
        self.config = config
        self.register_buffer("ramp", torch.zeros(()))
        self.seen: Tensor | None = None
        self.build(channels, outputs)

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """Make the modules; channels: of the backbone's maps; outputs: channels of the dense predictions."""

    def advance(self, progress: float) -> None:
        """Turn the ramp up for `progress` (0 … 1) of training. Ganin et al., 2016, section 5.2."""
        self.ramp.fill_(2 / (1 + math.exp(-10 * progress)) - 1)

    def images(self, image: Tensor, domain: Tensor) -> Tensor:
        """The images (N, 3, H, W), 0 … 255, that the network is shown."""
        return image

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """The adversary's loss; domain (N,) 0 real, 1 synthetic."""
        return stages[0].new_zeros(())


class NoAdversary(Adversary):
    """Tasks alone."""

    needs_both_domains = False


class Reversal(Adversary):
    """A patch discriminator behind a gradient reversal. Ganin et al., Domain-adversarial training, 2016."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """One discriminator."""
        self.judge = discriminator(channels[self.config.stage], self.config.width)

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Cross-entropy of the discriminator; its gradient reaches the trunk reversed, times ramp and weight."""
        logits = self.judge(reverse(stages[self.config.stage], self.ramp * self.config.weight)).float()
        return self.judged(logits, domain)

    def judged(self, logits: Tensor, domain: Tensor) -> Tensor:
        """Cross-entropy over places and images."""
        self.seen = accuracy(logits.detach(), domain)
        each = F.binary_cross_entropy_with_logits(logits, labels_like(logits, domain), reduction="none")
        return balanced(each, domain)


class MultiLevel(Reversal):
    """Patch discriminators on every stage. Tsai et al., Learning to adapt structured output space, 2018."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """One discriminator a stage."""
        self.judges = nn.ModuleList([discriminator(c, self.config.width) for c in channels])

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Mean cross-entropy over the stages."""
        factor = self.ramp * self.config.weight
        losses, seen = [], []
        for judge, stage in zip(self.judges, stages, strict=True):
            losses.append(self.judged(judge(reverse(stage, factor)).float(), domain))
            seen.append(cast(Tensor, self.seen))
        self.seen = torch.stack(seen).mean()
        return torch.stack(losses).mean()


class Conditional(Reversal):
    """The discriminator sees the products of features and predictions. Long et al., CDAN, 2018."""

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """A projection of the feature, and a discriminator of its products."""
        self.narrow = nn.Conv2d(channels[self.config.stage], 32, 1)
        self.judge = discriminator(32 * (1 + sum(outputs.values())), self.config.width)

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """As Reversal, on features ⊗ (1, predictions); predictions condition, they aren't adapted."""
        feature = self.narrow(reverse(stages[self.config.stage], self.ramp * self.config.weight)).float()
        size = (feature.shape[-2], feature.shape[-1])
        shrunk = [F.adaptive_avg_pool2d(torch.tanh(p.detach().float()), size) for p in predictions.values()]
        condition = torch.cat([torch.ones_like(feature[:, :1]), *shrunk], dim=1)
        product = torch.einsum("nchw,nkhw->nckhw", feature, condition).flatten(1, 2)
        return self.judged(self.judge(product).float(), domain)


class LeastSquares(Adversary):
    """A least-squares GAN on features, its discriminator also shown past ones.

    Mao et al., Least squares generative adversarial networks, 2017; Shrivastava et al. 2017, section 2.3
    (history). The trunk is asked to make both domains look half-way, which has no winner to fall for.
    """

    pool: Tensor
    pooled_domain: Tensor

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """A discriminator and an empty pool, which takes its shape from the first features."""
        self.judge = discriminator(channels[self.config.stage], self.config.width)
        self.register_buffer("pool", torch.zeros(self.config.pool, channels[self.config.stage], 4, 4))
        self.register_buffer("pooled_domain", torch.full((self.config.pool,), -1.0))

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Discriminator's loss on detached features and the pool, plus the trunk's against a fixed judge."""
        feature = stages[self.config.stage]
        logits = self.judge(feature.detach()).float()
        self.seen = accuracy(logits.detach() - 0.5, domain)
        judge_loss = balanced((logits - labels_like(logits, domain)).square(), domain)
        filled = self.pooled_domain >= 0
        if bool(filled.any()):
            past = self.judge(self.pool[filled].to(feature.dtype)).float()
            told = self.pooled_domain[filled]
            judge_loss = (judge_loss + balanced((past - labels_like(past, told)).square(), told)) / 2
        if self.training:
            self._remember(feature.detach(), domain)
        fixed = {name: p.detach() for name, p in self.judge.named_parameters()}
        shown = torch.func.functional_call(self.judge, fixed, (feature,)).float()
        trunk_loss = balanced((shown - 0.5).square(), domain)
        return judge_loss + self.ramp * self.config.weight * trunk_loss

    def _remember(self, feature: Tensor, domain: Tensor) -> None:
        """Put half of the batch into random places of the pool."""
        small = F.adaptive_avg_pool2d(feature.float(), 4)
        chosen = torch.randperm(len(small))[: max(1, len(small) // 2)]
        places = torch.randperm(len(self.pool))[: len(chosen)]
        chosen = chosen[: len(places)]
        # New tensors: the graph of this step still needs the old ones.
        pool, told = self.pool.clone(), self.pooled_domain.clone()
        pool[places], told[places] = small[chosen], domain[chosen].to(told.dtype)
        self.pool, self.pooled_domain = pool, told


class Ridge(Adversary):
    """The best linear judge of an image's pooled statistics, solved for in closed form at every step.

    A judge that learns by gradient is always behind: the trunk turns the domain into another direction and the
    judge follows, in a circle. One that is solved for has no such lag, and its loss only has to fall.
    Sadeghi, Wang and Boddeti, Adversarial representation learning with closed-form solvers, 2021 (linear kernel).
    """

    pool: Tensor
    pooled_domain: Tensor
    written: Tensor

    def build(self, channels: Sequence[int], outputs: Mapping[str, int]) -> None:
        """An empty pool of past statistics, the oldest replaced first."""
        self.register_buffer("pool", torch.zeros(self.config.pool, 2 * channels[self.config.stage]))
        self.register_buffer("pooled_domain", torch.full((self.config.pool,), -1.0))
        self.register_buffer("written", torch.zeros((), dtype=torch.long))

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """−½ log(1 − R²), R² the share of the domain's variance that the judge explains."""
        now, told = pooled_statistics(stages[self.config.stage]), domain.float()
        filled = self.pooled_domain >= 0
        x, t = torch.cat([now, self.pool[filled]]), torch.cat([told, self.pooled_domain[filled]])
        if self.training:
            self._remember(now.detach(), told)
        share = t.mean()
        if not 0 < float(share) < 1:
            return now.new_zeros(())
        weight = torch.where(t > 0.5, 0.5 / share, 0.5 / (1 - share)) / len(t)
        centred = x - weight @ x
        spread = (weight @ centred.detach().square()).sqrt() + EPSILON
        rows = centred / spread * weight.sqrt()[:, None]
        sign = (2 * t - 1) * weight.sqrt()
        gram = rows @ rows.T
        judged = gram @ torch.linalg.solve(gram + self.config.penalty * torch.eye(len(t)).to(gram), sign)
        self.seen = accuracy(judged.detach()[: len(now), None, None, None], domain)
        explained = (judged @ sign).clamp(0, 1 - 1e-4)
        return -0.5 * self.ramp * self.config.weight * torch.log1p(-explained)

    def _remember(self, now: Tensor, told: Tensor) -> None:
        """Put the batch in the place of the oldest."""
        now, told = now[: len(self.pool)], told[: len(self.pool)]
        places = (self.written + torch.arange(len(now), device=now.device)) % len(self.pool)
        # New tensors: the graph of this step still needs the old ones.
        self.pool, self.pooled_domain = (
            self.pool.index_copy(0, places, now),
            self.pooled_domain.index_copy(0, places, told),
        )
        self.written = self.written + len(now)


class Coral(Adversary):
    """Equal covariances of the domains' features. Sun and Saenko, Deep CORAL, 2016 (means included)."""

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Squared difference of means and covariances, per channel."""
        real, synthetic = by_domain(stages[self.config.stage], domain)
        if not len(real) or not len(synthetic):
            return stages[0].new_zeros(())
        means = real.mean(0) - synthetic.mean(0)
        covariances = _covariance(real) - _covariance(synthetic)
        width = real.shape[1]
        loss = means.square().sum() / width + covariances.square().sum() / (4 * width)
        return self.ramp * self.config.weight * loss


class MaximumMeanDiscrepancy(Adversary):
    """Equal distributions under a sum of Gaussian kernels. Long et al., Deep adaptation networks, 2015."""

    def forward(self, stages: Sequence[Tensor], predictions: Mapping[str, Tensor], domain: Tensor) -> Tensor:
        """Squared discrepancy; widths are multiples of the mean squared distance in the batch."""
        real, synthetic = by_domain(stages[self.config.stage], domain)
        if not len(real) or not len(synthetic):
            return stages[0].new_zeros(())
        x = torch.cat([real, synthetic])
        square = x.square().sum(1)
        distances = (square[:, None] + square[None] - 2 * x @ x.T).clamp_min(0)
        scale = distances.detach().mean().clamp_min(EPSILON)
        kernel = torch.stack(
            [torch.exp(-distances / (scale * width)) for width in (0.25, 0.5, 1, 2, 4)]
        ).mean(0)
        n = len(real)
        loss = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
        return self.ramp * self.config.weight * loss


class FourierSwap(Adversary):
    """Synthetic images take the low-frequency amplitudes of real ones. Yang and Soatto, FDA, 2020."""

    def images(self, image: Tensor, domain: Tensor) -> Tensor:
        """Real images untouched; each synthetic one with the amplitudes of a real one of the batch."""
        synthetic, real = (domain == SYNTHETIC).nonzero()[:, 0], (domain != SYNTHETIC).nonzero()[:, 0]
        if not self.training or not len(real) or not len(synthetic):
            return image
        out = image.float()
        partner = real[torch.arange(len(synthetic), device=real.device) % len(real)]
        swapped = swap_amplitudes(out[synthetic], out[partner], self.config.band)
        return out.index_copy(0, synthetic, swapped.clamp(0, 255))


def swap_amplitudes(content: Tensor, style: Tensor, band: float) -> Tensor:
    """`content` (N, 3, H, W) with the amplitudes of `style` at frequencies within `band` of zero."""
    height, width = content.shape[-2:]
    spectrum, other = torch.fft.fft2(content), torch.fft.fft2(style)
    low_y = torch.fft.fftfreq(height, device=content.device).abs() <= band
    low_x = torch.fft.fftfreq(width, device=content.device).abs() <= band
    low = low_y[:, None] & low_x[None]
    amplitude = torch.where(low, other.abs(), spectrum.abs())
    return cast(Tensor, torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real)


def by_domain(feature: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    """Places of feature maps as vectors (n, C) in float32: real, synthetic; at most 16 places an image."""
    side = (min(4, feature.shape[-2]), min(4, feature.shape[-1]))
    x = F.adaptive_avg_pool2d(feature.float(), side).flatten(2).transpose(1, 2)  # (N, places, C)
    return x[domain != SYNTHETIC].flatten(0, 1), x[domain == SYNTHETIC].flatten(0, 1)


def pooled_statistics(feature: Tensor) -> Tensor:
    """Mean and standard deviation (N, 2 C) of a feature map (N, C, h, w) over its places, float32."""
    x = feature.float().flatten(2)
    return torch.cat([x.mean(2), (x.var(2, correction=0) + EPSILON).sqrt()], dim=1)


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / max(len(x) - 1, 1)


ADVERSARIES: dict[str, type[Adversary]] = {
    "none": NoAdversary,
    "reversal": Reversal,
    "lsgan": LeastSquares,
    "multilevel": MultiLevel,
    "cdan": Conditional,
    "ridge": Ridge,
    "coral": Coral,
    "mmd": MaximumMeanDiscrepancy,
    "fourier": FourierSwap,
}


def adversary_called(name: str) -> type[Adversary]:
    """The kind called `name`. Raises UserError if there is none."""
    if name not in ADVERSARIES:
        raise UserError(f"--adversary.name {name}: {nearest(name, ADVERSARIES)}")
    return ADVERSARIES[name]


def make_adversary(config: AdversaryConfig, channels: Sequence[int], outputs: Mapping[str, int]) -> Adversary:
    """The adversary called `config.name`. Raises UserError if there is none, or no such stage."""
    kind = adversary_called(config.name)
    if not -len(channels) <= config.stage < len(channels):
        raise UserError(f"--adversary.stage {config.stage}: the backbone has {len(channels)} stages")
    return kind(config, channels, outputs)

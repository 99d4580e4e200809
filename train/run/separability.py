"""How far the domains can still be told apart: a fresh probe on the frozen features of a trained backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import Window
from freelabels.train.model.network import Backbone
from freelabels.train.objective.adversaries.base import accuracy, pooled_statistics
from freelabels.train.tasks.losses import EPSILON

WINDOWS = 256  # of each split


Shown = Callable[[Tensor, Tensor], Tensor]
"""Images (N, 3, H, W) and their domains (N,) → the images that the network is shown."""


def separability(
    backbone: Backbone,
    loader: Loader,
    stage: int,
    device: torch.device,
    shown: Shown = lambda image, _: image,
) -> float | None:
    """Balanced accuracy on held-out clips of a probe trained on the others; None if a domain has none."""
    splits = []
    for runs in (~loader.held, loader.held):
        windows = loader.some(runs, WINDOWS // 2)
        domain = torch.tensor([window.domain for window in windows])
        if len(set(domain.tolist())) < 2:
            return None
        splits.append((pooled(backbone, loader, windows, stage, device, shown), domain))
    return domain_probe(*splits[0], *splits[1])


@torch.no_grad()
def pooled(
    backbone: Backbone,
    loader: Loader,
    windows: Sequence[Window],
    stage: int,
    device: torch.device,
    shown: Shown,
) -> Tensor:
    """Mean and spread (n, 2 C) over places of a stage's features, of each window's first frame."""
    backbone.eval()
    parts = []
    for k in range(0, len(windows), loader.config.batch):
        batch = loader.centred(windows[k : k + loader.config.batch])
        image = shown(batch["image"][:, 0].to(device), batch["domain"].to(device))
        parts.append(pooled_statistics(backbone(image)[stage]).cpu())
    return torch.cat(parts)


def domain_probe(
    train: Tensor, train_domain: Tensor, test: Tensor, test_domain: Tensor, penalty: float = 1e-2
) -> float:
    """Balanced accuracy, on held-out features (n, C), of a fresh logistic regression that tells the domains.

    0.5 = the domains can't be told apart, 1 = fully. Features are scaled by the training ones' spread.
    """
    mean, spread = train.double().mean(0), train.double().std(0) + EPSILON
    x, t = (train.double() - mean) / spread, train_domain.double()
    share = t.mean().clamp(EPSILON, 1 - EPSILON)
    balance = torch.where(t > 0.5, 0.5 / share, 0.5 / (1 - share))
    weight = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        logits = x @ weight[:-1] + weight[-1]
        loss = (balance * F.binary_cross_entropy_with_logits(logits, t, reduction="none")).mean()
        loss = loss + penalty * weight[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    logits = ((test.double() - mean) / spread) @ weight.detach()[:-1] + weight.detach()[-1]
    return float(accuracy(logits.view(-1, 1, 1, 1), test_domain))

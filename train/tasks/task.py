"""What a task is: how it reads labels, judges a head's output by a robust loss, and shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from freelabels.generators.contract.fields import Array, Kind, as_stored, field
from freelabels.train.config import RobustConfig
from freelabels.train.data.loader import Batch
from freelabels.train.tasks import losses
from freelabels.train.tasks.losses import Residual
from freelabels.train.tasks.metrics import Metric

Labels = tuple[Tensor, Tensor]
"""Targets (N, C, H, W) and weights (N, H, W); numbers for a whole image are 1×1 maps."""

ROBUST = ("confidence", "plain", "generalised", "bootstrap", "trimmed")


@dataclass(frozen=True)
class Task:
    """One thing to learn.

    reads: fields it needs. channels: of its head; None: as many as the field has names. labels: targets and
    weights of a batch. residual, extra, generalised: its loss, see `loss`. value: head's output → the target's
    space. draws: the field whose picture shows it. pair: 0 a single frame, 1 a frame with the next, -1 with
    the previous. whole: one answer an image. balanced: positives and negatives count alike. scale: factor of
    the loss. pretext: images (N, 3, H, W) and seeds (N,) → changed images and class ids (N,).
    """

    name: str
    reads: tuple[str, ...]
    channels: int | None
    labels: Callable[[Batch], Labels]
    residual: Residual
    value: Callable[[Tensor], Tensor]
    metric: Metric
    extra: Residual | None = None
    generalised: Residual | None = None
    draws: str | None = None
    pair: int = 0
    whole: bool = False
    balanced: bool = False
    scale: float = 1.0
    pretext: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


def loss(
    task: Task,
    config: RobustConfig,
    prediction: Tensor,
    target: Tensor,
    weight: Tensor,
    teacher: Tensor | None = None,
) -> Tensor:
    """The task's summed loss: Σ weight × residual + extra, made robust as configured; a scalar with a gradient.

    teacher: the EMA model's prediction in the target's space, for bootstrap. Divide by the number of pixels
    with weight > 0 in the whole batch.
    """
    prediction = prediction.float()
    if config.choice == "plain":
        weight = (weight > 0).float()
    residual = task.residual
    if config.choice == "generalised" and task.generalised is not None:
        residual = task.generalised
    if config.choice == "trimmed":
        classes = task.generalised is not None
        group = (target[:, 0] > 0.5).long() if classes else torch.zeros_like(weight, dtype=torch.long)
        with torch.no_grad():
            weight = losses.trim(residual(prediction, target, weight), weight, group, config.trim)
    total = _summed(task, residual, prediction, target, weight)
    if config.choice == "bootstrap" and teacher is not None:
        own = _summed(task, residual, prediction, teacher.detach(), weight)
        total = config.trust * total + (1 - config.trust) * own
    # A batch without labels still gives every parameter of the head a gradient, of zero.
    return task.scale * total + 0.0 * prediction.sum()


def _summed(task: Task, residual: Residual, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    balanced = losses.class_balance(target, weight) if task.balanced else weight
    total = (balanced * residual(prediction, target, weight)).sum()
    return total if task.extra is None else total + task.extra(prediction, target, weight)


def as_field(task: Task, values: Tensor, valid: Tensor | None = None) -> Array:
    """Values (N, C, H, W) in the target's space as the field that `task.draws` stores them, for a picture.

    valid (N, H, W): pixels that aren't get the field's invalid value.
    """
    assert task.draws is not None
    spec = field(task.draws)
    planes = values.detach().float().cpu()
    array: Array = planes[:, 0].numpy() if len(spec.axes) == 2 else planes.permute(0, 2, 3, 1).numpy()
    if spec.kind is Kind.PROBABILITY:
        array = array * 255
    if valid is not None and spec.invalid is not None:
        array = array.copy()
        array[~valid.cpu().numpy()] = spec.invalid
    return as_stored(task.draws, array)

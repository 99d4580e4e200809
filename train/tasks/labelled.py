"""Tasks on stored labels: dense ones, those between two frames, and those of one answer an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array, Kind, as_stored, field
from freelabels.train.config import RobustConfig
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import DenseHead, GlobalHead, Shape
from freelabels.train.tasks import losses
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task
from freelabels.train.tasks.losses import Residual
from freelabels.train.tasks.metrics import Metric

Labels = tuple[Tensor, Tensor]
"""Targets (N, C, H, W) and weights (N, H, W); numbers for a whole image are 1×1 maps."""

ROBUST = ("confidence", "plain", "generalised", "bootstrap", "trimmed")


CONFIDENCE = RobustConfig()
PIXELS = 4096  # sampled per frame, on a lattice, to be scored


@dataclass(frozen=True)
class Labelled(Task):
    """A task on stored labels: asks for the frames as they are, is judged pixel by pixel.

    reads: fields it needs. channels: of its head; None: as many as the field has names. labels: targets and
    weights of a batch. residual, extra, generalised: its loss, see `loss`. value: head's output → the
    target's space. draws: the field whose picture shows it. pair: 0 a single frame, 1 a frame with the next,
    -1 with the previous, 4 with the fourth after it. whole: one answer an image. balanced: positives and
    negatives count alike. scale: factor of the loss. robust: how the loss bears wrong labels.
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
    robust: RobustConfig = CONFIDENCE
    system: str = ""
    family: str = FAMILIES[2]
    paper: str = ""

    trivial = "best constant"

    @property
    def needs(self) -> Needs:
        """Its fields, and frames as far apart as those it compares."""
        return Needs(fields=self.reads, shared=1 + abs(self.pair))

    @property
    def measure(self) -> Metric:
        """Its metric."""
        return self.metric

    @property
    def dense(self) -> bool:
        """Whether it answers for every pixel of every frame."""
        return not self.whole and not self.pair

    def head(self, shape: Shape) -> nn.Module:
        """A head on the pyramid's feature."""
        kind = GlobalHead if self.whole else DenseHead
        return kind(shape.width, self.channels or 0, 1 + bool(self.pair))

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The frames, and their labels."""
        target, weight = self.labels(batch)
        return Asked(target, weight, maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """The head's output (N, C, H, W), of pairs of neighbours where it compares them."""
        out: Tensor = head(paired(seen.maps, seen.views, self.pair))
        return out

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """See `loss`."""
        return loss(self, self.robust, answer, asked.target, asked.weight, asked.teacher)

    def teach(self, answer: Tensor) -> Tensor | None:
        """The answer in the target's space."""
        return self.value(answer.float())

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Values, targets and weights on a lattice of pixels, and which frames have a label."""
        values, target = _lattice(self.value(answer.float())), _lattice(asked.target)
        labelled = (asked.weight > 0).flatten(1).any(1)
        return values, target, _lattice(asked.weight[:, None])[:, 0], labelled.double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """As its metric says; pixels depend on each other, so there is no standard error."""
        labelled = columns[3] > 0
        values, target, weight = (column[labelled] for column in columns[:3])
        if not bool((weight > 0).any()):
            return math.nan, math.nan, math.nan
        return self.metric.score(values, target, weight), self.metric.constant(target, weight), math.nan


def paired(shared: Tensor, frames: int, pair: int) -> Tensor:
    """Features (B T, C, h, w) as they are, or each frame's beside those of the frame so many later."""
    if not pair:
        return shared
    clips = shared.view(-1, frames, *shared.shape[1:])
    apart = abs(pair)
    here, there = (clips[:, :-apart], clips[:, apart:])[:: 1 if pair > 0 else -1]
    return torch.cat([here, there], dim=2).flatten(0, 1)


def _lattice(values: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C, P) with P ≤ PIXELS, every n-th row and column."""
    step = 1
    while -(-values.shape[-2] // step) * -(-values.shape[-1] // step) > PIXELS:
        step += 1
    return values[..., step // 2 :: step, step // 2 :: step].flatten(2)


def loss(
    task: Labelled,
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


def _summed(task: Labelled, residual: Residual, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    balanced = losses.class_balance(target, weight) if task.balanced else weight
    total = (balanced * residual(prediction, target, weight)).sum()
    return total if task.extra is None else total + task.extra(prediction, target, weight)


def as_field(task: Labelled, values: Tensor, valid: Tensor | None = None) -> Array:
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

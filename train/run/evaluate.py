"""What a model scores on held-out clips, each task beside the best constant prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.pictures import picture
from freelabels.train.data.loader import Batch, Loader, to_device
from freelabels.train.data.windows import DOMAIN_NAMES, DOMAINS
from freelabels.train.model import ranks
from freelabels.train.objective.learner import Learner, prepare
from freelabels.train.tasks.losses import align
from freelabels.train.tasks.task import Task, as_field

PIXELS = 4096  # sampled per frame, on a lattice


@dataclass(frozen=True)
class Score:
    """One task's figures on one domain's held-out frames."""

    task: str
    domain: str
    metric: str
    unit: str
    score: float
    constant: float
    better: bool
    frames: int

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


@torch.no_grad()
def evaluate(learner: Learner, loader: Loader, device: torch.device, windows: int) -> list[Score]:
    """Score every task on up to `windows` held-out windows: on all, and with both domains on each alone."""
    kept: dict[str, list[tuple[Tensor, Tensor, Tensor, Tensor]]] = {name: [] for name in learner.tasks}
    learner.eval()
    for batch in loader.evaluation(windows):
        inputs = prepare(learner.tasks, to_device(batch, device))
        outputs, _, _ = learner.predict(inputs)
        for name, task in learner.tasks.items():
            target, weight = inputs.labels[name]
            domain = inputs.domain.repeat_interleave(len(target) // len(inputs.domain))
            labelled = (weight > 0).flatten(1).any(1)
            values = [
                _lattice(task.value(outputs[name].float())),
                _lattice(target),
                _lattice(weight[:, None])[:, 0],
            ]
            kept[name].append(tuple(v[labelled].cpu() for v in (*values, domain)))  # type: ignore[arg-type]
    learner.train()
    scores = []
    for name, task in learner.tasks.items():
        parts = [part for gathered in ranks.gather(kept[name]) for part in gathered]  # type: ignore[attr-defined]
        if parts:
            scores += _scores(task, [torch.cat(column) for column in zip(*parts, strict=True)])
    return scores


def _lattice(values: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C, P) with P ≤ PIXELS, every n-th row and column."""
    step = 1
    while -(-values.shape[-2] // step) * -(-values.shape[-1] // step) > PIXELS:
        step += 1
    return values[..., step // 2 :: step, step // 2 :: step].flatten(2)


def _scores(task: Task, columns: Sequence[Tensor]) -> list[Score]:
    values, target, weight, domain = columns
    chosen = [("all", domain >= 0)]
    present = [d for d in DOMAINS if bool((domain == d).any())]
    if len(present) > 1:
        chosen += [(DOMAIN_NAMES[d], domain == d) for d in present]
    scores = []
    for label, some in chosen:
        v, t, w = values[some], target[some], weight[some]
        if not bool((w > 0).any()):
            continue
        score, constant = task.metric.score(v, t, w), task.metric.constant(t, w)
        if math.isnan(constant):
            continue
        better = task.metric.better(score, constant)
        name, unit = task.metric.name, task.metric.unit
        scores.append(Score(task.name, label, name, unit, score, constant, better, len(v)))
    return scores


@torch.no_grad()
def draw(learner: Learner, batch: Batch, device: torch.device) -> Array:
    """A sheet, uint8 sRGB: a row a window; the frame, then each task's label and prediction side by side."""
    learner.eval()
    inputs = prepare(learner.tasks, to_device(batch, device))
    outputs, _, _ = learner.predict(inputs)
    learner.train()
    windows, frames = batch["image"].shape[:2]
    image = batch["image"][:, 0].permute(0, 2, 3, 1).numpy()
    columns, titles = [image], ["image"]
    for name, task in learner.tasks.items():
        if task.draws is None:
            continue
        target, weight = inputs.labels[name]
        step = len(target) // windows if frames > 1 else 1
        target, weight = target[::step], weight[::step]
        value = task.value(outputs[name][::step].float())
        if task.draws == "disparity":  # on the label's scale, so that both get the same colours
            known = (weight > 0).flatten(1).any(1)
            value[known] = align(value, target, weight)[known]
        columns += [
            np.stack([picture(task.draws, one) for one in as_field(task, target, weight > 0)]),
            np.stack([picture(task.draws, one) for one in as_field(task, value)]),
        ]
        titles += [name, "predicted"]
    rows = [np.concatenate([column[k] for column in columns], axis=1) for k in range(windows)]
    return np.concatenate([_header(titles, image.shape[2]), *rows])


def _header(titles: Sequence[str], width: int) -> Array:
    strip = np.full((18, width * len(titles), 3), 255, np.uint8)
    for k, title in enumerate(titles):
        cv2.putText(
            strip, title, (k * width + 3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
        )
    return strip

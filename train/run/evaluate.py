"""What a model scores on held-out clips, each task beside the trivial answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.pictures import picture
from freelabels.train.data.loader import Batch, Loader, to_device
from freelabels.train.data.windows import DOMAIN_NAMES, DOMAINS
from freelabels.train.model import ranks
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.tasks.contract.task import Asked, Task
from freelabels.train.tasks.labelled import Labelled, as_field
from freelabels.train.tasks.losses import align

CLEAR = 3.0  # standard errors by which a task has to beat its trivial answer to have learned its question


@dataclass(frozen=True)
class Score:
    """One task's figures on one domain's held-out frames.

    constant: of the trivial answer, which is the best constant one unless `trivial` names another. error: standard
    error of score - constant, where samples are independent. beside: the task's further figures by name.
    """

    task: str
    domain: str
    metric: str
    unit: str
    score: float
    constant: float
    better: bool
    frames: int
    trivial: str = "best constant"
    error: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def learned(score: Mapping[str, Any]) -> bool:
    """Whether a score, as JSON has it, beats its trivial answer: clearly, where its error is known."""
    gap = abs(float(score["score"]) - float(score["constant"]))
    return bool(score["better"]) and gap >= CLEAR * (score.get("error") or 0.0)


@torch.no_grad()
def evaluate(learner: Learner, loader: Loader, device: torch.device, windows: int) -> list[Score]:
    """Score every task on up to `windows` held-out windows: on all, and with both domains on each alone."""
    kept: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name in learner.tasks}
    learner.eval()
    for batch in loader.evaluation(windows):
        inputs = prepare(learner.tasks, to_device(batch, device), learner.labels)
        told = learner.predict(inputs)
        for name, task in learner.tasks.items():
            columns = task.keep(told.answers[name], told.asked[name])
            domain = inputs.domain.repeat_interleave(len(columns[0]) // len(inputs.domain))
            counts = columns[-1] > 0
            kept[name].append(tuple(column[counts].cpu() for column in (*columns, domain)))
    learner.train()
    scores = []
    for name, task in learner.tasks.items():
        parts = [part for gathered in ranks.gather(kept[name]) for part in gathered]  # type: ignore[attr-defined]
        if parts:
            scores += _scores(name, task, [torch.cat(column) for column in zip(*parts, strict=True)])
    return scores


def _scores(name: str, task: Task, columns: Sequence[Tensor]) -> list[Score]:
    *columns, domain = columns
    chosen = [("all", domain >= 0)]
    present = [d for d in DOMAINS if bool((domain == d).any())]
    if len(present) > 1:
        chosen += [(DOMAIN_NAMES[d], domain == d) for d in present]
    scores = []
    for label, some in chosen:
        if not bool(some.any()):
            continue
        these = [column[some] for column in columns]
        score, constant, error = task.summary(these)
        if math.isnan(constant):
            continue
        measure = task.measure
        better = measure.better(score, constant)
        told = None if math.isnan(error) else error
        figures = (score, constant, better, int(some.sum()), task.trivial, told, task.beside(these))
        scores.append(Score(name, label, measure.name, measure.unit, *figures))
    return scores


@torch.no_grad()
def draw(learner: Learner, batch: Batch, device: torch.device) -> Array:
    """A sheet, uint8 sRGB: a row a window; the frame, then each task's label and prediction side by side."""
    learner.eval()
    inputs = prepare(learner.tasks, to_device(batch, device), learner.labels)
    told = learner.predict(inputs)
    learner.train()
    windows = len(batch["image"])
    image = batch["image"][:, 0].permute(0, 2, 3, 1).numpy()
    columns, titles = [image], ["image"]
    for name, task in learner.tasks.items():
        asked, answer = told.asked[name], told.answers[name]
        if isinstance(task, Labelled):
            if task.draws is not None:
                columns += _label_and_prediction(task, asked, answer, windows)
                titles += [name, "predicted"]
        elif (shown := task.picture(answer, asked, image.shape[1])) is not None:
            columns.append(shown)
            titles.append(name)
    rows = [np.concatenate([column[k] for column in columns], axis=1) for k in range(windows)]
    return np.concatenate([_header(titles, [column.shape[2] for column in columns]), *rows])


def _label_and_prediction(task: Labelled, asked: Asked, answer: Tensor, windows: int) -> list[Array]:
    """Of each window's first frame, uint8 (windows, y, x, 3) each."""
    assert task.draws is not None
    step = len(asked.target) // windows
    target, weight = asked.target[::step], asked.weight[::step]
    value = task.value(answer[::step].float())
    if task.draws == "disparity":  # on the label's scale, so that both get the same colours
        known = (weight > 0).flatten(1).any(1)
        value[known] = align(value, target, weight)[known]
    stored = as_field(task, target, weight > 0)
    trusts = (weight > 0).cpu().numpy() * np.uint8(255)  # slate, also where a field has no invalid value
    return [
        np.stack([picture(task.draws, one, trust) for one, trust in zip(stored, trusts, strict=True)]),
        np.stack([picture(task.draws, one) for one in as_field(task, value)]),
    ]


def _header(titles: Sequence[str], widths: Sequence[int]) -> Array:
    """A strip with a title above each column; some tasks' pictures are several images wide."""
    strip = np.full((18, sum(widths), 3), 255, np.uint8)
    for title, end, width in zip(titles, accumulate(widths), widths, strict=True):
        place = (end - width + 3, 13)
        cv2.putText(strip, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return strip

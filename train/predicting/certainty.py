"""How sure a student may be of its labels, fitted on renders that its training has not seen.

Of probabilities the logits are divided by a temperature (Guo et al., On calibration of modern neural networks,
2017). Of other labels the network is asked again in a mirror: how likely they are right follows from how far both
answers lie apart, by a logistic curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from freelabels.generators.contract.fields import Array, Kind, field
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.rightness import RIGHT, class_right
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.held_out import held_out
from freelabels.train.data.windows import evenly
from freelabels.train.predicting.student import Student
from freelabels.train.tasks.labelled import as_field

RENDERS = 48  # frames to fit on
PIXELS = 2048  # of each
TEMPERATURES = np.geomspace(0.1, 20, 81)
NEAREST = 1e-3  # two answers that lie nearer than this are the same


@dataclass(frozen=True)
class Curve:
    """Confidence is 1 / (1 + exp(-(slope × score + shift))); of a probability `slope` is one over temperature."""

    slope: float
    shift: float = 0.0

    def __call__(self, score: Array) -> Array:
        """Confidence of scores, 0 to 1."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.slope * score + self.shift, -60, 60))))


PLAIN = Curve(1.0)


def is_probability(name: str) -> bool:
    """Whether a label is a probability × 255."""
    return field(name).kind is Kind.PROBABILITY


def labels_and_scores(
    student: Student, images: Array, curves: Mapping[str, Curve] | None = None
) -> Iterator[tuple[str, Array, Array]]:
    """Of each label its name, values as they are stored (T, H, W[, C]), and scores (T, H, W), larger is surer.

    curves: whose temperature probabilities are scaled with.
    """
    answers = student.answers(images)
    mirrored = student.answers(images[:, :, ::-1]) if not all(map(is_probability, answers)) else {}
    for name, answer in answers.items():
        task = student.tasks[name]
        if is_probability(name):
            slope = (curves or {}).get(name, PLAIN).slope
            yield name, as_field(task, task.value(answer * slope)), answer[:, 0].abs().numpy()
            continue
        value, other = task.value(answer), task.value(mirrored[name].flip(-1))
        yield name, as_field(task, value), -np.log(_apart(name, value, other) + NEAREST)


def _apart(name: str, value: Tensor, mirrored: Tensor) -> Array:
    """(T, H, W) how far two answers lie apart: an angle, a ratio, or a share of the frame's spread."""
    kind = field(name).kind
    if kind is Kind.DIRECTION:
        mirrored = mirrored * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
        return np.asarray(torch.acos((value * mirrored).sum(1).clamp(-1, 1)).numpy())
    if kind is Kind.METRIC:
        return np.asarray((value.clamp_min(1e-6).log() - mirrored.clamp_min(1e-6).log()).abs()[:, 0].numpy())
    spread = value.flatten(1).std(1).clamp_min(1e-6)[:, None, None]
    return np.asarray(((value - mirrored).abs().mean(1) / spread).numpy())


def fit_curves(student: Student) -> dict[str, Curve]:
    """By label, fitted on held-out renders of the run's own data; nothing without such."""
    rng = np.random.default_rng(0)
    scores: dict[str, list[Array]] = {}
    rights: dict[str, list[Array]] = {}
    for images, truth in _renders(student):
        for name, values, score in labels_and_scores(student, images):
            if name not in truth or name not in RIGHT:
                continue
            judge = class_right if is_probability(name) else None  # pixel by pixel, as the logits are learned
            right = judge(values, truth[name] > 127) if judge else RIGHT[name](values, truth)
            known = np.flatnonzero(np.isfinite(right))
            some = rng.choice(known, min(PIXELS, len(known)), replace=False)
            scores.setdefault(name, []).append(score.ravel()[some])
            rights.setdefault(name, []).append(np.asarray(right, np.float64).ravel()[some])
    found = {}
    for name, its in scores.items():
        score, right = np.concatenate(its), np.concatenate(rights[name])
        if len(score):
            found[name] = temperature(score, right) if is_probability(name) else logistic(score, right)
    return found


def temperature(score: Array, right: Array) -> Curve:
    """The temperature under which |logits| say best how often they are right."""
    losses = [_surprise(Curve(1 / t)(score), right) for t in TEMPERATURES]
    return Curve(round(float(1 / TEMPERATURES[int(np.argmin(losses))]), 6))


def logistic(score: Array, right: Array) -> Curve:
    """The logistic curve that says best how likely scores are right; it never falls."""
    middle, spread = float(score.mean()), float(score.std()) + 1e-9

    def loss(ab: Array) -> float:
        return _surprise(Curve(abs(float(ab[0])), float(ab[1]))((score - middle) / spread), right)

    slope, shift = minimize(loss, np.array([0.5, 0.0]), method="Nelder-Mead").x
    slope = abs(float(slope)) / spread
    return Curve(round(slope, 6), round(float(shift) - slope * middle, 6))


def _surprise(probability: Array, right: Array) -> float:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-(right * np.log(p) + (1 - right) * np.log(1 - p)).mean())


def _renders(student: Student) -> Iterator[tuple[Array, dict[str, Array]]]:
    """Held-out rendered frames of the run's data, one at a time, and the true labels of each, (1, H, W, …)."""
    paths = list(student.data.get("synthetic", ()))
    try:
        catalogue = read_catalogue([], paths, 1) if paths else None
    except (UserError, OSError):  # they are no longer where they were
        return
    if catalogue is None:
        return
    windows = catalogue.windows
    held = held_out(windows, student.config.loader.held_out, catalogue.splits)
    for number in evenly(windows.numbers(held), RENDERS):
        window = windows[number]
        shard = Dataset(window.dataset).open(window.shard)
        wanted = ["image", *(n for n in (*student.tasks, "instance") if n in shard.fields)]
        columns = shard.read_columns(wanted, window.start, window.start + 1)
        shard.close()
        yield columns.pop("image"), columns

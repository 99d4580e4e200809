"""What a task is: it asks for images, sees what the trunk makes of them, answers, and judges its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.data.reach import Reach
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage

FAMILIES = ("generation", "context", "free semantic labels", "cross-modal", "beyond the survey")


@dataclass(frozen=True)
class Needs:
    """What a task looks at, and what data must have to feed it.

    frames: of a clip; with two or more the task has frames of its own in `batch["image"]`, evenly spaced, their
    fields beside them, and no say in other tasks' windows: photos and clips that are too short weigh nothing (see
    `everyone`). span: seconds from the first to the last, 0: neighbours. moving: least speed of what is seen,
    pixels from a frame to the next, by the column `speed`; slower clips weigh nothing. fields: columns that some
    shard must hold. uses: columns that are read where they are there, such as those that only the score looks at.
    shared: neighbouring frames that every window of the run must have (`--loader.frames`).
    """

    frames: int = 1
    fields: tuple[str, ...] = ()
    span: float = 0.0
    moving: float = 0.0
    uses: tuple[str, ...] = ()
    shared: int = 1

    @property
    def reach(self) -> Reach | None:
        """The frames of its own, if it has such."""
        return Reach(self.frames, self.span, self.moving, self.reads) if self.frames > 1 else None

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns that are read for it."""
        return tuple(dict.fromkeys((*self.fields, *self.uses)))


@dataclass(frozen=True)
class Measure:
    """What a score is called, its unit, and which way is better."""

    name: str
    unit: str
    higher_is_better: bool

    def better(self, score: float, trivial: float) -> bool:
        """Whether the score beats the trivial answer's."""
        return score > trivial if self.higher_is_better else score < trivial


@dataclass(frozen=True)
class Rate:
    """How part of a head learns: its share of the learning rate; betas of Adam and its kin, None: as all do."""

    share: float
    betas: tuple[float, float] | None = None


ANYTHING = Needs()
ACCURACY = Measure("accuracy", "", True)


@dataclass(frozen=True)
class Asked:
    """What a task asks of the trunk, and what it will judge the answer by.

    target: whatever its `judge` wants. weight: float (N, …) ≥ 0, 0 where nothing counts; a sum over what counts
    is divided by how many places of it are positive. images: (N, k, 3, h, w), uint8 or 0 … 255, k views of N
    samples; None: the frames of the windows as they are. maps: whether `Seen.shared` is wanted. held: further
    images that the trunk sees with its weights held, so that they alone get a gradient (see `Seen.held`).
    teacher: the averaged model's answer, where the run learns from it as well. clips: (N, k, T, 3, h, w), k
    clips for the trunk that sees clips, of a task that says `clips`; then `images` None means that it sees no
    others. held_clips: as `held`.
    """

    target: Any
    weight: Tensor
    images: Tensor | None = None
    maps: bool = False
    held: Tensor | None = None
    teacher: Tensor | None = None
    clips: Tensor | None = None
    held_clips: Tensor | None = None

    @property
    def shared(self) -> bool:
        """Whether it looks at the frames of the windows as they are."""
        return self.images is None and self.clips is None

    def count(self) -> Tensor:
        """How many places count, float64."""
        return (self.weight > 0).sum().double()


@dataclass(frozen=True)
class Seen:
    """What the trunk makes of a task's images, all of one size in one call, whichever task they are of.

    stages: feature maps (N k, C, h, w), finest first, in the trunk's precision. shared: the pyramid's feature
    (N k, width, side / 4, side / 4), float32, if it was asked for. views: k. held: the same of `Asked.held`.
    clips: the same of `Asked.clips`, feature maps (N k, C, T', h, w); with `held` that of `Asked.held_clips`.
    """

    stages: Sequence[Tensor]
    shared: Tensor | None
    views: int
    held: Seen | None = None
    clips: Seen | None = None

    @cached_property
    def deep(self) -> Tensor:
        """The last stage's mean over places, (N, k, C), float32."""
        pooled = self.stages[-1].float().mean(tuple(range(2, self.stages[-1].ndim)))
        return pooled.view(-1, self.views, pooled.shape[-1])

    @property
    def maps(self) -> Tensor:
        """`shared`, where it was asked for."""
        assert self.shared is not None, "ask with maps=True"
        return self.shared


class Task:
    """One thing to learn; subclasses are frozen dataclasses whose fields are the task's parameters.

    As it stands it is a classification of a sample into `classes`, judged by cross-entropy; or q of them, with
    logits (N, q, classes), targets and weights (N, q). Attributes:

    - name: in `--tasks`; system: the survey's name of it; family: one of `FAMILIES`; paper: authors, title, year;
    - needs: what data must have; compares: whether its loss of a sample depends on the others of its batch;
    - measure: what `score` is; trivial: what the score is printed beside;
    - clips: whether it asks for clips, so that there is a trunk that sees them;
    - among: what its loss counts where other tasks share the trunk; alone it counts whole;
    - rates: of parts of its head, by their names in it, that learn at a rate of their own, such as a generator.
    """

    name: str
    system: str = ""
    family: str = FAMILIES[-1]
    paper: str = ""
    compares: bool = False
    clips: bool = False
    among: float = 1.0
    trivial: str = "chance"

    @property
    def needs(self) -> Needs:
        """What data must have to feed it."""
        return ANYTHING

    @property
    def measure(self) -> Measure:
        """What its score is."""
        return ACCURACY

    @property
    def rates(self) -> Mapping[str, Rate]:
        """How parts of its head learn, where not as all the rest."""
        return {}

    @property
    def classes(self) -> int:
        """How many answers there are to choose from."""
        raise NotImplementedError(f"{self.name} doesn't say how many classes it has")

    def fitted(self, names: Mapping[str, tuple[str, ...]]) -> Task:
        """It, for data with these tables of names by field."""
        return self

    def head(self, shape: Shape) -> nn.Module:
        """Everything with parameters that is the task's own, for a trunk of that shape."""
        raise NotImplementedError(f"{self.name} has no head")

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Views and target of a batch, a pure function of its samples and their seeds (`draw`)."""
        raise NotImplementedError(f"{self.name} asks for nothing")

    def paint(self, head: nn.Module, asked: Asked) -> Asked:
        """What it asks, with images that it has made itself, for a task that owns a generator."""
        return asked

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Any:
        """What the head says, float32; here of all views' deep features together, logits (N, classes)."""
        return head(seen.deep.flatten(1))

    def judge(self, answer: Any, asked: Asked) -> Tensor:
        """The summed loss, a scalar with a gradient (of zero where nothing counts)."""
        each = F.cross_entropy(answer.flatten(0, -2), asked.target.flatten(), reduction="none")
        return (asked.weight.flatten() * each).sum()

    def score(self, answer: Any, asked: Asked) -> Tensor:
        """Of each sample (N, 2): its figure, and what the trivial answer would get."""
        hit = (answer.argmax(-1) == asked.target).double().view(len(answer), -1).mean(1)
        return torch.stack([hit, torch.full_like(hit, 1 / self.classes)], 1)

    def teach(self, answer: Any) -> Tensor | None:
        """The averaged model's answer as `Asked.teacher`, where a task can learn from one."""
        return None

    def keep(self, answer: Any, asked: Asked) -> tuple[Tensor, ...]:
        """What `summary` needs of held-out samples, each (N, …), and how far each counts (N,) last."""
        weight = asked.weight.flatten(1).amax(1) if asked.weight.ndim > 1 else asked.weight
        return self.score(answer, asked), (weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """The score, the trivial answer's, and the standard error of their difference, of what was kept.

        All three are NaN where nothing was.
        """
        figures = columns[0][columns[1] > 0]
        if not len(figures):
            return math.nan, math.nan, math.nan
        score, trivial = figures.mean(0).tolist()
        gap = figures[:, 0] - figures[:, 1]
        return score, trivial, float(gap.std(correction=0)) / len(gap) ** 0.5

    def beside(self, columns: Sequence[Tensor]) -> Mapping[str, float]:
        """Further figures of what was kept, by name, which are printed beside the score; here none."""
        return {}

    def picture(self, answer: Any, asked: Asked, side: int) -> Array | None:
        """uint8 (N, side, width, 3) sRGB: what was asked, and the answer; None leaves it out."""
        images = asked.images
        if images is None and asked.clips is not None:  # three frames of the first clip
            length = asked.clips.shape[2]
            images = asked.clips[:, 0, [0, length // 2, length - 1]]
        if images is None:
            return None
        captions = [""] * len(images)
        if isinstance(asked.target, Tensor) and asked.target.ndim == 1 and isinstance(answer, Tensor):
            told, right = answer.argmax(1).tolist(), asked.target.tolist()
            captions = [f"{a} ({b})" for a, b in zip(told, right, strict=True)]
        return montage(images, side, captions)


def everyone(batch: Batch) -> Tensor:
    """Weights (B,) of a batch: 1, and 0 where a clip is too short or too still for the task's `Needs`."""
    return batch.get("serves", torch.ones(len(batch["seed"]), device=batch["image"].device))


def first(batch: Batch) -> Tensor:
    """The first frame of each window, uint8 (B, 3, H, W)."""
    return batch["image"][:, 0]

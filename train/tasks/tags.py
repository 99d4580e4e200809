"""Which words were found beside a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import Asked, Measure, first

COMMON = 0.5  # share of the clips above which a word says nothing
LEAST = 2  # clips that a word comes with


@dataclass(frozen=True)
class Tags(Online):
    """The words that came with a picture: captions, tags, alternative texts, as `Dataset.tags()` lists them.

    The survey's way ahead: noisy data with noisy metadata. The vocabulary is a statistic of the clips that are
    trained on, the `words` most frequent but for those of more than half the clips; it is in the run's book. A
    picture is asked for any of its words, so that one that is missing costs nothing, and what it loses is bounded
    by (1 - p ^ doubt) / doubt, so that a wrong one costs little; `doubt` = 0 is cross-entropy.
    Smaller than in the paper: 64 words instead of 100,000.
    """

    words: int = 64
    doubt: float = 0.7

    name = "tags"
    paper = (
        "Joulin et al., Learning visual features from large weakly supervised data, 2016; Zhang and Sabuncu, "
        "Generalized cross entropy loss, 2018"
    )
    measure = Measure("names a word that came with it", "", True)
    trivial = "commonest word"
    looks = False
    every = 1 << 40  # made once

    def __post_init__(self) -> None:
        if self.words < 2:
            raise ValueError("words (of the vocabulary) is at least 2")
        if not 0 <= self.doubt <= 1:
            raise ValueError("doubt is between 0 (trust every word) and 1")

    def head(self, shape: Shape) -> nn.Module:
        """A linear layer."""
        return nn.Linear(shape.channels[-1], self.words)

    def assign(self, clips: Clips, before: Labels | None, seed: int) -> Labels:
        """The vocabulary, and which of its words each clip has."""
        learned = np.flatnonzero(clips.learned).tolist()
        seen = Counter(word for number in learned for word in clips.words[number])
        telling = [word for word, count in seen.items() if LEAST <= count <= COMMON * len(learned)]
        vocabulary = sorted(sorted(telling), key=lambda word: -seen[word])[: self.words]
        if len(vocabulary) < 2:
            raise UserError(
                "the task tags found no two words that came with some of the pictures and not with most; "
                "Dataset.tags() lists what came with them"
            )
        place = {word: k for k, word in enumerate(vocabulary)}
        has = np.zeros((len(clips.words), self.words), np.bool_)
        for number, words in enumerate(clips.words):
            has[number, [place[word] for word in words if word in place]] = True
        version = 0 if before is None else before.version + 1
        return Labels(version, {"has": has}, {"words": np.array(vocabulary)})

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """The image; target (N, words): which it has. Pictures without one weigh nothing."""
        has = batch["label.has"].float()
        return Asked(has, has.amax(1), first(batch)[:, None])

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """The bounded loss of the chance that is given to the words that are there."""
        absent = torch.where(asked.target > 0, 0.0, -1e9)
        log = torch.logsumexp(F.log_softmax(answer, 1) + absent, 1).clamp_min(-1e4)
        each = -log if not self.doubt else (1 - (self.doubt * log).exp()) / self.doubt
        return (asked.weight * each).sum()

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Whether the likeliest word is there; the trivial answer depends on the others, see `summary`."""
        hit = asked.target.gather(1, answer.argmax(1, keepdim=True))[:, 0].double()
        return torch.stack([hit, torch.zeros_like(hit)], 1)

    def keep(self, answer: Tensor, asked: Asked) -> tuple[Tensor, ...]:
        """Hits, and which words are there."""
        return self.score(answer, asked)[:, 0], asked.target.double(), (asked.weight > 0).double()

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """How often the word that is named is there, and how often the commonest one."""
        counts = columns[2] > 0
        hit, has = columns[0][counts], columns[1][counts]
        if not len(hit):
            return float("nan"), float("nan"), float("nan")
        trivial = has[:, has.mean(0).argmax()]
        error = float((hit - trivial).std(correction=0)) / len(hit) ** 0.5
        return float(hit.mean()), float(trivial.mean()), error

"""What comes next, from a code of the whole clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.prediction.frames import AHEAD, SEEN, Decoder, Prediction, shrunk

CODE, CELLS = 256, 8


class Composite(nn.Module):
    """An LSTM reads the deep features of the frames; two others unroll its state into frames."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.each = nn.Linear(shape.channels[-1], CODE)
        self.read = nn.LSTM(CODE, CODE, batch_first=True)
        self.unroll = nn.ModuleDict(
            {way: nn.LSTM(CODE, CODE, batch_first=True) for way in ("past", "future")}
        )
        self.place = nn.Linear(CODE, 8 * CELLS**2)
        self.decode = nn.ModuleDict({way: Decoder(8, shape.size // 2) for way in ("past", "future")})

    def forward(self, deep: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (N, 4, 3, side, side) that were, last first, and frames that will be."""
        n = len(deep)
        _, state = self.read(F.relu(self.each(deep)))
        frames = []
        for way in ("past", "future"):
            states, _ = self.unroll[way](deep.new_zeros(n, AHEAD, CODE), state)
            cells = self.place(states.flatten(0, 1)).view(-1, 8, CELLS, CELLS)
            again = last[:, None].expand(-1, AHEAD, -1, -1, -1)
            changes = self.decode[way](cells, again.flatten(0, 1)).view_as(again)
            frames.append(again + changes)
        return frames[0], frames[1]


@dataclass(frozen=True)
class UnLSTM(Prediction):
    """The next four frames, and the four that were seen, last first, from one code that an LSTM makes of them.

    Smaller than in the paper: small frames, of which only the change from the last one is made; the LSTM reads
    what the trunk makes of each frame.
    """

    name = "un_lstm"
    system = "Un-LSTM"
    paper = (
        "Srivastava, Mansimov and Salakhutdinov, Unsupervised learning of video representations "
        "using LSTMs, 2015"
    )

    def head(self, shape: Shape) -> nn.Module:
        """One LSTM that reads, two that unroll."""
        return Composite(shape)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """As `Prediction`; target: those to come behind the last one, and those that were."""
        asked = super().ask(batch, draw)
        return replace(asked, target=torch.cat([asked.target, shrunk(batch["image"][:, :SEEN]).flip(1)], 1))

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Frames to come, then those that were (N, 8, 3, h, w)."""
        past, future = head(seen.deep, asked.target[:, 0])
        return torch.cat([future, past], 1)

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Of the frames to come alone."""
        return super().score(answer[:, :AHEAD], replace(asked, target=asked.target[:, : 1 + AHEAD]))

    def picture(self, answer: Tensor, asked: Asked, side: int) -> Array | None:
        """Of the frames to come alone."""
        return super().picture(answer[:, :AHEAD], replace(asked, target=asked.target[:, : 1 + AHEAD]), side)

"""What comes next, by a recurrent net whose state is a map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.prediction.frames import (
    AHEAD,
    ConvLSTM,
    Decoder,
    Prediction,
    level_of,
    stage_number,
)


class Forecast(nn.Module):
    """A ConvLSTM reads the trunk's maps, another unrolls its state into changes of the last frame."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.read, self.unroll = ConvLSTM(shape.channels[stage_number(shape)]), ConvLSTM(3)
        self.shrink = nn.AdaptiveAvgPool2d(shape.size // 8)
        self.decode = Decoder(self.read.width, shape.size // 2)

    def forward(self, maps: Tensor, last: Tensor) -> Tensor:
        """Frames (N, 4, 3, side, side) of maps (N, T, c, h, w) and the last frame (N, 3, side, side)."""
        state = None
        for one in maps.unbind(1):
            state = self.read(self.shrink(one), state)
        frames = [last]
        for _ in range(AHEAD):
            state = self.unroll(self.shrink(frames[-1]), state)
            frames.append(frames[-1] + self.decode(state[0], frames[-1]))
        return torch.stack(frames[1:], 1)


@dataclass(frozen=True)
class ConvLSTMPrediction(Prediction):
    """The next four frames, by a ConvLSTM over the trunk's maps at stride 8 and one that goes on from its state.

    Smaller than in the paper: one layer each way; frames are made from the one before as its change.
    """

    name = "conv_lstm"
    system = "ConvLSTM"
    paper = (
        "Shi et al., Convolutional LSTM network: a machine learning approach for precipitation "
        "nowcasting, 2015"
    )

    def head(self, shape: Shape) -> nn.Module:
        """Two ConvLSTMs and a decoder."""
        return Forecast(shape)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Tensor:
        """Frames to come (N, 4, 3, h, w)."""
        assert isinstance(head, Forecast)
        maps = level_of(seen.stages, head.shape)
        out: Tensor = head(maps.view(-1, seen.views, *maps.shape[1:]), asked.target[:, 0])
        return out

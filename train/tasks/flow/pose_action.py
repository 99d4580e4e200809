"""Whether a motion turns one frame into another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape, block
from freelabels.train.model.ranks import next_of
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.flow.flow_trunk import own_motion


class Judge(nn.Module):
    """Maps of a first and a last frame and of the flow between → how sure it is that they belong together.

    They meet place by place: vectors of whole frames hardly say where a small thing was.
    """

    def __init__(self, shape: Shape, flows: int, width: int = 32):
        super().__init__()
        self.look = nn.Conv2d(shape.width, width, 1)
        self.motion = nn.Sequential(block(2 * flows, width), nn.MaxPool2d(2), block(width, width))
        self.layers = nn.ModuleList([block(3 * width, 2 * width), block(2 * width, 4 * width)])
        self.out = nn.Linear(4 * width, 1)

    def moved(self, flow: Tensor) -> Tensor:
        """Flows (N, 2 k, H, W) as maps (N, width, H / 4, W / 4)."""
        out: Tensor = self.motion(F.avg_pool2d(flow, 2))
        return out

    def forward(self, first: Tensor, last: Tensor, motion: Tensor) -> Tensor:
        """Logits (N,) of maps (N, width, h, w) each."""
        x = torch.cat([first, last, motion], 1)
        for layer in self.layers:
            x = F.max_pool2d(layer(x), 2)
        out: Tensor = self.out(x.mean((2, 3)))
        return out[:, 0]


@dataclass(frozen=True)
class PoseAction(Task):
    """Whether the stored flow of the frames between turns a first frame into a last one.

    Where it doesn't, it is another sample's flow (the next of the batch, of all ranks), or the frames have
    changed places. The camera's part of the flow (the median) is taken away; windows in which hardly anything
    moves (less than a hundredth of what is seen by `least` pixels a frame) weigh nothing.
    Smaller than in the paper: the flow of `flows` steps instead of twelve; frames and flow meet on maps of stride
    4, not as vectors of whole frames; frames that have changed places stand for the same window's later flow.
    """

    flows: int = 3
    least: float = 0.3

    name = "pose_action"
    system = "PoseAction"
    family = FAMILIES[3]
    paper = (
        "Purushwalkam and Gupta, Pose from action: "
        "unsupervised learning of pose features based on motion, 2016"
    )
    compares = True
    measure = Measure("accuracy, of both kinds alike", "", True)

    def __post_init__(self) -> None:
        if self.flows < 1:
            raise ValueError("flows (steps between the two frames) is at least 1")

    @property
    def needs(self) -> Needs:
        """The frames between, and their flow."""
        return Needs(self.flows + 1, ("flow",))

    def head(self, shape: Shape) -> nn.Module:
        """Two towers of frames, one of flow."""
        return Judge(shape, self.flows)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """First and last frame; target: the flow between."""
        motion, moves = own_motion(batch, range(self.flows), self.least)
        views = batch["image"][:, [0, self.flows]]
        return Asked(motion, everyone(batch) * moves, views, maps=True)

    def answer(self, head: Judge, seen: Seen, asked: Asked) -> Tensor:  # type: ignore[override]
        """Logits (B, 3): it does; another's flow; the frames the wrong way round."""
        first, last = by_view(head.look(seen.maps), 2).unbind(1)
        motion = head.moved(asked.target)
        ways = [(first, last, motion), (first, last, next_of(motion)), (last, first, motion)]
        return torch.stack([head(*way) for way in ways], 1)

    def judge(self, answer: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy; both wrong ways together count as much as the right one."""
        right = F.softplus(-answer[:, 0])
        wrong = F.softplus(answer[:, 1:]).mean(1)
        return (asked.weight * (right + wrong)).sum() / 2

    def score(self, answer: Tensor, asked: Asked) -> Tensor:
        """Half for the right one, a quarter for each wrong one that is known as such."""
        told = (answer[:, 0] > 0).double() + (answer[:, 1:] <= 0).double().mean(1)
        return torch.stack([told / 2, torch.full_like(told, 0.5)], 1)

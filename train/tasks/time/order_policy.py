"""In which order frames came, with a policy that chooses which orders to ask about."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.model.ranks import together
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Needs, Seen, Task, everyone
from freelabels.train.tasks.time.opn import FRAMES, differences
from freelabels.train.tasks.time.stills import at, orders_up_to_direction, stills

ENTROPY, RATE = 0.05, 0.1  # of the policy's loss: for keeping all orders in play, and against the host's loss
Told = tuple[Tensor, Tensor, Tensor]


class HostAndPolicy(nn.Module):
    """The layer that tells the order, and how much the policy likes each order."""

    def __init__(self, shape: Shape, orders: int):
        super().__init__()
        self.out = nn.Linear(shape.channels[-1], orders)
        self.policy = nn.Parameter(torch.zeros(orders))


@dataclass(frozen=True)
class OrderPolicy(Task):
    """As opn; the orders of every other sample are chosen by a policy that is rewarded for what they teach.

    The reward of a question is how much a step on it lowers the error of the samples whose order is drawn
    evenly, to first order: how far its gradient and theirs, at the last layer, point the same way. The policy
    learns by REINFORCE in the same step as everything else; scores are of evenly drawn orders, so that opn's
    are beside them. Smaller than in the paper: the reward is that first-order gain, within a batch, not the
    fall of a held-out error that is measured after some training; the policy sees no state.
    """

    span: float = 0.6
    moving: float = 0.3

    name = "order_policy"
    system = "RL"
    family = FAMILIES[1]
    paper = (
        "Büchler, Brattoli and Ommer, Improving spatiotemporal self-supervision by deep reinforcement "
        "learning, 2018"
    )
    classes = len(orders_up_to_direction(FRAMES))
    compares = True

    @property
    def needs(self) -> Needs:
        """Four frames."""
        return Needs(FRAMES, span=self.span, moving=self.moving)

    def head(self, shape: Shape) -> nn.Module:
        """Host and policy."""
        return HostAndPolicy(shape, self.classes)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Four stills in their order; target: what is drawn for choosing one, who draws it, and the direction."""
        views = stills(batch["image"], draw).expand(-1, -1, 3, -1, -1)
        target = (draw.uniform(), draw.integers(2), draw.integers(2))
        return Asked(target, everyone(batch), views)

    def paint(self, head: HostAndPolicy, asked: Asked) -> Asked:  # type: ignore[override]
        """The stills in an order that the policy chose, or that was drawn evenly; target: which, and who chose."""
        assert asked.images is not None
        drawn, chosen, backwards = asked.target
        share = head.policy.detach().float().softmax(0).cumsum(0)
        evenly = (drawn * self.classes).long()
        liked = torch.searchsorted(share, drawn).clamp_max(self.classes - 1)
        chosen = chosen if head.training else torch.zeros_like(chosen)
        which = torch.where(chosen.bool(), liked, evenly)
        order = orders_up_to_direction(FRAMES).to(which.device)[which]
        index = torch.where(backwards[:, None].bool(), order.flip(1), order)
        images = differences(at(asked.images[:, :, :1], index))
        return replace(asked, images=images, target=(which, chosen))

    def answer(self, head: HostAndPolicy, seen: Seen, asked: Asked) -> Told:  # type: ignore[override]
        """Logits (N, 12), the features they are made of, and −log of the policy's shares (12,)."""
        deep = seen.deep[:, 0]
        return head.out(deep), deep.detach(), -F.log_softmax(head.policy.float(), 0)

    def judge(self, answer: Told, asked: Asked) -> Tensor:
        """Cross-entropy, and the policy's: −log share × how much better the question was than the mean."""
        logits, deep, surprise = answer
        which, chosen = asked.target
        host = F.cross_entropy(logits, which, reduction="none")
        wrong = (logits.softmax(1) - F.one_hot(which, self.classes)).detach()
        counts = asked.weight > 0
        errors, begin = together(wrong)
        features, _ = together(deep)
        even, _ = together((counts & (chosen == 0)).float())
        alike = (wrong @ errors.T) * (deep @ features.T)
        own = begin + torch.arange(len(alike), device=alike.device)
        others = even.expand(len(alike), -1).scatter(1, own[:, None], 0)
        reward = (alike * others).sum(1) / others.sum(1).clamp_min(1)
        mine = (counts & (chosen == 1)).float()
        rewards, _ = together(reward)
        all_mine, _ = together(mine)
        count = all_mine.sum().clamp_min(1)
        mean = (rewards * all_mine).sum() / count
        spread = ((rewards - mean).square() * all_mine).sum().div(count).sqrt() + 1e-6
        better = (reward - mean) / spread
        entropy = (surprise.neg().exp() * surprise).sum()
        each = host + RATE * mine * (better * surprise[which] - ENTROPY * entropy)
        total: Tensor = (asked.weight * each).sum()
        return total

    def score(self, answer: Told, asked: Asked) -> Tensor:
        """How often the order is told."""
        return super().score(answer[0], replace(asked, target=asked.target[0]))

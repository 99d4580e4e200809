"""Disparity from two views at once: what it leads to in the right one must look like the left one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.train.data.labels import AXIS_SUFFIX, WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import STRIDE, Shape, block, resize
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.montage import montage
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Measure, Needs, Seen, Task, everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.likeness import local_contrast
from freelabels.train.tasks.geometry.matching import along, correlation, unit_vectors
from freelabels.train.tasks.geometry.smoothness import first_order, relative
from freelabels.train.tasks.geometry.truth import Truth, shown
from freelabels.train.tasks.geometry.warp import centres, inside, warp

REACH = 8  # steps of a stride that a point may lie further left in the right view
WINDOW = 7  # pixels across, over which differences are taken together
BAD = 2.0  # pixels that a disparity may be off


class Matching(nn.Module):
    """Features of two views (N, width, h, w), and the first image → disparities and validities at its size.

    First at stride 4, as the mean of steps by how well they fit; then what the image adds to it.
    """

    def __init__(self, width: int, hidden: int = 32):
        super().__init__()
        self.match = nn.Conv2d(width, hidden, 1)
        self.keep = nn.Conv2d(width, hidden, 1)
        self.steps = nn.Sequential(block(REACH + 1 + hidden, 64), nn.Conv2d(64, REACH + 1, 3, padding=1))
        self.refine = nn.Sequential(block(4, 16), block(16, 16), nn.Conv2d(16, 2, 3, padding=1))

    def forward(self, here: Tensor, there: Tensor, image: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Disparity in pixels, ≥ 0, and a validity's logit, (N, 1, H, W) each. side: -1 or 1, where b lies."""
        a, b = (unit_vectors(self.match(x)) for x in (here, there))
        ways = along(-REACH, 0)[::-1] if side < 0 else along(0, REACH)
        fits = correlation(a, b, ways) * a.shape[1]
        share = torch.softmax(8 * fits + self.steps(torch.cat([fits, F.relu(self.keep(here))], 1)), 1)
        number = torch.arange(REACH + 1, device=share.device)[:, None, None]
        coarse = STRIDE * (share * number).sum(1, keepdim=True)
        coarse = resize(coarse, (image.shape[-2], image.shape[-1]))
        more, valid = self.refine(torch.cat([coarse / STRIDE, image / 128 - 1], 1)).split(1, 1)
        return F.softplus(coarse + more, beta=2), valid


@dataclass(frozen=True)
class Stereo:
    """Both views (B, 2, 3, H, W), 0 … 255, the right one's points further left; and the left one's exact depth.

    scale: (B,), disparity in pixels times depth; NaN where the cameras are not known.
    """

    frames: Tensor
    depth: Truth
    scale: Tensor


@dataclass(frozen=True)
class Told:
    """Disparities (B, 1, H, W) of the left view and of the right one, and the left one's validity logits."""

    left: Tensor
    right: Tensor
    valid: Tensor


@dataclass(frozen=True)
class ActiveStereo(Task):
    """The disparity of a rectified pair, so that the right view, looked up by it, is the left one.

    Compared is local contrast, over windows, weighed by how much of it there is. Where left and right
    disparity don't agree (1 pixel) nothing is compared; a validity is learned from that. The score is of disparity
    on exact labels of what the right view holds; beside it stands how much of it is off by more than 2 pixels.
    Smaller than in the paper: disparity from a correlation of stride 4, up to 32 pixels; even windows instead of
    adaptive ones. Active where the pair is: `render --stereo active` projects a pattern of dots.
    """

    smooth: float = 0.01

    name = "active_stereo"
    system = "ActiveStereoNet"
    family = FAMILIES[3]
    paper = (
        "Zhang et al., ActiveStereoNet: end-to-end self-supervised learning for active stereo systems, 2018"
    )
    trivial = "best constant disparity"
    measure = Measure("mean error of disparity", "px", False)
    needs = Needs(1, ("right",), uses=("depth", "camera_K", "baseline"))

    def head(self, shape: Shape) -> nn.Module:
        """What matches, the same both ways."""
        return Matching(shape.width)

    def ask(self, batch: Batch, draw: Draw) -> Asked:
        """Both views, mirrored back where the window is mirrored; turned ones weigh nothing."""
        axis = batch["right" + AXIS_SUFFIX]
        frames = torch.stack([batch["image"][:, 0], batch["right"][:, 0].to(batch["image"].dtype)], 1)
        truth = Truth.of(batch, "depth")
        frames, values, weight = (
            torch.where((axis[:, 0] < 0).view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
            for x in (frames, truth.values, truth.weight)
        )
        level = axis[:, 1].abs() < 0.01
        counts = everyone(batch) * (batch["right" + WEIGHT_SUFFIX][:, 0] > 0) * level
        pair = Stereo(frames.float(), Truth(values, weight), _scale(batch))
        return Asked(pair, counts, frames, maps=True)

    def answer(self, head: nn.Module, seen: Seen, asked: Asked) -> Told:
        """Both disparities."""
        left, right = by_view(seen.maps, 2).unbind(1)
        first, second = asked.target.frames.unbind(1)
        disparity, valid = head(left, right, first, -1)
        return Told(disparity, head(right, left, second, 1)[0], valid)

    def judge(self, answer: Told, asked: Asked) -> Tensor:
        """Both ways; and the validity's cross-entropy against whether both agree."""
        left, right = asked.target.frames.unbind(1)
        one, agrees = self._one_way(left, right, answer.left, answer.right, -1)
        other, _ = self._one_way(right, left, answer.right, answer.left, 1)
        told = F.binary_cross_entropy_with_logits(answer.valid, agrees, reduction="none").mean((1, 2, 3))
        return (asked.weight * (one + other + 0.1 * told)).sum()

    def _one_way(
        self, here: Tensor, there: Tensor, disparity: Tensor, back: Tensor, side: int
    ) -> tuple[Tensor, Tensor]:
        """(B,): how unlike what it leads to is; and (B, 1, H, W), where both ways agree."""
        flow = torch.cat([side * disparity, torch.zeros_like(disparity)], 1)
        with torch.no_grad():
            same = (warp(back, flow) - disparity).abs() < 1
            agrees = (same & inside(centres(flow) + flow)).float()
        (contrast, spread), (other, _) = local_contrast(here), local_contrast(warp(there, flow))
        gap = spread / 50 * (contrast - other).abs()
        counted = F.avg_pool2d(agrees * gap, WINDOW, 1, WINDOW // 2)
        # What doesn't agree costs as much as the mean difference, so that disagreeing pays nothing.
        missing = (1 - agrees) * gap.detach().mean((1, 2, 3), keepdim=True)
        return (counted + missing).mean((1, 2, 3)) + self.smooth * first_order(
            relative(disparity), here
        ), agrees

    def score(self, answer: Told, asked: Asked) -> Tensor:
        """Mean error of disparity, pixels, and of the best constant, of places in view of both cameras."""
        exact, counts = exact_disparity(asked.target)
        rows = []
        for told, right, some in zip(answer.left, exact, counts, strict=True):
            true = right[some].double()
            guesses = (told[some].double(), true.median() if len(true) else true)
            rows.append(torch.stack([(guess - true).abs().sum() / max(len(true), 1) for guess in guesses]))
        return torch.stack(rows)

    def keep(self, answer: Told, asked: Asked) -> tuple[Tensor, ...]:
        """Scores of pairs with exact disparity, and how much of each is off."""
        known = exact_disparity(asked.target)[1].flatten(1).any(1)
        return (
            self.score(answer, asked),
            bad(answer.left, asked.target),
            (known & (asked.weight > 0)).double(),
        )

    def summary(self, columns: Sequence[Tensor]) -> tuple[float, float, float]:
        """Of the scores."""
        return super().summary([columns[0], columns[-1]])

    def beside(self, columns: Sequence[Tensor]) -> dict[str, float]:
        """Share of disparities that are off by more than `BAD` pixels."""
        off = columns[1][columns[-1] > 0]
        return {"bad-2": float(off.mean())} if len(off) else {}

    def picture(self, answer: Told, asked: Asked, side: int) -> Array:
        """Both views, the disparity that was told and the exact depth."""
        depth = asked.target.depth
        told = [shown("disparity", answer.left), shown("depth", depth.values, depth.weight)]
        return montage(torch.cat([asked.target.frames, *told], 1), side)


def exact_disparity(pair: Stereo) -> tuple[Tensor, Tensor]:
    """Disparity (B, 1, H, W) of the left view, pixels, and where it is known and in view of both cameras.

    Places that something hides from the right camera count too. None where the cameras are not known.
    """
    depth = pair.depth.values
    known = (pair.depth.weight[:, None] > 0) & (depth > 0)
    exact = pair.scale.view(-1, 1, 1, 1) / torch.where(known, depth, 1.0)
    return exact, known & (centres(depth)[:1] >= exact)  # false of NaN


def bad(disparity: Tensor, pair: Stereo) -> Tensor:
    """Share (B,) of exact disparities from which one (B, 1, H, W) is off by more than `BAD`; NaN where none is."""
    exact, counts = exact_disparity(pair)
    off = counts & ((disparity - exact).abs() > BAD)
    return (off.sum((1, 2, 3)) / counts.sum((1, 2, 3))).double()


def _scale(batch: Batch) -> Tensor:
    """Focal length, pixels, times baseline, metres (B,)."""
    if "camera_K" not in batch or "baseline" not in batch:
        return torch.full((len(batch["seed"]),), torch.nan, device=batch["image"].device)
    return (batch["camera_K"][:, 0, 0, 0] * batch["baseline"][:, 0]).float()

"""Losses as mathematics: residual maps per pixel, and what makes them robust to wrong labels.

Every function takes float32 tensors: predictions (N, C, H, W), targets (N, C, H, W), weights (N, H, W) ≥ 0,
0 where there is no label. A loss is a *sum* over pixels; whoever calls divides by the number of valid pixels in
the whole batch (all ranks, all accumulated parts), so that the gradient doesn't depend on how it was split.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Residual = Callable[[Tensor, Tensor, Tensor], Tensor]
EPSILON = 1e-6


def binary(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy (N, H, W) of logits against probabilities, less the target's own entropy."""
    entropy = F.binary_cross_entropy(target, target, reduction="none")
    return (F.binary_cross_entropy_with_logits(prediction, target, reduction="none") - entropy)[:, 0]


def binary_generalised(prediction: Tensor, target: Tensor, weight: Tensor, q: float = 0.7) -> Tensor:
    """(1 − p^q) / q of the probability p given to the label; between cross-entropy (q → 0) and MAE (q = 1).

    Zhang and Sabuncu, Generalized cross entropy loss for training deep networks with noisy labels, 2018.
    """
    logits = torch.cat([-prediction, prediction], dim=1) / 2
    share = torch.cat([1 - target, target], dim=1)
    powered = torch.exp(q * F.log_softmax(logits, dim=1))
    return (share * (1 - powered)).sum(1) / q


def categorical(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy (N, H, W) of logits against class ids (N, 1, H, W)."""
    return F.cross_entropy(prediction, target[:, 0].long(), reduction="none")


def categorical_generalised(prediction: Tensor, target: Tensor, weight: Tensor, q: float = 0.7) -> Tensor:
    """Generalised cross-entropy (N, H, W) of logits against class ids (N, 1, H, W)."""
    chosen = F.log_softmax(prediction, dim=1).gather(1, target.long())[:, 0]
    return (1 - torch.exp(q * chosen)) / q


def angular(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Angle (N, H, W) in radians between vectors, by atan2, whose gradient is finite at 0 and at π."""
    prediction = F.normalize(prediction, dim=1, eps=EPSILON)
    a, b = (
        prediction.unbind(1),
        target.unbind(1),
    )  # torch's own cross product takes ten times as long on a CPU
    cross = [a[k - 2] * b[k - 1] - a[k - 1] * b[k - 2] for k in range(3)]
    sine = (cross[0].square() + cross[1].square() + cross[2].square() + EPSILON**2).sqrt()
    return torch.atan2(sine, (prediction * target).sum(1))


def absolute(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Length (N, H, W) of the difference, smooth at zero."""
    return ((prediction - target).square().sum(1) + EPSILON).sqrt() - math.sqrt(EPSILON)


def align(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The prediction moved by each frame's best scale ≥ 0 and shift (weighted least squares), all (N, 1, H, W).

    Ranftl et al., Towards robust monocular depth estimation (MiDaS), 2020, eq. 3–4.
    """
    w = weight[:, None]
    total = w.sum((1, 2, 3), keepdim=True).clamp_min(EPSILON)
    mean_p = (w * prediction).sum((1, 2, 3), keepdim=True) / total
    mean_t = (w * target).sum((1, 2, 3), keepdim=True) / total
    p = prediction - mean_p
    covariance = (w * p * (target - mean_t)).sum((1, 2, 3), keepdim=True) / total
    variance = (w * p * p).sum((1, 2, 3), keepdim=True) / total
    return covariance.clamp_min(0) / (variance + EPSILON) * p + mean_t


def unit_spread(target: Tensor, weight: Tensor) -> Tensor:
    """Targets (N, 1, H, W) shifted and scaled per frame to weighted mean 0 and mean absolute deviation 1."""
    w = weight[:, None]
    total = w.sum((1, 2, 3), keepdim=True).clamp_min(EPSILON)
    centred = target - (w * target).sum((1, 2, 3), keepdim=True) / total
    spread = (w * centred.abs()).sum((1, 2, 3), keepdim=True) / total
    return centred / spread.clamp_min(EPSILON)


def scale_shift_invariant(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """|residual| (N, H, W) where both sides are brought to mean 0 and mean absolute deviation 1 per frame.

    Ranftl et al. 2020, section 5, with the mean for the median. An infinite family of predictions fits; a flat
    one has residual 1 on average and, unlike under least squares, a gradient that leads out of flatness.
    """
    spread = unit_spread(prediction, weight)
    return (spread - unit_spread(target, weight)).abs()[:, 0]


def log_depth(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """|prediction − log target| (N, H, W); predictions are logarithms of metres."""
    return (prediction - target.clamp_min(EPSILON).log()).abs()[:, 0]


def scale_invariant_log(prediction: Tensor, target: Tensor, weight: Tensor, share: float = 0.5) -> Tensor:
    """Sum of squared log errors less `share` of what one factor per frame explains.

    Eigen et al., Depth map prediction from a single image, 2014, eq. 4.
    """
    error = (prediction - target.clamp_min(EPSILON).log())[:, 0]
    total = weight.sum((1, 2)).clamp_min(EPSILON)
    return (
        (weight * error.square()).sum((1, 2)) - share * (weight * error).sum((1, 2)).square() / total
    ).sum()


def gradient_match(prediction: Tensor, target: Tensor, weight: Tensor, scales: int = 3) -> Tensor:
    """Sum over scales of |differences of the error| between neighbours that both have a label.

    Li and Snavely, MegaDepth, 2018, eq. 5. Each scale keeps every second pixel and counts four times as much.
    """
    error = prediction - target
    loss = error.new_zeros(())
    for scale in range(scales):
        e, w = error[:, 0, :: 2**scale, :: 2**scale], weight[:, :: 2**scale, :: 2**scale]
        across = (e[:, :, 1:] - e[:, :, :-1]).abs() * torch.minimum(w[:, :, 1:], w[:, :, :-1])
        down = (e[:, 1:] - e[:, :-1]).abs() * torch.minimum(w[:, 1:], w[:, :-1])
        loss = loss + (across.sum() + down.sum()) * 4**scale / scales
    return loss


def ranking(prediction: Tensor, target: Tensor, weight: Tensor, margin: float = 0.02) -> Tensor:
    """Sum of logistic losses over pairs of pixels whose order in `target` is clear.

    Each pixel is compared with those a fixed set of steps away, so no random numbers are drawn. A pair counts
    with the smaller weight, if its targets differ by more than `margin` of the frame's mean deviation.
    Chen et al., Single-image depth perception in the wild, 2016.
    """
    target = unit_spread(target, weight)
    height, width = target.shape[-2:]
    steps = [(height // a, width // b) for a, b in ((3, 5), (7, 3), (5, 11))]
    loss = prediction.new_zeros(())
    for dy, dx in steps:
        gap = target[:, 0, dy:, dx:] - target[:, 0, : height - dy, : width - dx]
        lead = prediction[:, 0, dy:, dx:] - prediction[:, 0, : height - dy, : width - dx]
        both = torch.minimum(weight[:, dy:, dx:], weight[:, : height - dy, : width - dx])
        loss = loss + (F.softplus(-lead * gap.sign()) * both * (gap.abs() > margin)).sum() / len(steps)
    return loss


def class_balance(target: Tensor, weight: Tensor, limit: float = 20.0) -> Tensor:
    """Weights (N, H, W) that let positives and negatives of a frame count alike, positives at most `limit` times.

    Xie and Tu, Holistically-nested edge detection, 2015, section 2.2, per frame and thus equal under any split.
    """
    positive = (weight * target[:, 0]).sum((1, 2), keepdim=True)
    negative = (weight * (1 - target[:, 0])).sum((1, 2), keepdim=True)
    factor = (negative / positive.clamp_min(EPSILON)).clamp(1.0, limit)
    return weight * (1 + (factor - 1) * target[:, 0])


def trim(residual: Tensor, weight: Tensor, group: Tensor, share: float) -> Tensor:
    """Weights without the `share` of each frame's labelled pixels that fit worst, within each group apart.

    group (N, H, W) are small integers, for example the class: the rare one must not be trimmed away whole.
    """
    kept = weight.clone()
    for n in range(len(weight)):
        labelled = weight[n] > 0
        for value in set(group[n][labelled].tolist()):
            members = labelled & (group[n] == value)
            values = residual[n][members].detach()
            drop = int(len(values) * share)
            if drop:
                limit = values.kthvalue(len(values) - drop).values
                kept[n][members & (residual[n].detach() > limit)] = 0
    return kept

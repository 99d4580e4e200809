"""The built-in tasks on stored labels: which field each reads, its loss and its metric.

A task reads the field it is named after, or `reads`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.generators.contract.fields import STEPS
from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.tasks import losses, metrics
from freelabels.train.tasks.labelled import Labelled, Labels


@dataclass(frozen=True)
class FramesOf:
    """Labels of a field, frame by frame; of pairs, at the frame that the pair starts from."""

    name: str
    pair: int = 0

    def __call__(self, batch: Batch) -> Labels:
        """Targets and weights."""
        part = slice(max(-self.pair, 0), min(-self.pair, 0) or None)
        return batch[self.name][:, part].flatten(0, 1), batch[self.name + WEIGHT_SUFFIX][:, part].flatten(
            0, 1
        )


def _edges(batch: Batch) -> Labels:
    """Edges with an ignore band: a boundary that is neither likely nor unlikely teaches nothing."""
    target, weight = FramesOf("edges")(batch)
    unsure = (target[:, 0] > 0.1) & (target[:, 0] < 0.4)
    return (target >= 0.4).float(), weight.masked_fill(unsure, 0)


def _contours(batch: Batch) -> Labels:
    """Pixels whose right or lower neighbour belongs to another object; not told where that is out of sight."""
    ids, weight = FramesOf("instance")(batch)
    beside, known = F.pad(ids, (0, 1, 0, 1)), F.pad((weight > 0)[:, None], (0, 1, 0, 1))
    right, lower = known[..., :-1, 1:], known[..., 1:, :-1]
    border = (right & (beside[..., :-1, 1:] != ids)) | (lower & (beside[..., 1:, :-1] != ids))
    return border.float(), weight.masked_fill(~(border | (right & lower))[:, 0], 0)


def _ego_motion(batch: Batch) -> Labels:
    """The next camera in this one's axes: rotation vector (radians), translation (metres), (N, 6, 1, 1)."""
    pose = batch["camera_pose"].double()
    known = torch.isfinite(pose).all(-1).all(-1)
    pose = torch.where(known[..., None, None], pose, torch.eye(4, dtype=pose.dtype, device=pose.device))
    relative = torch.linalg.solve(pose[:, :-1], pose[:, 1:]).flatten(0, 1)
    R = relative[:, :3, :3]
    twist = torch.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1) / 2
    sine = twist.norm(dim=1, keepdim=True)
    cosine = (R.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1) / 2
    angle = torch.atan2(sine, cosine)
    vector = torch.where(sine > 1e-9, twist * angle / sine.clamp_min(1e-9), twist)
    target = torch.cat([vector, relative[:, :3, 3]], dim=1)[:, :, None, None]
    weight = (known[:, :-1] & known[:, 1:]).flatten()[:, None, None]
    return target.float(), weight.float()


def _same(prediction: Tensor) -> Tensor:
    return prediction


def _unit(prediction: Tensor) -> Tensor:
    return F.normalize(prediction, dim=1)


def _most_likely(prediction: Tensor) -> Tensor:
    return prediction.argmax(1, keepdim=True).float()


def probability(name: str, labels: Callable[[Batch], Labels] | None = None, **extra: object) -> Labelled:
    """A task for a field of probabilities."""
    task = Labelled(
        name,
        (name,),
        1,
        labels or FramesOf(name),
        losses.binary,
        torch.sigmoid,
        metrics.AVERAGE_PRECISION,
        generalised=losses.binary_generalised,
        draws=name,
    )
    return replace(task, **extra)  # type: ignore[arg-type]


def category(name: str) -> Labelled:
    """A task for a field of classes."""
    return Labelled(
        name,
        (name,),
        None,
        FramesOf(name),
        losses.categorical,
        _most_likely,
        metrics.MEAN_IOU,
        generalised=losses.categorical_generalised,
        draws=name,
    )


def displacement(name: str, pair: int) -> Labelled:
    """A task for a field of displacements between two frames."""
    return Labelled(
        name,
        (name,),
        2,
        FramesOf(name, pair),
        losses.absolute,
        _same,
        metrics.END_POINT_ERROR,
        draws=name,
        pair=pair,
        scale=0.1,  # pixels, against numbers around one
    )


def _depth_extra(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    log = target.clamp_min(losses.EPSILON).log()
    return losses.scale_invariant_log(prediction, target, weight) + 0.5 * losses.gradient_match(
        prediction, log, weight
    )


def _coordinates(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return losses.absolute(torch.sigmoid(prediction), target, weight)


def _disparity_extra(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    mine, theirs = losses.unit_spread(prediction, weight), losses.unit_spread(target, weight)
    # Ranking also counts where disparity is right in order only (a detector's planes, a curve of gains).
    return 0.5 * losses.gradient_match(mine, theirs, weight) + 0.5 * losses.ranking(mine, target, weight)


EDGES = ("Edge Detection", "Li, Paluri, Rehg and Dollár, Unsupervised learning of edges, 2016")
MOTION = ("Watching Move", "Pathak et al., Learning features by watching objects move, 2017")
RENDERS = (
    "Cross Domain",
    "Ren and Lee, Cross-domain self-supervised multi-task feature learning using synthetic imagery, 2018",
)
# What the survey calls learning them, and the paper it means; renders also take --adversary there.
SYSTEMS = {
    "edges": EDGES,
    **dict.fromkeys(("motion", "foreground"), MOTION),
    **dict.fromkeys(("contours", "depth", "normals"), RENDERS),
}


def _of_survey(task: Labelled) -> Labelled:
    system, paper = SYSTEMS.get(task.name, ("", ""))
    return replace(task, system=system, paper=paper)


_TASKS = (
    probability("edges", _edges, balanced=True),
    probability("motion", balanced=True),
    probability("foreground", balanced=True),
    probability("saliency", balanced=True),
    probability("shadow", balanced=True),
    Labelled(
        "disparity",
        ("disparity",),
        1,
        FramesOf("disparity"),
        losses.scale_shift_invariant,
        _same,
        metrics.UNEXPLAINED,
        extra=_disparity_extra,
        draws="disparity",
    ),
    Labelled(
        "depth",
        ("depth",),
        1,
        FramesOf("depth"),
        losses.log_depth,
        torch.exp,
        metrics.LOG_ERROR,
        extra=_depth_extra,
        draws="depth",
    ),
    Labelled(
        "normals",
        ("normals",),
        3,
        FramesOf("normals"),
        losses.angular,
        _unit,
        metrics.ANGLE,
        draws="normals",
    ),
    displacement("flow", 1),
    displacement("flow_backward", -1),
    *(displacement(f"flow_{steps}", steps) for steps in STEPS),
    *(displacement(f"flow_backward_{steps}", -steps) for steps in STEPS),
    probability("contours", _contours, reads=("instance",), balanced=True, draws="edges"),
    category("semantic"),
    category("edge_type"),
    category("flow_visibility"),
    Labelled(
        "object_coordinates",
        ("object_coordinates",),
        3,
        FramesOf("object_coordinates"),
        _coordinates,
        torch.sigmoid,
        metrics.DISTANCE,
        draws="object_coordinates",
    ),
    Labelled(
        "ego_motion",
        ("camera_pose",),
        6,
        _ego_motion,
        losses.absolute,
        _same,
        metrics.EGO_MOTION,
        pair=1,
        whole=True,
    ),
)
LABELLED = tuple(_of_survey(task) for task in _TASKS)

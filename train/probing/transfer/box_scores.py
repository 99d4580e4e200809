"""How good detections are: VOC's average precision, by area and by 11 points, and COCO's AP."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

IOU = 0.5  # from which on VOC counts a box as found


@dataclass(frozen=True)
class Boxes:
    """Objects of an image.

    boxes: (k, 4) float32: left, top, right, bottom edge, pixels from the image's top left corner. labels: (k,)
    int64, from 0. ignored: (k,) bool, difficult ones and crowds: neither trained on nor asked for, and
    finding them is no fault.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor


@dataclass(frozen=True)
class Found:
    """Detections in an image: boxes (k, 4) as in `Boxes`, labels (k,) from 0, scores (k,)."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Precision:
    """Means over the classes that are asked for; NaN if none is.

    area, points: average precision at IoU 0.5 as VOC counts, by area and by 11 points. coco: COCO's AP over IoU
    0.5 to 0.95.
    """

    area: float
    points: float
    coco: float


def precision(found: Sequence[Found], truth: Sequence[Boxes]) -> Precision:
    """Score the detections of each image against its objects."""
    classes = sorted({int(c) for one in truth for c in one.labels[~one.ignored]})
    each = [_curve(found, truth, c) for c in classes]
    if not each:
        return Precision(math.nan, math.nan, math.nan)
    return Precision(
        float(np.mean([by_area(*curve) for curve in each])),
        float(np.mean([by_points(*curve) for curve in each])),
        coco_ap(found, truth),
    )


Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Recall and precision after each detection, surest first."""


def _curve(found: Sequence[Found], truth: Sequence[Boxes], label: int) -> Curve:
    """VOC's matching: a detection goes to the object it overlaps most, the surest first; the rest are false.

    Everingham et al., The PASCAL visual object classes challenge, 2010, section 4.2, and its devkit.
    """
    asked = 0
    scores: list[float] = []
    hits: list[bool] = []
    for one, image in zip(found, truth, strict=True):
        objects = image.labels == label
        ignored = image.ignored[objects].tolist()
        asked += len(ignored) - sum(ignored)
        mine = one.labels == label
        order = one.scores[mine].argsort(descending=True, stable=True)
        overlap = box_iou(one.boxes[mine][order].float(), image.boxes[objects].float())
        taken = [False] * len(ignored)
        for score, row in zip(one.scores[mine][order].tolist(), overlap, strict=True):
            best = int(row.argmax()) if len(ignored) else -1
            hit = best >= 0 and float(row[best]) >= IOU
            if hit and ignored[best]:
                continue
            hits.append(hit and not taken[best])
            if hit:
                taken[best] = True
            scores.append(score)
    right = np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")].cumsum()
    return right / max(asked, 1), right / np.arange(1, len(right) + 1)


def by_area(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """The area under the best precision at each recall or above; VOC from 2010 on."""
    steps = np.diff(recall, prepend=0.0)
    return float((steps * _best_from(precision)).sum())


def by_points(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """The mean of the best precision at recall 0, 0.1, …, 1 or above; VOC up to 2009."""
    best = np.append(_best_from(precision), 0.0)
    # A recall of 3 / 10 is 0.3, whichever of the two is rounded up.
    return float(best[np.searchsorted(recall, np.arange(11) / 10 - 1e-9)].mean())


def _best_from(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])


def coco_ap(found: Sequence[Found], truth: Sequence[Boxes]) -> float:
    """COCO's AP by pycocotools, at most 100 detections an image; what is ignored counts as a crowd."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects = [
        {
            "id": 0,
            "image_id": image,
            "category_id": label,
            "bbox": [x, y, right - x, lower - y],
            "area": (right - x) * (lower - y),
            "iscrowd": int(ignored),
        }
        for image, one in enumerate(truth)
        for (x, y, right, lower), label, ignored in zip(
            one.boxes.tolist(), one.labels.tolist(), one.ignored.tolist(), strict=True
        )
    ]
    for number, one in enumerate(objects):
        one["id"] = number + 1  # 0 means "none" there
    detections = np.array(
        [
            (image, x, y, right - x, lower - y, score, label)
            for image, one in enumerate(found)
            for (x, y, right, lower), label, score in zip(
                one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True
            )
        ]
    )
    if not len(detections):
        return 0.0
    asked = sorted({one["category_id"] for one in objects if not one["iscrowd"]})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        known: Any = COCO()
        known.dataset = {
            "images": [{"id": k} for k in range(len(truth))],
            "categories": [{"id": c} for c in asked],
            "annotations": objects,
            "info": {},
        }
        known.createIndex()
        judge: Any = COCOeval(known, known.loadRes(detections), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def mirrored(boxes: Boxes, width: int) -> Boxes:
    """The objects of an image `width` pixels wide, mirrored left to right."""
    x, y, right, lower = boxes.boxes.unbind(1)
    return Boxes(torch.stack([width - right, y, width - x, lower], 1), boxes.labels, boxes.ignored)

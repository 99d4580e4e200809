"""Pieces that detectors of edges, regions and foreground share: a working lattice, superpixels, neighbours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


def working_lab(image: NDArray[np.uint8], longest: int) -> Floats:
    """CIE Lab (h, w, 3) of an sRGB image (H, W, 3), shrunk so that no side exceeds `longest` pixels."""
    scale = longest / max(image.shape[:2])
    rgb = image.astype(np.float32) / 255
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)


def superpixels(lab: Floats, count: int) -> Ids:
    """About `count` compact regions (h, w), ids from 0, by SLIC (Achanta et al. 2012) on Lab."""
    labels = slic(
        lab,
        n_segments=count,
        compactness=10,
        max_num_iter=5,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return np.asarray(labels, np.int32)


def region_means(values: Floats, labels: Ids) -> NDArray[np.float64]:
    """Mean (n, C) of values (h, w, C) over each region of labels (h, w)."""
    flat, size = labels.ravel(), np.bincount(labels.ravel())
    sums = [np.bincount(flat, channel, len(size)) for channel in values.reshape(flat.size, -1).T]
    return np.stack(sums, axis=1) / np.maximum(size, 1)[:, None]


def neighbours(labels: Ids) -> NDArray[np.int64]:
    """Pairs (m, 2) of region ids that touch (4-neighbourhood), each once, the lower id first."""
    across = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    down = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    pairs = np.concatenate([across, down]).astype(np.int64)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    count = int(labels.max(initial=0)) + 1
    codes = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([codes // count, codes % count], axis=1)


def boundaries(labels: Ids) -> NDArray[np.bool_]:
    """Pixels (h, w) whose right or lower neighbour belongs to another region."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge

"""Whole images in a square, and their boxes with them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.pipeline.media.images import BACKGROUND, decode
from freelabels.pipeline.storage.uris import SourceError, read_bytes, why
from freelabels.train.probing.transfer.box_scores import Boxes

READERS = 4  # threads


def letterboxed(files: Sequence[Path], boxes: Sequence[Boxes], size: int) -> tuple[Tensor, tuple[Boxes, ...]]:
    """Images uint8 sRGB (n, 3, size, size), the longer side `size`, on grey to the right or below; their boxes.

    Raises UserError, naming the file, for an image that can't be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        pairs = list(pool.map(lambda file: _read(file, size), files))
    scaled = (
        Boxes(one.boxes * scale, one.labels, one.ignored)
        for (_, scale), one in zip(pairs, boxes, strict=True)
    )
    return torch.from_numpy(np.stack([image for image, _ in pairs])), tuple(scaled)


def _read(file: Path, size: int) -> tuple[NDArray[np.uint8], float]:
    """An image (3, size, size), and pixels of it a pixel of the file."""
    try:
        picture = decode(read_bytes(str(file)), (size, size))
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    height, width = picture.size
    scale = size / max(height, width)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if small[0] < picture.image.shape[1] else cv2.INTER_LINEAR
    square = np.full((size, size, 3), BACKGROUND, np.uint8)
    square[: small[1], : small[0]] = cv2.resize(picture.image, small, interpolation=way)
    return np.ascontiguousarray(square.transpose(2, 0, 1)), scale

"""Views side by side as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from freelabels.generators.contract.fields import Array

GAP = 2  # pixels between views


def montage(images: Tensor, side: int, captions: Sequence[str] = ()) -> Array:
    """uint8 (N, side, side, 3) of views (N, k, 3, h, w) in 0 … 255: a grid a sample, its caption below left."""
    views = images.shape[1]
    across = math.ceil(math.sqrt(views))
    cell = side // across
    out = np.full((len(images), side, side, 3), 255, np.uint8)
    planes = images.detach().float().clamp(0, 255).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
    for n, sample in enumerate(planes):
        for k, view in enumerate(sample):
            y, x = (cell * place for place in divmod(k, across))
            inner = max(1, cell - GAP)
            out[n, y : y + inner, x : x + inner] = cv2.resize(
                view, (inner, inner), interpolation=cv2.INTER_NEAREST
            )
        if captions and captions[n]:
            place = (3, side - 4)
            for colour, thick in (((255, 255, 255), 3), ((0, 0, 0), 1)):
                cv2.putText(
                    out[n], captions[n], place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thick, cv2.LINE_AA
                )
    return out

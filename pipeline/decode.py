"""A clip spec → its pixels, every kind by the same resize and crop."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from generators.clip import Clip
from generators.geometry import crop_resize_intrinsics
from pipeline.clips import ClipSpec
from pipeline.files import read_bytes
from pipeline.images import animation, decode
from pipeline.videos import pick

RGB = NDArray[np.uint8]


def read(spec: ClipSpec, size: tuple[int, int]) -> Clip:
    """The frames of a clip at `size` = (height, width): scaled to cover it, the middle cut out, K along with it.

    The same pixels however often it is asked for. Raises SourceError or OSError if the source changed.
    """
    crop = Crop.of(spec.size, size)
    image = np.stack([crop(picture, reduced) for picture, reduced in _pictures(spec, crop)])
    return Clip(image, np.array(spec.times), crop.intrinsics(spec.camera_K), spec.intrinsics)


class Crop:
    """The central cut of a (height, width) frame that has the shape of the output, and its scaling to it."""

    def __init__(self, x: int, y: int, width: int, height: int, size: tuple[int, int]) -> None:
        self.x, self.y, self.width, self.height, self.size = x, y, width, height, size

    @classmethod
    def of(cls, frame: tuple[int, int], size: tuple[int, int]) -> Crop:
        scale = min(frame[0] / size[0], frame[1] / size[1])
        height, width = min(frame[0], round(size[0] * scale)), min(frame[1], round(size[1] * scale))
        return cls((frame[1] - width) // 2, (frame[0] - height) // 2, width, height, size)

    @property
    def frame_needed(self) -> tuple[int, int]:
        return self.size

    def intrinsics(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        return crop_resize_intrinsics(
            K, (self.x, self.y), (self.size[1] / self.width, self.size[0] / self.height)
        )

    def __call__(self, image: RGB, reduced: int = 1) -> RGB:
        x, y, w, h = (round(v / reduced) for v in (self.x, self.y, self.width, self.height))
        cut = image[y : y + h, x : x + w]
        shrinks = cut.shape[0] >= self.size[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(cut, self.size[::-1], interpolation=how), np.uint8)


def _pictures(spec: ClipSpec, crop: Crop) -> Iterator[tuple[RGB, int]]:
    if spec.kind == "photo":
        picture = decode(read_bytes(spec.uris[0]))
        yield picture.image, 1
    elif spec.checksum:
        for frame in pick(spec.uris[0], spec.indices, spec.pts, spec.checksum):
            yield frame.rgb(), 1
    else:
        wanted = set(spec.indices)
        for index, (_, image) in enumerate(animation(read_bytes(spec.uris[0]))):
            if index in wanted:
                yield image, 1

"""One image file → what may be a photo or a frame of something, or one sentence why it can't be either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.media.cuts import thumb
from freelabels.pipeline.media.images import DecodedImage, decode
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.layouts import words
from freelabels.pipeline.storage.uris import SourceError, sha256_of

PROBE_SIZE = (256, 256)  # a JPEG needn't be decoded finer than this to see that it is whole
LABEL_COLOURS, LABEL_FLATNESS = 64, 0.8  # so few colours in such flat areas are ids, not brightnesses
BINARY_SHARE = 0.97  # of pixels nearly black or nearly white, in a mask saved with loss
GREY_MAPS = frozenset(("masks", "segmentation", "confidence"))
MAPPED_COLOURS = 220  # so few colours, at 5 bits a channel, are a colour scale
UNIT, UNIT_SHARE = 0.04, 0.9  # how far from one the lengths of so many vectors may be
LEAST_TURN = 0.1  # standard deviation of some component of theirs; less is a blue sky
BACKGROUND, MOST_BACKGROUND = (
    0.1,
    0.8,
)  # share of the commonest colour from which on it is no vector, and its most


@dataclass(frozen=True)
class Still:
    """A whole image that may be a photo, or a frame of something; `thumb` as `cuts` compares it."""

    uri: str
    sha256: str
    size: tuple[int, int]
    focal: float | None
    thumb: NDArray[np.uint8]
    animated: bool
    colour: str = ""

    def photo(self, options: SourceOptions) -> ClipSpec:
        """The image as a clip of its own."""
        camera, origin = options.camera_of(self.size, self.focal)
        return ClipSpec(
            "photo", (self.uri,), self.sha256, self.size, (0,), (0.0,), camera, origin, colour=self.colour
        )


def load(uri: str, data: bytes) -> Still:
    """Decode an image wholly. Raises SourceError if it is broken or can't be a photo."""
    picture = decode(data, PROBE_SIZE)
    problem = not_a_photo(picture, uri, data) if picture.frames == 1 else ""
    if problem:
        raise SourceError(problem)
    small = thumb(picture.image)
    return Still(uri, sha256_of(data), picture.size, picture.focal, small, picture.frames > 1, picture.colour)


def not_a_photo(picture: DecodedImage, uri: str, data: bytes = b"") -> str:
    """Why an image can't be a photo: one colour, a label map, a map by name and look; "" if it can."""
    image = picture.image
    coarse = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
    if (coarse == coarse[0, 0]).all() and (image == image[0, 0]).all():
        return "shows one flat colour"
    reason = _map_by_name(picture, coarse, uri, data)
    if reason:
        return reason
    label_map = "is a mask or label map (few distinct values in flat areas), not a photo"
    if not picture.lossless:
        extreme = np.mean((coarse < 12).all(axis=-1) | (coarse > 243).all(axis=-1))
        return label_map if extreme >= BINARY_SHARE else ""
    codes = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    same = (codes[:-1, :-1] == codes[1:, :-1]) & (codes[:-1, :-1] == codes[:-1, 1:])
    flat = float(same.mean()) >= LABEL_FLATNESS
    if flat and len(np.unique(codes)) <= LABEL_COLOURS:
        return label_map
    return "is a map of normals (unit vectors), not a photo" if _unit_vectors(coarse) else ""


def _map_by_name(picture: DecodedImage, coarse: NDArray[np.uint8], uri: str, data: bytes) -> str:
    """Why an image is a map, if its name says so and its look agrees; "" if not."""
    *folders, name = uri.split("/")
    around = [words.read(part) for part in folders[-2:]]
    said = [words.read(name.rpartition(".")[0]), *(one for one in around if one.of_maps_alone)]
    kinds = list(dict.fromkeys(kind for one in said for kind in one.maps))
    if not kinds:
        return ""
    plain, deep = any(one.plain for one in said), _sixteen_bits(data)
    few = len(np.unique((coarse >> 3).astype(np.uint32) @ np.array([1 << 10, 1 << 5, 1], np.uint32)))
    if (
        (picture.grey and (plain or deep or GREY_MAPS.intersection(kinds)))
        or (deep and ("flow" in kinds or "normals" in kinds or plain))
        or (plain and few <= MAPPED_COLOURS)
    ):
        return f"is a map of {' and '.join(kinds)} by its name and look, not a photo"
    return ""


def _sixteen_bits(data: bytes) -> bool:
    """Whether the bytes are a PNG of 16 bits a channel."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"


def _unit_vectors(image: NDArray[np.uint8]) -> bool:
    """Whether colours are vectors of length one, as pictures of normals show them, but for one background."""
    codes = image.reshape(-1, 3).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, counts = np.unique(codes, return_counts=True)
    inside = codes != values[counts.argmax()] if counts.max() > BACKGROUND * len(codes) else codes >= 0
    if inside.mean() < 1 - MOST_BACKGROUND:
        return False
    vectors = image.reshape(-1, 3)[inside] / 127.5 - 1
    off = np.abs(np.linalg.norm(vectors, axis=1) - 1)
    return bool((off < UNIT).mean() >= UNIT_SHARE and vectors[off < UNIT].std(axis=0).max() > LEAST_TURN)

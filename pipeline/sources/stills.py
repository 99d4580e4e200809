"""Single images → photos, or frames of a sequence, a stereo pair or an RGB-D sequence if pixels agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.sources.cameras import read_calibration
from freelabels.pipeline.sources.clip_specs import ASSUMED_FPS, GIVEN, ClipSpec, SourceOptions, camera_numbers
from freelabels.pipeline.sources.cuts import CONNECTED, match, thumb
from freelabels.pipeline.sources.find import Refusal
from freelabels.pipeline.sources.grouping import COMPANION, MIN_SEQUENCE, Item
from freelabels.pipeline.sources.images import Picture, decode, decode_depth
from freelabels.pipeline.sources.sampling import parts_of
from freelabels.pipeline.storage.uris import SourceError, read_bytes, sha256_of, sha256_of_all, why

PROBE_SIZE = (256, 256)  # a JPEG needn't be decoded finer than this to see that it is whole
SUCCESSIVE = 0.6  # share of the texture found again from which on numbered images are frames of one shot
LABEL_COLOURS, LABEL_FLATNESS = 64, 0.8  # so few colours in such flat areas are ids, not brightnesses
BINARY_SHARE = 0.97  # of pixels nearly black or nearly white, in a mask saved with loss
RECTIFIED_ROWS = 1.0  # thumb pixels a point may lie higher or lower in the right view than in the left
RECTIFIED_SHARE = 0.8  # of the points that must keep to that, and lie further left


@dataclass(frozen=True)
class Still:
    """A whole image that may be a photo, or a frame of something; `thumb` as `cuts` compares it."""

    uri: str
    sha256: str
    size: tuple[int, int]
    focal: float | None
    thumb: NDArray[np.uint8]
    animated: bool

    def photo(self, options: SourceOptions) -> ClipSpec:
        """The image as a clip of its own."""
        camera, origin = options.camera_of(self.size, self.focal)
        return ClipSpec("photo", (self.uri,), self.sha256, self.size, (0,), (0.0,), camera, origin)


@dataclass(frozen=True)
class Row:
    """One frame of several files: its image and what goes with it."""

    still: Still
    right: Still | None = None
    depth: str = ""
    pose: str = ""
    depth_sha256: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the frame's content."""
        right = [self.right.sha256] if self.right else []
        return sha256_of_all([self.still.sha256, *right, *([self.depth_sha256] if self.depth else [])])


def load(uri: str, data: bytes) -> Still:
    """Decode an image wholly. Raises SourceError if it is broken or can't be a photo."""
    picture = decode(data, PROBE_SIZE)
    problem = not_a_photo(picture, uri) if picture.frames == 1 else ""
    if problem:
        raise SourceError(problem)
    small = thumb(picture.image)
    return Still(uri, sha256_of(data), picture.size, picture.focal, small, picture.frames > 1)


def not_a_photo(picture: Picture, uri: str) -> str:
    """Why an image can't be a photo: one colour, a label map, a depth map by name; "" if it can."""
    image = picture.image
    coarse = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
    if (coarse == coarse[0, 0]).all() and (image == image[0, 0]).all():
        return "shows one flat colour"
    if picture.grey and any(COMPANION.match(part) for part in uri.split("/")[-2:]):
        return "is a map of depth, disparity or masks by its name, not a photo"
    label_map = "is a mask or label map (few distinct values in flat areas), not a photo"
    if not picture.lossless:
        extreme = np.mean((coarse < 12).all(axis=-1) | (coarse > 243).all(axis=-1))
        return label_map if extreme >= BINARY_SHARE else ""
    codes = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    same = (codes[:-1, :-1] == codes[1:, :-1]) & (codes[:-1, :-1] == codes[:-1, 1:])
    flat = float(same.mean()) >= LABEL_FLATNESS
    return label_map if flat and len(np.unique(codes)) <= LABEL_COLOURS else ""


def sequence(
    item: Item, stills: Sequence[Still | None], options: SourceOptions, refused: list[Refusal]
) -> list[ClipSpec]:
    """Numbered images: clips where they look like successive frames, photos where they don't."""
    clips: list[ClipSpec] = []
    for segment in _segments([Row(still) if still else None for still in stills], SUCCESSIVE):
        rows = list(segment.values())
        if len({row.sha256 for row in rows}) < MIN_SEQUENCE:
            clips += [row.still.photo(options) for row in rows]
        else:
            clips += _parts("sequence", segment, options)
    return clips


def stereo(
    item: Item, stills: Sequence[Still | None], options: SourceOptions, refused: list[Refusal]
) -> list[ClipSpec]:
    """Left and right images: stereo clips where one is the rectified other view, photos where it isn't.

    refused: what accompanies them and can't be used is added here.
    """
    half = len(stills) // 2
    rows: list[Row | None] = []
    clips: list[ClipSpec] = []
    for left, right in zip(stills[:half], stills[half:], strict=True):
        pair = left is not None and right is not None and _rectified(left, right)
        rows.append(Row(left, right) if pair and left else None)
        if not pair:
            clips += [still.photo(options) for still in (left, right) if still]
    camera = _calibration(item, refused)
    for segment in _segments(rows, SUCCESSIVE):
        clips += _parts("stereo", segment, options, camera)
    return clips


def rgbd(
    item: Item, stills: Sequence[Still | None], options: SourceOptions, refused: list[Refusal]
) -> list[ClipSpec]:
    """Colour with depth; where none of a shot's depth images can be used, a sequence without.

    refused: what accompanies the images and can't be used is added here; the colour of such a frame is used.
    """
    rows: list[Row | None] = []
    poses = item.poses or ("",) * len(item.uris)
    for still, depth, pose in zip(stills, item.depth, poses, strict=True):
        digest = ""
        try:
            data = read_bytes(depth)
            decode_depth(data)
            digest = sha256_of(data)
        except (SourceError, OSError) as error:
            refused.append(Refusal(depth, why(error)))
        rows.append(Row(still, None, depth if digest else "", pose, digest) if still else None)
    camera = _calibration(item, refused)
    clips = []
    for segment in _segments(rows, CONNECTED):
        kind = "rgbd" if any(row.depth for row in segment.values()) else "sequence"
        clips += _parts(kind, segment, options, camera)
    return clips


def _calibration(item: Item, refused: list[Refusal]) -> tuple[NDArray[np.float64], float | None] | None:
    """K and baseline from the item's file, None if it has none that can be used."""
    if not item.calibration:
        return None
    try:
        return read_calibration(item.calibration)
    except (SourceError, OSError) as error:
        refused.append(Refusal(item.calibration, why(error)))
        return None


def _segments(rows: Sequence[Row | None], connected: float) -> list[dict[int, Row]]:
    """Runs of rows, by number, of one shot: of one size, each found again in the next."""
    segments: list[dict[int, Row]] = []
    last: Row | None = None
    for index, row in enumerate(rows):
        if row is not None:
            joined = last and last.still.size == row.still.size
            if last and joined and match(last.still.thumb, row.still.thumb).share >= connected:
                segments[-1][index] = row
            else:
                segments.append({index: row})
        last = row
    return segments


def _rectified(left: Still, right: Still) -> bool:
    """Whether points of the left view lie on the same row of the right one, further left."""
    if left.size != right.size or left.sha256 == right.sha256:
        return False
    found = match(left.thumb, right.thumb)
    if found.share < CONNECTED:
        return False
    u, v = np.moveaxis(found.flow[found.found & found.textured], -1, 0)
    return bool(np.mean((np.abs(v) <= RECTIFIED_ROWS) & (u <= 0.5)) >= RECTIFIED_SHARE and np.median(u) < 0)


def _parts(
    kind: str,
    segment: dict[int, Row],
    options: SourceOptions,
    camera: tuple[NDArray[np.float64], float | None] | None = None,
) -> list[ClipSpec]:
    """One shot as clips of at most the asked length. camera: K and baseline from a file."""
    rows, first = list(segment.values()), next(iter(segment.values()))
    base = first.still.photo(options)
    if camera and not options.chosen:
        base = replace(base, camera=camera_numbers(camera[0]), intrinsics=GIVEN)
    pieces = parts_of(len(rows), options.clip_length)
    shot = sha256_of_all([row.sha256 for row in rows])[:12]
    times = [number / ASSUMED_FPS for number in segment]
    clips = []
    for part, (start, stop) in enumerate(pieces):
        chosen = rows[start:stop]
        clips.append(
            replace(
                base,
                kind=kind,
                uris=(*(r.still.uri for r in chosen), *(r.right.uri for r in chosen if r.right)),
                sha256=sha256_of_all([row.sha256 for row in chosen]),
                indices=tuple(range(start, stop)),
                times=tuple(times[start:stop]),
                rate=ASSUMED_FPS if len(rows) > 1 else 0.0,
                rate_assumed=len(rows) > 1,
                depth=tuple(row.depth for row in chosen) if any(row.depth for row in chosen) else (),
                poses=tuple(row.pose for row in chosen if row.pose),
                baseline=camera[1] if camera else None,
                shot=shot,
                part=part + 1,
                parts=len(pieces),
            )
        )
    return clips

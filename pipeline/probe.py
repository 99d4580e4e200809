"""One item → its clips, or one sentence why there are none: decodes it once, wholly, and hashes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.clips import ClipSpec, SourceOptions
from pipeline.cuts import THUMB, CutFinder, thumb
from pipeline.files import SourceError, read_bytes, sha256_of, sha256_of_file
from pipeline.grouping import Item
from pipeline.images import MIN_SIDE, Picture, animation, decode
from pipeline.sources import Refusal
from pipeline.videos import checksum_of, frames, opened

LABEL_COLOURS, LABEL_FLATNESS = 64, 0.8  # so few colours in such flat areas are ids, not brightnesses
PROBE_SIZE = (256, 256)  # a JPEG needn't be decoded finer than this to see that it is whole


def probe(item: Item, options: SourceOptions) -> list[ClipSpec] | Refusal:
    """The clips of an item in order. A refusal names the file; nothing about a bad file raises."""
    try:
        if item.kind == "image":
            return _image(item.uris[0], options)
        return _video(item.uris[0], options)
    except SourceError as error:
        return Refusal(item.uris[0], str(error))
    except OSError as error:
        return Refusal(item.uris[0], f"can't be read ({error.strerror or error})")


def _image(uri: str, options: SourceOptions) -> list[ClipSpec]:
    data = read_bytes(uri)
    picture = decode(data, PROBE_SIZE)
    if picture.frames > 1:
        return _animation(uri, data, options)
    problem = _not_a_photo(picture)
    if problem:
        raise SourceError(problem)
    camera, origin = options.camera_of(picture.size, picture.focal)
    return [ClipSpec("photo", (uri,), sha256_of(data), picture.size, (0,), (0.0,), camera, origin)]


def _not_a_photo(picture: Picture) -> str:
    """Why an image can't be a photo: one colour, or the few flat colours of a mask or label map."""
    image = picture.image
    if (image == image[0, 0]).all():
        return "shows one flat colour"
    if not picture.lossless:
        return ""
    codes = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    same = (codes[:-1, :-1] == codes[1:, :-1]) & (codes[:-1, :-1] == codes[:-1, 1:])
    if same.mean() >= LABEL_FLATNESS and len(np.unique(codes)) <= LABEL_COLOURS:
        return "is a mask or label map (few distinct values in flat areas), not a photo"
    return ""


@dataclass(frozen=True)
class _Scan:
    """What one pass over a moving source found: per frame its number, time, stamp, checksum, shot."""

    indices: list[int]
    times: list[float]
    pts: list[int | None]
    checksums: list[int]
    shots: list[int]
    size: tuple[int, int]
    note: str = ""


def _animation(uri: str, data: bytes, options: SourceOptions) -> list[ClipSpec]:
    cuts, times, shots, shot, size = CutFinder(), [], [], 0, (0, 0)
    for time, image in animation(data):
        shot += cuts.is_cut(thumb(image))
        size = image.shape[0], image.shape[1]
        times.append(time)
        shots.append(shot)
    count = len(times)
    scan = _Scan(list(range(count)), times, [None] * count, [0] * count, shots, size)
    return _clips(uri, sha256_of(data), scan, options)


def _video(uri: str, options: SourceOptions) -> list[ClipSpec]:
    digest = sha256_of_file(uri)
    return _clips(uri, digest, _scan(uri), options)


def _scan(uri: str) -> _Scan:
    scan = _Scan([], [], [], [], [], (0, 0))
    cuts, shot, size, note, rate = CutFinder(), 0, (0, 0), "", 0.0
    with opened(uri) as (container, stream):
        rate = float(stream.guessed_rate or stream.average_rate or 25)
        promised = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        try:
            for frame in frames(container, stream):
                small = frame.rgb(THUMB)
                shot += cuts.is_cut(small)
                if not size[0]:
                    shape = frame.upright_size
                    size = shape
                scan.indices.append(frame.index)
                scan.times.append(frame.seconds)
                scan.pts.append(frame.pts)
                scan.checksums.append(checksum_of(small))
                scan.shots.append(shot)
        except SourceError as error:
            if not scan.indices:
                raise
            note = f"{error} after {scan.times[-1] - scan.times[0]:.1f} s; what comes before was used"
    if not scan.indices:
        raise SourceError("has no frames")
    if min(size) < MIN_SIDE:
        raise SourceError(f"has {size[1]} × {size[0]} pixels, the smallest useful side is {MIN_SIDE}")
    lasts = scan.times[-1] - scan.times[0]
    if not note and promised > lasts + max(1.0, 0.1 * promised):
        note = f"ends after {lasts:.1f} of {promised:.1f} s; what is there was used"
    return replace(scan, size=size, note=note)


def sample(times: Sequence[float], fps: float | None) -> list[int]:
    """Which frames to take for `fps` a second: for each tick the frame nearest in time, none of them twice."""
    if fps is None or len(times) < 2:
        return list(range(len(times)))
    taken: list[int] = []
    tick = 0
    for index, time in enumerate(times):
        due = times[0] + tick / fps
        following = times[index + 1] if index + 1 < len(times) else math.inf
        if abs(time - due) <= abs(following - due) and time - due > -0.5 / fps:
            taken.append(index)
            tick = max(tick + 1, math.floor((time - times[0]) * fps + 0.5) + 1)
    return taken


def parts_of(count: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of as few parts as possible, none longer than `longest`, lengths differing by at most one."""
    parts = -(-count // longest)
    edges = [round(k * count / parts) for k in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _clips(uri: str, digest: str, scan: _Scan, options: SourceOptions) -> list[ClipSpec]:
    camera, origin = options.camera_of(scan.size)
    stamped = all(pts is not None for pts in scan.pts)
    specs = []
    for shot in range(scan.shots[-1] + 1):
        members = [k for k, s in enumerate(scan.shots) if s == shot]
        members = [members[k] for k in sample([scan.times[m] for m in members], options.fps)]
        pieces = parts_of(len(members), options.clip_length)
        for part, (start, stop) in enumerate(pieces):
            chosen = members[start:stop]
            times = tuple(scan.times[k] for k in chosen)
            spec = ClipSpec(
                "video",
                (uri,),
                digest,
                scan.size,
                tuple(scan.indices[k] for k in chosen),
                times,
                camera,
                origin,
                rate=round((len(times) - 1) / (times[-1] - times[0]), 3) if len(times) > 1 else 0.0,
                pts=tuple(p for k in chosen if (p := scan.pts[k]) is not None) if stamped else (),
                checksum=scan.checksums[chosen[0]],
                shot=f"{digest[:12]}-{shot}",
                part=part + 1,
                parts=len(pieces),
                note=scan.note,
            )
            specs.append(spec)
    return specs

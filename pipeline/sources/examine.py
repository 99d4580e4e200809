"""One item → its clips, or one sentence why there are none: decodes it once, wholly, and hashes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.cuts import THUMB, CutFinder, thumb
from freelabels.pipeline.sources.find import Refusal
from freelabels.pipeline.sources.grouping import Item
from freelabels.pipeline.sources.images import animation, check_size
from freelabels.pipeline.sources.sampling import parts_of, sample
from freelabels.pipeline.sources.stills import Still, load, rgbd, sequence, stereo
from freelabels.pipeline.sources.videos import checksum_of, frame_rate, frames, opened, promised_seconds
from freelabels.pipeline.storage.uris import SourceError, read_bytes, sha256_of_file, why

SHORT = 0.9  # a video that ends before this share of its promised duration was cut off


@dataclass(frozen=True)
class Probed:
    """What came of an item: its clips in order, and the files of it that can't be used."""

    clips: tuple[ClipSpec, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def probe(item: Item, options: SourceOptions) -> Probed:
    """Decode an item once and cut it into clips. Nothing about a bad file raises: it is refused, by name.

    A video that breaks off, or is damaged somewhere, gives the clips before that, with a note on them; one
    whose index is missing is refused. Of a shot with a single frame comes a clip without consecutive frames.
    """
    if item.kind == "video":
        return _each(item.uris, lambda uri: _video(uri, options))
    if item.kind == "image":
        return _each(item.uris, lambda uri: _image(uri, options))
    stills: list[Still | None] = []
    refused: list[Refusal] = []
    for uri in item.uris:
        try:
            stills.append(load(uri, read_bytes(uri)))
        except (SourceError, OSError) as error:
            stills.append(None)
            refused.append(Refusal(uri, why(error)))
    if any(still and still.animated for still in stills):
        return _each(item.uris, lambda uri: _image(uri, options))
    make = {"sequence": sequence, "stereo": stereo, "rgbd": rgbd}[item.kind]
    return Probed(tuple(make(item, stills, options, refused)), tuple(refused))


def _each(uris: Iterable[str], clips_of: Callable[[str], list[ClipSpec]]) -> Probed:
    clips: list[ClipSpec] = []
    refused: list[Refusal] = []
    for uri in uris:
        try:
            clips += clips_of(uri)
        except (SourceError, OSError) as error:
            refused.append(Refusal(uri, why(error)))
    return Probed(tuple(clips), tuple(refused))


def _image(uri: str, options: SourceOptions) -> list[ClipSpec]:
    data = read_bytes(uri)
    still = load(uri, data)
    return (
        _clips(uri, still.sha256, _scan_animation(data), options)
        if still.animated
        else [still.photo(options)]
    )


def _video(uri: str, options: SourceOptions) -> list[ClipSpec]:
    return _clips(uri, sha256_of_file(uri), _scan_video(uri), options)


@dataclass(frozen=True)
class _Scan:
    """One pass over a moving source: of each frame its number, seconds, stamp and checksum, and its shot.

    size: (height, width), upright. note: what is odd about it.
    """

    indices: list[int]
    times: list[float]
    pts: list[int]
    checksums: list[int]
    shots: list[int]
    size: tuple[int, int]
    note: str = ""


def _scan_animation(data: bytes) -> _Scan:
    cuts, times, size = CutFinder(), [], (0, 0)
    for time, image in animation(data):
        cuts.feed(thumb(image))
        times.append(time)
        size = image.shape[0], image.shape[1]
    return _Scan(list(range(len(times))), times, [], [0] * len(times), cuts.shots(), size)


def _scan_video(uri: str) -> _Scan:
    cuts, size, note = CutFinder(), (0, 0), ""
    indices: list[int] = []
    times: list[float] = []
    pts: list[int] = []
    checksums: list[int] = []
    with opened(uri) as (container, stream):
        promised = promised_seconds(container, stream)
        rate = frame_rate(stream)
        try:
            for frame in frames(container, stream):
                if not indices:
                    size = frame.size
                    check_size(*size)
                if frame.pts is not None:
                    if pts and frame.pts <= pts[-1]:
                        continue  # shown for no time at all
                    pts.append(frame.pts)
                small = frame.rgb(THUMB)
                cuts.feed(small)
                indices.append(frame.index)
                times.append(frame.seconds)
                checksums.append(checksum_of(small))
        except SourceError as error:
            if not indices:
                raise
            note = f"{error} after {times[-1] - times[0]:.1f} s; what comes before was used"
    if not indices:
        raise SourceError("has no frames")
    if len(pts) < len(indices):
        pts, times = [], [index / rate for index in indices]
    lasts = times[-1] - times[0] + 1 / rate
    if not note and lasts < SHORT * promised - 1:
        note = f"ends after {lasts:.1f} of {promised:.1f} s; what is there was used"
    return _Scan(indices, times, pts, checksums, cuts.shots(), size, note)


def _clips(uri: str, digest: str, scan: _Scan, options: SourceOptions) -> list[ClipSpec]:
    """The sampled shots of a scan as clips of at most the asked length."""
    camera, origin = options.camera_of(scan.size)
    members: dict[int, list[int]] = {}
    for number, shot in enumerate(scan.shots):
        members.setdefault(shot, []).append(number)
    members.pop(-1, None)
    if not members:
        raise SourceError("shows nothing but blank frames")
    clips = []
    for shot, numbers in members.items():
        sampled = [numbers[k] for k in sample([scan.times[n] for n in numbers], options.fps)]
        pieces = parts_of(len(sampled), options.clip_length)
        for part, (start, stop) in enumerate(pieces):
            chosen = sampled[start:stop]
            lasts = scan.times[chosen[-1]] - scan.times[chosen[0]]
            clips.append(
                ClipSpec(
                    "video",
                    (uri,),
                    digest,
                    scan.size,
                    tuple(scan.indices[k] for k in chosen),
                    tuple(scan.times[k] for k in chosen),
                    camera,
                    origin,
                    rate=round((len(chosen) - 1) / lasts, 3) if lasts else 0.0,
                    pts=tuple(scan.pts[k] for k in chosen) if scan.pts else (),
                    checksum=scan.checksums[chosen[0]],
                    shot=f"{digest[:12]}-{shot}",
                    part=part + 1,
                    parts=len(pieces),
                    note=scan.note,
                )
            )
    return clips

"""One item → its clips, or one sentence why there are none: decodes it once, wholly, and hashes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from freelabels.ground.spelling import counted
from freelabels.pipeline.media.cuts import THUMB, CutFinder, thumb
from freelabels.pipeline.media.images import animation, check_size
from freelabels.pipeline.media.pictures import Gap
from freelabels.pipeline.media.videos import checksum_of, opened
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts import lerobot
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.layouts.texts import LEROBOT
from freelabels.pipeline.sources.pairing import clips_of, with_camera
from freelabels.pipeline.sources.sampling import holes, parts_of, sample, stamps_that_fall
from freelabels.pipeline.sources.stills import Still, load
from freelabels.pipeline.sources.tags import tagged
from freelabels.pipeline.storage.uris import SourceError, read_bytes, sha256_of_file, why

SHORT = 0.9  # a video that ends before this share of its promised duration was cut off


@dataclass(frozen=True)
class Examined:
    """What came of an item: its clips in order, the files of it that can't be used, what is worth a line."""

    clips: tuple[ClipSpec, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    remarks: tuple[Remark, ...] = ()


def examine(item: Item, options: SourceOptions) -> Examined:
    """Decode an item once and cut it into clips. Nothing about a bad file raises: it is refused, by name.

    What is damaged in a video is left out, with a note on its clips; one whose index is missing is refused. Of a
    shot with a single frame comes a clip without consecutive frames.
    """
    examined = _examined(item, options)
    clips, unread = tagged(examined.clips, item.texts, item.beside)
    return replace(examined, clips=clips, refusals=(*examined.refusals, *unread))


def _examined(item: Item, options: SourceOptions) -> Examined:
    if item.kind == "video":
        return _each(item.uris, lambda uri: _video(uri, item.beside, options))
    if item.kind == "image":
        return _each(item.uris, lambda uri: _image(uri, item.beside, options))
    stills: list[Still | None] = []
    refused: list[Refusal] = []
    for uri in item.uris:
        try:
            stills.append(load(uri, read_bytes(uri)))
        except (SourceError, OSError) as error:
            stills.append(None)
            refused.append(Refusal(uri, why(error)))
    if any(still and still.animated for still in stills):
        return _each(item.uris, lambda uri: _image(uri, item.beside, options))
    found = clips_of(item, stills, options)
    return Examined(tuple(found.clips), (*refused, *found.refused), tuple(found.remarks))


def _each(uris: Iterable[str], clips_of: Callable[[str], list[ClipSpec]]) -> Examined:
    clips: list[ClipSpec] = []
    refused: list[Refusal] = []
    for uri in uris:
        try:
            clips += clips_of(uri)
        except (SourceError, OSError) as error:
            refused.append(Refusal(uri, why(error)))
    return Examined(tuple(clips), tuple(refused))


def _image(uri: str, beside: Sequence[str], options: SourceOptions) -> list[ClipSpec]:
    data = read_bytes(uri)
    still = load(uri, data)
    return (
        _clips(uri, still.sha256, _scan_animation(data), options)
        if still.animated
        else [with_camera(still.photo(options), uri, beside, options)]
    )


def _video(uri: str, beside: Sequence[str], options: SourceOptions) -> list[ClipSpec]:
    return _clips(uri, sha256_of_file(uri), _scan_video(uri, options.stream, _begins(uri, beside)), options)


def _begins(uri: str, beside: Sequence[str]) -> list[float]:
    """Seconds at which another recording begins in a video, as files beside it tell."""
    begins: list[float] = []
    for info in beside:
        if info.endswith(f"/{LEROBOT}"):
            with suppress(SourceError, OSError):  # said where its words are read
                begins += [episode.start for episode in lerobot.episodes(info, uri)]
    return sorted(begins)


@dataclass(frozen=True)
class _Scan:
    """One pass over a moving source: of each frame its number, seconds, stamp, checksum, shot (-1: none) and size.

    pts: empty if stamps are of no use to find frames again. sizes: (height, width), upright. colours: as recorded.
    note: what is odd about it. sound: whether there is a sound track.
    """

    indices: list[int]
    times: list[float]
    pts: list[int]
    checksums: list[int]
    shots: list[int]
    sizes: list[tuple[int, int]]
    colours: list[str]
    note: str = ""
    sound: bool = False


def _scan_animation(data: bytes) -> _Scan:
    cuts, times, sizes = CutFinder(), [], []
    for time, image in animation(data):
        cuts.feed(thumb(image))
        times.append(time)
        sizes.append((image.shape[0], image.shape[1]))
    count = len(times)
    return _Scan(list(range(count)), times, [], [0] * count, cuts.shots(), sizes, [""] * count)


def _scan_video(uri: str, number: int, begins: Sequence[float] = ()) -> _Scan:
    """Every frame of a video: a shot also ends where frames are lost, stamps begin again or the size changes.

    begins: seconds at which another recording begins.
    """
    cuts, tone_mapped, interlaced = CutFinder(), False, False
    gaps: dict[int, int] = {}  # number of the frame after it → frames that are known to be lost
    scan = _Scan([], [], [], [], [], [], [])
    stretches: list[int] = []
    stamps: list[int | None] = []
    keys: list[bool] = []
    with opened(uri, number) as video:
        stretch = 0
        for frame in video.frames():
            if isinstance(frame, Gap):
                gaps[len(scan.indices)] = frame.frames
                stretch += 1
                continue
            if not scan.sizes or frame.size != scan.sizes[-1]:
                check_size(*frame.size)
                stretch += 1
            small = frame.rgb(THUMB)
            cuts.feed(small)
            stretches.append(stretch)
            stamps.append(frame.pts)
            keys.append(frame.key)
            scan.indices.append(frame.index)
            scan.times.append(frame.seconds)
            scan.checksums.append(checksum_of(small))
            scan.sizes.append(frame.size)
            scan.colours.append(frame.colour.name)
            tone_mapped |= frame.colour.tone_mapped
            interlaced |= frame.interlaced
        rate, promised, streams = video.rate, video.promised_seconds, video.streams
        broadcast, sound = video.broadcast, video.has_sound
    if not scan.indices:
        raise SourceError("has no frames")
    if not any(stamp is not None for stamp in stamps):
        scan.times[:] = [index / rate for index in scan.indices]
    lost = sum(max(frames, _frames_between(scan.times, number, rate)) for number, frames in gaps.items())
    falls, timeless = stamps_that_fall(scan.times)
    after, spoilt, missing = holes(scan.times, keys, gaps) if broadcast else ([], set(), 0)
    begins_at: list[int] = []
    if begins and not falls:
        begins_at = np.searchsorted(np.array(scan.times) + 0.5 / rate, begins).tolist()
    begun = np.cumsum(np.isin(np.arange(len(stretches)), [*falls, *after, *begins_at])) + np.array(stretches)
    shots = [-1 if k in timeless | spoilt else shot for k, shot in enumerate(cuts.shots())]
    pairs = [(shot, int(stretch)) for shot, stretch in zip(shots, begun, strict=True)]
    numbers = {pair: k for k, pair in enumerate(dict.fromkeys(pair for pair in pairs if pair[0] >= 0))}
    scan.shots.extend(numbers.get(pair, -1) for pair in pairs)
    if None not in stamps and not falls:
        scan.pts.extend(stamp for stamp in stamps if stamp is not None)
    lasts = sum(
        float(np.ptp(np.array(scan.times)[begun == one])) + 1 / rate for one in dict.fromkeys(begun.tolist())
    )
    notes = []
    if lost:
        notes.append(f"about {lost} damaged frames were left out, {len(scan.indices)} were used")
    if missing:
        notes.append(
            f"{counted(missing, 'frame')} missing, {len(spoilt)} that were made from them were left out"
        )
    if timeless:
        notes.append(f"{counted(len(timeless), 'frame')} left out whose time stamps don't rise")
    if not lost and lasts < SHORT * promised - 1:
        notes.append(f"ends after {lasts:.1f} of {promised:.1f} s; what is there was used")
    if streams > 1:
        notes.append(
            f"holds {streams} videos, of which number {number} was used, counted from 0 (see --stream)"
        )
    if interlaced:
        notes.append("is interlaced, its frames were deinterlaced")
    if tone_mapped:
        notes.append(f"is of high dynamic range, its frames were tone-mapped to sRGB ({scan.colours[0]})")
    return replace(scan, note="; ".join(notes), sound=sound)


def _frames_between(times: Sequence[float], number: int, rate: float) -> int:
    """How many frames time has room for between a frame and the one before it."""
    return round((times[number] - times[number - 1]) * rate) - 1 if 0 < number < len(times) else 0


def _clips(uri: str, digest: str, scan: _Scan, options: SourceOptions) -> list[ClipSpec]:
    """The sampled shots of a scan as clips of at most the asked length."""
    members: dict[int, list[int]] = {}
    for number, shot in enumerate(scan.shots):
        members.setdefault(shot, []).append(number)
    members.pop(-1, None)
    if not members:
        raise SourceError("shows nothing but blank frames")
    clips = []
    for shot, numbers in members.items():
        camera, origin = options.camera_of(scan.sizes[numbers[0]])
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
                    scan.sizes[numbers[0]],
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
                    colour=scan.colours[numbers[0]],
                    stream=options.stream,
                    sound=scan.sound and bool(scan.pts) and len(chosen) > 1,
                )
            )
    return clips

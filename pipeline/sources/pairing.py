"""Several images → clips: frames of a sequence, stereo pairs or RGB-D, if pixels agree; photos if they don't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

import numpy as np

from freelabels.pipeline.media.cuts import CONNECTED, match
from freelabels.pipeline.sources.cameras.rig import Rig, read_camera, read_pose, rig
from freelabels.pipeline.sources.cameras.told import Pose
from freelabels.pipeline.sources.clip_specs import ASSUMED_FPS, GIVEN, ClipSpec, SourceOptions
from freelabels.pipeline.sources.depth_units import Depths, depth_of
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.layouts.series import MIN_SEQUENCE, PAUSE
from freelabels.pipeline.sources.sampling import parts_of
from freelabels.pipeline.sources.stills import Still
from freelabels.pipeline.storage.uris import SourceError, sha256_of_all, why

SUCCESSIVE = 0.6  # share of the texture found again from which on numbered images are frames of one shot
RECTIFIED_ROWS = 1.0  # thumb pixels a point may lie higher or lower in the right view than in the left
RECTIFIED_SHARE = 0.8  # of the points that must keep to that, and lie further left
Camera4 = tuple[float, float, float, float]


@dataclass
class Findings:
    """What came of some images: clips, files that can't be used, and what is worth a line."""

    clips: list[ClipSpec] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One frame of several files: its image and what goes with it.

    camera: (fx, fy, cx, cy) and which file tells it. pose: a file about this frame; matrix: its pose, if another
    file tells it. time: seconds, None: not told. baseline, doffs, base_origin: as the rig has them.
    """

    still: Still
    right: Still | None = None
    depth: str = ""
    pose: str = ""
    depth_sha256: str = ""
    camera: tuple[Camera4, str] | None = None
    matrix: tuple[float, ...] = ()
    pose_origin: str = ""
    time: float | None = None
    time_origin: str = ""
    baseline: tuple[float | None, float, str] = (None, 0.0, "")

    @property
    def sha256(self) -> str:
        """The hash of the frame's content."""
        right = [self.right.sha256] if self.right else []
        return sha256_of_all([self.still.sha256, *right, *([self.depth_sha256] if self.depth else [])])


def clips_of(item: Item, stills: Sequence[Still | None], options: SourceOptions) -> Findings:
    """What comes of an item's images, of which those that can't be used are None."""
    found = Findings()
    known = rig(item.beside)
    found.refused += [Refusal(uri, reason) for uri, reason in known.broken]
    if item.kind == "stereo":
        _stereo(item, stills, options, known, found)
    elif item.kind == "rgbd":
        _rgbd(item, stills, options, known, found)
    else:
        _sequence(_rows(item, item.uris, stills, known, found), item.least, options, found)
    return found


def with_camera(photo: ClipSpec, uri: str, beside: Sequence[str], options: SourceOptions) -> ClipSpec:
    """A photo with the intrinsics that files beside it tell, if they do and the user doesn't."""
    told = None if options.chosen or not beside else rig(beside).camera(uri, photo.size)
    if told is None:
        return photo
    return replace(photo, camera=told[0].numbers, intrinsics=GIVEN, origins=(("camera", told[1]),))


def _rows(
    item: Item, uris: Sequence[str], stills: Sequence[Still | None], known: Rig, found: Findings
) -> list[Row | None]:
    """The frames of an item with what is told of each: camera, pose, time."""
    times, time_origin = list(item.times), "names of files"
    if not times and (told := known.times(uris)):
        times, time_origin = told
    if times and any(b <= a for a, b in pairwise(times)):
        times = []
    posed = known.poses(uris, times) if len(uris) > 1 and not item.poses else None
    rows: list[Row | None] = []
    for k, still in enumerate(stills):
        if still is None:
            rows.append(None)
            continue
        own = _of_frame(item, k, known, found)
        camera = own.camera(uris[k], still.size)
        pose = item.poses[k] if item.poses and item.poses[k].endswith(".txt") else ""
        matrix, origin = _matrix(item, k, posed)
        rows.append(
            Row(
                still,
                pose=pose,
                camera=(camera[0].numbers, camera[1]) if camera else None,
                matrix=matrix,
                pose_origin=origin or ("a file a frame" if pose else ""),
                time=times[k] if times else None,
                time_origin=time_origin if times else "",
            )
        )
    return rows


def _matrix(item: Item, k: int, posed: tuple[list[Pose], str] | None) -> tuple[tuple[float, ...], str]:
    """The first three rows of a frame's pose, told by a file about it (JSON) or about all, and which file."""
    if posed is not None:
        return tuple(posed[0][k][:3].ravel().tolist()), posed[1]
    if item.poses and item.poses[k].endswith(".json"):
        try:
            return tuple(read_pose(item.poses[k])[:3].ravel().tolist()), "a file a frame"
        except (SourceError, OSError):
            return (float("nan"),) * 12, ""
    return (), ""


def _of_frame(item: Item, k: int, known: Rig, found: Findings) -> Rig:
    """What is known of the camera of one frame: what a file about it tells comes first."""
    uri = item.cameras[k] if item.cameras else ""
    if not uri:
        return known
    try:
        told = read_camera(uri)
    except (SourceError, OSError) as error:
        found.refused.append(Refusal(uri, why(error)))
        told = None
    return Rig([(uri, told), *known.told]) if told else known


# --- kinds ----------------------------------------------------------------------------------------------------


def _sequence(rows: Sequence[Row | None], least: int, options: SourceOptions, found: Findings) -> None:
    """Numbered images: clips where they look like successive frames, photos where they don't."""
    photos = []
    for segment in _segments(rows, SUCCESSIVE):
        frames = list(segment.values())
        if len({row.sha256 for row in frames}) < max(least, 2):
            photos += [_photo(row, options) for row in frames]
        else:
            found.clips += _parts("sequence", segment, options)
    used = [row for row in rows if row]
    if len(photos) == len(used) >= MIN_SEQUENCE:
        text = f"{len(photos)} numbered images don't show successive frames; each is a photo"
        found.remarks.append(Remark(_folder(used[0].still.uri), text))
    found.clips += photos


def _stereo(
    item: Item, stills: Sequence[Still | None], options: SourceOptions, known: Rig, found: Findings
) -> None:
    """Left and right images: stereo where one is the rectified other view, else what each side is by itself."""
    half = len(stills) // 2
    lefts = _rows(item, item.uris[:half], stills[:half], known, found)
    rights = _rows(item, item.uris[half:], stills[half:], known, found)
    rows: list[Row | None] = []
    alone: tuple[list[Row | None], list[Row | None]] = ([], [])
    for k, (left, right) in enumerate(zip(lefts, rights, strict=True)):
        paired = None
        if left and right:
            size = left.still.size
            told = _of_frame(item, k, known, found).baseline(item.uris[k], item.uris[half + k], size)
            if _rectified(left.still, right.still, told[1]):
                paired = replace(left, right=right.still, baseline=told)
        rows.append(paired)
        for side, row in zip(alone, (left, right), strict=True):
            side.append(None if paired else row)
    for segment in _segments(rows, SUCCESSIVE):
        found.clips += _parts("stereo", segment, options)
    if not any(rows) and any(lefts) and any(rights):
        text = f"{half} pairs by their names aren't rectified views of one scene; each side is used by itself"
        found.remarks.append(Remark(_folder(item.uris[0]), text))
    for side in alone:
        _sequence(side, item.least, options, Findings(found.clips, found.refused, []))


def _rgbd(
    item: Item, stills: Sequence[Still | None], options: SourceOptions, known: Rig, found: Findings
) -> None:
    """Colour with depth; a sequence or photos where depth can't be used, and why."""
    colours = _rows(item, item.uris, stills, known, found)
    depths = depth_of(item, [row.still.size if row else None for row in colours], known, options)
    found.refused += depths.refused
    found.remarks += depths.remarks
    if not any(depths.digests):
        _sequence(colours, item.least, options, found)
        return
    rows = [
        replace(row, depth=uri if digest else "", depth_sha256=digest) if row else None
        for row, uri, digest in zip(colours, item.depth, depths.digests, strict=True)
    ]
    for segment in _segments(rows, CONNECTED):
        kind = "rgbd" if any(row.depth for row in segment.values()) else "sequence"
        found.clips += _parts(kind, segment, options, depths)


# --- clips ----------------------------------------------------------------------------------------------------


def _folder(uri: str) -> str:
    return uri.rpartition("/")[0]


def _photo(row: Row, options: SourceOptions) -> ClipSpec:
    photo = row.still.photo(options)
    if row.camera is None or options.chosen:
        return photo
    return replace(photo, camera=row.camera[0], intrinsics=GIVEN, origins=(("camera", row.camera[1]),))


def _segments(rows: Sequence[Row | None], connected: float) -> list[dict[int, Row]]:
    """Runs of rows, by number, of one shot: of one size and camera, each found again in the next."""
    times = [row.time for row in rows if row and row.time is not None]
    usual = median(b - a for a, b in pairwise(times)) if len(times) > 2 else 0.0
    segments: list[dict[int, Row]] = []
    last: Row | None = None
    for index, row in enumerate(rows):
        if row is not None:
            joined = last and last.still.size == row.still.size and _same_camera(last, row)
            if joined and usual and last and last.time is not None and row.time is not None:
                joined = row.time - last.time <= PAUSE * usual
            if last and joined and match(last.still.thumb, row.still.thumb).share >= connected:
                segments[-1][index] = row
            else:
                segments.append({index: row})
        last = row
    return segments


def _same_camera(one: Row, other: Row) -> bool:
    return (one.camera and one.camera[0]) == (other.camera and other.camera[0])


def _rectified(left: Still, right: Still, doffs: float) -> bool:
    """Whether points of the left view lie on the same row of the right one, further left.

    doffs: pixels that the right view's principal point lies further right than the left one's.
    """
    if left.size != right.size or left.sha256 == right.sha256:
        return False
    found = match(left.thumb, right.thumb)
    if found.share < CONNECTED:
        return False
    u, v = np.moveaxis(found.flow[found.found & found.textured], -1, 0)
    u = u - doffs * left.thumb.shape[1] / left.size[1]
    return bool(np.mean((np.abs(v) <= RECTIFIED_ROWS) & (u <= 0.5)) >= RECTIFIED_SHARE and np.median(u) < 0)


def _parts(
    kind: str, segment: dict[int, Row], options: SourceOptions, depths: Depths | None = None
) -> list[ClipSpec]:
    """One shot as clips of at most the asked length."""
    rows, first = list(segment.values()), next(iter(segment.values()))
    base = _photo(first, options)
    pieces = parts_of(len(rows), options.clip_length)
    shot = sha256_of_all([row.sha256 for row in rows])[:12]
    told = [row.time for row in rows if row.time is not None]
    timed = len(told) == len(rows)
    times = told if timed else [number / ASSUMED_FPS for number in segment]
    steps = [b - a for a, b in pairwise(times)]
    rate = (round(1 / median(steps), 3) if timed else ASSUMED_FPS) if steps else 0.0
    baseline, doffs, base_origin = first.baseline
    origins = dict(base.origins)
    if base_origin:
        origins["baseline"] = base_origin
    if first.pose_origin:
        origins["poses"] = first.pose_origin
    if timed and len(rows) > 1:
        origins["time"] = first.time_origin
    clips = []
    for part, (start, stop) in enumerate(pieces):
        chosen = rows[start:stop]
        deep = any(row.depth for row in chosen)
        if deep and depths:
            origins["depth unit"] = depths.origin
        clips.append(
            replace(
                base,
                kind=kind,
                uris=(*(r.still.uri for r in chosen), *(r.right.uri for r in chosen if r.right)),
                sha256=sha256_of_all([row.sha256 for row in chosen]),
                indices=tuple(range(start, stop)),
                times=tuple(times[start:stop]),
                rate=rate,
                rate_assumed=len(rows) > 1 and not timed,
                depth=tuple(row.depth for row in chosen) if deep else (),
                depth_unit=depths.unit if deep and depths else base.depth_unit,
                depth_trust=depths.trust if deep and depths else 1.0,
                poses=tuple(row.pose for row in chosen) if any(row.pose for row in chosen) else (),
                track=tuple(row.matrix for row in chosen) if all(row.matrix for row in chosen) else (),
                baseline=baseline,
                doffs=doffs,
                origins=tuple(sorted(origins.items())),
                shot=shot,
                part=part + 1,
                parts=len(pieces),
            )
        )
    return clips

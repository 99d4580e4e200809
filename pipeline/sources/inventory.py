"""What sources hold, before any work: found as what, with which camera, unit of depth, colour and rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.examine import examine
from freelabels.pipeline.sources.find import Item, Passed, Refusal, Remark, find

PHOTO = "photo"


@dataclass(frozen=True)
class Holding:
    """Clips of one kind from one place, alike but for their content.

    size: (height, width). camera: (fx, fy, cx, cy) in pixels of it, and who told it. depth_unit: metres a count,
    None without depth, and who told it. baseline: metres, None: not told. poses, time, colour: who told them, ""
    without. rate: frames a second, rate_assumed: whether nothing told it. tags: words that came with them. sound:
    how many of the clips have a sound track.
    """

    kind: str
    place: str
    clips: int
    frames: int
    size: tuple[int, int]
    camera: tuple[float, float, float, float]
    camera_origin: str
    depth_unit: float | None
    depth_origin: str
    baseline: float | None
    poses: str
    time: str
    colour: str
    rate: float
    rate_assumed: bool
    tags: int = 0
    sound: int = 0


@dataclass(frozen=True)
class Inventory:
    """Everything that was found. passed: files passed over; refused: files that can't be used; remarks: lines."""

    holdings: tuple[Holding, ...]
    passed: tuple[Passed, ...]
    refused: tuple[Refusal, ...]
    remarks: tuple[Remark, ...]


def inventory(sources: Sequence[str], options: SourceOptions | None = None) -> Inventory:
    """Find and examine sources (files, folders, globs, lists, URIs) as `label` would. Writes nothing."""
    return with_clips(sources, options or SourceOptions())[0]


def with_clips(
    sources: Sequence[str], options: SourceOptions, skip: Sequence[str] = ()
) -> tuple[Inventory, list[ClipSpec]]:
    """The inventory of sources and the clips it is of, ordered by place. skip: folders not to look into."""
    holdings: dict[tuple[object, ...], list[ClipSpec]] = {}
    passed: list[Passed] = []
    refused: dict[str, Refusal] = {}
    remarks: list[Remark] = []
    seen: dict[str, ClipSpec] = {}
    for found in find(sources, skip):
        if isinstance(found, Passed):
            passed.append(found)
        elif isinstance(found, Refusal):
            refused[found.uri] = found
        else:
            examined = examine(found, options)
            refused |= {one.uri: one for one in examined.refusals}
            remarks += examined.remarks
            remarks += {Remark(clip.uris[0], clip.note) for clip in examined.clips if clip.note}
            for clip in examined.clips:
                if clip.key in seen:
                    refused.setdefault(clip.uris[0], Refusal(clip.uris[0], "has the same content as another"))
                else:
                    seen[clip.key] = clip
                    holdings.setdefault(_alike(found, clip), []).append(clip)
    made = tuple(_holding(clips) for clips in holdings.values())
    said = tuple(sorted(set(remarks), key=str))
    clips = sorted(seen.values(), key=lambda clip: clip.uris[0])
    return Inventory(made, tuple(passed), tuple(refused.values()), said), clips


def _alike(item: Item, clip: ClipSpec) -> tuple[object, ...]:
    """What clips of one line have in common."""
    place = clip.uris[0] if item.kind == "video" else clip.uris[0].rpartition("/")[0]
    return (place, clip.kind, clip.size, clip.intrinsics, clip.origins, clip.colour, clip.rate_assumed)


def _holding(clips: Sequence[ClipSpec]) -> Holding:
    first, origins = clips[0], dict(clips[0].origins)
    uri = first.uris[0]
    place = uri if first.kind == "video" or len(clips) == 1 == first.frames else uri.rpartition("/")[0]
    return Holding(
        first.kind,
        place,
        len(clips),
        sum(clip.frames for clip in clips),
        first.size,
        first.camera,
        origins.get("camera", first.intrinsics),
        first.depth_unit if first.depth else None,
        origins.get("depth unit", "") if first.depth else "",
        first.baseline,
        origins.get("poses", ""),
        origins.get("time", "" if not first.rate_assumed else "assumed"),
        first.colour,
        first.rate,
        first.rate_assumed,
        sum(len(clip.tags) for clip in clips),
        sum(clip.sound for clip in clips),
    )


def lines(found: Inventory) -> Iterator[str]:
    """The inventory as text: a table, then what is passed over, refused and remarked."""
    if not found.holdings:
        yield "no photo or video was found that can be used"
    table = [
        ("kind", "clips", "frames", "size", "camera", "depth, baseline", "rate", "sound", "tags", "place")
    ]
    for one in found.holdings:
        fx, _, cx, cy = one.camera
        deep = f"{one.depth_unit:.6g} m a count ({one.depth_origin})" if one.depth_unit else ""
        deep = f"baseline {one.baseline:.4g} m" if one.baseline else deep
        rate = f"{one.rate:g}/s{' (assumed)' if one.rate_assumed else ''}" if one.rate else ""
        camera = f"f {fx:.0f}, centre {cx:.0f} {cy:.0f} ({one.camera_origin})"
        size = f"{one.size[1]}x{one.size[0]}"
        beside = (str(one.sound or ""), str(one.tags or ""))
        table.append(
            (one.kind, str(one.clips), str(one.frames), size, camera, deep, rate, *beside, one.place)
        )
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]) - 1)]
    for row in table if found.holdings else ():
        yield "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]])
    for title, said in (
        ("passed over", found.passed),
        ("refused", found.refused),
        ("worth knowing", found.remarks),
    ):
        if said:
            yield f"{title}:"
            yield from (f"  {one}" for one in said)

"""From sources to planned shards without holding them: the plan of all clips at once, in little memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import freelabels.pipeline.sources.scan
from freelabels.generators.contract.clip import INTRINSICS, STEREO
from freelabels.generators.contract.detector import label_names
from freelabels.ground.errors import UserError
from freelabels.pipeline.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import SCAN_CACHE, Dataset
from freelabels.pipeline.shards.index import Index, read_index
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, SourceOptions
from freelabels.pipeline.sources.examine import Examined
from freelabels.pipeline.sources.find import Refusal, find
from freelabels.pipeline.sources.layouts.grouping import (
    Folders,
    Item,
    group,
    notes_of,
    suffix_of,
)
from freelabels.pipeline.sources.scan import Scanned, scan
from freelabels.pipeline.stages.label_plan import plan_work
from freelabels.pipeline.stages.label_shard import LabelOptions
from freelabels.pipeline.stages.planning import pack, uncovered
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

OPTIONS = SourceOptions()

# A tree whose names are everything: what is in a file is never looked at.
TREE = [
    "x/1.png",
    "x/3.png",
    "x-y/1.jpg",
    "x.y/1.jpg",
    "x/clip.mp4",
    "x/z/clip.mp4",
    "x/z.mov",
    *(f"run/img_{k}.png" for k in range(8, 13)),
    *(f"run/deep/img_{k}.png" for k in range(95, 104)),
    "run/img_9/a.png",
    *(f"kitti/{side}/{k:06d}.png" for side in ("image_2", "image_3") for k in (1, 2, 3, 7)),
    "kitti/image_2/only left.png",
    "kitti/image_3/only right.png",
    "kitti/calib.txt",
    *(f"{side}/{scene}/{k}.png" for side in ("left", "right") for scene in "ab" for k in (1, 5, 6, 7)),
    *(f"left/{side}/{k}.png" for side in ("rgb", "depth") for k in range(4)),
    *(f"right/rgb/{k}.png" for k in range(2)),
    *(f"seq/{side}/{k}.png" for side in ("rgb", "depth") for k in range(700)),
    "seq/intrinsics.txt",
    *(f"seven/f-{k}.{what}" for k in range(4) for what in ("color.png", "depth.png", "pose.txt")),
    "mb/im0.png",
    "mb/im1.png",
    "mb/disp0.png",
    "mb/calib.txt",
    "dup/broken 1.png",
    "dup/same a.png",
    "dup/same b.png",
    "dup/noted.mp4",
    "zz/same c.png",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in TREE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "a link").symlink_to(root / "x")
    return root


def made_up(item: Item, options: SourceOptions) -> Examined:
    """What came of an item, told by its names: as many kinds of clips as there are."""

    def spec(uris: Sequence[str], kind: str, frames: int = 1, **more: object) -> ClipSpec:
        content = "same" if "same" in uris[0] else "|".join(uris)
        known = "given" if item.beside else "assumed"
        sha = hashlib.sha256(content.encode()).hexdigest()
        base = ClipSpec(
            kind, tuple(uris), sha, (9, 9), tuple(range(frames)), (0.0,) * frames, (1,) * 4, known
        )
        return replace(base, **more)  # type: ignore[arg-type]

    if "broken" in item.uris[0]:
        return Examined((), (Refusal(item.uris[0], "is truncated"),))
    if item.kind == "image":
        return Examined((spec(item.uris, "photo"),))
    if item.kind == "video":
        note = "ends early" if "noted" in item.uris[0] else ""
        cuts = [(0, 30), (30, 64), (64, 70)]
        clips = [
            spec(item.uris, "video", b - a, indices=tuple(range(a, b)), shot=str(a), note=note)
            for a, b in cuts
        ]
        return Examined(tuple(clips))
    half = len(item.uris) // 2
    if "image_2" in item.uris[0] or "deep" in item.uris[0]:  # not what their names promise
        return Examined(tuple(spec([uri], "photo") for uri in item.uris))
    if item.kind == "stereo":
        return Examined(
            tuple(spec([a, b], "stereo") for a, b in zip(item.uris[:half], item.uris[half:], strict=True))
        )
    parts = [item.uris[k : k + 50] for k in range(0, len(item.uris), 50)]
    return Examined(tuple(spec(uris, item.kind, len(uris), depth=item.depth[:1]) for uris in parts))


@pytest.fixture(autouse=True)
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """Items are not examined for real; returns those that were examined."""
    examined: list[Item] = []

    def watched(item: Item, options: SourceOptions) -> Examined:
        examined.append(item)
        return made_up(item, options)

    monkeypatch.setattr(freelabels.pipeline.sources.scan, "examine", watched)
    return examined


def items_in(root: Path) -> list[Item]:
    return [found for found in find([str(root)]) if isinstance(found, Item)]


def scanned(
    root: Path, out: Path, items: list[Item] | None = None, reporter: Reporter | None = None
) -> Scanned:
    dataset = Dataset.create(out, {"size": [9, 9]})
    found = items_in(root) if items is None else items
    return scan(iter(found), OPTIONS, dataset, Cluster(workers=0), reporter or Reporter("quiet"))


def all_clips(clips: ClipColumns) -> list[ClipSpec]:
    return [clips.read(k) for k in range(len(clips))]


def at_once(items: list[Item]) -> tuple[list[ClipSpec], dict[str, str]]:
    """The specification: all clips ordered by place, of those with the same content the first."""
    examined = [made_up(item, OPTIONS) for item in items]
    refused = {r.uri: r.reason for one in examined for r in one.refusals}
    first: dict[str, ClipSpec] = {}
    for clip in sorted((c for one in examined for c in one.clips), key=lambda c: (c.uris, c.indices)):
        twin = first.setdefault(clip.key, clip)
        if twin is not clip:
            refused.setdefault(clip.uris[0], f"has the same content as {twin.uris[0]}")
    return list(first.values()), refused


def test_a_folder_at_a_time_gives_the_items_of_all_at_once(tree: Path) -> None:
    folders: Folders = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            if suffix_of(name) in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".txt"):
                status = (Path(folder) / name).stat()
                folders.setdefault(folder, {})[name] = f"{status.st_size}-{status.st_mtime_ns}"
    notes = {folder: notes_of(files) for folder, files in folders.items()}
    expected = set(group(folders, notes, [str(tree)]))
    found = [one for one in find([str(tree)]) if not isinstance(one, Refusal)]
    assert len(found) == len(set(found)) and set(found) == expected
    found = [one for one in found if isinstance(one, Item)]
    assert [min(item.uris) for item in found] == sorted(min(item.uris) for item in found)
    assert {item.kind for item in found} == {"image", "video", "sequence", "stereo", "rgbd"}
    assert find([str(tree / "x"), str(tree / "x" / "*.png")])  # named twice
    twice = [str(tree / "x"), str(tree / "x" / "*.png"), str(tree / "x-y" / "1.jpg"), str(tree / "x-y")]
    names = [Path(item.uris[0]).relative_to(tree) for item in find(twice) if isinstance(item, Item)]
    assert [str(name) for name in names] == [
        "x-y/1.jpg",
        "x/1.png",
        "x/3.png",
        "x/clip.mp4",
        "x/z.mov",
        "x/z/clip.mp4",
    ]


def test_the_clips_are_those_of_all_items_at_once_in_the_same_order(tree: Path, tmp_path: Path) -> None:
    found = scanned(tree, tmp_path / "out")
    clips, refused = at_once(items_in(tree))
    assert all_clips(found.clips) == clips
    assert {r.uri: r.reason for r in found.refusals} == refused and len(refused) == 3
    assert found.clips.keys.tolist() == [int(clip.key, 16) for clip in clips]
    assert found.clips.frames.tolist() == [clip.frames for clip in clips]
    kinds = [found.clips.kinds[offer] for offer in found.clips.offers]
    assert kinds == [(clip.kind, clip.provides) for clip in clips]


def test_what_is_remembered_is_not_probed_again(
    tree: Path, tmp_path: Path, no_decoding: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freelabels.pipeline.sources.scan, "PART_ITEMS", 5)  # many parts
    items = items_in(tree)
    some = [item for k, item in enumerate(items) if k % 3]
    scanned(tree, tmp_path / "out", some)
    assert sorted(i.uris for i in no_decoding) == sorted(i.uris for i in some)
    no_decoding.clear()
    found = scanned(tree, tmp_path / "out")
    assert sorted(i.uris for i in no_decoding) == sorted(i.uris for k, i in enumerate(items) if k % 3 == 0)
    no_decoding.clear()
    again = scanned(tree, tmp_path / "out")
    assert no_decoding == []
    assert all_clips(again.clips) == all_clips(found.clips) == at_once(items)[0]
    assert again.refusals == found.refusals


def test_a_scan_that_is_stopped_goes_on_where_it_was(
    tree: Path, tmp_path: Path, no_decoding: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_in(tree)
    real = freelabels.pipeline.sources.scan.examine

    def stopped(item: Item, options: SourceOptions) -> Examined:
        if len(no_decoding) == 20:
            raise KeyboardInterrupt
        return real(item, options)

    monkeypatch.setattr(freelabels.pipeline.sources.scan, "examine", stopped)
    with pytest.raises(KeyboardInterrupt):
        scanned(tree, tmp_path / "out")
    before = len(no_decoding)
    monkeypatch.setattr(freelabels.pipeline.sources.scan, "examine", real)
    assert all_clips(scanned(tree, tmp_path / "out").clips) == at_once(items)[0]
    assert before < len(no_decoding) < len(items) + 20  # only the task that was under way is done twice


def test_changed_files_are_probed_again_and_the_old_ones_forgotten(
    tree: Path, tmp_path: Path, no_decoding: list[Item]
) -> None:
    items = items_in(tree)
    scanned(tree, tmp_path / "out")
    [part] = (tmp_path / "out" / SCAN_CACHE).iterdir()
    no_decoding.clear()
    changed = [replace(item, stamp="new") for item in items]
    scanned(tree, tmp_path / "out", changed[:1] + items[1:])
    assert no_decoding == changed[:1] and part.exists()
    scanned(tree, tmp_path / "out", changed)
    assert not part.exists()


def test_a_part_that_goes_while_it_is_needed_is_one_sentence(tree: Path, tmp_path: Path) -> None:
    items = [item for item in items_in(tree) if "/x" in item.uris[0]]
    for damage in (Path.unlink, lambda part: part.write_bytes(part.read_bytes()[:-1])):
        clips = scanned(tree, tmp_path / "out", items).clips
        for part in (tmp_path / "out" / SCAN_CACHE).iterdir():
            damage(part)
        with pytest.raises(UserError, match="changed or dropped while it was needed; run again"):
            clips.read(0)


def test_notes_and_sentences_are_said(tree: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(Reporter):
        def say(self, sentence: str, **facts: object) -> None:
            said.append(sentence)

    scanned(tree, tmp_path / "out", reporter=Listener("quiet"))
    assert said == [f"{tree / 'dup' / 'noted.mp4'}: ends early"]


# Packing


def packed_plainly(clips: list[ClipSpec], rows: int) -> list[tuple[str, list[ClipSpec]]]:
    """The specification: whole clips, one after the other, those that offer the same together."""
    shards: list[list[ClipSpec]] = []
    for clip in sorted(clips, key=lambda c: (c.kind, sorted(c.provides))):
        last = shards[-1] if shards else []
        alike = last and (last[0].kind, last[0].provides) == (clip.kind, clip.provides)
        if alike and sum(c.frames for c in last) + clip.frames <= rows:
            last.append(clip)
        else:
            shards.append([clip])
    return [(f"{s[0].kind}-{digest([c.key for c in s])[:16]}", s) for s in shards]


@pytest.mark.parametrize("rows", [1, 2, 50, 64])
def test_packing_is_first_come_first_served(tree: Path, tmp_path: Path, rows: int) -> None:
    shards = pack(scanned(tree, tmp_path / "out").clips, rows)
    read = [shards.read(k) for k in range(len(shards))]
    expected = packed_plainly(at_once(items_in(tree))[0], rows)
    assert [(shard.id, list(shard.clips)) for shard in read] == expected
    assert shards.frames == sum(shard.frames for shard in read)
    assert {STEREO, INTRINSICS} <= set().union(*(provides for _, provides in shards.clips.kinds))


def index_of(tmp_path: Path, shards: list[tuple[str, list[ClipSpec]]]) -> Index:
    """The index of a dataset that holds these shards."""
    dataset = Dataset.create(tmp_path / "data", {})
    for name, clips in shards:
        rows = [{"rows": [k, k + 1], "kind": clip.kind, "key": clip.key} for k, clip in enumerate(clips)]
        image = {"image": np.zeros((len(clips), 2, 2, 3), np.uint8)}
        commit_shard(dataset, name, image, rows, {"image": {"generator": "test"}})
    return read_index(dataset, Cluster(workers=0), Reporter("quiet"))


def test_what_other_shards_hold_is_not_planned_again(tree: Path, tmp_path: Path) -> None:
    clips = at_once(items_in(tree))[0]
    gone = replace(clips[0], sha256="f" * 64)
    others = packed_plainly(clips[3:9], 64) + packed_plainly([clips[20], gone], 64)
    held = {clip.key for _, members in others for clip in members}
    whole = [(name, members) for name, members in sorted(others) if gone not in members]
    rest = [
        (f"{left[0].kind}-{digest([c.key for c in left])[:16]}", left)
        for _, members in packed_plainly(clips, 8)
        if (left := [clip for clip in members if clip.key not in held])
    ]
    shards = uncovered(pack(ClipColumns.of(clips), 8), index_of(tmp_path, others))
    read = [shards.read(k) for k in range(len(shards))]
    assert [(shard.id, list(shard.clips)) for shard in read] == whole + rest
    plain = pack(ClipColumns.of(clips), 8)
    assert uncovered(plain, index_of(tmp_path / "empty", [])) is plain


# Memory


def many(kind: str, count: int) -> Iterator[Item]:
    for k in range(count):
        suffix = "jpg" if kind == "image" else "mp4"
        yield Item(kind, (f"/somewhere/a folder of sources/{k // 1000:04d}/{k:06d}.{suffix}",), f"123-{k}")


def small_or_long(item: Item, options: SourceOptions) -> Examined:
    """A photo, or a video of 64 frames."""
    number = int(Path(item.uris[0]).stem)
    frames = 1 if item.kind == "image" else 64
    indices = tuple(range(number, number + 3 * frames, 3))
    video = {"pts": indices, "shot": f"{number:08x}"} if frames > 1 else {}
    return Examined(
        (
            ClipSpec(
                "photo" if item.kind == "image" else "video",
                item.uris,
                hashlib.sha256(item.uris[0].encode()).hexdigest(),
                (1080, 1920),
                indices,
                tuple(k / 30 for k in indices),
                (1600.0, 1600.0, 960.0, 540.0),
                "assumed",
                **video,  # type: ignore[arg-type]
            ),
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count", "most"), [("image", 8000, 500), ("video", 3000, 700)])
def test_planning_keeps_little_of_a_clip(
    tmp_path: Path, kind: str, count: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes a clip at the worst moment of listing, packing and planning what is remembered."""
    monkeypatch.setattr(freelabels.pipeline.sources.scan, "examine", small_or_long)
    monkeypatch.setattr(freelabels.pipeline.sources.scan, "PART_ITEMS", 1000)
    dataset = Dataset.create(tmp_path / "out", {"size": [64, 64]})
    arguments = OPTIONS, dataset, Cluster(workers=0), Reporter("quiet")
    scan(many(kind, count), *arguments)
    label_names()  # imports the detectors
    index = index_of(tmp_path, [])
    tracemalloc.start()
    shards = pack(scan(many(kind, count), *arguments).clips)
    work, _ = plan_work(shards, index, "out", LabelOptions(["edges"], size=(64, 64)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(work) == len(shards) == (count if kind == "video" else -(-count // 64))
    assert peak / count < most, peak / count
    assert next(iter(work)).shard.clips[0].uris == next(many(kind, count)).uris

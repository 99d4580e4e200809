"""`label` over very many sources that are all known, labelled and committed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.remember import remember_shards
from benchmarks.scaling.steps import EXAMPLE_RECORD, HERE, QUIET, step
from freelabels.generators.contract.detector import label_names
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import read_index
from freelabels.pipeline.shards.record import canonical
from freelabels.pipeline.shards.summary import number_of
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, SourceOptions
from freelabels.pipeline.sources.examine import Examined
from freelabels.pipeline.sources.find import Item, find
from freelabels.pipeline.sources.scan_cache import (
    VERSION,
    Columns,
    fingerprinter,
    fingerprints_of,
    save_part,
    write_part,
)
from freelabels.pipeline.stages import label as stage
from freelabels.pipeline.stages.label_plan import plan_work
from freelabels.pipeline.stages.label_shard import LabelOptions
from freelabels.pipeline.stages.planning import pack
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work.progress import Reporter

Kind = Literal["photo", "video"]


def label(kind: Kind = "video", shards: int = 20_000, folder: str | None = None) -> None:
    """Run `label` on sources that are all known, labelled and committed: it lists, plans and finds nothing to do.

    Videos are empty files that are listed for real, each remembered as one clip of 64 frames; photos, 64 to a
    shard, come from a list that is made up, since tens of millions of files fit on few disks. All else is real.

    Args:
        kind: What the shards hold.
        shards: How many.
        folder: Where to put them; default: the system's folder for temporary files.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        sources, out = f"{scratch}/sources", f"{scratch}/out"
        _remember_sources(kind, shards, sources, out)
        command = [sys.executable, "-m", "benchmarks.scaling", "relabel", "--kind", kind]
        command += ["--sources", sources, "--out", out, "--shards", str(shards)]
        subprocess.run(command, check=True)  # with a peak of its own


def _remember_sources(kind: Kind, shards: int, sources: str, out: str) -> None:
    """Sources, what the scan remembers of them, and a committed shard of each."""
    size = (256, 256)
    dataset = Dataset.create(out, {"size": list(size), "seed": 0})
    if kind == "video":
        with step(f"make {shards} empty files"):
            for item in _items(kind, shards, sources):
                Path(item.uris[0]).parent.mkdir(parents=True, exist_ok=True)
                Path(item.uris[0]).touch()
    with step("remember what came of them"):
        listed = iter(_listed(kind, shards, sources))
        number, keys = 0, []
        while batch := list(islice(listed, 1 << 11 if kind == "video" else 1 << 14)):
            keys.append((_remember_videos if kind == "video" else _remember_photos)(dataset, batch, number))
            number += len(batch)
    example = _clip(kind, ("",), 0)
    many = np.concatenate(keys)
    del keys
    clips = ClipColumns(
        many,
        np.full(len(many), example.frames, np.uint8),
        np.zeros(len(many), np.uint8),
        ((example.kind, example.provides),),
        lambda number: example,
    )
    planned = pack(clips)
    assert len(planned) == shards, len(planned)
    nothing = read_index(dataset, HERE, QUIET)
    work, _ = plan_work(planned, nothing, out, LabelOptions(label_names(), {}, size))
    recipe = canonical(next(iter(work)).recipes).decode()
    with step(f"make {shards} folders and records"):
        for name in planned.ids.tolist():
            os.mkdir(f"{out}/{name.decode()}.0")
            with open(f"{out}/{name.decode()}.0/{RECORD}", "wb") as stream:
                stream.write(EXAMPLE_RECORD)
    with step("remember them"):
        number_by_id = {planned.id(k): k for k in range(len(planned))}

        def keys_of(name: str) -> NDArray[np.uint64]:
            start, stop = planned.starts[number_by_id[name] :][:2]
            return many[planned.members[start:stop]]

        remember_shards(dataset, keys_of, recipe, kind, example.frames)


def _remember_videos(dataset: Dataset, batch: list[Item], number: int) -> NDArray[np.uint64]:
    """Keys of clips, each remembered by itself."""
    fingerprint = fingerprinter(SourceOptions())
    clips = [_clip("video", item.uris, number + k) for k, item in enumerate(batch)]
    found = [(item, fingerprint(item), Examined((clip,))) for item, clip in zip(batch, clips, strict=True)]
    write_part(dataset, found, owner="")
    return np.array([number_of(clip.key) for clip in clips], np.uint64)


def _remember_photos(dataset: Dataset, batch: list[Item], number: int) -> NDArray[np.uint64]:
    """Keys of clips, mixed numbers; the rest, which nothing reads as all shards are there, is the same for all."""
    fingerprint = fingerprinter(SourceOptions())
    example = _clip("photo", ("",), 0)
    keys = np.arange(number, number + len(batch), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    about = {
        "version": VERSION,
        "owner": "",
        "kinds": [[example.kind, sorted(example.provides)]],
        "refusals": [],
        "remarks": [],
    }
    columns = Columns(
        keys,
        np.ones(len(batch), np.uint16),
        np.zeros(len(batch), np.uint16),
        np.zeros(len(batch), np.uint32),
        np.zeros(len(batch), np.bool_),
    )
    specs = [json.dumps(example.to_json()).encode()] * len(batch)
    prints = fingerprints_of([fingerprint(item) for item in batch])
    save_part(dataset, about, prints, np.ones(len(batch), np.int32), columns, specs)
    return keys


def _items(kind: Kind, shards: int, folder: str) -> Iterator[Item]:
    """A thousand files in each folder."""
    for number in range(shards if kind == "video" else 64 * shards):
        place = f"{folder}/{number // 1000:06d}/{number:09d}"
        if kind == "video":
            yield Item("video", (f"{place}.mp4",), "")
        else:
            yield Item("image", (f"{place}.jpg",), f"{number}-{number}")


def _listed(kind: Kind, shards: int, sources: str) -> Iterable[Item]:
    found = find([sources]) if kind == "video" else _items(kind, shards, sources)
    return (item for item in found if isinstance(item, Item))


def _clip(kind: Kind, uris: tuple[str, ...], number: int) -> ClipSpec:
    """A clip that is told by its number."""
    frames = 1 if kind == "photo" else 64
    indices = tuple(range(number, number + 3 * frames, 3))
    video: dict[str, Any] = {"pts": tuple(1024 * k for k in indices), "rate": 10.0, "shot": f"{number:016x}"}
    spec = ClipSpec(
        kind=kind,
        uris=uris,
        sha256=hashlib.sha256(f"{number}".encode()).hexdigest(),
        size=(1080, 1920),
        indices=indices if kind == "video" else (0,),
        times=tuple(k / 30 for k in indices) if kind == "video" else (0.0,),
        camera=(1600.0 + number, 1600.0 + number, 960.0, 540.0),
        intrinsics="assumed",
        **(video if kind == "video" else {}),
    )
    spec.__dict__["key"] = spec.sha256[:16]  # as good as any, and costs nothing
    return spec


def relabel(kind: Kind, sources: str, out: str, shards: int) -> None:
    """Run the stage on what is committed."""
    with step("start of the process and imports"):
        label_names()
    if kind == "photo":
        vars(stage)["find"] = lambda *_, **__: _items(kind, shards, sources)
    else:
        with step("list the sources alone"):
            assert sum(1 for _ in find([sources])) == shards
    with step(f"label {shards} committed shards of {kind}s"):
        summary = stage.label([sources], out, cluster=HERE, reporter=Reporter("json"))
    assert (summary.shards, summary.made, summary.failed) == (shards, 0, 0), summary

"""What came of each source, remembered beside the shards: columns to plan by, specs to read when their turn comes.

It lies in parts, archives of numpy arrays that are never changed and are named by the digest of their bytes: one
that does not match its name is as if it were not there, and so is one that is gone. What is missing is examined
again.
"""

from __future__ import annotations

import hashlib
import io
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import SCAN_CACHE, Dataset
from freelabels.pipeline.sources.clip_specs import ClipColumns, ClipSpec, SourceOptions
from freelabels.pipeline.sources.examine import Examined
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts.grouping import Item

VERSION = 3  # of what a part holds and of how files are examined; parts of another are not read
PARTS_HELD = 8  # in memory while specs are read, which is done nearly in the order they were written

Fingerprints = NDArray[np.uint64]


@dataclass(frozen=True)
class Part:
    """What came of some items, one after the other.

    name: of its file. owner: what names the sources and options of the run that wrote it; None: not known. items:
    (items, 2) their fingerprints. counts: (items,) how many clips each gave. Of each clip, all (clips,): keys,
    frames and offers as `ClipColumns` has them, offers counting `kinds`; first: which of its item's files it
    begins with; noted: whether it has a note. refusals, remarks: (number of the item, what is said).
    """

    name: str
    owner: str | None
    items: Fingerprints
    counts: NDArray[np.int32]
    keys: NDArray[np.uint64]
    frames: NDArray[np.uint16]
    offers: NDArray[np.uint16]
    first: NDArray[np.uint32]
    noted: NDArray[np.bool_]
    kinds: tuple[tuple[str, frozenset[str]], ...]
    refusals: tuple[tuple[int, Refusal], ...]
    remarks: tuple[tuple[int, Remark], ...]


COLUMNS = ("items", "counts", "keys", "frames", "offers", "first", "noted")


def fingerprinter(options: SourceOptions) -> Callable[[Item], bytes]:
    """A function: item → 16 bytes that tell it, its files' sizes and times and these options from all others."""
    begun = hashlib.blake2b(repr(options).encode(), digest_size=16)

    def fingerprint(item: Item) -> bytes:
        named = [item.uris, item.depth, item.poses, item.cameras, item.beside, tuple(map(repr, item.times))]
        if item.texts:  # else as before words were read
            named.append(item.texts)
        names = ("", item.kind, item.stamp, str(item.least), *(name for one in named for name in (*one, "")))
        digest = begun.copy()
        digest.update("\0".join(names).encode(errors="surrogatepass"))
        return digest.digest()

    return fingerprint


def fingerprints_of(prints: Sequence[bytes]) -> Fingerprints:
    """(items, 2) fingerprints as numbers."""
    return np.frombuffer(b"".join(prints), "<u8").reshape(-1, 2)


def read_parts(dataset: Dataset) -> list[Part]:
    """The columns of all parts that are whole."""
    found = []
    for file in dataset.storage.files(SCAN_CACHE):
        try:
            data = dataset.storage.read(f"{SCAN_CACHE}/{file}")
        except FileNotFoundError:  # dropped by another driver
            continue
        if file == _name(data) and (part := _parse(file, data)) is not None:
            found.append(part)
    return found


def _name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:32]}.npz"


def _parse(name: str, data: bytes) -> Part | None:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        about = json.loads(stored["about"].tobytes())
        if about["version"] != VERSION:
            return None
        kinds = tuple((kind, frozenset(provides)) for kind, provides in about["kinds"])
        refusals = tuple((item, Refusal(uri, reason)) for item, uri, reason in about["refusals"])
        remarks = tuple((item, Remark(uri, text)) for item, uri, text in about["remarks"])
        columns: dict[str, Any] = {column: stored[column] for column in COLUMNS}
        owner = about.get("owner")
        return Part(name=name, owner=owner, kinds=kinds, refusals=refusals, remarks=remarks, **columns)


def write_part(dataset: Dataset, found: Sequence[tuple[Item, bytes, Examined]], owner: str) -> Part:
    """Remember what came of some items, given with their fingerprints; owner: as in `Part`."""
    clips = ClipColumns.of([clip for _, _, examined in found for clip in examined.clips])
    specs = [clips.read(number) for number in range(len(clips))]
    lines = [json.dumps(spec.to_json()).encode() for spec in specs]
    refusals = [(k, refusal) for k, (_, _, examined) in enumerate(found) for refusal in examined.refusals]
    remarks = [(k, remark) for k, (_, _, examined) in enumerate(found) for remark in examined.remarks]
    columns: dict[str, Any] = {
        "items": fingerprints_of([prints for _, prints, _ in found]),
        "counts": np.array([len(examined.clips) for _, _, examined in found], np.int32),
        "keys": clips.keys,
        "frames": clips.frames,
        "offers": clips.offers,
        "first": np.array([i.uris.index(c.uris[0]) for i, _, p in found for c in p.clips], np.uint32),
        "noted": np.array([bool(spec.note) for spec in specs], np.bool_),
    }
    about = {
        "version": VERSION,
        "owner": owner,
        "kinds": [[kind, sorted(provides)] for kind, provides in clips.kinds],
        "refusals": [[k, *asdict(refusal).values()] for k, refusal in refusals],
        "remarks": [[k, *asdict(remark).values()] for k, remark in remarks],
    }
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        ends=np.cumsum([len(line) for line in lines], dtype=np.int64),
        specs=np.frombuffer(b"".join(lines), np.uint8),
        **columns,
    )
    data = stream.getvalue()
    name = _name(data)
    dataset.storage.write(f"{SCAN_CACHE}/{name}", data)
    said: dict[str, Any] = {"refusals": tuple(refusals), "remarks": tuple(remarks)}
    return Part(name=name, owner=owner, kinds=tuple(clips.kinds), **said, **columns)


def drop_part(dataset: Dataset, part: Part) -> None:
    """Forget what came of the items of a part."""
    dataset.storage.remove(f"{SCAN_CACHE}/{part.name}")


def row_finder(parts: Sequence[Part]) -> Callable[[Fingerprints], NDArray[np.int64]]:
    """A function that gives items' numbers, counted through all parts, by fingerprint; -1: not there."""
    known = np.concatenate([np.zeros((0, 2), np.uint64), *(part.items for part in parts)])
    order = np.argsort(known[:, 0], kind="stable")
    halves = known[order, 0]

    def rows(wanted: Fingerprints) -> NDArray[np.int64]:
        if not len(order):
            return np.full(len(wanted), -1, np.int64)
        found = order[np.minimum(np.searchsorted(halves, wanted[:, 0]), len(order) - 1)]
        return np.where((known[found] == wanted).all(axis=1), found, -1)

    return rows


def spec_reader(dataset: Dataset, parts: Sequence[Part]) -> Callable[[int], ClipSpec]:
    """A function that reads the whole of a clip by its number, counted through all parts.

    It raises UserError if the part is no longer what it was.
    """
    names = [part.name for part in parts]
    starts = [0, *accumulate(len(part.keys) for part in parts)]

    @lru_cache(PARTS_HELD)
    def texts(name: str) -> tuple[list[int], bytes]:
        try:
            data = dataset.storage.read(f"{SCAN_CACHE}/{name}")
        except FileNotFoundError:
            data = b""
        if name != _name(data):
            raise UserError(
                f"{dataset.file(f'{SCAN_CACHE}/{name}')} was changed or dropped while it was needed; run again"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return [0, *stored["ends"].tolist()], stored["specs"].tobytes()

    def read(number: int) -> ClipSpec:
        part = bisect_right(starts, number) - 1
        ends, text = texts(names[part])
        place = number - starts[part]
        return ClipSpec.from_json(json.loads(text[ends[place] : ends[place + 1]]))

    return read

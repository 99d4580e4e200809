"""What came of each source, remembered beside the shards: columns to plan by, specs to read when their turn comes.

It lies in parts, archives of numpy arrays that are never changed and are named by the digest of their bytes: one
that does not match its name is as if it were not there, and so is one that is gone. What is missing is examined
again.
"""

from __future__ import annotations

import hashlib
import io
import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
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

VERSION = 4  # of what a part holds and of how files are examined; parts of another are not read
PARTS_HELD = 8  # in memory while specs are read, which is done nearly in the order they were written

Fingerprints = NDArray[np.uint64]
LOW = np.uint64((1 << 32) - 1)
HIGH = ~LOW


@dataclass(frozen=True)
class Part:
    """What came of some items, one after the other; the columns of their clips are read when they are needed.

    name: of its file. owner: what names the sources and options of the run that wrote it; None: not known. counts:
    (items,) how many clips each gave. kinds: what `offers` counts. refusals, remarks: (number of the item, what is
    said).
    """

    name: str
    owner: str | None
    counts: NDArray[np.unsignedinteger[Any]]
    kinds: tuple[tuple[str, frozenset[str]], ...]
    refusals: tuple[tuple[int, Refusal], ...]
    remarks: tuple[tuple[int, Remark], ...]

    @property
    def items(self) -> int:
        """How many items it remembers."""
        return len(self.counts)

    @cached_property
    def clips(self) -> int:
        """How many clips came of them."""
        return int(self.counts.sum(dtype=np.int64))


@dataclass(frozen=True)
class Columns:
    """Of each clip of a part, all (clips,).

    keys, frames, offers: as `ClipColumns` has them, offers counting the part's kinds. first: which of its item's
    files it begins with. noted: whether it has a note.
    """

    keys: NDArray[np.uint64]
    frames: NDArray[np.unsignedinteger[Any]]
    offers: NDArray[np.unsignedinteger[Any]]
    first: NDArray[np.uint32]
    noted: NDArray[np.bool_]


COLUMNS = ("keys", "frames", "offers", "first", "noted")


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


class Known:
    """Which items are remembered: found by fingerprint, in 16 bytes an item."""

    def __init__(self) -> None:
        # The first four bytes of a fingerprint and the item's number, sorted when all are there; the last eight.
        self._places, self._checks = array("Q"), array("Q")
        self._sorted: NDArray[np.uint64] | None = None

    def add(self, prints: Fingerprints) -> None:
        """The items of one more part."""
        numbers = np.arange(len(self._checks), len(self._checks) + len(prints), dtype=np.uint64)
        self._places.frombytes((prints[:, 0] & HIGH | numbers).tobytes())
        self._checks.frombytes(prints[:, 1].tobytes())
        self._sorted = None

    def rows(self, wanted: Fingerprints) -> NDArray[np.int64]:
        """Items' numbers, counted through all parts; -1: not there."""
        if self._sorted is None:
            self._sorted = np.frombuffer(self._places, np.uint64)
            self._sorted.sort()
        checks, found = np.frombuffer(self._checks, np.uint64), np.full(len(wanted), -1, np.int64)
        heads = wanted[:, 0] & HIGH
        left = np.argsort(heads)  # searching in order is many times as fast
        at = np.searchsorted(self._sorted, heads[left])
        while len(left):
            there = at < len(self._sorted)
            left, at = left[there], at[there]
            same = self._sorted[at] & HIGH == heads[left]
            left, at = left[same], at[same]
            rows = (self._sorted[at] & LOW).astype(np.int64)
            right = checks[rows] == wanted[left, 1]
            found[left[right]] = rows[right]
            left, at = left[~right], at[~right] + 1
        return found


def read_parts(dataset: Dataset) -> tuple[list[Part], Known]:
    """All parts that are whole, and the items in them."""
    parts, known = [], Known()
    for file in dataset.storage.files(SCAN_CACHE):
        try:
            data = dataset.storage.read(f"{SCAN_CACHE}/{file}")
        except FileNotFoundError:  # dropped by another driver
            continue
        if file == _name(data) and (found := _parse(file, data)) is not None:
            part, prints = found
            parts.append(part)
            known.add(prints)
    return parts, known


def read_columns(dataset: Dataset, part: Part) -> Columns:
    """The columns of a part's clips. Raises UserError if it is no longer what it was."""
    with np.load(io.BytesIO(_read(dataset, part.name)), allow_pickle=False) as stored:
        return Columns(*(stored[name] for name in COLUMNS))


def _read(dataset: Dataset, name: str) -> bytes:
    """A part's file. Raises UserError if it is no longer what it was."""
    try:
        data = dataset.storage.read(f"{SCAN_CACHE}/{name}")
    except FileNotFoundError:
        data = b""
    if name != _name(data):
        raise UserError(
            f"{dataset.file(f'{SCAN_CACHE}/{name}')} was changed or dropped while it was needed; run again"
        )
    return data


def _name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:32]}.npz"


def _parse(name: str, data: bytes) -> tuple[Part, Fingerprints] | None:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        about = json.loads(stored["about"].tobytes())
        if about["version"] != VERSION:
            return None
        return _part(name, about, stored["counts"]), stored["items"]


def _part(name: str, about: dict[str, Any], counts: NDArray[np.int32]) -> Part:
    kinds = tuple((kind, frozenset(provides)) for kind, provides in about["kinds"])
    refusals = tuple((item, Refusal(uri, reason)) for item, uri, reason in about["refusals"])
    remarks = tuple((item, Remark(uri, text)) for item, uri, text in about["remarks"])
    return Part(name, about.get("owner"), _narrow(counts), kinds, refusals, remarks)


def _narrow(counts: NDArray[np.int32]) -> NDArray[np.unsignedinteger[Any]]:
    """Counts in as few bytes as hold them."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def write_part(dataset: Dataset, found: Sequence[tuple[Item, bytes, Examined]], owner: str) -> Part:
    """Remember what came of some items, given with their fingerprints; owner: as in `Part`."""
    clips = ClipColumns.of([clip for _, _, examined in found for clip in examined.clips])
    specs = [clips.read(number) for number in range(len(clips))]
    lines = [json.dumps(spec.to_json()).encode() for spec in specs]
    refusals = [(k, refusal) for k, (_, _, examined) in enumerate(found) for refusal in examined.refusals]
    remarks = [(k, remark) for k, (_, _, examined) in enumerate(found) for remark in examined.remarks]
    about = {
        "version": VERSION,
        "owner": owner,
        "kinds": [[kind, sorted(provides)] for kind, provides in clips.kinds],
        "refusals": [[k, *asdict(refusal).values()] for k, refusal in refusals],
        "remarks": [[k, *asdict(remark).values()] for k, remark in remarks],
    }
    columns = Columns(
        clips.keys,
        clips.frames,
        clips.offers,
        np.array([i.uris.index(c.uris[0]) for i, _, p in found for c in p.clips], np.uint32),
        np.array([bool(spec.note) for spec in specs], np.bool_),
    )
    prints = fingerprints_of([prints for _, prints, _ in found])
    counts = np.array([len(examined.clips) for _, _, examined in found], np.int32)
    return save_part(dataset, about, prints, counts, columns, lines)


def save_part(
    dataset: Dataset,
    about: dict[str, Any],
    items: Fingerprints,
    counts: NDArray[np.int32],
    columns: Columns,
    specs: Sequence[bytes],
) -> Part:
    """Write a part: its description, fingerprints and numbers of clips of its items, the clips and their specs."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        ends=np.cumsum([len(line) for line in specs], dtype=np.int64),
        specs=np.frombuffer(b"".join(specs), np.uint8),
        items=items,
        counts=counts,
        **{name: getattr(columns, name) for name in COLUMNS},
    )
    data = stream.getvalue()
    name = _name(data)
    dataset.storage.write(f"{SCAN_CACHE}/{name}", data)
    return _part(name, about, counts)


def drop_part(dataset: Dataset, part: Part) -> None:
    """Forget what came of the items of a part."""
    dataset.storage.remove(f"{SCAN_CACHE}/{part.name}")


def spec_reader(dataset: Dataset, parts: Sequence[Part]) -> Callable[[int], ClipSpec]:
    """A function that reads the whole of a clip by its number, counted through all parts.

    It raises UserError if the part is no longer what it was.
    """
    names = [part.name for part in parts]
    starts = [0, *accumulate(part.clips for part in parts)]

    @lru_cache(PARTS_HELD)
    def texts(name: str) -> tuple[list[int], bytes]:
        with np.load(io.BytesIO(_read(dataset, name)), allow_pickle=False) as stored:
            return [0, *stored["ends"].tolist()], stored["specs"].tobytes()

    def read(number: int) -> ClipSpec:
        part = bisect_right(starts, number) - 1
        ends, text = texts(names[part])
        place = number - starts[part]
        return ClipSpec.from_json(json.loads(text[ends[place] : ends[place + 1]]))

    return read

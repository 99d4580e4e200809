"""Items → clips and refusals: examined in parallel, remembered for the next run, told apart by content."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.faults import reached
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.summary import joined_ranges
from freelabels.pipeline.sources import scan_cache
from freelabels.pipeline.sources.clip_specs import ClipColumns, SourceOptions
from freelabels.pipeline.sources.examine import Examined, examine
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.listing import NONE, PHOTOS_PER_TASK, Listing, Order, list_items
from freelabels.pipeline.sources.scan_cache import Part
from freelabels.pipeline.storage.uris import shown
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

Said = TypeVar("Said", Refusal, Remark)
SECONDS_A_VIDEO, SECONDS_OF_PHOTOS = 6 * 3600.0, 600.0  # that a task may take; photos usually take one or two
CHUNK = 1 << 20  # numbers at a time, where temporary arrays would take as much as the columns
PART_ITEMS, PART_FRAMES = 1 << 14, 1 << 17  # a part of the cache ends with whichever comes first


@dataclass(frozen=True)
class Scanned:
    """What came of all items: the clips, each content once, ordered by place; the files that can't be used.

    remarks: what is worth a line.
    """

    clips: ClipColumns
    refusals: list[Refusal]
    remarks: list[Remark]


@dataclass(frozen=True)
class ScanWork:
    """Some sources to examine in one task: several photos, or one video. places: theirs in the listing."""

    places: tuple[int, ...]
    items: tuple[Item, ...]
    options: SourceOptions


def examine_items(work: ScanWork) -> list[Examined]:
    """What came of each item. Runs in a worker."""
    return [examine(item, work.options) for item in work.items]


def limit(work: ScanWork) -> float:
    """Seconds that a task may take: whole videos are decoded, which takes as long as they are large."""
    moving = any(item.kind == "video" for item in work.items)
    return SECONDS_A_VIDEO if moving else SECONDS_OF_PHOTOS


def scan(
    items: Iterable[Item],
    options: SourceOptions,
    dataset: Dataset,
    cluster: Cluster,
    reporter: Reporter,
    owner: str = "",
) -> Scanned:
    """The clips of all items, each content once, and the files refused: broken ones and duplicates.

    items: ordered by the first of their files' names; no more is kept of one than a few numbers. What is
    remembered of files that have not changed is not examined again. One that kills its decoder costs only itself.
    owner: names the sources and options of this run, which forgets nothing that runs of others have remembered.
    """
    parts, known = scan_cache.read_parts(dataset)
    with TemporaryFile() as unknown:
        listing = list_items(items, options, known, unknown)
        del known
        if listing.tasks:
            _examine(unknown, listing, options, parts, dataset, cluster, reporter, owner)
    places = _places(listing, parts)
    scanned = _gather(listing, places, parts, dataset, reporter)
    if listing.tasks:
        _forget(places, parts, dataset, owner)
    return scanned


# --- probing --------------------------------------------------------------------------------------------------


def _examine(
    unknown: IO[bytes],
    listing: Listing,
    options: SourceOptions,
    parts: list[Part],
    dataset: Dataset,
    cluster: Cluster,
    reporter: Reporter,
    owner: str,
) -> None:
    """Probe the items in `unknown`; adds what came of them to the cache, part by part, and to `parts`."""
    fingerprint = scan_cache.fingerprinter(options)
    known = sum(part.items for part in parts)
    found: list[tuple[int, Item, Examined]] = []
    frames = 0

    def remember() -> None:
        nonlocal known, frames
        reached("scan cache: examined")
        entries = [(item, fingerprint(item), p) for _, item, p in found]
        parts.append(scan_cache.write_part(dataset, entries, owner))
        reached("scan cache: remembered")
        for place, _, _ in found:
            listing.rows[place] = known
            known += 1
        found.clear()
        frames = 0

    try:
        for place, item, examined in _examined(unknown, listing, options, cluster, reporter):
            found.append((place, item, examined))
            frames += sum(clip.frames for clip in examined.clips)
            if len(found) >= PART_ITEMS or frames >= PART_FRAMES:
                remember()
    finally:  # stopped or not, nothing is examined twice
        if found:
            remember()


def _examined(
    unknown: IO[bytes], listing: Listing, options: SourceOptions, cluster: Cluster, reporter: Reporter
) -> Iterator[tuple[int, Item, Examined]]:
    """Place in the listing, item and what came of it, as they come."""
    work: Iterable[ScanWork] = _work(unknown, listing.unknown, options)
    count = listing.tasks
    while count:
        again: list[ScanWork] = []
        with reporter.stage("examine", count) as tick:
            outcomes = run(
                examine_items,
                work,
                lambda w: f"examine {w.items[0].uris[0]}",
                cluster,
                seconds=limit,
                notice=tick.notice,
            )
            for outcome in outcomes:
                tick(failed=outcome.result is None, outcome=outcome)
                places, items = outcome.work.places, outcome.work.items
                if outcome.result is not None:
                    yield from zip(places, items, outcome.result, strict=True)
                elif len(items) > 1:
                    again += [_task([one], options) for one in zip(places, items, strict=True)]
                else:
                    reason = f"could not be decoded: {outcome.error}"
                    yield (
                        places[0],
                        items[0],
                        Examined((), tuple(Refusal(uri, reason) for uri in items[0].uris)),
                    )
        work, count = again, len(again)


def _work(unknown: IO[bytes], count: int, options: SourceOptions) -> Iterator[ScanWork]:
    """The items in `unknown` as tasks, read as they are asked for."""
    unknown.seek(0)
    photos: list[tuple[int, Item]] = []
    for _ in range(count):
        place, item = pickle.load(unknown)
        if item.kind != "image":
            yield _task([(place, item)], options)
            continue
        photos.append((place, item))
        if len(photos) == PHOTOS_PER_TASK:
            yield _task(photos, options)
            photos.clear()
    if photos:
        yield _task(photos, options)


def _task(items: Sequence[tuple[int, Item]], options: SourceOptions) -> ScanWork:
    return ScanWork(tuple(place for place, _ in items), tuple(item for _, item in items), options)


# --- gathering ------------------------------------------------------------------------------------------------


def _places(listing: Listing, parts: list[Part]) -> NDArray[np.uint32]:
    """(items,) where each remembered item stands in the listing, `NONE`: it is not there."""
    places = np.full(sum(part.items for part in parts), NONE, np.uint32)
    rows = np.frombuffer(listing.rows, np.uint32)
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        places[some] = np.arange(start, start + len(some), dtype=np.uint32)
    listing.rows = array("I")
    return places


def _gather(
    listing: Listing, places: NDArray[np.uint32], parts: list[Part], dataset: Dataset, reporter: Reporter
) -> Scanned:
    """The clips of the listed items, ordered by their first file's name, and what of them was refused."""
    columns, noted = _columns(listing.order, places, parts, dataset)
    read = scan_cache.spec_reader(dataset, parts)
    numbers = columns.numbers
    refused = _of_listed(places, parts, [part.refusals for part in parts])
    refusals = {refusal.uri: refusal for refusal in refused}
    again = []
    for later, twin in _twins(columns.keys):
        again.append(later)
        uri = read(int(numbers[later])).uris[0]
        if uri not in refusals:
            refusals[uri] = Refusal(uri, f"has the same content as {read(int(numbers[twin])).uris[0]}")
    if again:
        columns = columns.without(again)
        numbers = columns.numbers
        noted = noted[np.isin(noted, numbers)]
    remarks = sorted({Remark(clip.uris[0], clip.note) for clip in map(read, noted.tolist())}, key=str)
    remarks += sorted(set(_of_listed(places, parts, [part.remarks for part in parts])), key=str)
    for remark in remarks:
        reporter.say(shown(str(remark)))
    clips = ClipColumns(
        columns.keys, columns.frames, columns.offers, columns.kinds, lambda k: read(int(numbers[k]))
    )
    return Scanned(clips, [refusals[uri] for uri in sorted(refusals)], remarks)


@dataclass(frozen=True)
class _Columns:
    """As in `ClipColumns`; numbers: (clips,) of each in the cache."""

    keys: NDArray[np.uint64]
    frames: NDArray[np.uint8]
    offers: NDArray[np.uint8]
    numbers: NDArray[np.uint32]
    kinds: tuple[tuple[str, frozenset[str]], ...]

    def without(self, some: Sequence[int]) -> _Columns:
        """The others."""
        kept = np.ones(len(self.keys), bool)
        kept[some] = False
        return replace(self, **{name: getattr(self, name)[kept] for name in ARRAYS})

    def ordered(self, ranks: NDArray[np.int64]) -> _Columns:
        """By rising rank."""
        if (ranks[1:] >= ranks[:-1]).all():
            return self
        order = np.argsort(ranks, kind="stable")
        return replace(self, **{name: getattr(self, name)[order] for name in ARRAYS})


ARRAYS = ("keys", "frames", "offers", "numbers")


def _columns(
    order: Order, places: NDArray[np.uint32], parts: list[Part], dataset: Dataset
) -> tuple[_Columns, NDArray[np.int64]]:
    """The clips of the listed items in order, put in place part by part, and the numbers of those with a note."""
    begins = _begins(places, parts)
    total = int(begins[-1])
    columns = _Columns(
        np.empty(total, np.uint64), np.empty(total, np.uint8), np.empty(total, np.uint8),
        np.empty(total, np.uint32), (),
    )  # fmt: skip
    ranks = np.empty(total if len(order.several) else 0, np.int64)
    kinds: dict[tuple[str, frozenset[str]], int] = {}
    noted: list[NDArray[np.int64]] = []
    items = clips = 0
    for part in parts:
        place = places[items : items + part.items]
        listed = place != NONE
        if listed.any():
            its = scan_cache.read_columns(dataset, part)
            counts = part.counts.astype(np.int64)
            mine = np.repeat(listed, counts)
            own = np.flatnonzero(mine)
            to = joined_ranges(begins[place[listed]].astype(np.int64), counts[listed])
            offers = np.array([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], np.uint8)
            columns.keys[to], columns.frames[to] = its.keys[mine], its.frames[mine]
            columns.offers[to], columns.numbers[to] = offers[its.offers[mine]], clips + own
            if len(ranks):
                ranks[to] = order.of(
                    np.repeat(place[listed].astype(np.int64), counts[listed]), its.first[mine]
                )
            noted.append(clips + own[its.noted[mine]])
        items += part.items
        clips += part.clips
    columns = replace(columns, kinds=tuple(kinds))
    return columns.ordered(ranks), np.concatenate([np.zeros(0, np.int64), *noted])


def _begins(places: NDArray[np.uint32], parts: list[Part]) -> NDArray[np.uint32]:
    """(listed + 1,) where the clips of each listed item begin, in the order of the listing."""
    begins = np.zeros(int((places != NONE).sum()) + 1, np.uint32)
    start = 0
    for part in parts:
        place = places[start : start + part.items]
        begins[place[place != NONE] + 1] = part.counts[place != NONE]
        start += part.items
    return np.cumsum(begins, dtype=np.uint32, out=begins)


def _of_listed(
    places: NDArray[np.uint32], parts: list[Part], said: Sequence[Sequence[tuple[int, Said]]]
) -> Iterator[Said]:
    """What was said, part by part, of the listed items."""
    begin = 0
    for part, lines in zip(parts, said, strict=True):
        yield from (line for item, line in lines if places[begin + item] != NONE)
        begin += part.items


def _twins(keys: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Position of each key that was there before, in order, and of the first one like it."""
    twice = np.concatenate([_twice(keys, low) for low in range(0, 1 << 64, 1 << 61)])
    first: dict[int, int] = {}
    for start in range(0, len(keys) if len(twice) else 0, CHUNK):
        for k in (start + np.flatnonzero(np.isin(keys[start : start + CHUNK], twice))).tolist():
            if (twin := first.setdefault(int(keys[k]), k)) != k:
                yield k, twin


def _twice(keys: NDArray[np.uint64], low: int) -> NDArray[np.uint64]:
    """Those of an eighth of all keys, from `low` on, that are there more than once."""
    mine = keys >= np.uint64(low)
    mine &= keys <= np.uint64(low + (1 << 61) - 1)
    ordered = np.sort(keys[mine])
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _forget(places: NDArray[np.uint32], parts: list[Part], dataset: Dataset, owner: str) -> None:
    """Drop this owner's parts of the cache that none of the listed items is in: their files changed or went."""
    begin = 0
    for part in parts:
        unused = (places[begin : begin + part.items] == NONE).all()
        if unused and part.owner == owner:
            scan_cache.drop_part(dataset, part)
            reached("scan cache: forgotten")
        begin += part.items

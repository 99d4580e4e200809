"""Items → clips and refusals: examined in parallel, remembered for the next run, told apart by content."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.faults import reached
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.sources import scan_cache
from freelabels.pipeline.sources.clip_specs import ClipColumns, SourceOptions, joined_ranges
from freelabels.pipeline.sources.examine import Examined, examine
from freelabels.pipeline.sources.find import Refusal, Remark
from freelabels.pipeline.sources.layouts.grouping import Item
from freelabels.pipeline.sources.scan_cache import Part
from freelabels.pipeline.storage.uris import shown
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run

Said = TypeVar("Said", Refusal, Remark)
PHOTOS_PER_TASK = 32
SECONDS_A_VIDEO, SECONDS_OF_PHOTOS = 6 * 3600.0, 600.0  # that a task may take; photos usually take one or two
ITEMS_AT_A_TIME = 4096  # looked up
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
    parts = scan_cache.read_parts(dataset)
    with TemporaryFile() as unknown:
        listing = _list(items, options, parts, unknown)
        if listing.tasks:
            _examine(unknown, listing, options, parts, dataset, cluster, reporter, owner)
    scanned = _gather(listing, parts, dataset, reporter)
    if listing.tasks:
        _forget(listing, parts, dataset, owner)
    return scanned


# --- listing --------------------------------------------------------------------------------------------------


@dataclass
class _Listing:
    """What is kept of the listed items.

    rows: of each, its number in the cache, -1: not there. slots: of each, where its files begin in `ranks`, which
    holds each file's place among all files ordered by name. unknown: items to examine; tasks: in so many tasks.
    """

    rows: array[int] = field(default_factory=lambda: array("q"))
    slots: array[int] = field(default_factory=lambda: array("q"))
    ranks: array[int] = field(default_factory=lambda: array("q"))
    unknown: int = 0
    tasks: int = 0


def _list(items: Iterable[Item], options: SourceOptions, parts: list[Part], unknown: IO[bytes]) -> _Listing:
    """Number all items and their files; those that the cache doesn't know go to the file `unknown`."""
    listing, photos = _Listing(), 0
    fingerprint, rows_of = scan_cache.fingerprinter(options), scan_cache.row_finder(parts)
    ranked = _ranked(items, listing)
    while batch := list(islice(ranked, ITEMS_AT_A_TIME)):
        rows = rows_of(scan_cache.fingerprints_of([fingerprint(item) for item in batch]))
        for k in np.flatnonzero(rows < 0).tolist():
            pickle.dump((len(listing.rows) + k, batch[k]), unknown)
            listing.unknown += 1
            photos += batch[k].kind == "image"
        listing.rows.frombytes(rows.tobytes())
    listing.tasks = listing.unknown - photos + -(-photos // PHOTOS_PER_TASK)
    return listing


def _ranked(items: Iterable[Item], listing: _Listing) -> Iterator[Item]:
    """The items as they come, their files ranked by name: no later item has a file before this one's first."""
    ranks = listing.ranks
    waiting: list[tuple[str, int]] = []
    rank = 0
    for item in items:
        first = min(item.uris)
        while waiting and waiting[0][0] < first:
            ranks[heappop(waiting)[1]] = rank
            rank += 1
        listing.slots.append(len(ranks))
        for uri in item.uris:
            heappush(waiting, (uri, len(ranks)))
            ranks.append(0)
        yield item
    for _, slot in sorted(waiting):
        ranks[slot] = rank
        rank += 1


# --- probing --------------------------------------------------------------------------------------------------


def _examine(
    unknown: IO[bytes],
    listing: _Listing,
    options: SourceOptions,
    parts: list[Part],
    dataset: Dataset,
    cluster: Cluster,
    reporter: Reporter,
    owner: str,
) -> None:
    """Probe the items in `unknown`; adds what came of them to the cache, part by part, and to `parts`."""
    fingerprint = scan_cache.fingerprinter(options)
    known = sum(len(part.items) for part in parts)
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
    unknown: IO[bytes], listing: _Listing, options: SourceOptions, cluster: Cluster, reporter: Reporter
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


def _gather(listing: _Listing, parts: list[Part], dataset: Dataset, reporter: Reporter) -> Scanned:
    """The clips of the listed items, ordered by their first file's name, and what of them was refused."""
    rows = np.frombuffer(listing.rows, np.int64)
    counts = np.concatenate([part.counts for part in parts]).astype(np.int64)
    begins = np.cumsum(counts) - counts
    numbers = joined_ranges(begins[rows], counts[rows])
    first = np.concatenate([part.first for part in parts])[numbers]
    slots = np.repeat(np.frombuffer(listing.slots, np.int64), counts[rows]) + first
    ranks = np.frombuffer(listing.ranks, np.int64)[slots]
    if (np.diff(ranks) < 0).any():
        numbers = numbers[np.argsort(ranks, kind="stable")]
    keys = np.concatenate([part.keys for part in parts])[numbers]
    read = scan_cache.spec_reader(dataset, parts)

    refused = _of_listed(listing, parts, [part.refusals for part in parts])
    refusals = {refusal.uri: refusal for refusal in refused}
    kept = np.ones(len(keys), bool)
    for again, twin in _twins(keys):
        kept[again] = False
        uri = read(int(numbers[again])).uris[0]
        if uri not in refusals:
            refusals[uri] = Refusal(uri, f"has the same content as {read(int(numbers[twin])).uris[0]}")
    numbers, keys = numbers[kept], keys[kept]

    noted = numbers[np.concatenate([part.noted for part in parts])[numbers]].tolist()
    remarks = sorted({Remark(clip.uris[0], clip.note) for clip in map(read, noted)}, key=str)
    remarks += sorted(set(_of_listed(listing, parts, [part.remarks for part in parts])), key=str)
    for remark in remarks:
        reporter.say(shown(str(remark)))
    kinds: dict[tuple[str, frozenset[str]], int] = {}
    offers = [
        np.array([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], np.uint16)[part.offers]
        for part in parts
    ]
    frames = np.concatenate([part.frames for part in parts])[numbers]
    clips = ClipColumns(
        keys, frames, np.concatenate(offers)[numbers], tuple(kinds), lambda k: read(int(numbers[k]))
    )
    return Scanned(clips, [refusals[uri] for uri in sorted(refusals)], remarks)


def _of_listed(
    listing: _Listing, parts: list[Part], said: Sequence[Sequence[tuple[int, Said]]]
) -> Iterator[Said]:
    """What was said, part by part, of the listed items."""
    listed = np.zeros(sum(len(part.items) for part in parts), bool)
    listed[np.frombuffer(listing.rows, np.int64)] = True
    begin = 0
    for part, lines in zip(parts, said, strict=True):
        yield from (line for item, line in lines if listed[begin + item])
        begin += len(part.items)


def _twins(keys: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Position of each key that was there before, in order, and of the first one like it."""
    order = np.argsort(keys, kind="stable")
    again = keys[order][1:] == keys[order][:-1]
    if again.any():
        head = np.concatenate([[True], ~again])
        firsts = order[np.maximum.accumulate(np.where(head, np.arange(len(order)), 0))]
        yield from sorted(zip(order[~head].tolist(), firsts[~head].tolist(), strict=True))


def _forget(listing: _Listing, parts: list[Part], dataset: Dataset, owner: str) -> None:
    """Drop this owner's parts of the cache that none of the listed items is in: their files changed or went."""
    rows = np.sort(np.frombuffer(listing.rows, np.int64))
    begin = 0
    for part in parts:
        unused = np.searchsorted(rows, begin) == np.searchsorted(rows, begin + len(part.items))
        if unused and part.owner == owner:
            scan_cache.drop_part(dataset, part)
            reached("scan cache: forgotten")
        begin += len(part.items)

"""Items → clips and refusals: probed in parallel, remembered for the next run, told apart by content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.clips import ClipSpec, SourceOptions
from pipeline.files import sha256_of
from pipeline.grouping import Item
from pipeline.probe import Probed, probe, unique
from pipeline.progress import Reporter
from pipeline.runner import Cluster, run
from pipeline.shards import DatasetFile
from pipeline.sources import Refusal

PHOTOS_PER_TASK = 32


@dataclass(frozen=True)
class ScanWork:
    """Some sources to probe in one task: several photos, or one video."""

    items: tuple[Item, ...]
    options: SourceOptions


def probe_items(work: ScanWork) -> list[Probed]:
    """What came of each item. Runs in a worker."""
    return [probe(item, work.options) for item in work.items]


def scan(
    items: Sequence[Item], options: SourceOptions, cache: DatasetFile, cluster: Cluster, reporter: Reporter
) -> Probed:
    """The clips of all items, each content once, and the files refused: broken ones and duplicates.

    What `cache` knows of files that have not changed is not probed again. A file that kills its decoder costs
    itself alone.
    """
    keys = [_cache_key(item, options) for item in items]
    known = _read_cache(cache)
    fresh = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
    if fresh:
        known |= _probe_fresh(fresh, options, cluster, reporter)
        cache.write_lines([_cache_entry(key, known[key]) for key in keys])
    whole = unique(known[key] for key in keys)
    for note in sorted({f"{clip.uris[0]}: {clip.note}" for clip in whole.clips if clip.note}):
        reporter.say(note)
    return whole


def _probe_fresh(
    fresh: Mapping[str, Item], options: SourceOptions, cluster: Cluster, reporter: Reporter
) -> dict[str, Probed]:
    key_of = {item: key for key, item in fresh.items()}
    photos = [item for item in key_of if item.kind == "image"]
    work = [ScanWork((item,), options) for item in key_of if item.kind != "image"]
    work += [ScanWork(tuple(batch), options) for batch in _batches(photos, PHOTOS_PER_TASK)]
    found: dict[str, Probed] = {}
    while work:
        again: list[ScanWork] = []
        with reporter.stage("probe", len(work)) as tick:
            for outcome in run(probe_items, work, lambda w: f"probe {w.items[0].uris[0]}", cluster):
                tick(failed=outcome.result is None)
                if outcome.result is not None:
                    for item, probed in zip(outcome.work.items, outcome.result, strict=True):
                        found[key_of[item]] = probed
                elif len(outcome.work.items) > 1:
                    again += [ScanWork((item,), options) for item in outcome.work.items]
                else:
                    [item] = outcome.work.items
                    refusals = [Refusal(uri, f"could not be decoded: {outcome.error}") for uri in item.uris]
                    found[key_of[item]] = Probed(refusals=tuple(refusals))
        work = again
    return found


def _batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _cache_key(item: Item, options: SourceOptions) -> str:
    return json.dumps([asdict(item), asdict(options)], sort_keys=True)


def _cache_entry(key: str, found: Probed) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "key": key,
        "clips": [clip.to_json() for clip in found.clips],
        "refusals": [asdict(refusal) for refusal in found.refusals],
    }
    return {**entry, "sha256": _seal(entry)}


def _seal(entry: Mapping[str, Any]) -> str:
    return sha256_of(json.dumps(entry, sort_keys=True).encode())


def _read_cache(cache: DatasetFile) -> dict[str, Probed]:
    """What earlier runs found; a line that can't be read is as if it were not there."""
    known: dict[str, Probed] = {}
    if cache.exists():
        for line in cache.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if entry.pop("sha256") != _seal(entry):
                    continue
                known[entry["key"]] = Probed(
                    tuple(ClipSpec.from_json(clip) for clip in entry["clips"]),
                    tuple(Refusal(**refusal) for refusal in entry["refusals"]),
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return known

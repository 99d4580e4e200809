"""Which shards of labels are missing or out of date, and what to run for each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from freelabels.generators.contract.clip import SEED, SENSOR_DEPTH, STEREO
from freelabels.generators.contract.detector import detectors, label_names, plan, sees_between
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.stages.label_shard import LabelOptions, LabelWork
from freelabels.pipeline.stages.planning import (
    Choice,
    PlannedShards,
    choose,
)

NOT_THERE = -1  # instead of the number of a shard, or of what made it


@dataclass(frozen=True)
class Older:
    """Columns that stay as older versions made them: [shards, frames] by column and version."""

    counts: dict[tuple[str, str], list[int]]

    def add(self, column: str, version: str, frames: int) -> None:
        """One more shard."""
        count = self.counts.setdefault((column, version), [0, 0])
        count[0] += 1
        count[1] += frames

    def __len__(self) -> int:
        return sum(shards for shards, _ in self.counts.values())

    def __str__(self) -> str:
        """Labels, who made them, and how many frames it would take to remake them."""
        labels = sorted(key for key in self.counts if not key[0].endswith(CONFIDENCE_SUFFIX))
        return "; ".join(
            f"{column} by {version}: {counted(shards, 'shard')}, {counted(frames, 'frame')}"
            for (column, version), (shards, frames) in ((key, self.counts[key]) for key in labels)
        )


@dataclass(frozen=True)
class LabelPlan:
    """The work of a run; an item is made when its turn comes, with the whole of its clips."""

    numbers: Sequence[int]
    make: Callable[[int], LabelWork]
    older: Older

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[LabelWork]:
        return map(self.make, self.numbers)


def plan_work(
    shards: PlannedShards, index: Index, path: str, options: LabelOptions
) -> tuple[LabelPlan, dict[str, dict[str, str]]]:
    """The shards that are missing or out of date, and what can't be had from sources of each kind, and why.

    Shards of which the same columns were made in the same way are planned together: the index tells which.
    """
    offers = shards.offers.tolist()
    bases = index.numbers_of(shards.ids).tolist()
    skipped: dict[str, dict[str, str]] = {}
    ways: dict[tuple[int, int], Choice] = {}
    older, lengths = Older({}), shards.lengths.tolist()

    known = detectors()

    def key_of(number: int) -> tuple[int, int]:
        base = bases[number]
        return offers[number], NOT_THERE if base == NOT_THERE else int(index.made[base])

    def way_of(offer: int, recipe: int) -> Choice:
        kind, provides = shards.clips.kinds[offer]
        made = {} if recipe == NOT_THERE else index.recipes[recipe]
        present = [
            name
            for name in label_names()
            if name in made and name not in options.labels and made[name].get("generator") in known
        ]  # what no detector made (a run's predictions) is left as it is
        chosen = plan([*options.labels, *present], provides | {SEED}, options.detectors, options.makers)
        skipped.setdefault(kind, dict(chosen.skipped))
        choice = choose(chosen, options.seed, made, options.detectors.keys(), options.update)
        if "image" in choice.older and any(
            {STEREO, SENSOR_DEPTH} & detector.needs or (kind == "video" and sees_between(detector))
            for detector in choice.detectors
        ):
            # These read the source again, so the frames must be those of the same decoding.
            choice = choose(chosen, options.seed, made, options.detectors.keys(), options.update | {"image"})
        return choice

    todo = array("q")
    for number in range(len(shards)):
        key = key_of(number)
        if key not in ways:
            ways[key] = way_of(*key)
        if ways[key].anew or ways[key].detectors:
            todo.append(number)
        for column, version in ways[key].older.items():
            older.add(column, version, lengths[number])

    def make(number: int) -> LabelWork:
        way, base = ways[key_of(number)], bases[number]
        name = None if base == NOT_THERE else index.name(base)
        return LabelWork(path, shards.read(number), name, way.detectors, way.recipes, options)

    return LabelPlan(todo, make, older), skipped

"""Which shards of labels are missing or out of date, and what to run for each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from freelabels.generators.contract.clip import SEED
from freelabels.generators.contract.detector import Detector, label_names, plan
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.stages.label_shard import LabelOptions, LabelWork
from freelabels.pipeline.stages.planning import (
    PlannedShards,
    Recipe,
    out_of_date,
    recipes,
)

NOT_THERE = -1  # instead of the number of what made a shard


@dataclass(frozen=True)
class Way:
    """How shards are made or completed that offer the same and of which the same is there."""

    needed: bool
    detectors: tuple[Detector, ...]
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True)
class LabelPlan:
    """The work of a run; an item is made when its turn comes, with the whole of its clips."""

    numbers: Sequence[int]
    make: Callable[[int], LabelWork]

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
    committed, offers = index.by_id(), shards.offers.tolist()
    bases = array("q", (committed.get(shard, NOT_THERE) for shard in shards.ids))
    skipped: dict[str, dict[str, str]] = {}
    ways: dict[tuple[int, int], Way] = {}

    def key_of(number: int) -> tuple[int, int]:
        base = bases[number]
        return offers[number], NOT_THERE if base == NOT_THERE else int(index.made[base])

    def way_of(offer: int, recipe: int) -> Way:
        kind, provides = shards.clips.kinds[offer]
        made = {} if recipe == NOT_THERE else index.recipes[recipe]
        present = [name for name in label_names() if name in made and name not in options.labels]
        chosen = plan([*options.labels, *present], provides | {SEED}, options.detectors)
        wanted = recipes(chosen, options.seed)
        anew = made.get("image") != wanted["image"]  # decoded by another version: nothing is of use
        stale = tuple(out_of_date(chosen, wanted, {} if anew else made))
        skipped.setdefault(kind, dict(chosen.skipped))
        return Way(anew or bool(stale), stale, wanted)

    todo = array("q")
    for number in range(len(shards)):
        key = key_of(number)
        if key not in ways:
            ways[key] = way_of(*key)
        if ways[key].needed:
            todo.append(number)

    def make(number: int) -> LabelWork:
        way, base = ways[key_of(number)], bases[number]
        name = None if base == NOT_THERE else index.names[base]
        return LabelWork(path, shards.read(number), name, way.detectors, way.recipes, options)

    return LabelPlan(todo, make), skipped

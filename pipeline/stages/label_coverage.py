"""How much of what was labelled holds which label, for people: by kind of source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.stages.planning import PlannedShards

MOST = 100_000  # shards; of more it would take long
# What an empty label most often means.
OFTEN = {
    "disparity": "the camera hardly moves, or only turns",
    "depth": "the camera hardly moves, or its scale is not known",
    "normals": "depth is missing, or nothing in it is flat",
    "motion": "nothing moves on its own",
    "flow": "the picture has no texture, or cuts after every frame",
    "foreground": "nothing moves or stands out",
    "sound": "there is no sound track",
}


@dataclass
class Covered:
    """Of one label of one kind of source: pixels in all, with a label; shards in all, without any."""

    pixels: int = 0
    labelled: float = 0.0
    shards: int = 0
    empty: int = 0

    @property
    def share(self) -> float:
        """Of the pixels that hold a label."""
        return self.labelled / max(self.pixels, 1)


Coverage = Mapping[str, Mapping[str, Covered]]


def coverage_of(shards: PlannedShards, index: Index) -> Coverage:
    """By kind and label, of the planned shards that stand; nothing for very many."""
    found: dict[str, dict[str, Covered]] = {}
    if len(shards) > MOST:
        return found
    kinds = [shards.clips.kinds[offer][0] for offer in shards.offers.tolist()]
    numbers = index.numbers_of(shards.ids)
    kind_of = {number: kind for number, kind in zip(numbers.tolist(), kinds, strict=True) if number >= 0}
    for some, part in index.summaries("figures", of=np.unique(numbers[numbers >= 0])):
        for row in part.figures.tolist():
            shard, label, pixels, share = row[:4]
            kind = kind_of[int(some[shard])]
            its = found.setdefault(kind, {}).setdefault(part.labels[label], Covered())
            its.pixels += pixels
            its.labelled += share * pixels
            its.shards += 1
            its.empty += share == 0
    return found


def lines(coverage: Coverage) -> Iterator[str]:
    """For people: a line a kind, then one for each label that is missing on some shards."""
    for kind, labels in sorted(coverage.items()):
        shown = {n: its for n, its in sorted(labels.items()) if not n.endswith(CONFIDENCE_SUFFIX)}
        if shown:
            yield f"{kind}: " + ", ".join(f"{name} {its.share:.0%}" for name, its in shown.items())
        for name, its in shown.items():
            if its.empty:
                which = "all" if its.empty == its.shards else f"{its.empty} of {its.shards}"
                word = "shard" if its.shards == 1 else "shards"
                why = f" (often: {OFTEN[name]})" if name in OFTEN else ""
                yield f"  no {name} on {which} {word} of {kind}{why}"


def figures(coverage: Coverage) -> dict[str, dict[str, dict[str, float]]]:
    """For machines."""
    return {
        kind: {name: {**asdict(its), "coverage": its.share} for name, its in labels.items()}
        for kind, labels in coverage.items()
    }

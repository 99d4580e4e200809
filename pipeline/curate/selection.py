"""Which clips of a dataset are meant: by name, by a list, by what is known of them, by split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array, confidence_name, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.curate.expression import FIGURES, Expression
from freelabels.pipeline.shards.class_names import class_names
from freelabels.pipeline.shards.exclusions import parse_exclusions
from freelabels.pipeline.shards.identity import clip_identity
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.splits import SPLITS, Splits
from freelabels.pipeline.shards.statistics import statistics

STORED = {"confidence": "confidence_mean"}  # what a record calls a figure, where it is not the same
PIXELS = 64 * 64  # of a frame that brightness is taken from


@dataclass(frozen=True)
class Selection:
    """A choice of clips; without any condition all of them.

    clips: names, each a clip's key, its content hash, or path or file name of its source. where: a condition.
    split: train, val or test. invert: all others. Raises UserError for no such split, and for
    nothing to invert.
    """

    clips: frozenset[str] = frozenset()
    where: Expression | None = None
    split: str = ""
    invert: bool = False
    _met: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.split and self.split not in SPLITS:
            raise UserError(f"--only {self.split}: {nearest(self.split, SPLITS)}")
        if self.invert and not (self.clips or self.where or self.split):
            raise UserError("--invert turns a choice around: give --clips, --listed, --where or --only too")

    @staticmethod
    def of(
        clips: Sequence[str] = (),
        listed: str | os.PathLike[str] | None = None,
        where: str = "",
        split: str = "",
        invert: bool = False,
    ) -> Selection:
        """From what users say. listed: a file with a name a line, or a list as freelabels inspect saves it.

        Raises UserError.
        """
        names = frozenset(clips) | (read_list(listed) if listed is not None else frozenset())
        if listed is not None and not names:
            raise UserError(f"the list {listed} names no clip")
        return Selection(names, Expression.parse(where) if where else None, split, invert)

    @property
    def everything(self) -> bool:
        """Whether it has no condition."""
        return not (self.clips or self.where or self.split)

    def of_shard(self, shard: Shard, splits: Splits | None) -> list[int]:
        """Numbers of the clips of a shard that are chosen. Raises CorruptShard, and UserError without splits."""
        if self.split and splits is None:
            raise UserError(
                f"--only {self.split}: there are no splits in the dataset of {shard.name}; make them by "
                "freelabels split --val .1 --test .1"
            )
        return [
            number
            for number, clip in enumerate(shard.clips)
            if self._takes(shard, number, clip, splits) != self.invert
        ]

    def unmet(self) -> list[str]:
        """Names that no clip has been met under."""
        return sorted(self.clips - self._met)

    def _takes(self, shard: Shard, number: int, clip: Mapping[str, Any], splits: Splits | None) -> bool:
        if self.clips:
            found = self.clips & names_of(clip)
            self._met.update(found)
            if not found:
                return False
        if self.split and splits is not None and splits.of(shard, clip) != self.split:
            return False
        return self.where is None or self.where.holds(facts_of(shard, number, self.where.names, splits))


def names_of(clip: Mapping[str, Any]) -> set[str]:
    """What a clip may be called."""
    source = str((clip.get("source") or [""])[0])
    names = {str(clip.get("key", "")), str(clip.get("sha256", "")), clip_identity(clip), source}
    return (names | {source.rpartition("/")[2]}) - {""}


def read_list(path: str | os.PathLike[str]) -> frozenset[str]:
    """The names in a file. Raises UserError if it can't be read."""
    try:
        text = Path(path).read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"the list {path} can't be read ({reason})") from error
    if text.lstrip().startswith("{"):
        return frozenset(frame.clip for frame in parse_exclusions(text, os.fspath(path)))
    return frozenset(name for line in text.splitlines() if (name := line.strip()) and name[0] != "#")


def facts_of(shard: Shard, number: int, names: frozenset[str], splits: Splits | None) -> dict[str, Any]:
    """What `names` asks to know of a clip, see `expression.FACTS` and `FIGURES`. Raises CorruptShard."""
    clip = shard.clips[number]
    start, stop = clip["rows"]
    facts: dict[str, Any] = {
        "kind": str(clip.get("kind", "")),
        "frames": stop - start,
        "source": str((clip.get("source") or [""])[0]),
        "key": str(clip.get("key", "")),
        "tags": " ".join(tag["text"] for tag in clip.get("tags", ())),
        "split": splits.of(shard, clip) if splits is not None else "",
    }
    if {"brightness", "contrast"} & names and "image" in shard.fields:
        facts |= _light(shard.read_rows("image", start, stop))
    for name in names:
        if known_field(name) is not None:
            facts[name] = dict(_figures(shard, clip, name))
    return facts


def _light(images: Array) -> dict[str, float]:
    step = max(1, round((images.shape[1] * images.shape[2] / PIXELS) ** 0.5))
    grey = images[:, ::step, ::step].astype(np.float32).mean(axis=-1) / 255
    return {"brightness": float(grey.mean()), "contrast": float(grey.std(axis=(1, 2)).mean())}


def _figures(shard: Shard, clip: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Of a label of a clip: those of the record where the clip is the whole shard, else of its pixels."""
    if name not in shard.fields:
        yield "coverage", 0.0
        return
    start, stop = clip["rows"]
    known: Mapping[str, Any] = shard.record["columns"][name]["statistics"]
    if len(shard.clips) > 1:
        trust = confidence_name(name)
        confidence = shard.read_rows(trust, start, stop) if trust in shard.fields else None
        known = statistics(name, shard.read_rows(name, start, stop), confidence)
    for figure in FIGURES:
        if (stored := STORED.get(figure, figure)) in known:
            yield figure, known[stored]
    yield from zip(("low", "high"), known.get("range", ()), strict=False)
    if "counts" in known:
        spec = known_field(name)
        table = class_names(shard, name) or (spec.names if spec is not None else ())
        seen = [k for k, count in enumerate(known["counts"]) if count]
        yield "classes", [table[k] if k < len(table) else str(k) for k in seen]

"""What the records of many shards say, as columns: enough to plan, to train and to look without opening them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.fields import known_field
from freelabels.pipeline.shards.identity import clip_identity, group_of, number_of_name
from freelabels.pipeline.shards.record import canonical
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.statistics import BINS

VERSION = 1  # of what is remembered; what another wrote is as if it were not there
NO_KEY = 0  # of a clip whose record gives none

Table = NDArray[Any]

# By shard: its frames, its number of clips, which recipe made its columns, which of `abouts` holds of it.
SHARD = np.dtype([("rows", "<u2"), ("clips", "<u2"), ("made", "<i4"), ("about", "<i4")])
# By clip: its key as a number, its rows, which of `kinds` it is, its groups (part: with parts of a shot apart),
# what names it for good and, 0 where that is the same, its content hash, these as `identity.number_of_name` gives.
CLIP = np.dtype(
    [
        ("key", "<u8"),
        ("start", "<u2"),
        ("stop", "<u2"),
        ("kind", "u1"),
        ("group", "<u8"),
        ("part", "<u8"),
        ("identity", "<u8"),
        ("content", "<u8"),
    ]
)
# By label of a shard that has figures: its number in this table and in `labels`, and its statistics; NaN: none.
FIGURES = np.dtype(
    [
        ("shard", "<i4"),
        ("label", "<u2"),
        ("pixels", "<i8"),
        ("coverage", "<f8"),
        ("confidence", "<f8"),
        ("confidences", "<i8", BINS),
        ("low", "<f8"),
        ("high", "<f8"),
        ("values", "<i8", BINS),
    ]
)
# By class of a label of a shard: how many pixels it has.
COUNT = np.dtype([("shard", "<i4"), ("label", "<u2"), ("number", "<u4"), ("count", "<i8")])


def number_of(key: str) -> int:
    """A clip's key, 16 hexadecimal digits, as a number."""
    return int(key, 16)


def _key(clip: Mapping[str, Any]) -> int:
    """The number of a clip's key, whatever it looks like."""
    key = str(clip.get("key") or "")
    try:
        number = number_of(key) if key else NO_KEY
    except ValueError:
        return number_of_name(key)
    return number if 0 <= number < 1 << 64 else number_of_name(key)


def joined_ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """starts[0] … starts[0] + counts[0] - 1, then the same of starts[1], and so on."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def encoded(names: Iterable[str]) -> NDArray[np.bytes_]:
    """Names as an array."""
    return np.array([name.encode(errors="surrogatepass") for name in names], np.bytes_).reshape(-1)


def decoded(name: bytes) -> str:
    """A name of such an array."""
    return name.decode(errors="surrogatepass")


@dataclass(frozen=True)
class Summaries:
    """Many shards; tables of the dtypes above.

    names, stamps: of each shard. recipes: canonical JSON of what made each column, by column. abouts: JSON of the
    frames' ``size`` [height, width] and the tables of ``names`` of classes, by column. sizes: bytes of each column
    of each shard, columns in the order of its recipe.
    """

    names: NDArray[np.bytes_]
    stamps: NDArray[np.bytes_]
    shards: Table
    clips: Table
    figures: Table
    counts: Table
    sizes: NDArray[np.int64]
    recipes: tuple[str, ...] = ()
    abouts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def head(self) -> Summaries:
        """The same without the tables."""
        return replace(self, **{name: NOTHING[name] for name in TABLES if name not in HEAD})

    @property
    def columns(self) -> list[list[str]]:
        """Names of the columns by recipe."""
        return [list(json.loads(recipe)) for recipe in self.recipes]

    def of_columns(self) -> NDArray[np.int64]:
        """(shards,) how many columns each has."""
        lengths = np.array([len(columns) for columns in self.columns], np.int64)
        return lengths[self.shards["made"]] if len(self) else np.zeros(0, np.int64)

    def select(self, chosen: NDArray[np.bool_]) -> Summaries:
        """The marked shards alone."""
        if chosen.all():
            return self
        place = np.cumsum(chosen) - 1

        def of_shards(table: Table) -> Table:
            left: Table = table[chosen[table["shard"]]]
            left["shard"] = place[left["shard"]]
            return left

        return replace(
            self,
            names=self.names[chosen],
            stamps=self.stamps[chosen],
            shards=self.shards[chosen],
            clips=self.clips[np.repeat(chosen, self.shards["clips"])] if len(self.clips) else self.clips,
            figures=of_shards(self.figures),
            counts=of_shards(self.counts),
            sizes=self.sizes[np.repeat(chosen, self.of_columns())] if len(self.sizes) else self.sizes,
        )

    def to_bytes(self) -> bytes:
        """As a file."""
        about = {"version": VERSION, **{name: getattr(self, name) for name in WORDS}}
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            **{name: getattr(self, name) for name in TABLES},
        )
        return stream.getvalue()

    @staticmethod
    def from_bytes(data: bytes, tables: Sequence[str] = ()) -> Summaries | None:
        """The inverse, with some of the tables besides names, stamps and shards; None: of another version."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            if about["version"] != VERSION:
                return None
            some = {name: stored[name] for name in {*HEAD, *tables}}
            words: dict[str, Any] = {name: tuple(about[name]) for name in WORDS}
            return Summaries(**{**NOTHING, **some, **words})


WORDS = ("recipes", "abouts", "kinds", "labels")
HEAD = ("names", "stamps", "shards")
TABLES = (*HEAD, "clips", "figures", "counts", "sizes")
NOTHING: dict[str, Any] = {
    "names": np.zeros(0, "S1"),
    "stamps": np.zeros(0, "S1"),
    "shards": np.zeros(0, SHARD),
    "clips": np.zeros(0, CLIP),
    "figures": np.zeros(0, FIGURES),
    "counts": np.zeros(0, COUNT),
    "sizes": np.zeros(0, np.int64),
}
NONE = Summaries(**NOTHING)


def joined(parts: Sequence[Summaries]) -> Summaries:
    """All shards of several, one after the other."""
    if len(parts) == 1:
        return parts[0]
    words = {name: dict[str, int]() for name in WORDS}
    tables: dict[str, list[Table]] = {name: [NOTHING[name]] for name in TABLES}
    begin = 0
    for part in parts:
        new = {
            name: np.array([words[name].setdefault(w, len(words[name])) for w in getattr(part, name)], int)
            for name in WORDS
        }
        own = {name: getattr(part, name) for name in TABLES}
        for name in ("shards", "clips", "figures", "counts"):
            own[name] = own[name].copy()
        for table, column, word in (
            ("shards", "made", "recipes"),
            ("shards", "about", "abouts"),
            ("clips", "kind", "kinds"),
            ("figures", "label", "labels"),
            ("counts", "label", "labels"),
        ):
            if len(own[table]):
                own[table][column] = new[word][own[table][column]]
        for name in ("figures", "counts"):
            own[name]["shard"] += begin
        for name in TABLES:
            tables[name].append(own[name])
        begin += len(part)
    whole: dict[str, Any] = {name: np.concatenate(some) for name, some in tables.items()}
    return Summaries(**whole | {name: tuple(known) for name, known in words.items()})


@dataclass
class Collector:
    """Takes up shards one by one."""

    names: list[str] = field(default_factory=list)
    shards: list[tuple[Any, ...]] = field(default_factory=list)
    clips: list[tuple[Any, ...]] = field(default_factory=list)
    figures: list[tuple[Any, ...]] = field(default_factory=list)
    counts: list[tuple[Any, ...]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    words: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in WORDS})

    def add(self, shard: Shard) -> None:
        """One more."""
        number = len(self.names)
        self.names.append(shard.name)
        columns = shard.record["columns"]
        made = self._word("recipes", canonical({name: shard.made_by(name) for name in columns}).decode())
        # Of canonical JSON the columns are sorted.
        self.sizes += [shard.bytes_of(name) for name in sorted(columns)]
        self.shards.append((shard.rows, len(shard.clips), made, self._word("abouts", _about(shard))))
        self.clips += [self._clip(shard, clip) for clip in shard.clips]
        for name, entry in columns.items():
            if entry["statistics"]:
                self._figures(number, name, entry["statistics"])

    def build(self) -> Summaries:
        """What was taken up, without stamps."""
        words: dict[str, Any] = {name: tuple(known) for name, known in self.words.items()}
        return Summaries(
            encoded(self.names),
            np.zeros(len(self.names), "S1"),
            np.array(self.shards, SHARD),
            np.array(self.clips, CLIP),
            np.array(self.figures, FIGURES),
            np.array(self.counts, COUNT),
            np.array(self.sizes, np.int64),
            **words,
        )

    def _word(self, kind: str, text: str) -> int:
        return self.words[kind].setdefault(text, len(self.words[kind]))

    def _clip(self, shard: Shard, clip: Mapping[str, Any]) -> tuple[Any, ...]:
        start, stop = clip["rows"]
        where = f"{shard.id}/{start}"
        identity, content = clip_identity(clip), str(clip.get("sha256", ""))
        return (
            _key(clip),
            start,
            stop,
            self._word("kinds", str(clip.get("kind", ""))),
            group_of(clip, where),
            group_of(clip, where, shots=False),
            number_of_name(identity),
            0 if content == identity else number_of_name(content),
        )

    def _figures(self, number: int, name: str, known: Mapping[str, Any]) -> None:
        label = self._word("labels", name)
        nothing = (0,) * BINS
        low, high = known.get("range", (np.nan, np.nan))
        self.figures.append(
            (
                number,
                label,
                known.get("pixels", 0),
                known.get("coverage", 0.0),
                known.get("confidence_mean", np.nan),
                tuple(known.get("confidence_histogram", nothing)),
                low,
                high,
                tuple(known.get("histogram", nothing)),
            )
        )
        self.counts += [(number, label, k, count) for k, count in enumerate(known.get("counts", [])) if count]


def _about(shard: Shard) -> str:
    """What shards have in common besides what made them."""
    names = {column: shard.attributes(column).get("names") for column in shard.fields}
    return json.dumps(
        {"size": frame_size(shard), "names": {column: table for column, table in names.items() if table}}
    )


def frame_size(shard: Shard) -> tuple[int, int] | None:
    """(height, width) of a shard's frames: of its images, or else of any map."""
    for name in ("image", *shard.fields):
        spec = known_field(name)
        if name in shard.fields and spec is not None and spec.is_map:
            height, width = shard.shape(name)[1:3]
            return height, width
    return None

"""Where every frame of a dataset lies, as columns of numbers from its index: a million frames in a few MB."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.pipeline.shards.exclusions import (
    FrameIdentity,
    excluded_rows,
    exclusions_of,
    listed_names,
)
from freelabels.pipeline.shards.identity import clip_identity
from freelabels.pipeline.shards.index import Index

SOURCES_AT_ONCE = 500  # shards


@dataclass(frozen=True)
class Layout:
    """Every clip, shards in order; all (clips,) arrays. kind: which of `kinds`.

    names: (clips, 2) identity and content hash as numbers, see `summary.CLIP`. first: (clips + 1,) number of each
    clip's first frame among all, then how many frames there are.
    """

    index: Index
    shard: NDArray[np.uint32]
    start: NDArray[np.uint16]
    stop: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    kinds: tuple[str, ...]
    names: NDArray[np.uint64]
    first: NDArray[np.int64]

    @property
    def frames(self) -> int:
        """How many there are."""
        return int(self.first[-1])

    def shards(self) -> Iterator[tuple[int, slice]]:
        """Numbers of the shards that have frames, with which frames these are among all."""
        begin = np.flatnonzero(np.diff(self.shard, prepend=-1))
        ends = np.append(begin[1:], len(self.shard))
        for clip, end in zip(begin.tolist(), ends.tolist(), strict=True):
            yield int(self.shard[clip]), slice(int(self.first[clip]), int(self.first[end]))

    def frame(self, shard: int, row: int) -> int:
        """The number of a frame among all; -1: it isn't there."""
        begin, end = np.searchsorted(self.shard, (shard, shard + 1))
        for clip in range(begin, end):
            if self.start[clip] <= row < self.stop[clip]:
                return int(self.first[clip]) + row - int(self.start[clip])
        return -1

    def place(self, frame: int) -> tuple[int, int]:
        """Number of the shard and row of a frame."""
        clip = int(np.searchsorted(self.first, frame, "right")) - 1
        return int(self.shard[clip]), int(self.start[clip]) + frame - int(self.first[clip])

    def rows_of(self, wanted: frozenset[FrameIdentity]) -> set[tuple[int, int]]:
        """(shard number, row) of the frames with these identities; only shards that may hold some are opened."""
        suspects = np.isin(self.names, listed_names(wanted)).any(axis=1) if wanted else np.zeros(0, bool)
        found = set()
        for number in np.unique(self.shard[suspects]).tolist() if wanted else ():
            shard = self.index.dataset.open(self.index.name(number))
            found |= {(number, int(row)) for row in np.flatnonzero(excluded_rows(shard, wanted))}
            shard.close()
        return found

    def sources(self, first: int) -> list[str]:
        """The sources of the clips of `SOURCES_AT_ONCE` shards from number `first` on, clip by clip."""
        index, last = self.index, min(first + SOURCES_AT_ONCE, len(self.index))
        known: dict[str, list[str]] = {}
        for shard in index.dataset.open_all([index.name(k) for k in range(first, last)], lambda error: None):
            known[shard.name] = [shown_source(clip) for clip in shard.clips]
        counts = np.bincount(self.shard, minlength=len(index))
        out: list[str] = []
        for number in range(first, last):
            told = known.get(index.name(number), [])
            out += told if len(told) == counts[number] else ["unreadable"] * int(counts[number])
        return out


def layout_of(index: Index) -> Layout:
    """The layout of all shards, from their summaries alone."""
    kinds: dict[str, int] = {}
    shards, clips, codes = [np.zeros(0, np.uint32)], [], [np.zeros(0, np.uint8)]
    for numbers, part in index.summaries("clips"):
        code = np.array([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], np.uint8)
        shards.append(np.repeat(numbers, part.shards["clips"]).astype(np.uint32))
        clips.append(part.clips[["start", "stop", "identity", "content"]])
        codes.append(code[part.clips["kind"]])
    shard, kind = np.concatenate(shards), np.concatenate(codes)
    order = np.argsort(shard, kind="stable")
    start, stop, identity, content = (
        np.concatenate([part[name] for part in clips])[order] if clips else np.zeros(0, dtype)
        for name, dtype in (("start", "u2"), ("stop", "u2"), ("identity", "u8"), ("content", "u8"))
    )
    first = np.concatenate([[0], np.cumsum(stop.astype(np.int64) - start)])
    names = np.stack([identity, content], axis=1)
    return Layout(index, shard[order], start, stop, kind[order], tuple(kinds), names, first)


def layout_json(layout: Layout) -> dict[str, Any]:
    """A layout ready for JSON: columns of clips as base64 of little-endian numbers, without sources."""
    index = layout.index
    columns = {"shard": "<u4", "start": "<u2", "stop": "<u2", "kind": "u1"}
    return {
        "first": 0,
        "shard_names": [index.name(number) for number in range(len(index))],
        "shard_columns": index.made.tolist(),
        "column_sets": [list(recipe) for recipe in index.recipes],
        "clips": {
            "packed": {
                name: base64.b64encode(getattr(layout, name).astype(dtype).tobytes()).decode()
                for name, dtype in columns.items()
            },
            "kinds": layout.kinds,
            "sources_at_once": SOURCES_AT_ONCE,
        },
        "excluded": sorted(layout.rows_of(exclusions_of(index.dataset))),
    }


def shown_source(clip: Mapping[str, Any]) -> str:
    """The source of a clip as people know it."""
    return str((clip.get("source") or [clip_identity(clip) or "unknown"])[0])

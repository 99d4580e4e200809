"""Interlaced pictures → whole ones: every second line is of another moment and is made anew (FFmpeg's bwdif)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import av

PARITY = {
    2: "tff",
    3: "bff",
    4: "bff",
    5: "tff",
}  # FFmpeg's order of a stream's fields → which is shown first


@dataclass
class Deinterlacer:
    """Pictures in, as many out, in order, one picture later.

    order: FFmpeg's field order of a stream whose pictures don't say that they are interlaced but are; 0: pictures
    say so themselves, and those that don't go through untouched. A picture at the edge of a stretch lacks a
    neighbour in time, so its pixels depend on where decoding begins.
    """

    order: int = 0
    _graph: Any = None
    _shape: tuple[int, int, str] | None = None
    _inside: deque[av.VideoFrame] = field(default_factory=deque)

    def feed(self, picture: av.VideoFrame) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        """(picture as it came, deinterlaced) of those that are ready."""
        shape = (picture.width, picture.height, picture.format.name)
        if self._graph is not None and shape != self._shape:
            yield from self.flush()
        if self._graph is None:
            if not self.order and not picture.interlaced_frame:
                yield picture, picture
                return
            self._graph, self._shape = self._new(picture), shape
        self._inside.append(picture)
        self._graph.push(picture)
        yield from self._ready()

    def flush(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        """What is still inside; then it is as new."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None
            self._inside.clear()

    def _ready(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        with suppress(BlockingIOError, EOFError):
            while True:
                made, picture = self._graph.pull(), self._inside.popleft()
                made.colorspace, made.color_range = picture.colorspace, picture.color_range
                yield picture, made

    def _new(self, picture: av.VideoFrame) -> Any:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
        )
        which = f"parity={PARITY[self.order]}:deint=all" if self.order else "parity=auto:deint=interlaced"
        bwdif, sink = graph.add("bwdif", f"mode=send_frame:{which}"), graph.add("buffersink")
        graph.link_nodes(source, bwdif, sink).configure()
        return graph

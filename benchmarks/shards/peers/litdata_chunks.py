"""litdata: its own chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter

from benchmarks.shards.peers.peer import SHARD_BYTES, Frame, Frames, Peer, each


def write(path: Path, frames: Frames) -> None:
    writer = BinaryWriter(str(path), chunk_bytes=SHARD_BYTES)
    for number, frame in enumerate(each(frames)):
        writer[number] = frame
    writer.done()
    writer.merge(1)


def random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    dataset = StreamingDataset(str(path), shuffle=False)
    return lambda number: dict(dataset[number])


def sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    return iter(StreamingDataset(str(path), shuffle=False))


PEERS = {"litdata raw": Peer(write, random, sequential, share=0.5)}

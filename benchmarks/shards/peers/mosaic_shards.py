"""MosaicML streaming: its shards, read in order one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streaming import LocalDataset, MDSWriter

from benchmarks.shards.peers.peer import SHARD_BYTES, Frame, Frames, Peer, each


def write(path: Path, frames: Frames) -> None:
    columns = {
        name: f"ndarray:{v.dtype.name}:{','.join(str(n) for n in v.shape[1:])}" for name, v in frames.items()
    }
    with MDSWriter(out=str(path), columns=columns, size_limit=SHARD_BYTES) as writer:
        for frame in each(frames):
            writer.write(frame)


def random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    dataset = LocalDataset(str(path))
    return lambda number: dict(dataset[number])


PEERS = {"MDS raw": Peer(write, random)}

"""webdataset: tar files, without random access."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import webdataset

from benchmarks.shards.peers.peer import SHARD, Frame, Frames, Peer, each


def write(path: Path, frames: Frames) -> None:
    with webdataset.ShardWriter(f"{path}/%06d.tar", maxcount=SHARD, verbose=0) as writer:
        for number, frame in enumerate(each(frames)):
            writer.write({"__key__": f"{number:08}", **{f"{n}.npy": v for n, v in frame.items()}})


def sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    urls = [str(tar) for tar in sorted(path.glob("*.tar"))]
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        yield {name: sample[f"{name}.npy"] for name in frames}


PEERS = {"webdataset npy": Peer(write, None, sequential)}

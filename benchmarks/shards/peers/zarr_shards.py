"""zarr-python: the same layout and codecs as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec

from benchmarks.shards.peers.peer import SHARD, Frame, Frames, Peer, count, each


def write(path: Path, frames: Frames) -> None:
    for start in range(0, count(frames), SHARD):
        for name, values in frames.items():
            part = values[start : start + SHARD]
            array = zarr.create_array(
                store=path / f"{start:06}" / name,
                shape=part.shape,
                shards=part.shape,
                chunks=(1, *part.shape[1:]),
                dtype=part.dtype,
                filters=[TransposeCodec(order=(0, 3, 1, 2))] if part.ndim == 4 else [],
                compressors=[
                    BloscCodec(
                        cname="lz4", clevel=9, shuffle="shuffle" if part.itemsize > 1 else "noshuffle"
                    ),
                    Crc32cCodec(),
                ],
                config={"write_empty_chunks": True},
            )
            array[:] = part


def opened(path: Path, frames: Frames) -> list[dict[str, Any]]:
    return [
        {name: zarr.open_array(shard / name, mode="r") for name in frames} for shard in sorted(path.iterdir())
    ]


def random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    shards = opened(path, frames)
    return lambda number: {name: array[number % SHARD] for name, array in shards[number // SHARD].items()}


def sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    for shard in opened(path, frames):
        yield from each({name: array[:] for name, array in shard.items()})


PEERS = {"zarr-python": Peer(write, random, sequential, share=0.1)}

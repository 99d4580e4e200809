"""tensorstore: the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorstore

from benchmarks.shards.peers.peer import SHARD, Frame, Frames, Peer, count, each

INDEX_BYTES = 1 << 20  # what may be cached: the indices of shards, but no frames


def store(path: Path, context: tensorstore.Context, **create: Any) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}, **create}
    return tensorstore.open(
        spec, context=context, create=bool(create), open=not create, recheck_cached=False
    ).result()


def one_thread() -> Any:
    limits = {"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}}
    return tensorstore.Context({**limits, "cache_pool": {"total_bytes_limit": INDEX_BYTES}})


def write(path: Path, frames: Frames) -> None:
    context = one_thread()
    for start in range(0, count(frames), SHARD):
        for name, values in frames.items():
            part = values[start : start + SHARD]
            blosc = {
                "cname": "lz4",
                "clevel": 9,
                "shuffle": "shuffle" if part.itemsize > 1 else "noshuffle",
                "typesize": part.itemsize,
            }
            inner: list[dict[str, Any]] = [
                {"name": "bytes", **({"configuration": {"endian": "little"}} if part.itemsize > 1 else {})},
                {"name": "blosc", "configuration": blosc},
                {"name": "crc32c"},
            ]
            if part.ndim == 4:
                inner.insert(0, {"name": "transpose", "configuration": {"order": [0, 3, 1, 2]}})
            index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
            sharding = {
                "chunk_shape": [1, *part.shape[1:]],
                "codecs": inner,
                "index_codecs": index,
                "index_location": "end",
            }
            metadata = {
                "shape": list(part.shape),
                "data_type": part.dtype.name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(part.shape)}},
                "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            }
            array = store(
                path / f"{start:06}" / name, context, metadata=metadata, store_data_equal_to_fill_value=True
            )
            array.write(part).result()


def opened(path: Path, frames: Frames) -> list[dict[str, Any]]:
    context = one_thread()
    return [{name: store(shard / name, context) for name in frames} for shard in sorted(path.iterdir())]


def random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    shards = opened(path, frames)

    def get(number: int) -> Frame:
        asked = {name: array[number % SHARD].read() for name, array in shards[number // SHARD].items()}
        return {name: future.result() for name, future in asked.items()}

    return get


def sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    for shard in opened(path, frames):
        asked = {name: array.read() for name, array in shard.items()}
        yield from each({name: future.result() for name, future in asked.items()})


PEERS = {"tensorstore": Peer(write, random, sequential)}

"""The other formats that `benchmarks/shards.py` compares with, in an environment of their own.

Reads a JSON request a line from standard input, ``{"peer", "operation", "order"}``, and answers each with a
line: the frames handled, the CPU seconds of this process with all its threads, and the bytes on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import tensorstore
import webdataset
import zarr
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter
from numpy.typing import NDArray
from streaming import LocalDataset, MDSWriter
from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec

Array = NDArray[Any]
Frame = dict[str, Array]
Frames = dict[str, Array]  # by field, (frame, y, x[, channel])
SHARD = 64  # frames a shard, or as many bytes where a format counts those
SHARD_BYTES = 64 << 20
INDEX_BYTES = 1 << 20  # what tensorstore may cache: the indices of shards, but no frames


@dataclass(frozen=True)
class Peer:
    """A format: how to write frames, and how to open what was written for random and for sequential reading.

    share: of the requested random reads that are made; those of slow formats are measured on fewer.
    """

    write: Callable[[Path, Frames], None]
    random: Callable[[Path, Frames], Callable[[int], Frame]] | None
    sequential: Callable[[Path, Frames], Iterable[Frame]] | None = None
    share: float = 1.0

    def in_order(self, path: Path, frames: Frames) -> Iterable[Frame]:
        """All frames, in the format's own way where it has one."""
        if self.sequential is not None:
            return self.sequential(path, frames)
        assert self.random is not None
        return map(self.random(path, frames), range(count(frames)))


def count(frames: Frames) -> int:
    return len(next(iter(frames.values())))


def each(frames: Frames) -> Iterator[Frame]:
    for number in range(count(frames)):
        yield {name: values[number] for name, values in frames.items()}


def unpack(data: bytes, frames: Frames) -> Frame:
    """A frame from the bytes of its arrays, one after the other, without a copy."""
    out, offset = {}, 0
    for name, like in frames.items():
        size = like[0].nbytes
        out[name] = np.frombuffer(data, like.dtype, like[0].size, offset).reshape(like.shape[1:])
        offset += size
    return out


# --- zarr: the same layout and codecs as ours ---------------------------------------------------------------


def zarr_write(path: Path, frames: Frames) -> None:
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


def zarr_open(path: Path, frames: Frames) -> list[dict[str, Any]]:
    return [
        {name: zarr.open_array(shard / name, mode="r") for name in frames} for shard in sorted(path.iterdir())
    ]


def zarr_random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    shards = zarr_open(path, frames)
    return lambda number: {name: array[number % SHARD] for name, array in shards[number // SHARD].items()}


def zarr_sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    for shard in zarr_open(path, frames):
        yield from each({name: array[:] for name, array in shard.items()})


# --- tensorstore on the same files --------------------------------------------------------------------------


def store(path: Path, context: tensorstore.Context, **create: Any) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}, **create}
    return tensorstore.open(
        spec, context=context, create=bool(create), open=not create, recheck_cached=False
    ).result()


def one_thread() -> Any:
    limits = {"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}}
    return tensorstore.Context({**limits, "cache_pool": {"total_bytes_limit": INDEX_BYTES}})


def tensorstore_write(path: Path, frames: Frames) -> None:
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


def tensorstore_open(path: Path, frames: Frames) -> list[dict[str, Any]]:
    context = one_thread()
    return [{name: store(shard / name, context) for name in frames} for shard in sorted(path.iterdir())]


def tensorstore_random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    shards = tensorstore_open(path, frames)

    def get(number: int) -> Frame:
        asked = {name: array[number % SHARD].read() for name, array in shards[number // SHARD].items()}
        return {name: future.result() for name, future in asked.items()}

    return get


def tensorstore_sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    for shard in tensorstore_open(path, frames):
        asked = {name: array.read() for name, array in shard.items()}
        yield from each({name: future.result() for name, future in asked.items()})


# --- webdataset: no random access ---------------------------------------------------------------------------


def webdataset_write(path: Path, frames: Frames) -> None:
    with webdataset.ShardWriter(f"{path}/%06d.tar", maxcount=SHARD, verbose=0) as writer:
        for number, frame in enumerate(each(frames)):
            writer.write({"__key__": f"{number:08}", **{f"{n}.npy": v for n, v in frame.items()}})


def webdataset_sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    urls = [str(tar) for tar in sorted(path.glob("*.tar"))]
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        yield {name: sample[f"{name}.npy"] for name in frames}


# --- litdata ------------------------------------------------------------------------------------------------


def litdata_write(path: Path, frames: Frames) -> None:
    writer = BinaryWriter(str(path), chunk_bytes=SHARD_BYTES)
    for number, frame in enumerate(each(frames)):
        writer[number] = frame
    writer.done()
    writer.merge(1)


def litdata_random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    dataset = StreamingDataset(str(path), shuffle=False)
    return lambda number: dict(dataset[number])


def litdata_sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    return iter(StreamingDataset(str(path), shuffle=False))


# --- array_record: one record a frame, as its documentation advises for random access ---------------------


def array_record_write(options: str) -> Callable[[Path, Frames], None]:
    def write(path: Path, frames: Frames) -> None:
        writer = ArrayRecordWriter(str(path / "frames.array_record"), f"group_size:1,{options}")
        for frame in each(frames):
            writer.write(b"".join(values.tobytes() for values in frame.values()))
        writer.close()

    return write


def array_record_random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    options = "readahead_buffer_size:0,max_parallelism:0"
    reader = ArrayRecordReader(str(path / "frames.array_record"), options)
    return lambda number: unpack(reader.read([number])[0], frames)


def array_record_sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    reader = ArrayRecordReader(str(path / "frames.array_record"), "max_parallelism:1")
    for _ in range(reader.num_records()):
        yield unpack(reader.read(), frames)


# --- MosaicML streaming ----------------------------------------------------------------------------------


def mds_write(path: Path, frames: Frames) -> None:
    columns = {
        name: f"ndarray:{v.dtype.name}:{','.join(str(n) for n in v.shape[1:])}" for name, v in frames.items()
    }
    with MDSWriter(out=str(path), columns=columns, size_limit=SHARD_BYTES) as writer:
        for frame in each(frames):
            writer.write(frame)


def mds_random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    dataset = LocalDataset(str(path))
    return lambda number: dict(dataset[number])


PEERS = {
    "zarr-python": Peer(zarr_write, zarr_random, zarr_sequential, share=0.1),
    "tensorstore": Peer(tensorstore_write, tensorstore_random, tensorstore_sequential),
    "webdataset npy": Peer(webdataset_write, None, webdataset_sequential),
    "litdata raw": Peer(litdata_write, litdata_random, litdata_sequential, share=0.5),
    "array_record raw": Peer(
        array_record_write("uncompressed"), array_record_random, array_record_sequential
    ),
    "array_record zstd": Peer(array_record_write("zstd:1"), array_record_random, array_record_sequential),
    "MDS raw": Peer(mds_write, mds_random),
}


def bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check(frame: Frame, frames: Frames, number: int) -> None:
    """Stop if a format did not give back what it was given."""
    for name, values in frames.items():
        np.testing.assert_array_equal(frame[name], values[number], err_msg=name)


def measure(name: str, operation: str, order: list[int], scratch: Path, frames: Frames) -> dict[str, Any]:
    """Do one operation: what it cost, or that the format has no such thing."""
    peer, path, started, done = PEERS[name], scratch / name.replace(" ", "-"), 0.0, count(frames)
    if operation == "write":
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        started = process_time()
        peer.write(path, frames)
    elif operation == "random":
        if peer.random is None:
            return {}
        get = peer.random(path, frames)
        order = order[: max(1, int(peer.share * len(order)))]
        check(get(order[0]), frames, order[0])
        started, done = process_time(), len(order)
        for number in order:
            get(number)
    else:
        check(next(iter(peer.in_order(path, frames))), frames, 0)
        started = process_time()
        for _ in peer.in_order(path, frames):
            pass
    return {"frames": done, "seconds": process_time() - started, "bytes": bytes_below(path)}


def main() -> None:
    """Serve requests; the frames lie in the first argument's folder, the second is scratch space."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    frames = {path.stem: np.load(path) for path in sorted(Path(sys.argv[1]).glob("*.npy"))}
    for line in sys.stdin:
        request = json.loads(line)
        answer = measure(request["peer"], request["operation"], request["order"], Path(sys.argv[2]), frames)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""array_record: one record a frame, as its documentation advises for random access."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from benchmarks.shards.peers.peer import Frame, Frames, Peer, each


def unpack(data: bytes, frames: Frames) -> Frame:
    """A frame from the bytes of its arrays, one after the other, without a copy."""
    out, offset = {}, 0
    for name, like in frames.items():
        size = like[0].nbytes
        out[name] = np.frombuffer(data, like.dtype, like[0].size, offset).reshape(like.shape[1:])
        offset += size
    return out


def writing(options: str) -> Callable[[Path, Frames], None]:
    def write(path: Path, frames: Frames) -> None:
        writer = ArrayRecordWriter(str(path / "frames.array_record"), f"group_size:1,{options}")
        for frame in each(frames):
            writer.write(b"".join(values.tobytes() for values in frame.values()))
        writer.close()

    return write


def random(path: Path, frames: Frames) -> Callable[[int], Frame]:
    options = "readahead_buffer_size:0,max_parallelism:0"
    reader = ArrayRecordReader(str(path / "frames.array_record"), options)
    return lambda number: unpack(reader.read([number])[0], frames)


def sequential(path: Path, frames: Frames) -> Iterator[Frame]:
    reader = ArrayRecordReader(str(path / "frames.array_record"), "max_parallelism:1")
    for _ in range(reader.num_records()):
        yield unpack(reader.read(), frames)


PEERS = {
    "array_record raw": Peer(writing("uncompressed"), random, sequential),
    "array_record zstd": Peer(writing("zstd:1"), random, sequential),
}

"""Cold reads from an object store without a cache: as the loader reads, and one request after the other.

An S3 server on loopback (moto), and in front of it one that answers reads from memory after `latency` seconds.
Both ways read the same windows in one run, from shards that were not open before; one request after the other is
how it was done before.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.parse import urlsplit

import fsspec

from benchmarks.tools.shapes import LABELS, write_dataset
from freelabels.generators.contract.fields import Array
from freelabels.pipeline.shards.shard import Shard
from freelabels.train.config import LoaderConfig


@contextmanager
def front(upstream: str, latency: float) -> Iterator[tuple[str, list[str]]]:
    """Address of a server that answers after `latency` seconds, and the requests made to it; reads from memory."""
    system = fsspec.filesystem("s3")
    held = {f"/{path}": system.cat_file(path) for path in system.find("bucket")}
    asked: list[str] = []
    where = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked.append(self.path)
            time.sleep(latency)
            data = held.get(self.path.partition("?")[0])
            status, headers = 200, [("Content-Type", "application/xml")]
            if data is None:
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
                connection.request(self.command, self.path, headers=dict(self.headers.items()))
                answer = connection.getresponse()
                data, status = answer.read(), answer.status
                connection.close()
            elif part := self.headers.get("Range"):
                first, _, last = part.removeprefix("bytes=").partition("-")
                stop = min(int(last) + 1, len(data)) if last else len(data)
                headers = [("Content-Range", f"bytes {first}-{stop - 1}/{len(data)}")]
                data, status = data[int(first) : stop], 206
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(data)))]:
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def one_by_one(
    shard: Shard, names: Sequence[str], start: int = 0, stop: int | None = None
) -> dict[str, Array]:
    """As `Shard.read_columns`, a request at a time."""
    return {name: shard.read_rows(name, start, stop) for name in names}


def store(latency: float = 0.02, batches: int = 8, frames: int = 1, size: int = 128) -> None:
    """Measure and print.

    Args:
        latency: Seconds that each request waits.
        batches: Of 16 windows, how many are read.
        frames: Of a window.
        size: Side of the stored frames.
    """
    from freelabels.train.data import loader as loading  # bring torch, which no other part needs
    from freelabels.train.data.catalogue import read_catalogue
    from freelabels.train.data.loader import Loader
    from tests.object_store import s3_server

    with s3_server() as url:
        path = "s3://bucket/shapes"
        write_dataset(path, 1, 32, size, frames=16, confidence=200)
        read_catalogue([], [path], frames)  # brings the index up to date
        with front(url, latency) as (address, asked):
            os.environ["AWS_ENDPOINT_URL"] = address
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            config = LoaderConfig(size=64, frames=frames, held_out=0)
            catalogue = read_catalogue([], [path], frames)
            took: dict[str, float] = {}
            for way in ("one request after the other", "columns together"):
                loader = Loader(catalogue, LABELS, config, 0)
                asked.clear()
                began, cpu = time.perf_counter(), time.process_time()
                if way.startswith("one"):
                    with patch.object(Shard, "read_columns", one_by_one), patch.object(loading, "WAITING", 0):
                        windows = sum(len(batch["image"]) for batch in loader.batches(0, batches))
                else:
                    windows = sum(len(batch["image"]) for batch in loader.batches(0, batches))
                took[way] = (time.perf_counter() - began) / windows
                each = (time.process_time() - cpu) / windows
                print(
                    f"{way:28}{took[way] * 1e3:8.1f} ms a window, {each * 1e3:.1f} ms of them CPU of this process "
                    f"(server included), {len(asked) / windows:.1f} requests"
                )
    print(f"together: {took['one request after the other'] / took['columns together']:.1f} times as fast")

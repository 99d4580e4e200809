"""What stands between the page's server, and a dataset from anywhere, and the rest of the machine."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import CorruptShard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FILE
from freelabels.pipeline.shards.record import KEY, digest, seal
from freelabels.pipeline.viewer.inspect import write_scenes
from freelabels.pipeline.viewer.serve import Server, make_server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(write_dataset(tmp_path / "data", 1, 4, 48))


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    made = make_server([str(data)], 0)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def say(server: Server, *lines: str, body: str = "") -> bytes:
    """All that the server answers to bytes on one connection, until it closes it."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
        return answer


def test_pictures_come_over_one_connection(server: Server) -> None:
    host = f"Host: 127.0.0.1:{server.server_port}"
    one = f"GET /exclusions HTTP/1.1\r\n{host}\r\n\r\n"
    answer = say(server, "GET /exclusions HTTP/1.1", host, "", one + one + "GET / HTTP/1.0", host)
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "request_",
    [
        ("POST /exclusions/0 HTTP/1.1", "Origin: http://evil.example", "Content-Type: application/json"),
        ("POST /exclusions/0 HTTP/1.1", "Content-Type: text/plain"),
        ("POST /exclusions/0 HTTP/1.1", "Content-Type: text/plain", "transfer-encoding: chunked"),
        ("POST /nothing HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        ("POST /exclusions/0 HTTP/1.1", "Content-Type: application/json", "Content-Length: -1"),
        ("POST /exclusions/0 HTTP/1.1", "Content-Type: application/json", "Content-Length: much"),
        ("GET /exclusions HTTP/1.1",),
        ("GET /nothing HTTP/1.1", "Origin: http://evil.example"),
        ("PUT /exclusions/0 HTTP/1.1",),
    ],
)
def test_a_body_is_never_taken_for_the_next_request(
    server: Server, data: Path, request_: tuple[str, ...]
) -> None:
    """A page elsewhere may post text here; it must not be heard as a request of this server's own page."""
    host = f"Host: 127.0.0.1:{server.server_port}"
    posted = '{"exclude": [[0, 0]]}'
    hidden = "\r\n".join(
        [
            "POST /exclusions/0 HTTP/1.1",
            host,
            "Content-Type: application/json",
            f"Content-Length: {len(posted)}",
        ]
    )
    body = f"{hidden}\r\n\r\n{posted}"
    told = any(line.lower().startswith(("content-length", "transfer")) for line in request_)
    length = [] if told else [f"content-length: {len(body)}"]
    answer = say(server, request_[0], host, *request_[1:], *length, body=body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not (data / FILE).exists()


def rewrite(data: Path, change: Any) -> Path:
    """Change what the first shard says of itself, as whoever made the dataset may, with a checksum that fits."""
    path = data / Dataset(data).shards()[0] / "zarr.json"
    document = json.loads(path.read_bytes())
    record = document["attributes"][KEY]
    del record["sha256"]
    change(record)
    path.write_bytes(seal(record, consolidated_metadata=document["consolidated_metadata"]))
    return path.parent


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/outside", "..", "", "\0"])
def test_scenes_are_written_into_their_folder_only(data: Path, tmp_path: Path, key: str) -> None:
    absolute = f"{tmp_path}/outside" if key == "/outside" else key
    rewrite(data, lambda record: record["clips"][0].update(key=absolute, scene={}))
    (tmp_path / "scenes").mkdir()
    before = sorted(os.listdir(tmp_path))
    assert write_scenes(data, tmp_path / "scenes") == 1
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(tmp_path / "scenes") == [f"{digest(absolute)[:16]}.json"]


@pytest.mark.parametrize("key", ["../stolen", "/stolen", "edges/../../stolen"])
def test_a_shard_that_names_files_elsewhere_is_not_opened(data: Path, key: str) -> None:
    def change(record: dict[str, Any]) -> None:
        record["columns"]["edges"]["objects"][key] = {"bytes": 1, "sha256": "0"}

    shard = rewrite(data, change)
    with pytest.raises(CorruptShard, match="names files outside of the shard"):
        Dataset(data).open(shard.name)

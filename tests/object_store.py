"""An S3 server on loopback, and a proxy in front of it that behaves as badly as networks and stores do."""

import asyncio
import http.client
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pytest
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import create_backend_app
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.wsgi import WSGIContainer

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>injected</Message></Error>"


class Addressed(WSGIContainer):
    """Tells the program the address as it arrived too: in no other way is `%41` in a key told from `A`."""

    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        return {**super().environ(request), "RAW_URI": request.uri}


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server with one bucket, found by this process and all it starts by their environment, as users' do."""
    with pytest.MonkeyPatch.context() as patch:
        [listening] = bind_sockets(0, "127.0.0.1")
        loop = asyncio.new_event_loop()

        def serve() -> None:
            # Moto's own server makes a connection and a thread for each request, and looks through the folders of
            # all services, twice.
            asyncio.set_event_loop(loop)
            store = HTTPServer(Addressed(create_backend_app("s3")))
            store.add_sockets([listening])
            loop.run_forever()
            store.stop()
            loop.run_until_complete(store.close_all_connections())
            loop.close()

        logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # a line per request
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        # What a server before it in this process kept, and file systems that know that one's address.
        moto_api_backend.reset()
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("bucket")
        yield url
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class Proxy:
    """Forwards to an S3 server, one write at a time, counts requests, and fails as `fault` says.

    fault(method, path): "" to forward, "500", "503", "slow" (no answer for a while), "cut" (half an answer) or
    "lost" (done, but the answer is an error).
    """

    def __init__(self, upstream: str, fault: Callable[[str, str], str] = lambda method, path: "") -> None:
        self.fault = fault
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.paths: list[str] = []
        proxy, lock = self, threading.Lock()
        where = urlsplit(upstream)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = proxy.fault(self.command, self.path)
                proxy.requests[self.command] += 1
                proxy.faults[kind] += 1
                proxy.paths.append(f"{self.command} {self.path}")
                if kind == "slow":
                    time.sleep(2.5)
                if kind in ("500", "503", "slow"):
                    return self.refuse(kind)
                with lock:
                    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    data = response.read()
                    connection.close()
                if kind == "lost":
                    return self.refuse("500")
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else len(data)
                self.send_header("Content-Length", str(length or 0))
                self.end_headers()
                if self.command == "HEAD":
                    return None
                self.wfile.write(data[: len(data) // 2] if kind == "cut" else data)
                self.close_connection = kind == "cut"
                return None

            def refuse(self, kind: str) -> None:
                data = ERROR.format("SlowDown" if kind == "503" else "InternalError").encode()
                self.send_response(503 if kind == "503" else 500)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may hang up
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def every(nth: int, *kinds: str) -> Callable[[str, str], str]:
    """A fault at every nth request, of these kinds in turn."""
    count, lock = itertools.count(1), threading.Lock()

    def fault(method: str, path: str) -> str:
        with lock:
            number = next(count)
        return kinds[number // nth % len(kinds)] if number % nth == 0 else ""

    return fault

"""The page of `freelabels inspect`, live: a small HTTP server on this machine that reads shards when asked.

Python's own server, as every answer is a blocking read of a shard, so a thread a connection is what it needs; an
asynchronous one (aiohttp) would hand each to a thread anyway, and need a loop that lives in another.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from freelabels.ground.errors import UserError
from freelabels.pipeline.viewer.frame_map import FrameFeatures
from freelabels.pipeline.viewer.live import Live, NotThere
from freelabels.pipeline.viewer.report import as_json

HOST = "127.0.0.1"
PORT = 8707
SIDE = 1024  # pixels of the longer side of a picture, at most
BODY = 64 << 20  # bytes of a posted exclusion list, at most
SILENCE = 60  # seconds after which a connection that says nothing is closed
# Nothing but this server is ever asked for anything; the page's own script and style stand in it.
POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; `live` is what there is to show."""

    live: Live
    protocol_version = "HTTP/1.1"
    timeout = SILENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""

    def do_GET(self) -> None:
        """The page, a picture, values, details, figures or the state of the jobs."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Save exclusions, or start a job."""
        self._answer(self._post)

    def _answer(self, handle: Callable[[list[str], dict[str, str]], None]) -> None:
        # What follows a body that was not read to its end would be taken for the next request.
        self.close_connection |= "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/") if part]
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            if not self._from_here():
                self._send(HTTPStatus.FORBIDDEN, b"only pages of this server may ask", "text/plain")
                return
            handle(parts, query)
        except (NotThere, KeyError, IndexError) as error:
            self._send_json({"error": str(error).strip("'\"")}, HTTPStatus.NOT_FOUND)
        except (UserError, ValueError) as error:
            self._send_json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the reader has scrolled on

    def _from_here(self) -> bool:
        """Whether the request is to this machine by its own name and, if a page sent it, by a page of this server.

        Otherwise any web site could read labels, or write exclusions, through its visitor's browser.
        """
        port = int(self.server.server_port)  # type: ignore[attr-defined]
        own = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in own and (origin is None or origin.removeprefix("http://") in own)

    def _get(self, parts: list[str], query: dict[str, str]) -> None:
        live = self.live
        match parts:
            case []:
                self._send(HTTPStatus.OK, live.page(), "text/html; charset=utf-8")
            case ["favicon.ico"]:
                self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
            case ["state"]:
                self._send_json(live.state())
            case ["exclusions"]:
                self._send_json([sorted(rows) for rows in live.excluded])
            case ["tags"]:
                self._send_json(live.tags())
            case ["figures", number]:
                rows, data = live.known_figures(int(number), int(query.get("first", "0")))
                headers = {"X-Array": json.dumps(rows)}
                self._send(HTTPStatus.OK, data, "application/octet-stream", headers)
            case ["odd", number]:
                self._send(HTTPStatus.OK, live.known_odd(int(number)), "application/octet-stream")
            case ["map", number]:
                self._send(HTTPStatus.OK, live.known_places(int(number)), "application/octet-stream")
            case ["sources", number]:
                self._send_json(live.sources(int(number), int(query.get("first", "0"))))
            case ["details", number, shard, row]:
                name = live.shard_name(int(number), int(shard))
                self._send_json(live.readers[int(number)].details(name, int(row)))
            case ["like", number, shard, row]:
                self._send_json(live.like(int(number), int(shard), int(row)))
            case ["made_by", number, shard]:
                self._send_json(live.readers[int(number)].made_by(live.shard_name(int(number), int(shard))))
            case ["picture" | "layer" as what, number, shard, row, column]:
                name = live.shard_name(int(number), int(shard))
                side = min(max(int(query.get("side", SIDE)), 1), SIDE)
                reader = live.readers[int(number)]
                least = int(query.get("least", "0"))
                data = reader.picture(name, int(row), column, side, lay_over=what == "layer", least=least)
                self._send(HTTPStatus.OK, data, "image/webp", cache=True)
            case ["values", number, shard, row, column]:
                name = live.shard_name(int(number), int(shard))
                found = live.readers[int(number)].values(name, int(row), column)
                about = json.dumps(found.about)
                data = found.array.tobytes()
                self._send(HTTPStatus.OK, data, "application/octet-stream", {"X-Array": about})
            case _:
                raise NotThere(f"there is no {self.path}")

    def _post(self, parts: list[str], query: dict[str, str]) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= BODY or self.headers.get("Content-Type") != "application/json":
            raise ValueError("post JSON")
        body = json.loads(self.rfile.read(length) or b"{}")
        match parts:
            case ["exclusions", number]:
                count = self.live.exclude(int(number), _rows(body, "exclude"), _rows(body, "keep"))
                self._send_json({"excluded": count})
            case ["tags", number]:
                word = str(body.get("tag", "")) if isinstance(body, dict) else ""
                count = self.live.tag(int(number), word, _rows(body, "add"), _rows(body, "remove"))
                self._send_json({"tagged": count})
            case ["selection", number]:
                text = self.live.selection(int(number), _rows(body, "frames"))
                self._send(HTTPStatus.OK, text.encode(), "application/json")
            case ["jobs", name, number]:
                self.live.start(name, int(number))
                self._send_json({"started": name})
            case _:
                raise NotThere(f"there is no {self.path}")

    def _send_json(self, document: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, as_json(document).encode(), "application/json")

    def _send(
        self,
        status: HTTPStatus,
        data: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        cache: bool = False,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "private, max-age=3600" if cache else "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection or status >= HTTPStatus.BAD_REQUEST:
            self.send_header("Connection", "close")  # and so it is closed
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _rows(body: Any, name: str) -> list[tuple[int, int]]:
    """The [shard number, row] pairs under a name of what was posted. Raises ValueError if it is something else."""
    try:
        return [(int(shard), int(row)) for shard, row in body.get(name, [])]
    except (TypeError, AttributeError) as error:
        raise ValueError(f"post {{{name!r}: [[shard number, row], …]}}") from error


class Server(ThreadingHTTPServer):
    """Threads that end with the program; the background ends with the server."""

    live: Live
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """As of any TCP server: the name of this machine, which HTTP servers look up, is of no use here."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.socket.getsockname()[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Also end what goes on about the datasets."""
        super().server_close()
        self.live.close()


def make_server(paths: Sequence[str], port: int = PORT, seen: FrameFeatures | None = None) -> Server:
    """A server of the page about one dataset or two, ready to run; port 0 takes any free one.

    The background begins with the figures that need pixels, then sees all frames if there is a network to map them
    by. Raises UserError if the port is in use, and as `gather`.
    """
    live = Live.open(paths, seen)
    server = serving(live, port)
    threading.Thread(target=live.look, daemon=True).start()
    return server


def serving(live: Live, port: int) -> Server:
    """A server of the page about what `live` knows, ready to run. Raises UserError if the port is in use."""
    try:
        server = Server(
            (HOST, port), type("LiveHandler", (Handler,), {"live": live}), bind_and_activate=False
        )
        server.live = live
        server.server_bind()
        server.server_activate()
    except OSError as error:
        raise UserError(
            f"port {port} can't be used ({error.strerror}); name another with --port, 0 takes any free one"
        ) from error
    except OverflowError as error:
        raise UserError(f"--port must lie in 0..65535, not {port}") from error
    return server


def serve(
    paths: Sequence[str],
    port: int,
    say: Callable[[str], None],
    *,
    verify: bool = False,
    seen: FrameFeatures | None = None,
) -> None:
    """Serve until interrupted; `verify` begins at once what the page's button begins. Raises as `make_server`."""
    server = make_server(paths, port, seen)
    for number in range(len(paths) if verify else 0):
        server.live.start("verify", number)
    say(f"http://{HOST}:{server.server_port}/ shows {' and '.join(paths)}; Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.server_close()

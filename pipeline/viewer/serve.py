"""The page of `freelabels inspect`, live: a small HTTP server on this machine that reads shards when asked."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.quality.spot_check import Survey
from freelabels.pipeline.quality.verify import verify as verify_dataset
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import Frame, exclusions_of, write_exclusions
from freelabels.pipeline.viewer.frames import FrameReader
from freelabels.pipeline.viewer.page import html
from freelabels.pipeline.viewer.report import (
    DatasetReport,
    as_json,
    document,
    figures_row,
    gather,
    measured,
    odd,
    survey_json,
    surveyed,
    verify_json,
)
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

HOST = "127.0.0.1"
PORT = 8707
SIDE = 1024  # pixels of the longer side of a picture, at most
BODY = 64 << 20  # bytes of a posted exclusion list, at most
MEASURED_CLIPS = 4
# Nothing but this server is ever asked for anything; the page's own script and style stand in it.
POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


class NotThere(Exception):
    """Something asked for that is not there."""


@dataclass
class Job:
    """Work in the background whose result the page shows: state is idle, running, done or failed."""

    state: str = "idle"
    result: Any = None
    error: str = ""
    done: int = 0
    total: int = 0


@dataclass
class Live:
    """Datasets as a server shows them; its threads share it."""

    paths: tuple[str, ...]
    reports: tuple[DatasetReport, ...]
    readers: tuple[FrameReader, ...]
    figure_names: tuple[str, ...]
    page: bytes
    jobs: dict[tuple[str, int], Job] = field(default_factory=dict)
    excluded: list[set[tuple[int, int]]] = field(default_factory=list)
    figures: list[list[dict[str, float] | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    first_survey: Survey | None = None

    @staticmethod
    def open(paths: Sequence[str]) -> Live:
        """Read the records of the datasets. Raises as `gather`."""
        reports = tuple(gather(path) for path in paths)
        whole = document(reports, live=True)
        readers = tuple(FrameReader(Dataset(path)) for path in paths)
        live = Live(tuple(paths), reports, readers, tuple(whole["figure_names"]), html(whole).encode())
        live.excluded = [set(report.excluded) for report in reports]
        live.figures = [[None] * report.figures["rows"] for report in reports]
        live.jobs = {
            (name, k): Job() for name in ("survey", "figures", "measure", "verify") for k in range(len(paths))
        }
        return live

    def start(self, name: str, number: int) -> None:
        """Begin a job unless it runs already. Raises NotThere for a job there is none of."""
        job = self.jobs.get((name, number))
        if job is None:
            raise NotThere(f"there is no job {name} {number}")
        with self.lock:
            if job.state == "running":
                return
            job.state, job.error = "running", ""
        threading.Thread(target=self._run, args=(name, number), daemon=True).start()

    def look(self) -> None:
        """Everything that needs pixels and was not asked for, one after the other: the rest must stay quick."""
        for name in ("survey", "figures"):
            for number in range(len(self.paths)):
                self.jobs[name, number].state = "running"
                self._run(name, number)

    def _run(self, name: str, number: int) -> None:
        job = self.jobs[name, number]
        work: dict[str, Callable[[int, Job], Any]] = {
            "survey": self._survey,
            "figures": self._figures,
            "measure": self._measure,
            "verify": self._verify,
        }
        try:
            job.result = work[name](number, job)
            job.state = "done"
        except Exception as error:  # whatever a shard or a detector raises is said on the page
            job.error = str(error) or type(error).__name__
            job.state = "failed"

    def _survey(self, number: int, job: Job) -> Any:
        found = surveyed(self.paths[number], self.reports[number])
        if number == 0:
            self.first_survey = found
        return survey_json(found, None if number == 0 else self.first_survey)

    def _measure(self, number: int, job: Job) -> Any:
        found = measured(self.paths[number], self.reports[number], MEASURED_CLIPS)
        return [dataclasses.asdict(entry) for entry in found]

    def _verify(self, number: int, job: Job) -> Any:
        return verify_json(
            verify_dataset(self.paths[number], cluster=Cluster(workers=0), reporter=Reporter("quiet"))
        )

    def _figures(self, number: int, job: Job) -> Any:
        """Figures of every frame, shard by shard; what can't be read stays unknown."""
        report, place = self.reports[number], 0
        job.total, broken = report.figures["rows"], 0
        clips = report.clips
        for shard, start, stop in zip(clips.shard, clips.start, clips.stop, strict=True):
            for row in range(start, stop):
                if self.closing.is_set():
                    return None
                try:
                    self.figures[number][place] = self.readers[number].figures(report.shard_names[shard], row)
                except (CorruptShard, ValueError):
                    broken += 1
                place += 1
                job.done = place
        return {"broken": broken}

    def state(self) -> dict[str, Any]:
        """Every job, results included."""
        return {
            name: [dataclasses.asdict(self.jobs[name, k]) for k in range(len(self.paths))]
            for name in ("survey", "figures", "measure", "verify")
        }

    def known_figures(self, number: int, first: int) -> dict[str, Any]:
        """Figures of frames from number `first` on as far as they are known, and the oddness of all so far."""
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        upto = self.jobs["figures", number].done
        figures = self.figures[number][:upto]
        rows = [figures_row(values, self.figure_names) if values else None for values in figures[first:]]
        return {"first": first, "rows": rows, "odd": odd(figures, self.figure_names)}

    def exclude(
        self, number: int, changes: Sequence[tuple[int, int]], keep: Sequence[tuple[int, int]]
    ) -> int:
        """Add and take frames, [shard number, row], to and from a dataset's exclusion list; returns its length.

        Raises NotThere for a frame that isn't there, UserError if the list can't be written.
        """
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        dataset = self.readers[number].dataset
        with self.lock:
            listed = set(exclusions_of(dataset))
            listed |= self._identities(number, changes)
            listed -= self._identities(number, keep)
            try:
                write_exclusions(dataset, listed)
            except OSError as error:
                raise UserError(f"can't write to {dataset.path} ({error.strerror})") from error
            self.excluded[number] |= set(changes)
            self.excluded[number] -= set(keep)
        return len(listed)

    def _identities(self, number: int, rows: Sequence[tuple[int, int]]) -> set[Frame]:
        by_shard: dict[int, list[int]] = {}
        for shard, row in rows:
            by_shard.setdefault(shard, []).append(row)
        found = set()
        for shard, wanted in by_shard.items():
            known = self.readers[number].identities(self.shard_name(number, shard))
            if not all(0 <= row < len(known) for row in wanted):
                raise NotThere(f"shard {shard} of dataset {number} has {len(known)} frames, from 0 on")
            found |= {known[row] for row in wanted}
        return found

    def shard_name(self, number: int, shard: int) -> str:
        """Name of a shard by its place in the report. Raises NotThere."""
        if not (0 <= number < len(self.paths) and 0 <= shard < len(self.reports[number].shard_names)):
            raise NotThere(f"there is no shard {shard} in dataset {number}")
        return self.reports[number].shard_names[shard]


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; `live` is what there is to show."""

    live: Live
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""

    def do_GET(self) -> None:
        """The page, a picture, values, details, figures or the state of the jobs."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Save exclusions, or start a job."""
        self._answer(self._post)

    def _answer(self, handle: Callable[[list[str], dict[str, str]], None]) -> None:
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
                self._send(HTTPStatus.OK, live.page, "text/html; charset=utf-8")
            case ["favicon.ico"]:
                self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
            case ["state"]:
                self._send_json(live.state())
            case ["exclusions"]:
                self._send_json([sorted(rows) for rows in live.excluded])
            case ["figures", number]:
                self._send_json(live.known_figures(int(number), int(query.get("first", "0"))))
            case ["details", number, shard, row]:
                name = live.shard_name(int(number), int(shard))
                self._send_json(live.readers[int(number)].details(name, int(row)))
            case ["made_by", number, shard]:
                self._send_json(live.readers[int(number)].made_by(live.shard_name(int(number), int(shard))))
            case ["picture" | "layer" as what, number, shard, row, column]:
                name = live.shard_name(int(number), int(shard))
                side = min(max(int(query.get("side", SIDE)), 1), SIDE)
                reader = live.readers[int(number)]
                data = reader.picture(name, int(row), column, side, lay_over=what == "layer")
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
        if length > BODY or self.headers.get("Content-Type") != "application/json":
            self.close_connection = True
            raise ValueError("post JSON")
        body = json.loads(self.rfile.read(length) or b"{}")
        match parts:
            case ["exclusions", number]:
                count = self.live.exclude(int(number), _rows(body, "exclude"), _rows(body, "keep"))
                self._send_json({"excluded": count})
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
        """Also let go of the shards."""
        self.live.closing.set()
        super().server_close()
        for reader in self.live.readers:
            reader.close()


def make_server(paths: Sequence[str], port: int = PORT) -> Server:
    """A server of the page about one dataset or two, ready to run; port 0 takes any free one.

    The background begins with the figures that need pixels. Raises UserError if the port is in use, and as
    `gather`.
    """
    live = Live.open(paths)
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
    threading.Thread(target=live.look, daemon=True).start()
    return server


def serve(paths: Sequence[str], port: int, say: Callable[[str], None], *, verify: bool = False) -> None:
    """Serve until interrupted; `verify` begins at once what the page's button begins. Raises as `make_server`."""
    server = make_server(paths, port)
    for number in range(len(paths) if verify else 0):
        server.live.start("verify", number)
    say(f"http://{HOST}:{server.server_port}/ shows {' and '.join(paths)}; Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.server_close()

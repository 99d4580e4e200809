"""Datasets as the served page shows them: what is known so far, the jobs that find out more, what is excluded."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.quality.spot_check import Survey
from freelabels.pipeline.quality.verify import verify as verify_dataset
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, exclusions_of, write_exclusions
from freelabels.pipeline.viewer.frame_reader import FrameReader
from freelabels.pipeline.viewer.listing import LISTED_SHARDS, ShardListing, listing
from freelabels.pipeline.viewer.page import html
from freelabels.pipeline.viewer.report import (
    DatasetReport,
    document,
    figure_names,
    figures_row,
    gather,
    measured,
    odd,
    pages,
    survey_json,
    surveyed,
    verify_json,
)
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

MEASURED_CLIPS = 4


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
    jobs: dict[tuple[str, int], Job] = field(default_factory=dict)
    excluded: list[set[tuple[int, int]]] = field(default_factory=list)
    figures: dict[tuple[int, int], list[dict[str, float] | None]] = field(default_factory=dict)
    listings: dict[int, tuple[ShardListing, ...]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    first_survey: Survey | None = None

    @staticmethod
    def open(paths: Sequence[str]) -> Live:
        """Read the records of the datasets. Raises as `gather`."""
        reports = tuple(gather(path) for path in paths)
        readers = tuple(FrameReader(Dataset(path)) for path in paths)
        live = Live(tuple(paths), reports, readers, tuple(figure_names(reports)))
        live.excluded = [set() for _ in paths]
        live.jobs = {
            (name, k): Job()
            for name in ("survey", "figures 0", "measure", "verify")
            for k in range(len(paths))
        }
        live.listing(0)
        return live

    def listing(self, page: int) -> tuple[ShardListing, ...]:
        """The shards on a page, of each dataset. Raises NotThere."""
        if not 0 <= page < pages(self.reports):
            raise NotThere(f"there is no page {page}")
        if page not in self.listings:
            first = page * LISTED_SHARDS
            made = []
            for number, report in enumerate(self.reports):
                shards = range(first, min(first + LISTED_SHARDS, report.shards))
                found = listing(report.index.dataset, [report.index.name(shard) for shard in shards], first)
                made.append(found)
                self.excluded[number] |= {(first + shard, row) for shard, row in found.excluded}
                rows = zip(found.clips.start, found.clips.stop, strict=True)
                self.figures[number, page] = [None] * sum(stop - start for start, stop in rows)
            self.listings[page] = tuple(made)
        return self.listings[page]

    def page(self, page: int) -> bytes:
        """The page that lists some of the shards; the figures of their frames are taken from now on."""
        found = self.listing(page)
        for number in range(len(self.paths)) if page else ():
            if (f"figures {page}", number) not in self.jobs:
                self.jobs[f"figures {page}", number] = Job()
                self.start(f"figures {page}", number)
        return html(document(self.reports, found, live=True, page=page)).encode()

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
        for name in ("survey", "figures 0"):
            for number in range(len(self.paths)):
                self.jobs[name, number].state = "running"
                self._run(name, number)

    def _run(self, name: str, number: int) -> None:
        job = self.jobs[name, number]
        work: dict[str, Callable[[int, Job], Any]] = {
            "survey": self._survey,
            "measure": self._measure,
            "verify": self._verify,
        }
        try:
            page = name.removeprefix("figures ")
            job.result = self._figures(number, int(page), job) if page != name else work[name](number, job)
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

    def _figures(self, number: int, page: int, job: Job) -> Any:
        """Figures of every frame on a page, shard by shard; what can't be read stays unknown."""
        found, figures, place = self.listing(page)[number], self.figures[number, page], 0
        job.total, broken = len(figures), 0
        clips = found.clips
        for shard, start, stop in zip(clips.shard, clips.start, clips.stop, strict=True):
            for row in range(start, stop):
                if self.closing.is_set():
                    return None
                try:
                    figures[place] = self.readers[number].figures(found.shard_names[shard], row)
                except (CorruptShard, ValueError):
                    broken += 1
                place += 1
                job.done = place
        return {"broken": broken}

    def state(self, page: int = 0) -> dict[str, Any]:
        """Every job, results included; of the figures that of a page."""
        jobs = {"survey": "survey", "figures": f"figures {page}", "measure": "measure", "verify": "verify"}
        return {
            name: [dataclasses.asdict(self.jobs.get((job, k), Job())) for k in range(len(self.paths))]
            for name, job in jobs.items()
        }

    def known_figures(self, number: int, first: int, page: int = 0) -> dict[str, Any]:
        """Figures of a page's frames from number `first` on as far as known, and the oddness of all so far."""
        job = self.jobs.get((f"figures {page}", number))
        if job is None:
            raise NotThere(f"there is no dataset {number}")
        figures = self.figures[number, page][: job.done]
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

    def _identities(self, number: int, rows: Sequence[tuple[int, int]]) -> set[FrameIdentity]:
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
        if not (0 <= number < len(self.paths) and 0 <= shard < self.reports[number].shards):
            raise NotThere(f"there is no shard {shard} in dataset {number}")
        return self.reports[number].index.name(shard)

    def close(self) -> None:
        """End the background and let go of the shards."""
        self.closing.set()
        for reader in self.readers:
            reader.close()

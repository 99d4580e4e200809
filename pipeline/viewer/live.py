"""Datasets as the served page shows them: what is known so far, the jobs that find out more, what is excluded."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.quality.duplicates import HASH
from freelabels.pipeline.quality.outliers import Oddness, oddness
from freelabels.pipeline.quality.spot_check import Survey
from freelabels.pipeline.quality.verify import verify as verify_dataset
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    FrameIdentity,
    exclusions_json,
    exclusions_of,
    write_exclusions,
)
from freelabels.pipeline.shards.frame_tags import LONGEST, frame_tags_of, write_frame_tags
from freelabels.pipeline.viewer.frame_map import FrameFeatures, FrameMap
from freelabels.pipeline.viewer.frame_reader import FrameReader
from freelabels.pipeline.viewer.layout import Layout, layout_json, layout_of
from freelabels.pipeline.viewer.page import html
from freelabels.pipeline.viewer.report import (
    DatasetReport,
    document,
    figure_names,
    gather,
    measured,
    survey_json,
    surveyed,
    verify_json,
)
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

MEASURED_CLIPS = 4
FIGURES_AT_ONCE = 1 << 16  # frames
ALIKE = 120  # frames that are shown as like one
JOBS = ("survey", "figures", "map", "measure", "verify")


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
    """Datasets as a server shows them; its threads share it.

    figures: (frames, figures) of each, NaN where not known yet or not there. shares: (frames, classes) × 65535 of
    each. hashes: (frames, 64) of each, 0 where not known yet. odd: of each, the oddness of its first frames. map:
    of all, by what a network sees in them.
    """

    paths: tuple[str, ...]
    reports: tuple[DatasetReport, ...]
    readers: tuple[FrameReader, ...]
    layouts: tuple[Layout, ...]
    figure_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    figures: tuple[NDArray[np.float32], ...]
    shares: tuple[NDArray[np.uint16], ...]
    hashes: tuple[NDArray[np.float16], ...]
    odd: list[Oddness]
    excluded: list[set[tuple[int, int]]]
    jobs: dict[tuple[str, int], Job]
    map: FrameMap | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    first_survey: Survey | None = None

    @staticmethod
    def open(paths: Sequence[str], seen: FrameFeatures | None = None) -> Live:
        """Read the records of the datasets. seen: by what to map their frames. Raises as `gather`."""
        readers = tuple(FrameReader(Dataset(path)) for path in paths)
        return Live.of(paths, [gather(path) for path in paths], readers, seen)

    @staticmethod
    def of(
        paths: Sequence[str],
        reports: Sequence[DatasetReport],
        readers: Sequence[FrameReader],
        seen: FrameFeatures | None = None,
    ) -> Live:
        """Datasets of which there is a report already."""
        layouts = tuple(layout_of(report.index) for report in reports)
        names = tuple(figure_names(reports))
        classes = tuple(sorted({number for report in reports for number in report.classes}))
        none = np.zeros(0)
        return Live(
            tuple(paths),
            tuple(reports),
            tuple(readers),
            layouts,
            names,
            classes,
            tuple(np.full((layout.frames, len(names)), np.nan, np.float32) for layout in layouts),
            tuple(np.zeros((layout.frames, len(classes)), np.uint16) for layout in layouts),
            tuple(np.zeros((layout.frames, HASH * HASH), np.float16) for layout in layouts),
            [Oddness(none, none.astype(np.int64)) for _ in paths],
            [layout.rows_of(exclusions_of(layout.index.dataset)) for layout in layouts],
            {(name, k): Job() for name in JOBS for k in range(len(paths))},
            FrameMap(layouts, seen) if seen else None,
        )

    def page(self) -> bytes:
        """The page with the place of every frame; their figures, sources and pictures are asked for later."""
        whole = document(self.reports, [layout_json(layout) for layout in self.layouts], live=True)
        by = self.map.seen.name if self.map else None
        return html({**whole, "class_ids": self.class_ids, "map_by": by}).encode()

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
        for name in ("survey", "figures", *(["map"] if self.map else [])):
            for number in range(len(self.paths)):
                self.jobs[name, number].state = "running"
                self._run(name, number)

    def _run(self, name: str, number: int) -> None:
        job = self.jobs[name, number]
        work: dict[str, Callable[[int, Job], Any]] = {
            "survey": self._survey,
            "measure": self._measure,
            "verify": self._verify,
            "figures": self._figures,
            "map": self._map,
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
        layout, reader = self.layouts[number], self.readers[number]
        job.total, broken = layout.frames, 0
        column = {name: k for k, name in enumerate(self.figure_names)}
        place = {f"class {number}": k for k, number in enumerate(self.class_ids)}
        for shard, frames in layout.shards():
            for frame in range(frames.start, frames.stop):
                if self.closing.is_set():
                    return None
                name, row = layout.index.name(shard), layout.place(frame)[1]
                try:
                    found = reader.figures(name, row)
                    self.hashes[number][frame] = reader.hash(name, row)
                except (CorruptShard, ValueError):
                    found, broken = {}, broken + 1
                for name, value in found.items():
                    if name in column:
                        self.figures[number][frame, column[name]] = value
                    elif name in place:
                        self.shares[number][frame, place[name]] = round(65535 * value)
                job.done = frame + 1
            if frames.stop >= 2 * len(self.odd[number].score):
                self._judge(number, frames.stop)
        self._judge(number, layout.frames)
        return {"broken": broken}

    def _map(self, number: int, job: Job) -> Any:
        if self.map is None:
            raise UserError("no run is there to map by: give --map-run RUN")
        job.total = self.layouts[number].frames

        def tick(done: int) -> bool:
            job.done = done
            return not self.closing.is_set()

        return {"broken": self.map.look(number, tick)}

    def _judge(self, number: int, frames: int) -> None:
        """Find out how odd the first frames are among themselves."""
        self.odd[number] = oddness(self.figures[number][:frames])

    def state(self) -> dict[str, Any]:
        """Every job, results included; also of how many frames oddness and place on the map are known."""
        told: dict[str, Any] = {
            name: [dataclasses.asdict(self.jobs[name, k]) for k in range(len(self.paths))] for name in JOBS
        }
        placed = self.map.placed if self.map else [0 for _ in self.paths]
        return {**told, "odd": [len(found.score) for found in self.odd], "placed": placed}

    def known_figures(self, number: int, first: int) -> tuple[dict[str, Any], bytes]:
        """Figures of frames from number `first` on as far as known, as bytes, and what tells how to read them.

        First float32, all frames' values of one figure after the other, then uint16, shares of classes × 65535.
        """
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        last = min(self.jobs["figures", number].done, first + FIGURES_AT_ONCE)
        some = slice(max(first, 0), max(last, first, 0))
        parts = [np.ascontiguousarray(table[number][some].T) for table in (self.figures, self.shares)]
        return {"first": first, "rows": some.stop - some.start}, b"".join(part.tobytes() for part in parts)

    def known_odd(self, number: int) -> bytes:
        """How odd the first frames are, float32, then in which figure, int16, -1 none."""
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        found = self.odd[number]
        return found.score.astype("<f4").tobytes() + found.figure.astype("<i2").tobytes()

    def known_places(self, number: int) -> bytes:
        """Where the first frames lie on the map by a network, as `FrameMap.known`."""
        if self.map is None or not 0 <= number < len(self.paths):
            raise NotThere(f"there is no map of dataset {number}")
        return self.map.known(number)

    def like(self, number: int, shard: int, row: int) -> list[tuple[int, int, float]]:
        """(shard number, row, correlation of hashes) of the `ALIKE` frames most like one, itself first.

        Of those whose hash is known so far. Raises NotThere.
        """
        name = self.shard_name(number, shard)
        if not 0 <= row < len(self.readers[number].identities(name)):
            raise NotThere(f"shard {shard} of dataset {number} has no frame {row}")
        wanted, known = self.readers[number].hash(name, row), self.hashes[number]
        parts = [
            known[k : k + FIGURES_AT_ONCE].astype(np.float32) @ wanted
            for k in range(0, len(known), FIGURES_AT_ONCE)
        ]
        alike = np.concatenate(parts)
        alike[self.layouts[number].frame(shard, row)] = 1.0
        best = np.argsort(-alike, kind="stable")[:ALIKE]
        return [
            (*self.layouts[number].place(k), round(float(alike[k]), 4)) for k in best.tolist() if alike[k] > 0
        ]

    def sources(self, number: int, first: int) -> list[str]:
        """As `Layout.sources`. Raises NotThere."""
        self.shard_name(number, first)
        return self.layouts[number].sources(first)

    def selection(self, number: int, rows: Sequence[tuple[int, int]]) -> str:
        """A list of some frames, [shard number, row], in the form of exclusions.json. Raises NotThere."""
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        return exclusions_json(self._identities(number, rows))

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

    def tags(self) -> list[dict[str, list[tuple[int, int]]]]:
        """By dataset, the frames, [shard number, row], of each word that was put on some."""
        return [
            {word: sorted(layout.rows_of(frames)) for word, frames in known.items()}
            for layout in self.layouts
            for known in [frame_tags_of(layout.index.dataset)]
        ]

    def tag(
        self, number: int, word: str, add: Sequence[tuple[int, int]], remove: Sequence[tuple[int, int]]
    ) -> int:
        """Put a word on frames, [shard number, row], or take it from some; returns how many have it.

        Raises NotThere, and UserError if the list can't be written.
        """
        if not 0 <= number < len(self.paths):
            raise NotThere(f"there is no dataset {number}")
        if not 0 < len(word) <= LONGEST:
            raise UserError(f"a tag has 1 to {LONGEST} letters")
        dataset = self.readers[number].dataset
        with self.lock:
            known = frame_tags_of(dataset)
            have = known.get(word, frozenset()) | self._identities(number, add)
            known[word] = have - self._identities(number, remove)
            try:
                write_frame_tags(dataset, known)
            except OSError as error:
                raise UserError(f"can't write to {dataset.path} ({error.strerror})") from error
        return len(known[word])

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

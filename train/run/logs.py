"""What a run tells: a bar on the terminal, metrics.jsonl, TensorBoard, and pictures in the run's folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.pipeline.work.progress import redraws
from freelabels.train.config import TrainConfig
from freelabels.train.run.evaluate import Score
from freelabels.train.run.trackers import Trackers, flat

METRICS = "metrics.jsonl"
PICTURES = "pictures"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Inside, what the system says against writing becomes a UserError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"can't write to {folder} ({reason}); a checkpoint that is there stands") from error


class Log:
    """Writes for rank 0; for other ranks everything is silent."""

    def __init__(self, folder: Path, config: TrainConfig, first: int, active: bool, quiet: bool = False):
        steps = config.steps
        self.active, self.steps, self.folder = active, steps, folder
        self.console = Console(stderr=True, highlight=False, quiet=quiet or not active)
        self._bar: Progress | None = None
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter  # takes a second, ranks above 0 don't need it

        with writing(folder):
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
            _forget(folder / METRICS, first)
            self._lines = (folder / METRICS).open("a")
            self._board = SummaryWriter(str(folder), purge_step=first)
        self._trackers = Trackers(config.log, folder, config, self.say)
        if redraws(self.console) and not quiet:
            self._bar = Progress(
                TextColumn("train"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._bar.start()
            self._task = self._bar.add_task("train", total=steps, completed=first, facts="")

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.active:
            return
        if self._bar is not None:
            self._bar.stop()
        self._lines.close()
        self._board.close()
        self._trackers.end()

    def say(self, sentence: str) -> None:
        """A line for people."""
        self.console.print(sentence, markup=False, soft_wrap=True)

    def tick(self, step: int) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def numbers(self, step: int, facts: Mapping[str, Any]) -> None:
        """The figures of a step: a JSON line, TensorBoard scalars, and a short line for people."""
        if not self.active:
            return
        self._write({"step": step, "time": round(time.time(), 3), **facts})
        self._scalars(
            step, [(name, float(value)) for name, value in flat(facts) if isinstance(value, int | float)]
        )
        losses = losses_of(facts)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, facts=losses)
        else:
            self.say(step_line(step, self.steps, facts))

    def pictures(self, step: int, sheet: Array) -> None:
        """Labels beside predictions: a PNG in the run's folder, and in TensorBoard."""
        if not self.active:
            return
        with writing(self.folder):
            png = cv2.imencode(".png", sheet[..., ::-1])[1].tobytes()
            (self.folder / PICTURES / f"step-{step:06d}.png").write_bytes(png)
            self._board.add_image("predictions", sheet, step, dataformats="HWC")
        self._trackers.picture(step, sheet)

    def scores(self, step: int, scores: Iterable[Score]) -> None:
        """The held-out figures: a JSON line, TensorBoard scalars, a table for people."""
        if not self.active:
            return
        scores = list(scores)
        self._write({"step": step, "held_out": [score.as_dict() for score in scores]})
        self._scalars(step, [(f"held_out/{s.task}/{s.domain}", s.score) for s in scores])
        domains = list(dict.fromkeys(s.domain for s in scores))
        table = Table(
            "task", "metric", *domains, title="held-out clips: model (best constant), ✓ where it is better"
        )
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for s in scores:
            numbers = f"{s.score:.3g} ({s.constant:.3g}){' ✓' if s.better else ''}"
            numbers = "\n".join([numbers, *(f"{name}: {value:.3g}" for name, value in s.beside.items())])
            metric = f"{s.metric} [{s.unit}]" if s.unit else s.metric
            cells.setdefault((s.task, metric), {})[s.domain] = numbers
        for (task, metric), row in cells.items():
            table.add_row(Text(task), Text(metric), *(row.get(domain, "") for domain in domains))
        self.console.print(table)

    def _write(self, line: Mapping[str, Any]) -> None:
        with writing(self.folder):
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()

    def _scalars(self, step: int, values: Sequence[tuple[str, float]]) -> None:
        self._trackers.numbers(step, dict(values))
        with writing(self.folder):
            for name, value in values:
                self._board.add_scalar(name, value, step)


def losses_of(facts: Mapping[str, Any]) -> str:
    """The losses of a step, for people."""
    return "  ".join(f"{name} {value:.3f}" for name, value in facts["losses"].items())


def step_line(step: int, steps: int, facts: Mapping[str, Any]) -> str:
    """The figures of a step, for people."""
    return f"step {step}/{steps}  {losses_of(facts)}  {facts['samples_per_second']:.0f} samples/s"


def _forget(path: Path, first: int) -> None:
    """Drop the lines of steps that a resumed run does again, and a line that a kill cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= first:
                kept.append(line + "\n")
        except ValueError:
            continue
    path.write_text("".join(kept))

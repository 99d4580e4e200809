"""What the command `label` costs here and in another checkout of this project, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.tools.process import cpu_seconds
from freelabels.generators.contract.detector import label_names
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset

HERE = Path(__file__).parents[2]
# One of these is what `python -m freelabels` runs; once it was a file.
RUNNABLE = ("freelabels/__main__.py", "freelabels.py")


def label_cost(
    checkout: Path, source: Path, out: Path, size: int, labels: Sequence[str] = ()
) -> tuple[float, set[str]]:
    """CPU seconds of labelling one source by the code of `checkout`, its start included, and the columns made.

    Both checkouts run in this Python, so that libraries are the same. UserError with the last line if it fails.
    """
    command = [sys.executable, "-m", "freelabels", "label", str(source.resolve()), "--out", str(out)]
    command += ["--workers", "0", "--size", str(size), *(["--labels", *labels] if labels else [])]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    started = cpu_seconds()
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    spent = cpu_seconds() - started
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"{checkout}: label {source} failed: {said[-1] if said else done.returncode}")
    dataset = Dataset(out)
    return spent, {name for one in dataset.open_all(dataset.shards()) for name in one.record["columns"]}


def compare(before: Path, sources: Sequence[Path], size: int, repeats: int) -> None:
    """Print, a source a line, CPU seconds there and here and their ratio: all labels, and those made there too.

    The last of several lines is of all sources together.

    Raises UserError for what isn't there before anything is labelled.
    """
    if not any((before / module).is_file() for module in RUNNABLE):
        raise UserError(f"--before {before}: is no checkout of this project")
    for source in sources:
        if not source.exists():
            raise UserError(f"--sources {source}: does not exist")
    if repeats < 1:
        raise UserError("--repeats must be at least 1")
    print(f"{'CPU seconds, median':32}{'before':>10}{'now':>10}{'ratio':>8}{'same labels':>14}{'ratio':>8}")
    whole: list[tuple[float, float, float]] = []
    for source in sources:
        runs: list[tuple[float, float, float]] = []
        labels: Sequence[str] = ()
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                then, made = label_cost(before, source, Path(folder) / "before", size)
                now, makes = label_cost(HERE, source, Path(folder) / "now", size)
                labels = labels or [name for name in label_names() if name in made & makes]
                runs.append((then, now, label_cost(HERE, source, Path(folder) / "same", size, labels)[0]))
        whole.append(_medians(runs))
        print(_line(source.name, *whole[-1]), flush=True)
    if len(whole) > 1:
        print(_line("all", *map(sum, zip(*whole, strict=True))))


def _medians(runs: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    then, now, same = (median(column) for column in zip(*runs, strict=True))
    return then, now, same


def _line(name: str, then: float, now: float, same: float) -> str:
    return f"{name:32}{then:10.1f}{now:10.1f}{now / then:8.2f}{same:14.1f}{same / then:8.2f}"

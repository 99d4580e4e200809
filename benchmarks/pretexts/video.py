"""What tasks that learn from time learn from rendered clips at equal CPU time: scores on clips kept from them.

    python -m benchmarks.pretexts video                                     renders once, then trains each task
    python -m benchmarks.pretexts video --only shuffle_learn opn --seconds 600
    python -m benchmarks.pretexts video --renders DATASET --real DATASET    those clips; scores on real ones beside

Each trains a resnet18 (or r3d_18 with a quarter of its channels) for as many CPU seconds. The score is beside
the trivial answer; gap is their difference in standard errors, over clips, as windows of one clip depend on each
other. Rows that are finished are kept in --out, so that the same command goes on. Where the trunk judges a
generator of clips (`video_gan`, `moco_gan`, `temporal_gan`), training is three times as long, at half the rate.

Cost: rendering about twelve minutes, then a minute and a half a task, four and a half where it judges a generator.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from freelabels.ground.errors import UserError
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import by_domain, read_catalogue
from freelabels.train.data.loader import Batch, Loader, to_device
from freelabels.train.objective.inputs import prepare
from freelabels.train.run.labelling import turn
from freelabels.train.run.state import RunState, begin
from freelabels.train.run.step import step
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.generation.video_gan import VideoGAN
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.prediction.video_colorization import VideoColorization
from freelabels.train.tasks.tasks import fields_of, lacking, reaches_of, tasks

HELD_OUT = 0.25  # of the clips
FRAMES, MARGIN = 20, 1.5  # of a clip, as many as any task looks at; how much larger it is stored than seen
WINDOWS = 8  # of each held-out clip
LONGER, SLOWER = 3.0, 1e-3  # where the trunk judges a generator: how many times as long; peak learning rate
TRIED = 6  # steps by which the cost of one is told, but for the first half, which reads what is not cached
THREE = "{:>9}{:>9}{:>7}"
HEADING = (
    f"{'task':20}{'lines':>6}"
    + THREE.format("score", "trivial", "gap")
    + THREE.format("real", "trivial", "gap")
)
HEADING += f"{'CPU s':>7}  measure"
NEVER = 1_000_000
ROUNDING = 1e-9  # what clips that score alike differ by
CPU = torch.device("cpu")


def main(
    out: str = "runs/pretexts-video",
    only: tuple[str, ...] = (),
    seconds: float = 90.0,
    renders: str = "",
    real: str = "",
    clips: int = 96,
    size: int = 64,
    batch: int = 32,
    backbone: str = "resnet18",
    settings: tuple[str, ...] = (),
) -> None:
    """Measure and print.

    Args:
        out: Folder of the runs and of the finished rows.
        only: Tasks to measure; default: all that look at several frames of a clip, or at stored fields, and whose
            fields renders have.
        seconds: CPU seconds of training of each; those that judge generators take three times as many.
        renders: A dataset to train and to score on; default: clips that are rendered into --out.
        real: A dataset of real clips, on which scores are told beside.
        clips: How many are rendered; a quarter of them is kept for scores.
        size: Side of the frames, pixels.
        batch: Samples of a step; a third of it where they are clips.
        backbone: The timm model.
        settings: Parameters of tasks, NAME.PARAMETER=VALUE.
    """
    torch.set_num_threads(1)
    folder = Path(out)
    side = round(size * MARGIN)
    data = renders or rendered(folder / f"renders-{clips}-{FRAMES}-{side}", clips, side)
    known = read_catalogue(*by_domain([data]), 1)
    fit = {n: t for n, t in tasks().items() if beyond_photos(t)}
    names = only or tuple(
        n for n, t in fit.items() if not lacking(t, known.has, known.names, 1, known.longest)
    )
    print(HEADING)
    for name in names:
        many = batch // 3 if tasks()[name].clips else batch
        loader = LoaderConfig(size=size, batch=many, held_out=HELD_OUT)
        config, long = configured(name, loader, backbone, settings), seconds
        if isinstance(tasks()[name], VideoGAN):
            config, long = replace(config, lr=SLOWER), LONGER * seconds
        facts = finished(folder, name, name, config, long, lambda: data, real)
        if facts is not None:
            print(line(facts), flush=True)


def beyond_photos(task: Task) -> bool:
    """Whether a task that makes its own labels takes more than single images for it."""
    return not isinstance(task, Labelled) and (task.needs.frames > 1 or bool(task.needs.fields))


def configured(name: str, loader: LoaderConfig, backbone: str, settings: Sequence[str]) -> TrainConfig:
    """How one task is trained. settings: of all tasks, of which its own are taken."""
    return TrainConfig(
        tasks=(name,),
        set=tuple(s for s in settings if s.startswith(f"{name}.")),
        lr=2e-3,
        ema=0.98,
        precision="fp32",
        device="cpu",
        log_every=NEVER,
        save_every=NEVER,
        loader=loader,
        model=ModelConfig(backbone, width=32, clip_share=0.25),
    )


def finished(
    folder: Path,
    called: str,
    name: str,
    config: TrainConfig,
    seconds: float,
    data: Callable[[], str],
    real: str,
) -> dict[str, Any] | None:
    """The row of a task, from the folder or measured now; None where it can't be, which is said with the reason.

    called: the row's name. data: makes the dataset, or names it.
    """
    row = folder / "rows" / f"{called}.json"
    if not row.exists():
        try:
            facts = measured(name, config, seconds, data(), real, folder / "runs" / called)
        except UserError as error:
            print(f"{called} failed: {error}", flush=True)
            return None
        row.parent.mkdir(parents=True, exist_ok=True)
        row.write_text(json.dumps(facts, indent=1))
    kept: dict[str, Any] = json.loads(row.read_text())
    return kept


def rendered(folder: Path, clips: int, size: int) -> str:
    """A dataset of rendered clips, completed if it is there."""
    from freelabels.pipeline.stages.render import RenderOptions, render

    render(folder, clips, RenderOptions(seed=7, frames=FRAMES, size=(size, size)), cluster=Cluster(workers=0))
    return str(folder)


def measured(name: str, config: TrainConfig, seconds: float, data: str, real: str, out: Path) -> Any:
    """Train one task and score it on clips that it never saw."""
    sides = by_domain([data])
    trial = begun(sides, out / "trial", replace(config, steps=TRIED))
    config = replace(config, steps=max(10, round(seconds / trained(trial))))
    state = begun(sides, out / "whole", config)
    began = time.process_time()
    trained(state)
    spent = time.process_time() - began
    with state.averaged(), torch.no_grad():
        state.learner.eval()
        score = scored(state, state.loader)
        beside, reason = on_real(state, real) if real else (None, "")
    task = state.learner.tasks[name]
    return {
        "task": name,
        "system": task.system,
        "lines": len(inspect.getsource(inspect.getmodule(type(task)) or inspect).splitlines()),
        "steps": config.steps,
        "seconds": round(spent),
        "measure": f"{task.measure.name} ({task.trivial})",
        "real": beside,
        "real_missing": reason,
        **score,
    }


def begun(sides: tuple[list[str], list[str]], out: Path, config: TrainConfig) -> RunState:
    """A run at its first step, whatever is left there of another."""
    for left in out.glob("**/*"):
        if left.is_file():
            left.unlink()
    return begin(*sides, out, config, False, CPU)


def trained(state: RunState) -> float:
    """Take all steps; returns the CPU seconds of one, the first of them left out."""
    began = 0.0
    first = min(TRIED // 2, state.config.steps - 1)
    for number, loaded in enumerate(state.loader.batches(0, state.config.steps)):
        if number == first:
            began = time.process_time()
        turn(state, lambda sentence: None)
        step(state, [loaded])
    return (time.process_time() - began) / (state.config.steps - first)


def on_real(state: RunState, real: str) -> tuple[dict[str, Any] | None, str]:
    """Scores on a dataset of real clips, or None and why there are none, as where they lack what is asked."""
    try:
        return scored(state, _loader(real, state)), ""
    except UserError as error:
        return None, str(error)


def _loader(real: str, state: RunState) -> Loader:
    """All of a dataset, as held-out clips."""
    chosen = state.learner.tasks
    catalogue = read_catalogue(*by_domain([real]), 1)
    loader = Loader(
        catalogue, fields_of(chosen), state.config.loader, state.config.seed, reaches=reaches_of(chosen)
    )
    loader.held[:] = True
    return loader


def scored(state: RunState, loader: Loader) -> dict[str, Any]:
    """The score on held-out clips, and by how many standard errors over clips it beats the trivial one."""
    [task] = state.learner.tasks.values()
    kept, clips, carried = [], [], []
    for batch in held_out(loader):
        inputs = prepare(state.learner.tasks, to_device(batch, CPU), state.learner.labels)
        told = state.learner.predict(inputs)
        columns = task.keep(told.answers[task.name], told.asked[task.name])
        counts = columns[-1] > 0
        if isinstance(task, VideoColorization):
            carried.append(task.carried(told.answers[task.name], told.asked[task.name])[counts])
        kept.append([column[counts] for column in columns])
        rows = len(counts) // len(batch["clip"])
        clips.append(batch["clip"].repeat_interleave(rows)[counts])
    whole = [torch.cat(column) for column in zip(*kept, strict=True)]
    if not len(whole[0]):
        raise UserError("none of the windows kept for scores has what it asks for")
    score, trivial, _ = task.summary(whole)
    found: dict[str, Any] = {"score": score, "trivial": trivial, "gap": gap(task, whole, torch.cat(clips))}
    found["beside"] = dict(task.beside(whole))
    if carried:
        masks = torch.cat(carried)
        found["carried"] = masks[masks.isfinite().all(1)].mean(0).tolist()
    return found


def held_out(loader: Loader) -> Iterator[Batch]:
    """Up to `WINDOWS` windows of each held-out clip, evenly spread, in batches."""
    windows = loader.catalogue.windows
    chosen = []
    for run in np.flatnonzero(loader.held):
        first, stop = int(windows.first[run]), int(windows.first[run + 1])
        chosen += [windows[first + k * (stop - first) // WINDOWS] for k in range(min(WINDOWS, stop - first))]
    for k in range(0, len(chosen), loader.config.batch):
        yield loader.centred(chosen[k : k + loader.config.batch])


def gap(task: Task, columns: Sequence[torch.Tensor], clips: torch.Tensor) -> float | None:
    """Mean difference over its standard error, both over clips; None where it is the same for all, or of one clip.

    Where the trivial answer is one for all samples, as their commonest class, its score is taken as given. A score
    of all samples together, as a distance of sets, has the error of the jackknife: by how much it changes when
    one clip is left out; None of stored labels, whose pixels would take long.
    """
    if isinstance(task, Labelled):
        return None
    figures, (score, common, _) = columns[0], task.summary(columns)
    if figures.ndim == 1 and math.isclose(float(figures.mean()), score):  # it keeps no trivial answers
        figures = torch.stack([figures, torch.full_like(figures, common)], 1)
    way = 1 if task.measure.higher_is_better else -1
    if figures.ndim != 2 or figures.shape[1] != 2:
        left = [task.summary([column[clips != clip] for column in columns]) for clip in set(clips.tolist())]
        without = torch.tensor([way * (one - other) for one, other, _ in left], dtype=torch.float64)
        error = float(without.std(correction=0)) * math.sqrt(max(0, len(without) - 1))
        return way * (score - common) / error if error > ROUNDING else None
    own = figures[:, 1]
    trivial = own if math.isclose(float(own.mean()), common) else common
    better = (figures[:, 0] - trivial) * way
    means = torch.stack([better[clips == clip].mean() for clip in set(clips.tolist())])
    if len(means) < 2:
        return None
    error = float(means.std()) / math.sqrt(len(means))
    return float(means.mean()) / error if error > ROUNDING else None


def line(facts: dict[str, Any]) -> str:
    """A row of the table."""
    more = (
        "; IoU of masks carried {:.3f}, left {:.3f}".format(*facts["carried"]) if "carried" in facts else ""
    )
    more += "".join(f"; {name}: {value:.3f}" for name, value in facts.get("beside", {}).items())
    more += f"; not on real clips: {facts['real_missing']}" if facts.get("real_missing") else ""
    numbers = f"{facts['lines']:>6}{_three(facts)}{_three(facts['real'])}{facts['seconds']:>7}"
    return f"{facts['task']:20}{numbers}  {facts['measure']}{more}"


def _three(scores: dict[str, Any] | None) -> str:
    """Score, trivial answer and gap, as far as they are known."""
    if scores is None:
        return THREE.format("", "", "")
    gap = "" if scores["gap"] is None else f"{scores['gap']:.1f}"
    return THREE.format(f"{scores['score']:.3f}", f"{scores['trivial']:.3f}", gap)

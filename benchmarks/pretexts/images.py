"""Tasks that learn from images, on photos; what is measured is said in the package."""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig, ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.objective.learner import Learner, prepare
from freelabels.train.probing.probe import probe
from freelabels.train.run.evaluate import Score, evaluate
from freelabels.train.run.labelling import turn
from freelabels.train.run.state import RunState, begin
from freelabels.train.run.step import step
from freelabels.train.tasks.contract.online import Online
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.generation.gan import GAN
from freelabels.train.tasks.tasks import tasks

SHARD = 64
MARGIN = 2.25  # how much larger photos are stored than they are seen
VERSIONS = 2  # of labels that a task makes for itself
SHARE = 0.15  # of the photos that are kept from such a task, which knows labels of its own photos alone
NEVER = 1_000_000
LEAST = 32  # side of the smallest images that the trunk takes


def main(
    data: str = "",
    out: str = "runs/pretexts",
    only: tuple[str, ...] = (),
    megapixels: float = 80.0,
    size: int = 64,
    batch: int = 32,
    backbone: str = "resnet18",
    photos: int = 4000,
    scored: int = 4000,
    probe_images: int = 0,
) -> None:
    """Measure and print.

    Args:
        data: Folder with train/ and val/, each with a folder of photos a class; default: made-up scenes.
        out: Folder of the runs and of the finished rows.
        only: Tasks to measure; default: all that learn from photos alone.
        megapixels: How much the trunk sees of each.
        size: Side of the frames, pixels; twice that where a task cuts views of less than the trunk takes.
        batch: Samples of a step.
        backbone: The timm model.
        photos: Most photos that are trained on.
        scored: Most photos of val/ that scores are taken on.
        probe_images: Photos of the linear probe; 0 leaves it out.
    """
    torch.set_num_threads(1)
    folder = Path(out)
    stored = round(size * MARGIN)
    train, held = (folder / f"{part}-{stored}-{most}" for part, most in (("train", photos), ("val", scored)))
    if data:
        photo_dataset(Path(data) / "train", train, stored, photos)
        photo_dataset(Path(data) / "val", held, stored, scored)
    elif not train.exists():
        write_dataset(train, 0, min(photos, 256), stored, frames=1, labels=())
        write_dataset(held, 0, min(scored, 64), stored, frames=1, seed=1, labels=())
    names = only or tuple(
        n for n, t in tasks().items() if not t.needs.fields and t.needs.frames == 1 and n != "tags"
    )
    print(f"{'task':18}{'lines':>6}{'score':>9}{'trivial':>9}{'gap':>7}{'CPU s':>7}  measure")
    for name in names:
        row = folder / "rows" / f"{name}.json"
        if not row.exists():
            config = TrainConfig(
                tasks=(name,),
                lr=2e-3,
                ema=0.98,
                precision="fp32",
                device="cpu",
                log_every=NEVER,
                save_every=NEVER,
                loader=LoaderConfig(size=size, batch=batch, held_out=0.0),
                model=ModelConfig(backbone, width=32),
            )
            facts = measured(tasks()[name], config, megapixels, train, held, folder / "runs" / name)
            if probe_images and data:
                facts["probe"] = probed(folder / "runs" / name, data, probe_images)
            row.parent.mkdir(parents=True, exist_ok=True)
            row.write_text(json.dumps(facts, indent=1))
        print(line(json.loads(row.read_text())), flush=True)


def measured(task: Task, config: TrainConfig, megapixels: float, train: Path, held: Path, out: Path) -> Any:
    """Train one task and score it on photos that it never saw."""
    config = fitted(task, config, megapixels, train)
    device = torch.device("cpu")
    state = begin([str(train)], [], out, config, (out / "checkpoint.pt").exists(), device)
    photos = state.loader if isinstance(task, Online) else everything(held, config)
    start = scored_on(state, photos) if isinstance(task, GAN) else None
    began = time.process_time()
    for loaded in state.loader.batches(state.step, config.steps):
        turn(state, lambda sentence: print(f"  {sentence}", flush=True))
        step(state, [loaded])
    seconds = time.process_time() - began
    state.save()
    score = scored_on(state, photos)
    return {
        "task": task.name,
        "system": task.system,
        "lines": len(inspect.getsource(inspect.getmodule(type(task)) or inspect).splitlines()),
        "side": config.loader.size,
        "steps": config.steps,
        "megapixels": megapixels,
        "seconds": round(seconds),
        "score": score.as_dict(),
        "start": start.score if start else None,
        "distinct": distinct(state, device) if isinstance(task, GAN) else None,
        "gap": gap_of(score),
    }


def fitted(task: Task, config: TrainConfig, megapixels: float, train: Path) -> TrainConfig:
    """Frames of which the task cuts views that the trunk takes, and steps that show the trunk that many pixels."""
    whole = config.loader.size
    if isinstance(task, Online):
        config = replace(config, loader=replace(config.loader, held_out=SHARE))
        samples, views, side = config.loader.batch, 1, config.loader.size
    else:
        samples, views, side = asked_of(task, config, train)
        if side < LEAST:
            config = replace(config, loader=replace(config.loader, size=2 * config.loader.size))
            samples, views, side = asked_of(task, config, train)
    pixels = views * max(side, LEAST) ** 2
    if not task.compares:  # no more pixels a step than of whole frames, so that no task takes fewer steps
        samples = min(samples, max(1, samples * whole**2 // pixels))
    config = replace(config, loader=replace(config.loader, batch=samples))
    steps = max(1, round(megapixels * 1e6 / (samples * pixels)))
    every = (f"{task.name}.every={-(-steps // VERSIONS)}",) if isinstance(task, Online) else ()
    return replace(config, steps=steps, set=every)


def asked_of(task: Task, config: TrainConfig, train: Path) -> tuple[int, int, int]:
    """Samples of a batch, how many views of each the trunk sees (a generator's twice), and their side."""
    loader = Loader(read_catalogue([str(train)], [], 1), (), config.loader, config.seed)
    learner = Learner({task.name: task}, config)
    with torch.no_grad():
        told = learner.predict(prepare(learner.tasks, next(iter(loader.batches(0, 1)))))
    asked = told.asked[task.name]
    assert asked.images is not None
    samples, views, _, _, side = asked.images.shape
    return samples, views + (0 if asked.held is None else asked.held.shape[1]), side


@torch.no_grad()
def scored_on(state: RunState, photos: Loader) -> Score:
    """The score on all held-out photos of a loader, of the averaged model."""
    with state.averaged():
        [score, *_] = evaluate(state.learner, photos, state.device, NEVER)
    return score


@torch.no_grad()
def distinct(state: RunState, device: torch.device) -> int:
    """How many of 64 made images are nearer to no other made one than real photos are to each other.

    Nearer: less than half of the median distance between a photo and the photo that is nearest to it.
    """
    [(name, task)] = state.learner.tasks.items()
    batches = state.loader.batches(0, 1 + 64 // state.config.loader.batch)
    with state.averaged():
        parts = [prepare({name: task}, batch) for batch in batches]
        painted = [task.paint(state.learner.model.heads[name], part.asked[name]).images for part in parts]
    pairs = torch.cat([images[:, :2].float() for images in painted if images is not None])[:64]
    genuine, ours = (torch.cdist(x, x) + torch.eye(len(x)) * 1e9 for x in pairs.flatten(2).unbind(1))
    near = 0.5 * genuine.amin(1).median()
    kept: list[int] = []
    for k in range(len(ours)):
        if not kept or float(ours[k, kept].min()) >= near:
            kept.append(k)
    return len(kept)


def everything(held: Path, config: TrainConfig) -> Loader:
    """A loader for which all photos are held out."""
    loader = Loader(read_catalogue([str(held)], [], 1), (), config.loader, config.seed)
    loader.held[:] = True
    loader.held_out = loader.catalogue.windows.numbers(loader.held)
    return loader


def gap_of(score: Score) -> float | None:
    """By how many standard errors a score is better than the trivial answer's."""
    if not score.error:
        return None
    difference = score.score - score.constant
    return (difference if score.better == (difference > 0) else -difference) / score.error


def probed(out: Path, data: str, images: int) -> dict[str, Any]:
    """What the probe reports, its settings and notes left out."""
    config = ProbeConfig(seeds=1, draws=1, shots=(1,), images=images, rotation="skip", device="cpu")
    report = probe(out, data, out / "probe", config)
    return {"stages": report.stages, "tables": [asdict(table) for table in report.tables]}


def line(facts: dict[str, Any]) -> str:
    """A row of the table."""
    score = facts["score"]
    gap = "" if facts["gap"] is None else f"{facts['gap']:.1f}"
    numbers = (
        f"{facts['lines']:>6}{score['score']:>9.3f}{score['constant']:>9.3f}{gap:>7}{facts['seconds']:>7}"
    )
    more = (
        ""
        if facts["start"] is None
        else f"; at the start {facts['start']:.3f}, {facts['distinct']} of 64 distinct"
    )
    return f"{facts['task']:18}{numbers}  {score['metric']} ({score['trivial']}){more}"


def photo_dataset(folder: Path, out: Path, size: int, most: int) -> None:
    """A dataset of the centre squares of up to `most` photos, drawn from all classes; images alone."""
    if (out / "complete").exists():
        return
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    rng = np.random.default_rng(0)
    paths = [paths[k] for k in rng.permutation(len(paths))[:most]]
    dataset = Dataset.create(out, {"size": [size, size]})
    for first in range(0, len(paths), SHARD):
        some = paths[first : first + SHARD]
        columns = {
            "image": np.stack([square(path, size) for path in some]),
            "domain": np.zeros(len(some), np.uint8),
            "camera_K": np.tile(intrinsics(0.9 * size, size, size), (len(some), 1, 1)),
        }
        clips = [
            {"rows": [k, k + 1], "kind": "photo", "source": [path.name], "key": path.name}
            for k, path in enumerate(some)
        ]
        made_by = {name: {"generator": "photos", "version": 1} for name in columns}
        commit_shard(dataset, f"photos-{first // SHARD:05d}", columns, clips, made_by)
    (out / "complete").touch()


def square(path: Path, size: int) -> np.ndarray[Any, Any]:
    """The largest centred square of a photo, uint8 (size, size, 3) sRGB."""
    image = cv2.imread(str(path))
    assert image is not None, path
    height, width = image.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    part = image[y : y + side, x : x + side, ::-1]
    return np.ascontiguousarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA))

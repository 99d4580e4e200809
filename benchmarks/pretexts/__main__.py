"""The command; what it measures is said in the package."""

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

from benchmarks.pretexts import __doc__ as about
from benchmarks.tools.command import run
from benchmarks.tools.shapes import write_dataset
from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig, ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.objective.learner import prepare
from freelabels.train.probing.probe import probe
from freelabels.train.run.evaluate import Score, evaluate
from freelabels.train.run.state import begin
from freelabels.train.run.step import step
from freelabels.train.tasks.contract.online import Online
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.tasks import tasks

SHARD = 64
MARGIN = 1.5  # how much larger photos are stored than they are seen
NEVER = 1_000_000


def main(
    data: str = "",
    out: str = "runs/pretexts",
    only: tuple[str, ...] = (),
    megapixels: float = 80.0,
    size: int = 64,
    batch: int = 32,
    backbone: str = "resnet18",
    photos: int = 4000,
    scored: int = 512,
    probe_images: int = 0,
) -> None:
    """Measure and print.

    Args:
        data: Folder with train/ and val/, each with a folder of photos a class; default: made-up scenes.
        out: Folder of the runs and of the finished rows.
        only: Tasks to measure; default: all that learn from photos alone and make no labels of their
            own, which other photos don't have.
        megapixels: How much the trunk sees of each.
        size: Side of the frames, pixels.
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
    names = only or tuple(n for n, t in tasks().items() if not isinstance(t, Labelled | Online))
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
    config = replace(config, steps=steps_of(task, config, megapixels, train))
    device = torch.device("cpu")
    state = begin([str(train)], [], out, config, (out / "checkpoint.pt").exists(), device)
    began = time.process_time()
    for loaded in state.loader.batches(state.step, config.steps):
        step(state, [loaded])
    seconds = time.process_time() - began
    state.save()
    with state.averaged(), torch.no_grad():
        [score, *_] = evaluate(state.learner, everything(held, config), device, NEVER)
    return {
        "task": task.name,
        "system": task.system,
        "lines": len(inspect.getsource(inspect.getmodule(type(task)) or inspect).splitlines()),
        "steps": config.steps,
        "megapixels": megapixels,
        "seconds": round(seconds),
        "score": score.as_dict(),
        "gap": gap_of(score),
    }


def steps_of(task: Task, config: TrainConfig, megapixels: float, train: Path) -> int:
    """How many steps show the trunk that many pixels."""
    loader = Loader(read_catalogue([str(train)], [], 1), (), config.loader, config.seed)
    asked = prepare({task.name: task}, next(iter(loader.batches(0, 1)))).asked[task.name]
    assert asked.images is not None
    samples, views, _, _, side = asked.images.shape
    return max(1, round(megapixels * 1e6 / (samples * views * max(side, 32) ** 2)))


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
    return f"{facts['task']:18}{numbers}  {score['metric']} ({score['trivial']})"


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


if __name__ == "__main__":
    run(main, about)

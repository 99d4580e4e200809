"""Photos and videos labelled by a run's network, with confidence, into a dataset like any other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, as_bytes, confidence_name
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import digest
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.stages.bookkeeping import writing_to
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.predicting.certainty import (
    PLAIN,
    Curve,
    fit_curves,
    is_probability,
    labels_and_scores,
)
from freelabels.train.predicting.student import Student, load_student

GENERATOR, VERSION = "predict", 1


@dataclass(frozen=True)
class PredictSummary:
    """What was labelled. made: shards, of all; left_out: labels without renders to scale their confidence on."""

    dataset: str
    labels: tuple[str, ...]
    shards: int
    made: int
    frames: int
    scaled: bool
    left_out: tuple[str, ...] = ()


def predict(
    run: AnyPath,
    sources: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    labels: Sequence[str] = (),
    size: tuple[int, int] = (256, 256),
    options: SourceOptions | None = None,
    device: str = "auto",
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> PredictSummary:
    """Label sources by a run's network into the dataset at `out`; what is there already is left.

    sources: as `label` takes them; none: the frames that `out` holds. labels: of those that the run has learned on
    single frames, default all. Confidence is scaled on the run's held-out renders; without any, probabilities keep
    the network's own, and other labels are left out, since nothing tells how far they can be trusted. size,
    options: as `label` has them. Raises UserError for bad input, and where `out` holds a label that something else
    has made.
    """
    to, student = reporter or Reporter(), load_student(os.fspath(run), device)
    for name in labels:
        if name not in student.tasks:
            raise UserError(f"{run} has not learned {name!r}: {nearest(name, list(student.tasks))}")
    if student.left_out:
        to.say(f"no field of their own on single frames, left out: {', '.join(student.left_out)}")
    curves = fit_curves(student)
    wanted = [name for name in labels or student.tasks if name in curves or is_probability(name)]
    left_out = tuple(name for name in labels or student.tasks if name not in wanted)
    if not curves:
        to.say("the run has no held-out renders that can be read, so confidences are the network's own")
    for name in left_out:
        to.say(f"  no {name}: no held-out render tells how far it can be trusted")
    if not wanted:
        raise UserError(f"nothing to predict: {', '.join(left_out)} need held-out renders with their truth")
    if path_list(sources):
        label(sources, out, labels=[], size=size, options=options, cluster=cluster, reporter=to)
    dataset = Dataset(out)
    _ = dataset.attributes  # raises NotADataset
    names = dataset.shards()
    made = frames = 0
    with writing_to(out), to.stage("predict", len(names)) as tick:
        for shard in dataset.open_all(names):
            frames += shard.rows
            made += _complete(student, dataset, shard, wanted, curves)
            tick(shard.rows)
    path = os.fspath(out)
    return PredictSummary(path, tuple(wanted), len(names), made, frames, bool(curves), left_out)


def _complete(
    student: Student, dataset: Dataset, shard: Shard, wanted: Sequence[str], curves: dict[str, Curve]
) -> bool:
    """Add the labels to a shard; whether any was missing. Raises UserError for one that something else made."""
    recipes = {name: _recipe(student, shard, name, curves) for name in wanted}
    todo = [name for name in wanted if name not in shard.fields or shard.made_by(name) != recipes[name]]
    for name in todo:
        if name in shard.fields and shard.made_by(name).get("generator") != GENERATOR:
            raise UserError(
                f"{dataset.path} holds {name} made by {shard.made_by(name).get('generator')}: give predictions a "
                "dataset of their own with --out"
            )
    if not todo:
        shard.close()
        return False
    columns: dict[str, list[Array]] = {}
    for clip in shard.clips:
        for name, values, score in labels_and_scores(
            student, shard.read_rows("image", *clip["rows"]), curves
        ):
            if name in todo:
                columns.setdefault(name, []).append(values)
                trust = as_bytes(curves.get(name, PLAIN)(score).astype(np.float32))
                columns.setdefault(confidence_name(name), []).append(trust)
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    made_by = {name: recipes[name.removesuffix(CONFIDENCE_SUFFIX)] for name in whole}
    commit_shard(dataset, shard.id, whole, shard.clips, made_by, base=shard)
    return True


def _recipe(student: Student, shard: Shard, name: str, curves: dict[str, Curve]) -> dict[str, Any]:
    """What made a label: the run by name, step and weights, and how its confidence is scaled."""
    parameters = {
        "run": student.run.resolve().name,
        "step": student.step,
        "weights": student.weights,
        "task": student.tasks[name].name,
        "scaled": asdict(curves[name]) if name in curves else None,
    }
    inputs = {"image": digest(shard.made_by("image"))[:16]}
    return {"generator": GENERATOR, "version": VERSION, "parameters": parameters, "inputs": inputs}

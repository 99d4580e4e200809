"""How many steps of which batches show the trunk a given number of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from freelabels.train.config import TrainConfig
from freelabels.train.data.catalogue import Catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.tasks.contract.online import Online
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.tasks import fields_of, reaches_of

LEAST = 32  # side of the smallest images that the trunk takes without enlarging them
VERSIONS = 2  # at least, of labels that a task makes for itself


def fitted(
    config: TrainConfig, tasks: Mapping[str, Task], catalogue: Catalogue, budget: float
) -> TrainConfig:
    """The configuration with as many steps as show the trunk `budget` megapixels.

    Frames are twice as large where a task would cut views of less than the trunk takes. A step shows no more
    pixels than one of whole frames, so that no row takes fewer steps, unless a task compares the samples of its
    batch.
    """
    whole = config.loader.batch * config.loader.size**2
    seen, least = pixels_of(config, tasks, catalogue)
    if least < LEAST:
        config = replace(config, loader=replace(config.loader, size=2 * config.loader.size))
        seen, _ = pixels_of(config, tasks, catalogue)
    batch = config.loader.batch
    if seen > whole and not any(task.compares for task in tasks.values()):
        batch = max(1, batch * whole // seen)
    steps = max(1, round(budget * 1e6 / (seen / config.loader.batch * batch)))
    again = tuple(
        f"{name}.every={max(1, -(-steps // VERSIONS))}"
        for name, task in tasks.items()
        if isinstance(task, Online) and task.looks
    )
    return replace(config, steps=steps, loader=replace(config.loader, batch=batch), set=(*config.set, *again))


def pixels_of(config: TrainConfig, tasks: Mapping[str, Task], catalogue: Catalogue) -> tuple[int, int]:
    """Pixels that pass the trunk in a step, a generator's pictures twice; the side of the smallest view.

    Tasks that make labels of their own, which aren't there yet, are taken to see each frame once.
    """
    asking = {name: task for name, task in tasks.items() if not isinstance(task, Online)}
    pixels = (len(tasks) - len(asking)) * config.loader.batch * config.loader.size**2
    least = config.loader.size
    if not asking:
        return pixels, least
    reaches = reaches_of(asking)
    loader = Loader(catalogue, fields_of(asking), config.loader, config.seed, reaches=reaches)
    learner = Learner(asking, config)
    seen: list[torch.Size] = []

    def note(module: nn.Module, images: tuple[torch.Tensor, ...], output: Any) -> None:
        seen.append(images[0].shape)

    hooks = [learner.model.backbone.register_forward_hook(note)]
    if learner.model.clips is not None:
        hooks.append(learner.model.clips.register_forward_hook(note))
    with torch.no_grad():
        told = learner.predict(prepare(asking, next(iter(loader.batches(0, 1)))))
    for hook in hooks:
        hook.remove()
    pixels += sum(shape[0] * shape[-1] * shape[-2] * (shape[2] if len(shape) == 5 else 1) for shape in seen)
    sides = [one.images.shape[-1] for one in told.asked.values() if one.images is not None]
    return pixels, min([least, *sides])

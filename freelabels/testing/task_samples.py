"""What tasks are checked on: a small made-up batch, labels made of made-up clips, a small network."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import Kind, field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.labels import AXIS_SUFFIX, CAMERA, SAMPLES_SUFFIX, WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.objective.learner import Learner
from freelabels.train.tasks.contract.online import Clips, Labels, Online, joined
from freelabels.train.tasks.contract.task import Seen, Task
from freelabels.train.tasks.labelled import Labelled

SIZE, SAMPLES, CLASSES = 32, 4, 3
CONFIG = TrainConfig(
    loader=LoaderConfig(size=SIZE), model=ModelConfig("test_convnext2", width=16, clip_share=1 / 8)
)
NORMED = replace(CONFIG, model=replace(CONFIG.model, backbone="test_resnet"))
CLIPS = 192  # that labels are made of; the samples are the first of them
VERSIONS = 3
SECOND = (
    16000  # entries of a table whose length the field leaves open, as many as samples of sound in a second
)


def sample_batch(task: Task, seed: int = 0, samples: int = SAMPLES) -> Batch:
    """A made-up batch, as the loader would give it to a task; of the last sample some frames are missing."""
    g = torch.Generator().manual_seed(seed)
    shape = (samples, max(task.needs.frames, task.needs.shared))
    coarse = torch.rand(samples * shape[1], 3, 9, 9, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False)
    image = (smooth * 200 + 55 * torch.rand(smooth.shape, generator=g)).clamp(0, 255).byte()
    batch: Batch = {
        "image": image.view(*shape, 3, SIZE, SIZE),
        "domain": torch.arange(samples) % 2,
        "seed": torch.randint(2**31, (samples,), generator=g),
        "window": torch.arange(samples),
        "clip": torch.arange(samples),
        "epoch": torch.zeros(samples, dtype=torch.long),
    }
    for name in (*task.needs.fields, *task.needs.uses):
        batch |= _labels(name, shape, g)
    if task.needs.reach is not None:
        batch["present"] = torch.ones(shape, dtype=torch.bool)
        batch["present"][-1, -1] = False
        batch["serves"] = batch["present"].all(1).float()
    if isinstance(task, Online):
        columns = made_labels(task, seed)[-1].clips
        batch = joined(batch, {key: torch.from_numpy(column) for key, column in columns.items()})
    return batch


@cache
def made_labels(task: Online, seed: int = 0) -> tuple[Labels, ...]:
    """The first versions that a task makes, of made-up clips that a small network sees otherwise each time."""
    made, versions = learner(task, labelled=False), list[Labels]()
    for version in range(VERSIONS):
        clips = sample_clips(task, made, 1000 * seed + version)
        versions.append(task.assign(clips, versions[-1] if versions else None, seed))
        for _ in task.renew(made.model.heads[task.name], versions[-1]):
            pass
    return tuple(versions)


@torch.no_grad()
def sample_clips(task: Online, made: Learner, seed: int) -> Clips:
    """What a network makes of random features, every fifth clip held out, two clips of each source."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randn(CLIPS // 16, made.model.shape.channels[-1], generator=g)
    deep = kinds.repeat_interleave(16, 0) + 0.7 * torch.randn(CLIPS, kinds.shape[1], generator=g)
    seen = Seen([deep[:, :, None, None]], None, 1)
    embedded = task.embed(made.model.heads[task.name], seen)
    if task.needs.fields:
        stored = [_labels(name, (CLIPS, 1), g) for name in task.needs.fields]
        described = task.describe({name: values for one in stored for name, values in one.items()})
        embedded = embedded if described is None else described
    features = embedded.numpy()
    number = np.arange(CLIPS)
    words = [("picture", f"kind{'abcdefghijkl'[n // 16]}") for n in range(CLIPS)]
    return Clips(features, (number // 2).astype(np.uint64), number % 5 != 4, words)


def _labels(name: str, shape: tuple[int, int], g: torch.Generator) -> Batch:
    spec = field(name)
    if name == "camera_K":
        return {name: torch.from_numpy(intrinsics(float(SIZE), SIZE, SIZE)).expand(*shape, -1, -1).clone()}
    if name in ("camera_distortion", "camera_shutter"):
        return {name: torch.zeros(*shape, spec.sizes[0] or 1)}
    if name in CAMERA:
        pose = torch.eye(int(spec.sizes[-1] or 1)).expand(*shape, -1, -1).clone()
        pose[..., :3, -1] += 0.1 * torch.rand(*shape, 3, generator=g)
        return {name: pose}
    if spec.kind is Kind.TABLE:
        weight = torch.ones(shape)
        if spec.names or (spec.invalid is not None and not spec.axes):
            return {name: torch.randint(CLASSES, shape, generator=g), name + WEIGHT_SUFFIX: weight}
        values = torch.randn(*shape, *(n or SECOND for n in spec.sizes), generator=g)
        if spec.dtype.startswith("int"):
            values = (values * np.iinfo(spec.dtype).max / 8).long()
        if name == "sound":
            own = torch.full(shape, SECOND // 10)
            values = values[..., : SECOND // 10]
            return {name: values, name + WEIGHT_SUFFIX: weight, name + SAMPLES_SUFFIX: own}
        return {name: values, name + WEIGHT_SUFFIX: weight}
    if spec.kind is Kind.IMAGE:
        other = torch.randint(256, (*shape, 3, SIZE, SIZE), generator=g).byte()
        axis = torch.tensor([1.0, 0.0]).expand(shape[0], 2).clone()
        return {name: other, name + WEIGHT_SUFFIX: torch.ones(shape), name + AXIS_SUFFIX: axis}
    size = (*shape, (spec.sizes[2:] or (1,))[0] or 1, SIZE, SIZE)
    values = torch.rand(size, generator=g) + 0.1
    if spec.kind in (Kind.CATEGORY, Kind.IDENTITY):
        values = torch.randint(CLASSES, size, generator=g).float()
    elif spec.kind is Kind.PROBABILITY:
        values = (values > 0.8).float()
    elif spec.kind is Kind.DIRECTION:
        values = torch.nn.functional.normalize(values - 0.6, dim=2)
    weight = torch.rand(*shape, SIZE, SIZE, generator=g)
    return {name: values, name + WEIGHT_SUFFIX: weight * (weight > 0.3)}


def learner(task: Task, config: TrainConfig = CONFIG, seed: int = 0, labelled: bool = True) -> Learner:
    """A small learner of one task. labelled: with its head as for the labels of `sample_batch`."""
    if isinstance(task, Labelled) and task.channels is None:
        task = replace(task, channels=CLASSES)
    task = task.fitted({name: tuple(map(str, range(CLASSES))) for name in task.needs.fields})
    torch.manual_seed(seed)
    made = Learner({task.name: task}, config)
    if made.model.clips is not None and config is not NORMED:
        _without_batch_norm(made.model.clips)
    if labelled and isinstance(task, Online):
        renewed(made, task, None, 0)
    return made


def _without_batch_norm(module: nn.Module) -> None:
    """Norms that don't look at other samples, as the frames' trunk has them here."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm3d):
            setattr(module, name, nn.GroupNorm(8, child.num_features))
        else:
            _without_batch_norm(child)


def renewed(made: Learner, task: Task, optimizer: torch.optim.Optimizer | None, seed: int) -> None:
    """A learner's head, and its optimiser, as a version of labels finds them."""
    if isinstance(task, Online):
        for parameter in task.renew(made.model.heads[task.name], made_labels(task, seed)[-1]):
            if optimizer is not None:
                optimizer.state.pop(parameter, None)


def renewable(task: Task) -> Callable[[], Learner]:
    """What gives a small learner of a task as it was built: always the same one, since building takes long.

    State that isn't in its buffers would stay.
    """
    made = learner(task)
    begun = stored(made.state_dict())

    def anew() -> Learner:
        made.load_state_dict(begun)
        made.zero_grad()
        made.precision = None
        return made.train()

    return anew


def stored(state: Any) -> Any:
    """A copy of a state as a checkpoint keeps it: tensors as they are, anything else through a file."""
    if type(state) is Tensor:
        return state.clone()
    if isinstance(state, dict):
        return {key: stored(value) for key, value in state.items()}
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)

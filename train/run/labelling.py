"""Labels that a run makes for itself: when a version is due, what it is made of, and where it goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from freelabels.ground.spelling import counted
from freelabels.train.data.catalogue import Catalogue
from freelabels.train.data.loader import Loader, to_device
from freelabels.train.data.words import words_of
from freelabels.train.model import ranks
from freelabels.train.model.network import Model
from freelabels.train.objective.learner import Learner
from freelabels.train.run import book
from freelabels.train.run.state import RunState
from freelabels.train.tasks.clusters.k_means import agreement
from freelabels.train.tasks.contract.online import Clips, Labels, Online
from freelabels.train.tasks.contract.task import Seen


def online(learner: Learner) -> dict[str, Online]:
    """The tasks of a learner that make labels."""
    return {name: task for name, task in learner.tasks.items() if isinstance(task, Online)}


def take_up(state: RunState) -> None:
    """After a resume: the labels of the last step taken, from the book. Raises UserError if they are gone."""
    for name, task in online(state.learner).items():
        if state.step:
            version = (state.step - 1) // task.every
            first = ranks.rank() == 0
            _use(state, name, ranks.of_first(book.get(state.folder, name, version) if first else None))


def turn(state: RunState, say: Callable[[str], None]) -> None:
    """Make, write and use the versions that are due before the next step.

    A version that is in the book already was made by a process that was killed since the last checkpoint; it is
    made again, the same, so that labels always belong to the weights.
    """
    for name, task in online(state.learner).items():
        if state.step % task.every:
            continue
        version = state.step // task.every
        first, labels = ranks.rank() == 0, None
        clips = gather(state, name, task)
        if first and clips is not None:
            before = book.get(state.folder, name, version - 1) if version else None
            labels = task.assign(clips, before, state.config.seed)
            book.put(state.folder, name, labels)
            say(told(name, labels, before))
        labels = ranks.of_first(labels)
        _use(state, name, labels)
        if labels is not None:
            _renew(state, name, task, labels)


def told(name: str, labels: Labels, before: Labels | None) -> str:
    """A sentence on a new version."""
    sentence = f"{name}: version {labels.version} of its labels"
    if "label" not in labels.clips:
        return sentence
    label = labels.clips["label"].astype(np.int64)
    sentence += f", {counted(len(np.unique(label)), 'cluster')} of {counted(len(label), 'clip')}"
    if before is not None and "label" in before.clips:
        same = agreement(label, before.clips["label"].astype(np.int64))
        sentence += f", agreement with the one before (NMI) {same:.2f}"
    return sentence


def _use(state: RunState, name: str, labels: Labels | None) -> None:
    if labels is not None:
        columns = {key: torch.from_numpy(np.asarray(array)) for key, array in labels.clips.items()}
        state.learner.labels[name] = {key: column.to(state.device) for key, column in columns.items()}


def _renew(state: RunState, name: str, task: Online, labels: Labels) -> None:
    for parameter in task.renew(state.learner.model.heads[name], labels):
        state.optimizer.state.pop(parameter, None)
    task.renew(state.ema.module.heads[name], labels)


@torch.no_grad()
def gather(state: RunState, name: str, task: Online) -> Clips | None:
    """One frame a clip as the averaged model sees it; each rank sees a share, rank 0 gets all, others None."""
    windows, learned = state.catalogue.windows, ~state.loader.held
    if not task.looks:
        nothing = np.empty((len(windows.group), 0), np.float32)
        return None if ranks.rank() else Clips(nothing, windows.group, learned, words_of(windows))
    model = cast(Model, copy.deepcopy(state.ema.module))
    buffers = ranks.of_first(dict(model.named_buffers()) if ranks.rank() == 0 else None)
    for key, buffer in model.named_buffers():  # running statistics are each rank's own
        buffer.copy_((buffers or {})[key])
    mine = embedded(state, model.eval(), name, task, ranks.rank(), ranks.world())
    parts = cast(list[NDArray[np.float32]], ranks.gather(mine))
    if ranks.rank():
        return None
    features = np.empty((sum(len(part) for part in parts), mine.shape[1]), np.float32)
    for k, part in enumerate(parts):
        features[k :: len(parts)] = part
    return Clips(features, windows.group, learned)


def embedded(
    state: RunState, model: Model, name: str, task: Online, rank: int, world: int
) -> NDArray[np.float32]:
    """What a model makes of the middle frames of clips rank, rank + world, …"""
    config, device = state.config.loader, state.device
    loader = Loader(state.catalogue, task.needs.fields, config, state.config.seed)
    middles = middle_windows(state.catalogue)[rank::world]
    parts = [np.empty((0, 1), np.float32)]
    for k in range(0, len(middles), config.batch):
        windows = [state.catalogue.windows[int(number)] for number in middles[k : k + config.batch]]
        batch = to_device(loader.centred(windows), device)
        if (described := task.describe(batch)) is not None:
            parts.append(described.float().cpu().numpy())
            continue
        images = task.look(batch["image"][:, 0])
        with state.learner.autocast(device):
            stages = model.features(images, 0).stages
        with torch.autocast(device.type, enabled=False):
            embedding = task.embed(model.heads[name], Seen(stages, None, 1))
        parts.append(embedding.float().cpu().numpy())
    return np.concatenate(parts[1:]) if len(parts) > 1 else parts[0]


def middle_windows(catalogue: Catalogue) -> NDArray[np.int64]:
    """The number of the window in the middle of each clip."""
    first = catalogue.windows.first.astype(np.int64)
    return np.asarray((first[:-1] + first[1:] - 1) // 2)

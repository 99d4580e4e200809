"""What frozen features say of videos: clips of a few frames, scored one by one and all of a video together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.config import ProbeConfig
from freelabels.train.model.network import Backbone
from freelabels.train.probing.classifiers import logistic, quality, span
from freelabels.train.probing.features import Stage, feature_maps
from freelabels.train.probing.layouts.pixels import READERS
from freelabels.train.probing.labelled_videos import Filmed, read_clips
from freelabels.train.probing.splits import Split, group_split

STEP = 2  # of a video's frames from one of a clip to the next: eight of them last about half a second
BY_CLIP, BY_VIDEO = "linear, logistic, a clip", "linear, logistic, a video"
RETRIEVED = {k: f"a nearest video of the class among {k}" for k in (1, 5)}


@dataclass(frozen=True)
class FilmedClips:
    """Videos as clips: images (n · clips · frames, 3, S, S) uint8, on disk as long as `folder` is kept."""

    about: Filmed
    images: Tensor
    clips: int
    frames: int
    folder: tempfile.TemporaryDirectory[str]


def read_filmed(found: Filmed, size: int, config: ProbeConfig, rng: np.random.Generator) -> FilmedClips:
    """Decode the clips of a set of videos, `config.images` of them at most. Raises UserError for a bad video."""
    rows = np.arange(len(found.files))
    if len(rows) > config.images:
        rows = np.sort(rng.choice(rows, config.images, replace=False))
    test = None if found.test is None else found.test[rows]
    files = tuple(found.files[k] for k in rows)
    some = replace(found, files=files, truth=found.truth[rows], groups=found.groups[rows], test=test)
    folder = tempfile.TemporaryDirectory(prefix="freelabels-clips-")
    shape = (len(files), config.clips * config.clip_frames, 3, size, size)
    images = np.memmap(Path(folder.name, "clips"), np.uint8, "w+", shape=shape)

    def read(number: int) -> None:
        made = read_clips(files[number], config.clips, config.clip_frames, STEP, size)
        images[number] = made.reshape(shape[1:])

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, range(len(files))))
    flat = torch.from_numpy(images.reshape(-1, 3, size, size))
    return FilmedClips(some, flat, config.clips, config.clip_frames, folder)


def split_of(one: FilmedClips, config: ProbeConfig, rng: np.random.Generator) -> Split:
    """Which videos are fitted to and tested on; cuts of one recording stay together."""
    about = one.about
    return group_split(about.truth, about.classes, about.groups, about.test, config.test, rng)


def clip_features(
    backbone: Backbone, one: FilmedClips, chosen: Sequence[Stage], batch: int, device: torch.device
) -> list[Tensor]:
    """(videos, clips, C) of each stage: the mean over all places and frames of a clip."""
    whole = max(1, batch // one.frames) * one.frames
    parts: list[list[Tensor]] = [[] for _ in chosen]
    for maps in feature_maps(backbone, one.images, chosen, whole, device):
        for kept, values in zip(parts, maps, strict=True):
            kept.append(values.mean((2, 3)).view(-1, one.frames, values.shape[1]).mean(1).cpu())
    return [torch.cat(part).view(len(one.about.files), one.clips, -1) for part in parts]


def video_scores(
    features: Sequence[Tensor], about: Filmed, split: Split
) -> dict[str, list[tuple[float, float]]]:
    """By measure, at each stage, the score and the setting chosen for it.

    Linear: fitted to the clips of training videos; of a video the mean of its clips' probabilities. Nearest: a
    video's mean feature, by cosine, among those of the training videos.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    truth = about.truth
    for stage in features:
        train, test = stage[split.train], stage[split.test]
        clips = stage.shape[1]
        axes = span(train.flatten(0, 1), test.flatten(0, 1))
        held_out = split.held_out.repeat_interleave(clips)
        fitted = logistic(axes[0], truth[split.train].repeat_interleave(clips, 0), axes[1], True, held_out)
        right = truth[split.test]
        by_clip = quality(right.repeat_interleave(clips, 0), fitted.scores, True)
        mean = fitted.scores.softmax(1).view(-1, clips, truth.shape[1]).mean(1)
        found.setdefault(BY_CLIP, []).append((by_clip, fitted.setting))
        found.setdefault(BY_VIDEO, []).append((quality(right, mean, True), fitted.setting))
        hits = retrieval(train.mean(1), truth[split.train], test.mean(1), right)
        for k, measure in RETRIEVED.items():
            found.setdefault(measure, []).append((hits(k), k))
    return found


def retrieval(train: Tensor, truth: Tensor, test: Tensor, right: Tensor) -> Callable[[int], float]:
    """A function: k → share of test videos among whose k most similar training videos one is of their class."""
    mean, spread = train.mean(0), train.std(0).clamp_min(1e-12)
    x, y = (F.normalize((part - mean) / spread, dim=1) for part in (train, test))
    order = (y @ x.T).argsort(dim=1, descending=True, stable=True)
    hit = truth.argmax(1)[order] == right.argmax(1)[:, None]
    return lambda k: float(hit[:, :k].any(1).double().mean())

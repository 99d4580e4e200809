"""What frozen features say of videos: clips of a few frames, scored one by one and all of a video together."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.config import ModelConfig, ProbeConfig
from freelabels.train.export import trained_clip_backbone
from freelabels.train.model.clips import ClipBackbone
from freelabels.train.model.network import Backbone
from freelabels.train.probing.classifiers import logistic, quality, span
from freelabels.train.probing.features import Stage, feature_maps
from freelabels.train.probing.finetune import finetune_films
from freelabels.train.probing.labelled_videos import Filmed, read_clips
from freelabels.train.probing.layouts.pixels import READERS
from freelabels.train.probing.probe_report import RANDOM
from freelabels.train.probing.splits import Split, group_split

STEP = 2  # of a video's frames from one of a clip to the next: eight of them last about half a second
TUNED_CLIP, TUNED_VIDEO = "fine-tuned, a clip", "fine-tuned, a video"
BY_CLIP, BY_VIDEO = "linear, logistic, a clip", "linear, logistic, a video"
LAYERS = ("layer1", "layer2", "layer3", "layer4")  # torchvision's names of a trunk's stages
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


def tuned_films(
    backbone: Backbone | ClipBackbone,
    one: FilmedClips,
    split: Split,
    stages: int,
    config: ProbeConfig,
    seed: int,
    device: torch.device,
) -> dict[str, list[tuple[float, float]]]:
    """Fine-tuned on training videos: by measure, a figure in the last of so many stages, and the rate chosen."""
    clips = one.images.view(len(one.about.files), one.clips, one.frames, *one.images.shape[1:])
    number = config.seed + seed
    tuned = finetune_films(backbone, clips, one.about.truth, split, config.finetune, number, device)
    right = one.about.truth[split.test]
    by_clip = quality(right.repeat_interleave(one.clips, 0), tuned.scores.flatten(0, 1), True)
    by_video = quality(right, tuned.scores.softmax(2).mean(1), True)
    return {
        measure: [(math.nan, 0.0)] * (stages - 1) + [(score, tuned.setting)]
        for measure, score in ((TUNED_CLIP, by_clip), (TUNED_VIDEO, by_video))
    }


@dataclass(frozen=True)
class ClipNetwork:
    """As `networks.Network`, of the trunk that sees clips."""

    name: str
    load: Callable[[int], ClipBackbone]
    varies: bool = False


def clip_networks(runs: Sequence[str], names: Sequence[str], config: ProbeConfig) -> list[ClipNetwork]:
    """Random weights for each seed, unless they are skipped, then the runs by their names.

    Runs without a trunk for clips, or with one of another architecture than the first's, are left out; [] if the
    first has none.
    """
    trained = [(name, found) for name, run in zip(names, runs, strict=True) if (found := _trunk(run))]
    if not trained or trained[0][0] != names[0]:
        return []
    model = trained[0][1][1]

    def load(seed: int) -> ClipBackbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + seed)
            return ClipBackbone(model.clips, model.clip_share).eval()

    alike = [
        (name, backbone)
        for name, (backbone, its) in trained
        if (its.clips, its.clip_share) == (model.clips, model.clip_share)
    ]
    own = [ClipNetwork(name, lambda seed, backbone=backbone: backbone) for name, backbone in alike]  # type: ignore[misc]
    return own if config.random == "skip" else [ClipNetwork(RANDOM, load, varies=True), *own]


def _trunk(run: str) -> tuple[ClipBackbone, ModelConfig] | None:
    found = trained_clip_backbone(str(Path(run)))
    return None if found is None else (found[0], found[1].model)


@torch.no_grad()
def whole_clip_features(
    backbone: ClipBackbone, one: FilmedClips, batch: int, device: torch.device
) -> list[Tensor]:
    """(videos, clips, C) of each stage: the mean over all places and times of a clip."""
    backbone = backbone.to(device)
    clips = one.images.view(-1, one.frames, *one.images.shape[1:])
    parts: list[list[Tensor]] = [[] for _ in LAYERS]
    for some in torch.split(clips, max(1, batch // one.frames)):
        for kept, stage in zip(parts, backbone(some.to(device)), strict=True):
            kept.append(stage.float().mean((2, 3, 4)).cpu())
    return [torch.cat(part).view(len(one.about.files), one.clips, -1) for part in parts]


def clip_scores(
    network: ClipNetwork,
    one: FilmedClips,
    splits: Sequence[Split],
    config: ProbeConfig,
    batch: int,
    device: torch.device,
) -> Iterator[dict[str, list[tuple[float, float]]]]:
    """Seed by seed as `video_scores` has it, and fine-tuned where that is asked for."""
    films: list[Tensor] = []
    for seed, split in enumerate(splits):
        backbone = network.load(seed)
        if seed == 0 or network.varies:
            films = whole_clip_features(backbone, one, batch, device)
        found = video_scores(films, one.about, split)
        if config.finetune:
            found |= tuned_films(backbone, one, split, len(LAYERS), config, seed, device)
        yield found

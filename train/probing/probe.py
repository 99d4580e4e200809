"""What frozen features are worth: one typed entry, `probe`, that the front door calls.

Rows are networks (the run's, random initialisation, rotation at the same compute, others asked for), columns
their stages. Every setting is chosen on a part of the training images; test images are only scored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import counted
from freelabels.train.config import ProbeConfig, TrainConfig
from freelabels.train.export import trained_backbone, versions
from freelabels.train.model import ranks
from freelabels.train.model.network import Backbone
from freelabels.train.probing import dense_probe as dense
from freelabels.train.probing.classifiers import chance
from freelabels.train.probing.dense_probe import CATEGORY, DenseImages
from freelabels.train.probing.features import Pooled, Stage, feature_maps, pooled, stages
from freelabels.train.probing.labelled_images import read_drawings, read_folder, read_images, read_maps
from freelabels.train.probing.labelled_shards import is_dataset, read_shards
from freelabels.train.probing.labelled_videos import holds_videos, read_video_folder
from freelabels.train.probing.layouts.bsds import Drawn
from freelabels.train.probing.layouts.sets import Classified, Listed, Segmented
from freelabels.train.probing.low_shot import Measured, by_share, frozen_measures, tuned_measures
from freelabels.train.probing.networks import (
    Network,
    random_network,
    rotation_network,
    run_networks,
    seen_images,
    supervised_network,
)
from freelabels.train.probing.options import check
from freelabels.train.probing.probe_report import (
    RANDOM,
    ROTATION,
    Figure,
    ProbeReport,
    Table,
    figure,
    lacks,
    write,
)
from freelabels.train.probing.splits import Split, block_split, listed_split, random_split
from freelabels.train.probing.streams.streamed import (
    LARGE,
    StreamedImages,
    epochs_of,
    schedule_for,
    streamed_scores,
)
from freelabels.train.probing.transfer_tables import FOLDER as TUNED_FOLDER
from freelabels.train.probing.transfer_tables import NOTES as TUNED_NOTES
from freelabels.train.probing.transfer_tables import Terms, detection_tables, read_boxes, segmentation_tables
from freelabels.train.probing.video_probe import (
    LAYERS,
    FilmedClips,
    clip_features,
    clip_networks,
    clip_scores,
    read_filmed,
    split_of,
    tuned_films,
    video_scores,
)

BATCH = 64
NOTES = (
    "Linear: features pooled to a small grid of at most 9216 dimensions; nearest neighbours and low-shot (ridge): "
    "averaged over all places. All are standardised by the training images.",
    "Chosen on training images alone: ridge's penalty by leave-one-out, as is the number of neighbours where no k "
    "is named (of k and fewer images all but one vote); the others' penalties and learning rates on a fifth of "
    "them.",
    "Images are the largest centred square. Random rows get new weights with each seed, and batch statistics "
    "measured on unlabelled images that the run was trained on.",
    "Videos: features are means over all places and frames of a clip, by the trunk of frames; under 'clips as a "
    "whole' by the trunk for clips. A video is the mean of its clips, and cuts of one recording are never on both "
    "sides of a split. Fine-tuned: on one clip of a video an epoch, drawn anew.",
)


def probe(
    run: AnyPath,
    data: AnyPath | Sequence[AnyPath],
    out: AnyPath | None = None,
    config: ProbeConfig | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> ProbeReport:
    """Score the stages of a run's backbone on labelled images, with rows to compare beside it.

    data: folders, see `labelled_images.LAYOUTS`. Writes probe.json, probe.md and probe.png into `out`, default the
    run's folder. `say` is told what goes on. Raises UserError for bad input.
    """
    run, data, config = os.fspath(run), path_list(data), config or ProbeConfig()
    check(config, data)
    device = ranks.device_of(config.device)
    folder = Path(out or run)
    backbone, trained, seen = trained_backbone(run)
    size = config.size or trained.loader.size
    own, *beside = run_networks([run, *config.beside], size)
    sets = [one for path in data for one in _read(path, size, trained, seen, config, say)]
    networks: list[Network] = []
    if config.random != "skip":
        unlabelled = seen_images(seen, trained, size)
        if unlabelled is None:
            say(
                "what the run was trained on is gone: random weights get the statistics of the images probed on"
            )
            unlabelled = next((s.images for s in sets if isinstance(s, DenseImages | ClassImages)), None)
        networks = [random_network(trained, size, config.seed, unlabelled)]
    if config.rotation != "skip":
        networks.append(rotation_network(config.rotation, trained, seen, folder / ROTATION, size, say))
    networks += [own, *beside]
    if config.supervised:
        networks.append(supervised_network(config.supervised, trained, size))
    films = clip_networks([run, *config.beside], [own.name, *(network.name for network in beside)], config)
    chosen = stages(backbone)

    def see(network: Backbone, images: Tensor) -> list[Tensor]:
        return [stage.grid for stage in pooled(network, images, chosen, BATCH, device)]

    terms = Terms(networks, config, folder / TUNED_FOLDER, device, say)
    tables: list[Table] = []
    facts: list[dict[str, Any]] = []
    for number, one in enumerate(sets):
        splits = [_split(one, config, number, seed) for seed in range(config.seeds)]
        facts.append(_facts(one, splits[0], [fact["name"] for fact in facts]))
        found: dict[str, list[Measured]] = {}
        if isinstance(one, StreamedImages):
            loads = {network.name: network.load for network in networks}
            sides = [(split.train.numpy(), split.test.numpy()) for split in splits]
            found = streamed_scores(loads, see, one, sides, size, config.seed, device, say)
        else:
            for network in networks:
                say(f"{facts[-1]['name']}: {network.name}")
                found[network.name] = list(_measure(network, one, splits, chosen, config, number, device))
        tables += _tables(facts[-1]["name"], one, splits, found)
        if isinstance(one, DenseImages) and one.field == CATEGORY and config.segmentation_steps:
            tables += segmentation_tables(one, facts[-1]["name"], splits, terms)
        if isinstance(one, FilmedClips) and films:
            name = f"{facts[-1]['name']}, clips as a whole"
            facts.append({**facts[-1], "name": name})
            seen_whole = {
                film.name: list(clip_scores(film, one, splits, config, BATCH, device)) for film in films
            }
            tables += [replace(table, columns=LAYERS) for table in _tables(name, one, splits, seen_whole)]
    for path in config.detection:
        for boxed in read_boxes(path, size, config.images, _generator(config.seed, 0, 0)):
            name = _free(f"{boxed.about.name} (detection)", [fact["name"] for fact in facts])
            fact, found_tables = detection_tables(boxed, name, terms)
            facts.append(fact)
            tables += found_tables
    report = ProbeReport(
        run=Path(run).resolve().name,
        backbone=trained.model.backbone,
        size=size,
        stages=tuple(stage.name for stage in chosen),
        rows={network.name: network.pretext for network in networks},
        data=tuple(facts),
        tables=tuple(tables),
        settings=asdict(config),
        versions=versions(),
        notes=(
            *NOTES,
            *(TUNED_NOTES if config.segmentation_steps or config.detection or config.shares else ()),
            *lacks(config),
        ),
    )
    write(report, folder)
    return report


@dataclass(frozen=True)
class ClassImages:
    """Images and the classes that they show."""

    about: Classified
    images: Tensor


Labelled = ClassImages | DenseImages | FilmedClips | StreamedImages


def _read(
    path: str,
    size: int,
    trained: TrainConfig,
    seen: dict[str, Any],
    config: ProbeConfig,
    say: Callable[[str], None],
) -> Iterator[Labelled]:
    """All that a folder holds, as tensors, or as names where it is streamed."""
    if holds_videos(path) and not is_dataset(path):
        for number, films in enumerate(read_video_folder(path)):
            yield read_filmed(films, size, config, _generator(config.seed, 0, number))
        return
    if is_dataset(path):
        loader = replace(trained.loader, size=size)
        yield from read_shards(path, config.fields, seen, loader, config.frames, config.seed)
        return
    for found in read_folder(path):
        say(f"{path}: {found.layout or found.name}, {counted(len(found.files), 'image')}")
        if isinstance(found, Listed) and (epochs := epochs_of(found, config.stream)):
            yield StreamedImages(found, schedule_for(len(found.files), epochs))
            if len(found.files) > LARGE:
                continue
        most = config.frames if isinstance(found, Segmented | Drawn) else config.images
        rows = np.arange(len(found.files))
        if len(rows) > most:
            rows = np.sort(_generator(config.seed, 0, 0).choice(rows, most, replace=False))
        if isinstance(found, Listed):
            found, rows = found.take(rows).classified(), np.arange(len(rows))
        files = tuple(found.files[k] for k in rows)
        test = None if found.test is None else found.test[rows]
        images = read_images(files, size)
        if isinstance(found, Drawn):
            drawn = read_drawings(
                replace(found, files=files, drawings=tuple(found.drawings[k] for k in rows)), size
            )
            kept = None if test is None else torch.from_numpy(test)
            yield dense.drawn_images(found.name, images, drawn, kept)
        elif isinstance(found, Classified):
            yield ClassImages(replace(found, files=files, truth=found.truth[rows], test=test), images)
        else:
            some = replace(found, files=files, maps=tuple(found.maps[k] for k in rows), test=test)
            ids, weight = read_maps(some, size, config.void)
            kept = None if test is None else torch.from_numpy(test)
            if not bool((weight > 0).any()):
                raise UserError(f"--data {path}: all its label maps are void")
            yield DenseImages(found.name, CATEGORY, images, ids, weight, int(ids.max()) + 1, kept)


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=key[1:]))


def _split(one: Labelled, config: ProbeConfig, number: int, seed: int) -> Split:
    """The split of a seed; the same for all networks."""
    rng = _generator(config.seed + seed, 1, number)
    if isinstance(one, FilmedClips):
        return split_of(one, config, rng)
    if isinstance(one, StreamedImages):
        return listed_split(one.about, config.test, rng)
    if isinstance(one, DenseImages):
        test = None if one.test is None else one.test.numpy()
        return block_split(len(one.images), test, config.test, rng)
    about = one.about
    return random_split(about.truth, about.classes, about.exclusive, about.test, config.test, rng)


def _measure(
    network: Network,
    one: ClassImages | DenseImages | FilmedClips,
    splits: Sequence[Split],
    chosen: Sequence[Stage],
    config: ProbeConfig,
    number: int,
    device: torch.device,
) -> Iterator[Measured]:
    """What a network scores, seed by seed."""
    features: list[Pooled] = []
    films: list[Tensor] = []
    maps: list[Tensor] = []
    for seed, split in enumerate(splits):
        backbone = network.load(seed)
        fresh = seed == 0 or network.varies
        if isinstance(one, FilmedClips):
            films = clip_features(backbone, one, chosen, BATCH, device) if fresh else films
            scores = video_scores(films, one.about, split)
            if config.finetune:
                scores |= tuned_films(backbone, one, split, len(chosen), config, seed, device)
            yield scores
        elif isinstance(one, DenseImages):
            if fresh:
                parts = list(feature_maps(backbone, one.images, chosen, BATCH, device))
                maps = [torch.cat([part[k].cpu() for part in parts]) for k in range(len(chosen))]
            generator = torch.Generator().manual_seed(config.seed + seed)
            sampled = dense.sample(one, split.train, generator)
            arguments = (one, split.train, split.held_out, split.test, sampled)
            yield {_dense_measure(one): [dense.dense_probe(values, *arguments) for values in maps]}
        else:
            if fresh:
                features = pooled(backbone, one.images, chosen, BATCH, device)
            found = frozen_measures(
                features, one.about, split, config, _generator(config.seed + seed, 2, number)
            )
            if config.finetune:
                found |= tuned_measures(
                    backbone, chosen, one.images, one.about, split, config, config.seed + seed, device
                )
            shares = _generator(config.seed + seed, 5, number)
            yield found | by_share(
                backbone, features, one.images, one.about, split, config, shares, config.seed + seed, device
            )


def _dense_measure(one: DenseImages) -> str:
    return f"{_kind(one)}, linear a pixel"


def _kind(one: DenseImages) -> str:
    return "segmentation" if one.field == CATEGORY else one.field


def _facts(one: Labelled, split: Split, taken: Sequence[str]) -> dict[str, Any]:
    """What a reader must know of a set of images; its name is none of those `taken`."""
    things = "videos" if isinstance(one, FilmedClips) else "images"
    counts = f"{len(split.train)} training and {len(split.test)} test {things}"
    if isinstance(one, DenseImages):
        base = f"{one.name} ({_kind(one)})"
        what = f"{one.classes} classes, {counts}" if one.field == CATEGORY else counts
    elif isinstance(one, FilmedClips):
        base = one.about.name
        what = f"{len(one.about.classes)} classes, {counts}, {one.clips} clips of {one.frames} frames of each"
        what += f", {counted(one.about.missing, 'video')} of the lists missing" if one.about.missing else ""
    elif isinstance(one, StreamedImages):
        base = f"{one.about.name} (streamed)"
        what = f"{len(one.about.classes)} classes, {counts}, {one.schedule.epochs} epochs"
    else:
        base = one.about.name
        kind = "one class an image" if one.about.exclusive else "several classes an image"
        what = f"{len(one.about.classes)} classes, {kind}, {counts}"
    return {"name": _free(base, taken), "what": what, "train": len(split.train), "test": len(split.test)}


def _free(base: str, taken: Sequence[str]) -> str:
    """The name, numbered if it is taken."""
    return f"{base} ({len(taken) + 1})" if base in taken else base


def _tables(
    name: str,
    one: Labelled,
    splits: Sequence[Split],
    found: dict[str, list[Measured]],
) -> Iterator[Table]:
    """A table a measure, from row → seed → measure → stage."""
    ratio = splits[0].ratio
    if isinstance(one, DenseImages):
        metric = one.metric
        named = {CATEGORY: "%, mean IoU", dense.DRAWN: "%, ODS"}
        unit = named.get(one.field) or ", ".join(x for x in (metric.name, metric.unit) if x)
        higher = metric.higher_is_better
        constant = float(np.mean([dense.best_constant(one, split.test) for split in splits]))
    elif isinstance(one, StreamedImages):
        unit, higher = "%, accuracy", True
        constant = float(np.mean([one.chance(split.test) for split in splits]))
    else:
        unit = "%, accuracy" if one.about.exclusive else "%, mean AP"
        higher = True
        constant = float(np.mean([chance(one.about.truth[s.test], one.about.exclusive) for s in splits]))
    everywhere = [seed for seeds in found.values() for seed in seeds]
    for measure in (m for m in everywhere[0] if all(m in seed for seed in everywhere)):
        rows: dict[str, tuple[Figure | None, ...]] = {}
        baseline = _columns(found.get(RANDOM, ()), measure) or [[]] * len(everywhere[0][measure])
        for row, seeds in found.items():
            figures: list[Figure | None] = []
            for cells, start in zip(_columns(seeds, measure), baseline, strict=True):
                values, settings = zip(*cells, strict=True)
                against = [value for value, _ in start]
                made = figure(values, ratio, settings, against, 1 if higher else -1)
                figures.append(None if np.isnan(made.mean) else made)
            rows[row] = tuple(figures)
        yield Table(name, measure, unit, higher, constant, rows)


def _columns(seeds: Sequence[Measured], measure: str) -> list[list[tuple[float, float]]]:
    """By stage, each seed's score and setting."""
    return [list(cells) for cells in zip(*(found[measure] for found in seeds), strict=True)]

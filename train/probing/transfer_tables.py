"""Tables of what networks trained on from each backbone score: detectors, and segmentation networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.config import ProbeConfig
from freelabels.train.export import versions
from freelabels.train.model.network import Backbone
from freelabels.train.probing.dense_probe import DenseImages, best_constant
from freelabels.train.probing.layouts.coco import coco_boxes, coco_files
from freelabels.train.probing.layouts.sets import Boxed
from freelabels.train.probing.layouts.voc import has_boxes, voc_boxes, voc_roots
from freelabels.train.probing.networks import Network
from freelabels.train.probing.probe_report import RANDOM, Table, figure
from freelabels.train.probing.splits import Split, random_split
from freelabels.train.probing.transfer.box_scores import Boxes, precision
from freelabels.train.probing.transfer.detector import detect
from freelabels.train.probing.transfer.few_labels import nested, percent
from freelabels.train.probing.transfer.letterbox import letterboxed
from freelabels.train.probing.transfer.segmenter import segment
from freelabels.train.probing.transfer.tuning import Tuning, fingerprint, once

FOLDER = "tuned"  # of results, and of trainings that go on
MODES = {"frozen": True, "fine-tuned": False}
NOTES = (
    "Detectors (Faster R-CNN on a feature pyramid of all stages) and segmentation networks (such a pyramid, "
    "dilated convolutions) are trained alike on every backbone, by AdamW, mirrored at random. Frozen: the "
    "backbone keeps its weights and batch statistics.",
    "Detectors see whole images on a square of grey. AP50 is VOC's, AP is COCO's; difficult objects and crowds "
    "are left aside.",
    "Shares of the labels keep the classes' proportions and lie within each other. Fine-tuning takes 1 / √share "
    "times the epochs, segmentation networks as many steps.",
)
AP50, POINTS, COCO = "AP50", "AP50, 11 points", "AP, IoU .5 to .95"


@dataclass(frozen=True)
class BoxedImages:
    """Images uint8 (n, 3, S, S) and the objects in each, in their pixels. test: (n,) or None, as in `Boxed`."""

    about: Boxed
    images: Tensor
    boxes: tuple[Boxes, ...]


def read_boxes(path: str, size: int, most: int, rng: np.random.Generator) -> list[BoxedImages]:
    """The boxes of each year of VOC, or of COCO, in a folder. Raises UserError if it holds neither."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"--detection {path}: there is no such folder")
    if years := [year for year in voc_roots(root) if has_boxes(year)]:
        found = [voc_boxes(year) for year in years]
    elif coco_files(root):
        found = [coco_boxes(root)]
    else:
        raise UserError(
            f"--detection {path}: holds no boxes; want VOC (Annotations, JPEGImages) or COCO "
            "(annotations/instances_*.json)"
        )
    sets = []
    for about in found:
        rows = np.arange(len(about.files))
        if len(rows) > most:
            rows = np.sort(rng.choice(rows, most, replace=False))
        given = [
            Boxes(
                *map(
                    torch.from_numpy,
                    (about.boxes[k], about.labels[k], about.ignored[k] | _flat(about.boxes[k])),
                )
            )
            for k in rows
        ]
        images, boxes = letterboxed([about.files[k] for k in rows], given, size)
        test = None if about.test is None else about.test[rows]
        sets.append(BoxedImages(replace(about, test=test), images, boxes))
    return sets


def _flat(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Boxes without an area, of which COCO has a few: nothing can be learned from them or found."""
    return np.asarray((boxes[:, 2:] <= boxes[:, :2]).any(1))


@dataclass(frozen=True)
class Terms:
    """What all networks are trained under. folder: where trainings and what they scored are kept."""

    networks: Sequence[Network]
    config: ProbeConfig
    folder: Path
    device: torch.device
    say: Callable[[str], None]


def detection_tables(one: BoxedImages, name: str, terms: Terms) -> tuple[dict[str, Any], list[Table]]:
    """What the report says of a set of boxes, and a table of a frozen and one of a free backbone."""
    config, classes = terms.config, len(one.about.classes)
    splits = [_box_split(one, config, seed) for seed in range(config.seeds)]
    sizes = len(splits[0].train), len(splits[0].test)
    facts = {
        "name": name,
        "what": f"{classes} classes of boxes, {sizes[0]} training and {sizes[1]} test images",
        "train": sizes[0],
        "test": sizes[1],
        "layout": one.about.layout,
    }
    digest = fingerprint(one.images, *(part for b in one.boxes for part in (b.boxes, b.labels, b.ignored)))

    def scores(frozen: bool, backbone: Backbone, seed: int) -> dict[str, float]:
        tuning, split = Tuning(frozen, config.detection_steps), splits[seed]

        def train(state: Path | None) -> dict[str, float]:
            found = detect(
                backbone,
                one.images[split.train],
                [one.boxes[k] for k in split.train],
                one.images[split.test],
                classes,
                tuning,
                config.seed + seed,
                terms.device,
                state,
            )
            told = precision(found, [one.boxes[k] for k in split.test])
            return {AP50: told.area, POINTS: told.points, COCO: told.coco}

        return once(
            terms.folder, _key("detection", digest, split, backbone, tuning, config.seed + seed), train
        )

    return facts, [
        _table(f"Faster R-CNN, {mode}", name, "%", math.nan, splits, terms, partial(scores, frozen))
        for mode, frozen in MODES.items()
    ]


def _box_split(one: BoxedImages, config: ProbeConfig, seed: int) -> Split:
    nothing = torch.zeros(len(one.images), 1)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed + seed, spawn_key=(3,)))
    return random_split(nothing, ("",), False, one.about.test, config.test, rng)


def segmentation_tables(one: DenseImages, name: str, splits: Sequence[Split], terms: Terms) -> list[Table]:
    """A table of a frozen and one of a free backbone; a column a share of the training maps."""
    config = terms.config
    shares = config.shares or (1.0,)
    constant = float(np.mean([best_constant(one, split.test) for split in splits]))
    digest = fingerprint(one.images, one.target, one.weight)

    def scores(frozen: bool, backbone: Backbone, seed: int) -> dict[str, float]:
        tuning, split = Tuning(frozen, config.segmentation_steps), splits[seed]
        rng = np.random.default_rng(np.random.SeedSequence(config.seed + seed, spawn_key=(4,)))
        parts = nested(np.zeros(len(split.train), np.intp), shares, rng)
        truth, known = one.target[split.test].flatten(2), one.weight[split.test].flatten(1)

        def train(rows: Tensor, state: Path | None) -> dict[str, float]:
            told = segment(
                backbone,
                one.images[rows],
                one.target[rows],
                one.weight[rows],
                one.images[split.test],
                one.classes,
                tuning,
                config.seed + seed,
                terms.device,
                state,
            )
            return {"mean IoU": one.metric.score(told.flatten(2), truth, known)}

        found = {}
        for share, chosen in parts.items():
            rows = split.train[chosen]
            key = _key(
                "segmentation", digest, replace(split, train=rows), backbone, tuning, config.seed + seed
            )
            (found[percent(share)],) = once(terms.folder, key, partial(train, rows)).values()
        return found

    return [
        _table(
            f"segmentation network, {mode}",
            name,
            "%, mean IoU",
            constant,
            splits,
            terms,
            partial(scores, frozen),
        )
        for mode, frozen in MODES.items()
    ]


def _key(
    what: str, data: str, split: Split, backbone: Backbone, tuning: Tuning, seed: int
) -> dict[str, object]:
    """All that the score of a training depends on."""
    return {
        "what": what,
        "data": data,
        "split": fingerprint(split.train, split.test),
        "backbone": fingerprint(*backbone.state_dict().values()),
        "recipe": asdict(tuning),
        "seed": seed,
        "versions": versions(),
    }


def _table(
    measure: str,
    name: str,
    unit: str,
    constant: float,
    splits: Sequence[Split],
    terms: Terms,
    scores: Callable[[Backbone, int], dict[str, float]],
) -> Table:
    """A row a network: `scores` of its backbone, column by column, for each seed."""
    found: dict[str, list[dict[str, float]]] = {}
    for network in terms.networks:
        terms.say(f"{name}: {measure}, {network.name}")
        found[network.name] = [scores(network.load(seed), seed) for seed in range(terms.config.seeds)]
    columns = tuple(next(iter(found.values()))[0])
    random = found.get(RANDOM, [])  # none if it is skipped
    rows = {}
    for row, seeds in found.items():
        rows[row] = tuple(
            figure(
                [one[column] for one in seeds],
                splits[0].ratio,
                baseline=[one[column] for one in random],
            )
            for column in columns
        )
    return Table(name, measure, unit, True, constant, rows, columns)

"""Label shards as data for the dense probe: held-out clips, which training has never seen, are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from freelabels.generators.contract.fields import field as field_of
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.splits import SPLITS, TEST, VAL, Splits
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.storage.uris import absolute
from freelabels.train.config import LoaderConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.held_out import held_out_groups
from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.data.loader import Loader
from freelabels.train.data.windows import Window, Windows, spread
from freelabels.train.probing.dense_probe import CATEGORY, FIELDS, DenseImages

TESTED = LoaderConfig().held_out  # share of clips, of data that the run never saw


def is_dataset(path: str) -> bool:
    """Whether a folder is a dataset of shards."""
    return Dataset(path).storage.exists(RECORD)


def read_shards(
    path: str,
    wanted: Sequence[str],
    trained_on: Mapping[str, Any],
    config: LoaderConfig,
    most: int,
    seed: int,
) -> list[DenseImages]:
    """Up to `most` frames of a dataset with each of the fields in `wanted` that it holds.

    trained_on: the run's record of its data, so that the clips it held out (by `config`) are the ones tested
    on; of data that it never saw always the same share, so that runs are compared alike. A dataset with splits is
    fitted to on train and tested on test, or val without one. Raises UserError if the dataset holds none of the
    fields, or clips of one source alone.
    """
    sampling = int(trained_on.get("sampling", 1))  # how the run grouped its clips
    catalogue = read_catalogue([path], [], 1, sampling=sampling)
    fields = [name for name in wanted if name in FIELDS and catalogue.has(name)]
    if not fields:
        raise UserError(f"--data {path}: holds none of the labels to probe: {', '.join(wanted)}")
    if rule := catalogue.splits.get(path):
        held = _tested(catalogue.windows, rule)
        left_out = frozenset(held_out_groups(catalogue.windows, 0, catalogue.splits) - held)
    else:
        held = _held_out(path, trained_on, config) or held_out_groups(catalogue.windows, TESTED)
        left_out = frozenset()
    there = [window for window in catalogue.windows if window.group not in left_out]
    sides = [[window for window in there if (window.group in held) == out] for out in (False, True)]
    if len({w.group for w in sides[0]}) < 2 or not sides[1]:
        raise UserError(
            f"--data {path}: holds too few sources to test on some and to fit to two others or more"
        )
    chosen: list[Window] = [*spread(sides[0], most - most // 3), *spread(sides[1], most // 3)]
    test = torch.tensor([window.group in held for window in chosen])
    found = []
    for name in fields:
        loader = Loader(catalogue, (name,), replace(config, frames=1), seed)
        batches = [loader.centred(chosen[k : k + 16]) for k in range(0, len(chosen), 16)]
        target, weight, images = (
            torch.cat([batch[key][:, 0] for batch in batches])
            for key in (name, name + WEIGHT_SUFFIX, "image")
        )
        labelled = (weight > 0).flatten(1).any(1)
        names = catalogue.names.get(name) or field_of(name).names or ()
        classes = max(len(names), int(target.max()) + 1) if name == CATEGORY else 0
        found.append(
            DenseImages(
                Path(absolute(path)).name,
                name,
                images[labelled],
                target[labelled],
                weight[labelled],
                classes,
                test[labelled],
            )
        )
    return found


def _tested(windows: Windows, rule: Splits) -> frozenset[int]:
    """The groups of the split test, or of val if nothing is in that."""
    places = rule.places(windows.group)
    for split in (TEST, VAL):
        if (some := places == SPLITS.index(split)).any():
            return frozenset(windows.group[some].tolist())
    return frozenset()


def _held_out(path: str, trained_on: Mapping[str, Any], config: LoaderConfig) -> frozenset[int]:
    """The groups of clips that the run held out, if it was trained on this dataset; else none."""
    sides = [list(trained_on.get(side, ())) for side in ("real", "synthetic")]
    if absolute(path) not in {absolute(p) for side in sides for p in side}:
        return frozenset()
    sampling = int(trained_on.get("sampling", 1))
    catalogue = read_catalogue(sides[0], sides[1], config.frames, config.exclude, sampling, config.versions)
    return held_out_groups(catalogue.windows, config.held_out, catalogue.splits)

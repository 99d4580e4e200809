"""Frames of datasets for plain PyTorch: a map-style dataset that any `DataLoader` can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from freelabels.generators.contract.fields import known_field
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.splits import SPLITS
from freelabels.train.config import LoaderConfig
from freelabels.train.data.catalogue import by_domain, read_catalogue
from freelabels.train.data.loader import Loader

Sample = dict[str, Tensor]


class FrameDataset(torch.utils.data.Dataset[Any]):
    """Frames, or windows of consecutive frames, with their labels, as tensors.

    An item holds ``image`` uint8 (3, S, S), each field x as float32 (C, S, S), 0 where there is no label, its
    ``x_weight`` float32 (S, S): confidence × validity, 0 = no label; tables as the loader of a run has them, and
    ``domain`` int64, 0 real, 1 synthetic. With `frames` above 1 all but the domain have a leading axis of that
    length. Frames on exclusion lists are left out. What `transform` makes of an item is the item.

    It may be forked and pickled, so any number of DataLoader workers read it.
    """

    def __init__(
        self,
        path: AnyPath | Sequence[AnyPath],
        fields: Sequence[str] = (),
        size: int | None = None,
        transform: Callable[[Sample], Any] | None = None,
        frames: int = 1,
        split: str = "",
    ):
        """Of one dataset or several.

        fields: columns beside the image. size: side of the centre square in pixels that frames are brought to,
        default the shorter side of the stored ones. split: train, val or test, of datasets that freelabels split
        has divided; default everything. Raises UserError for what is no dataset or not divided, and for a field
        that no shard holds.
        """
        self.paths, self.fields = path_list(path), tuple(fields)
        self.transform, self.frames = transform, frames
        if split and split not in SPLITS:
            raise UserError(f"there is no split {split!r}: {nearest(split, SPLITS)}")
        only = (split,) if split else SPLITS
        self._catalogue = read_catalogue(*by_domain(self.paths), frames, only=only)
        if split and (undivided := set(self.paths) - self._catalogue.splits.keys()):
            raise UserError(f"{min(undivided)} has no splits: freelabels split {min(undivided)} makes them")
        self._catalogue = replace(self._catalogue, splits={})  # all of what is left is given
        there = {name for _, name in self._catalogue.fields if known_field(name)}
        for name in self.fields:
            if name not in there:
                raise UserError(
                    f"{', '.join(self.paths)}: no shard holds {name!r}: {nearest(name, sorted(there))}"
                )
        self.size = size or self._stored()
        self._loader: Loader | None = None
        self._pid = 0

    def _stored(self) -> int:
        """The shorter side of the frames of the first shard."""
        from freelabels.pipeline.shards.dataset import Dataset

        first = self._catalogue.windows[0]
        shard = Dataset(first.dataset).open(first.shard)
        return min(shard.shape("image")[1:3])

    def __len__(self) -> int:
        return len(self._catalogue.windows)

    def __getitem__(self, number: int) -> Any:
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} items, there is no item {number}")
        if (
            self._loader is None or self._pid != os.getpid()
        ):  # a fork inherits neither threads nor locks in use
            config = LoaderConfig(size=self.size, frames=self.frames, held_out=0)
            self._loader, self._pid = Loader(self._catalogue, self.fields, config, seed=0), os.getpid()
        read = self._loader.read(self._catalogue.windows[number % len(self)], None)
        item = {name: torch.from_numpy(values) for name, values in read.items() if name != "clip"}
        if self.frames == 1:
            item = {name: value[0] if name != "domain" else value for name, value in item.items()}
        return item if self.transform is None else self.transform(item)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}

    def __repr__(self) -> str:
        return (
            f"FrameDataset({len(self)} of {', '.join(self.paths)}; fields {', '.join(self.fields) or 'none'})"
        )

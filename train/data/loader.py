"""Shards → batches of tensors, mixed from both domains, the same for a seed however many threads read.

Threads of this process read ahead; nothing is forked. A batch is a pure function of (seed, position), so a
run resumes at the exact batch by its number alone.
"""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freelabels.generators.contract.fields import Array, Kind, confidence_name
from freelabels.generators.contract.fields import field as field_of
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.train.config import LoaderConfig
from freelabels.train.data.augment import Resampler, centre_view, change_light, random_view
from freelabels.train.data.windows import (
    DOMAINS,
    SYNTHETIC,
    Catalogue,
    Order,
    Window,
    held_out_groups,
    spread,
)

Batch = dict[str, Tensor]
WEIGHT_SUFFIX = "_weight"
CAMERA = ("camera_K", "camera_pose")  # tables that move with the view
GIB = 1 << 30
OPEN_SHARDS = 24  # per thread; each holds a file open for every field
SAMPLE_STREAM = 2  # spawn keys (SAMPLE_STREAM, epoch, number); 0 and 1 shuffle the domains


class Loader:
    """Endless batches for one rank, from batch number `start` on.

    A batch holds ``image`` uint8 (B, T, 3, H, W); each field x of `fields` as float32 (B, T, C, H, W), 0 where
    there is no label; its ``x_weight`` float32 (B, T, H, W): confidence × validity, 0 = no label; ``camera_K``
    and ``camera_pose`` float64 where asked for; ``domain``, ``epoch``, ``window`` and ``seed`` (B,) int64.
    `waited` counts the seconds the caller spent waiting for data.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fields: Sequence[str],
        config: LoaderConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.catalogue, self.fields, self.config, self.seed = catalogue, tuple(fields), config, seed
        self.rank, self.world = rank, world
        self.waited = 0.0
        self._thread = local()
        self._cache = FileCache(Path(config.cache), int(config.cache_gib * GIB)) if config.cache else None
        held = held_out_groups(catalogue.windows, config.held_out)
        self.held_out = tuple(w for w in catalogue.windows if w.group in held)
        self._orders: dict[int, Order] = {}
        for domain in DOMAINS:
            chosen = [
                (n, w.dataset + "/" + w.shard)
                for n, w in enumerate(catalogue.windows)
                if w.domain == domain and w.group not in held
            ]
            if chosen:
                numbers, shards = zip(*chosen, strict=True)
                self._orders[domain] = Order(numbers, shards, config.buffer, seed, domain)
        if not self._orders:
            raise UserError("there is nothing to train on: give real or synthetic datasets")
        self.share = config.synthetic if len(self._orders) == 2 else float(SYNTHETIC in self._orders)

    def plan(self, number: int) -> list[tuple[int, int]]:
        """(epoch, window) of this rank's samples in batch `number`; all ranks' plans are disjoint."""
        total = self.config.batch * self.world
        synthetic = [int(np.floor(k * total * self.share + 1e-9)) for k in (number, number + 1)]
        real = [k * total - s for k, s in zip((number, number + 1), synthetic, strict=True)]
        drawn = [
            self._orders[domain][position]
            for domain, (start, stop) in zip(DOMAINS, (real, synthetic), strict=True)
            for position in range(start, stop)
        ]
        return drawn[self.rank :: self.world]

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Batches `start` … `stop` - 1, in order."""
        pool = ThreadPoolExecutor(max_workers=max(1, self.config.workers), thread_name_prefix="loader")
        pending: deque[list[Future[dict[str, Array]]]] = deque()
        number = start
        try:
            while True:
                while len(pending) < max(1, self.config.ahead) and (stop is None or number < stop):
                    pending.append([pool.submit(self.sample, *item) for item in self.plan(number)])
                    number += 1
                if not pending:
                    return
                began = time.perf_counter()
                batch = collate([sample.result() for sample in pending.popleft()])
                self.waited += time.perf_counter() - began
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def sample(self, epoch: int, number: int) -> dict[str, Array]:
        """One augmented window; a pure function of the seed, the epoch and the window."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(SAMPLE_STREAM, epoch, number))
        rng = np.random.default_rng(sequence)
        out = self._read(self.catalogue.windows[number], rng)
        return out | _numbers(epoch=epoch, window=number, seed=int(rng.integers(2**31)))

    def evaluation(self, most: int) -> Iterator[Batch]:
        """Centre views of up to `most` held-out windows, spread evenly, in batches; this rank's share."""
        chosen = spread(self.held_out, most)[self.rank :: self.world]
        for k in range(0, len(chosen), self.config.batch):
            yield self.centred(chosen[k : k + self.config.batch])

    def centred(self, windows: Sequence[Window]) -> Batch:
        """Centre views of given windows as one batch; their seeds are any, but always the same."""
        samples = [self._read(window, None) for window in windows]
        seeds = [zlib.crc32(f"{w.group} {w.start}".encode()) & 0x7FFFFFFF for w in windows]
        return collate([s | _numbers(epoch=0, window=0, seed=n) for s, n in zip(samples, seeds, strict=True)])

    def _shard(self, window: Window) -> Shard:
        """The window's shard, opened by this thread, among the last few that it used."""
        if not hasattr(self._thread, "shards"):
            self._thread.shards = OrderedDict()
        shards: OrderedDict[tuple[str, str], Shard] = self._thread.shards
        key = (window.dataset, window.shard)
        if key not in shards:
            shards[key] = Dataset(window.dataset, self._cache).open(window.shard)
            if len(shards) > OPEN_SHARDS:
                shards.popitem(last=False)[1].close()
        shards.move_to_end(key)
        return shards[key]

    def _read(self, window: Window, rng: np.random.Generator | None) -> dict[str, Array]:
        """A window in a random view, or in the centre view."""
        shard = self._shard(window)
        rows = (window.start, window.start + self.config.frames)
        stored = {name: shard.read_rows(name, *rows) for name in self._columns(shard)}
        image = stored.pop("image")
        height, width = image.shape[1:3]
        view = (
            centre_view(height, width, self.config.size)
            if rng is None
            else random_view(self.config.augment, height, width, self.config.size, rng)
        )
        resampler = Resampler(view, (height, width))
        if "edges" in stored:
            resampler.follow_lines(stored["edges"])
        seen = resampler.image(image)
        if rng is not None:
            seen = change_light(self.config.augment, seen, rng)
        out: dict[str, Array] = {"image": seen.transpose(0, 3, 1, 2), **_numbers(domain=window.domain)}
        for name in self.fields:
            read = self._table if name in CAMERA else self._label
            out |= read(name, stored, resampler)
        return out

    def _columns(self, shard: Shard) -> list[str]:
        wanted = ["image", *self.fields, *(confidence_name(name) for name in self.fields)]
        return [name for name in wanted if name in shard.fields]

    def _table(self, name: str, stored: dict[str, Array], resampler: Resampler) -> dict[str, Array]:
        shape = tuple(int(n or 0) for n in field_of(name).sizes)
        if name not in stored:
            return {name: np.full((self.config.frames, *shape), np.nan)}
        carried = resampler.camera_K if name == "camera_K" else resampler.camera_pose
        return {name: carried(stored[name])}

    def _label(self, name: str, stored: dict[str, Array], resampler: Resampler) -> dict[str, Array]:
        """A label as float32 (T, C, H, W) and its weight (T, H, W)."""
        spec = field_of(name)
        shape = (self.config.frames, self.config.size, self.config.size)
        if name not in stored:
            empty = np.zeros((shape[0], (spec.sizes[2:] or (1,))[0] or 1, *shape[1:]), np.float32)
            return {name: empty, name + WEIGHT_SUFFIX: np.zeros(shape, np.float32)}
        values = resampler.map(name, stored[name])
        weight = (spec.valid(values) & resampler.inside).astype(np.float32)
        if confidence_name(name) in stored:
            weight *= resampler.map(confidence_name(name), stored[confidence_name(name)]) / np.float32(255)
        planes = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
        planes = planes.astype(np.float32)
        if spec.kind is Kind.PROBABILITY:
            planes /= 255
        planes[~np.broadcast_to(weight[:, None] > 0, planes.shape)] = 0
        return {name: planes, name + WEIGHT_SUFFIX: weight}


def _numbers(**values: int) -> dict[str, Array]:
    return {name: np.asarray(value, np.int64) for name, value in values.items()}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack samples into tensors."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(np.stack([sample[name] for sample in samples])))
        for name in samples[0]
    }


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device, float64 as float32."""
    out = {}
    for name, tensor in batch.items():
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        tensor = tensor.to(device, non_blocking=True)
        out[name] = tensor.float() if tensor.dtype is torch.float64 else tensor
    return out

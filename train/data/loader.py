"""Shards → batches of tensors, mixed from both domains, the same for a seed however many threads read.

Threads of this process read ahead; nothing is forked. A batch is a pure function of (seed, position), so a
run resumes at the exact batch by its number alone.
"""

from __future__ import annotations

import errno
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.ground.errors import MissingFile, UserError
from freelabels.pipeline.shards.class_names import class_names, renumbering
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.uris import is_remote
from freelabels.train.config import LoaderConfig
from freelabels.train.data.augment import Resampler, View, centre_view, change_light, random_view
from freelabels.train.data.catalogue import Catalogue, of_version
from freelabels.train.data.held_out import held_out
from freelabels.train.data.labels import WEIGHT_SUFFIX, Columns, entries, is_image
from freelabels.train.data.open_shards import OpenShards
from freelabels.train.data.order import Order, order_of
from freelabels.train.data.reach import SPEED, Reach
from freelabels.train.data.windows import DOMAINS, SYNTHETIC, Window, evenly

Batch = dict[str, Tensor]
GIB = 1 << 30
OPEN_FILES = 128  # of all threads together, a file a column; besides those being read at the moment
WAITING = 4  # threads at least, where columns come from an object store
SAMPLE_STREAM = 2  # spawn keys (SAMPLE_STREAM, epoch, number); 0 and 1 shuffle the domains
Ids = dict[str, NDArray[np.int64] | None]
"""By category, the ids that its classes have in all the data."""


class Loader:
    """Endless batches for one rank, from batch number `start` on.

    A batch holds ``image`` uint8 (B, T, 3, H, W); each field x of `fields` as float32 (B, T, C, H, W), 0 where
    there is no label; its ``x_weight`` float32 (B, T, H, W): confidence × validity, 0 = no label; ``camera_K``
    and ``camera_pose`` float64, other tables (B, T, …), int64 or float32, where asked for; ``domain``, ``epoch``,
    ``window``, ``clip`` (a run of windows) and ``seed`` (B,) int64. `waited` counts the seconds the caller spent
    waiting for data.

    For each of `reaches` it also holds their frames and fields, in the same view and light, under names that
    `reach.own` finds; ``present`` bool (B, T), which frames are there; ``serves`` float32 (B,), 0 where the clip
    is too short or too still; ``step`` int64 (B,), by how many of the clip's frames they lie apart.

    A shard that is relabelled meanwhile is read on in its next revision, each window whole from one of them; `say`
    is told a sentence, once a revision.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fields: Sequence[str],
        config: LoaderConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        reaches: Sequence[Reach] = (),
    ):
        self.catalogue, self.fields, self.config, self.seed = catalogue, tuple(fields), config, seed
        self.rank, self.world, self.reaches = rank, world, tuple(reaches)
        self.waited = 0.0
        self.say: Callable[[str], None] = lambda sentence: None
        self._moving, self._moved = Lock(), dict[tuple[str, str], str]()  # dataset, shard → revision now read
        cache = FileCache(Path(config.cache), int(config.cache_gib * GIB)) if config.cache else None
        columns = {*self.fields, *(name for reach in self.reaches for name in reach.fields)}
        self._shards = OpenShards(max(1, OPEN_FILES // (1 + 2 * len(columns))), cache)
        windows = catalogue.windows
        self.held = held_out(windows, config.held_out, catalogue.splits)
        self.held_out = windows.numbers(self.held)
        self._orders: dict[int, Order] = {}
        for domain in DOMAINS:
            order = order_of(catalogue.sampling, windows, self.held, domain, config.buffer, seed)
            if len(order):
                self._orders[domain] = order
        if not self._orders:
            raise UserError("there is nothing to train on: give real or synthetic datasets")
        self.share = config.synthetic if len(self._orders) == 2 else float(SYNTHETIC in self._orders)

    def plan(self, number: int) -> list[tuple[int, int]]:
        """(epoch, window) of this rank's samples in batch `number`; all ranks' plans are disjoint."""
        total = self.config.batch * self.world
        synthetic = [int(np.floor(k * total * self.share + 1e-9)) for k in (number, number + 1)]
        real = [k * total - s for k, s in zip((number, number + 1), synthetic, strict=True)]
        mine = np.arange(self.rank, total, self.world)
        drawn: list[tuple[int, int]] = []
        begun = 0
        for domain, (start, stop) in zip(DOMAINS, (real, synthetic), strict=True):
            some = mine[(mine >= begun) & (mine < begun + stop - start)]
            if len(some):
                epochs, numbers = self._orders[domain].at(start + some - begun)
                drawn += zip(epochs.tolist(), numbers.tolist(), strict=True)
            begun += stop - start
        return drawn

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Batches `start` … `stop` - 1, in order."""
        pool = ThreadPoolExecutor(max_workers=self._threads(), thread_name_prefix="loader")
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
            self._shards.close()

    def _threads(self) -> int:
        """How many read: more than compute where most wait for a store's answers."""
        waits = not self.config.cache and any(map(is_remote, self.catalogue.windows.datasets))
        return max(1, self.config.workers, WAITING if waits else 0)

    def sample(self, epoch: int, number: int) -> dict[str, Array]:
        """One augmented window; a pure function of the seed, the epoch and the window."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(SAMPLE_STREAM, epoch, number))
        rng = np.random.default_rng(sequence)
        out = self.read(self.catalogue.windows[number], rng)
        return out | _numbers(epoch=epoch, window=number, seed=int(rng.integers(2**31)))

    def some(self, runs: NDArray[np.bool_], most: int) -> list[Window]:
        """Up to `most` windows of each domain from the marked runs, spread evenly, real ones first."""
        windows = self.catalogue.windows
        of_domain = windows.per_run(windows.domain)
        sides = [evenly(windows.numbers(runs & (of_domain == domain)), most) for domain in DOMAINS]
        return [windows[number] for side in sides for number in side]

    def evaluation(self, most: int) -> Iterator[Batch]:
        """Centre views of up to `most` held-out windows, spread evenly, in batches; this rank's share."""
        chosen = [self.catalogue.windows[number] for number in evenly(self.held_out, most)]
        chosen = chosen[self.rank :: self.world]
        for k in range(0, len(chosen), self.config.batch):
            yield self.centred(chosen[k : k + self.config.batch])

    def centred(self, windows: Sequence[Window]) -> Batch:
        """Centre views of given windows as one batch; their seeds are any, but always the same."""
        samples = [self.read(window, None) for window in windows]
        self._shards.close()
        seeds = [zlib.crc32(f"{w.group} {w.start}".encode()) & 0x7FFFFFFF for w in windows]
        return collate([s | _numbers(epoch=0, window=0, seed=n) for s, n in zip(samples, seeds, strict=True)])

    def _revision(self, window: Window) -> str:
        """Folder name of the revision that the window's shard is read in."""
        return self._moved.get((window.dataset, window.shard), window.shard)

    def _stored(self, window: Window) -> list[tuple[Columns, Ids, NDArray[np.bool_], int]]:
        """A window's columns, its classes' new ids, the frames that are there, their step; also for each reach.

        All from one revision of its shard. Raises CorruptShard.
        """
        while True:
            revision = self._revision(window)
            try:
                with self._shards.opened(window.dataset, revision) as shard:
                    shared = (window.start, window.start + self.config.frames)
                    names = self._columns(shard, self.fields)
                    here = np.ones(self.config.frames, bool)
                    found = [(shard.read_columns(names, *shared), self._ids(shard, self.fields), here, 1)]
                    time = self._time(shard, window) if any(reach.span for reach in self.reaches) else None
                    for reach in self.reaches:
                        rows, there = reach.rows(window, self.config.frames, time)
                        names = self._columns(shard, (*reach.fields, *reach.tables))
                        ids, step = self._ids(shard, reach.fields), rows[1] - rows[0]
                        found.append((_at(shard, names, rows), ids, there, step))
                    return found
            except (MissingFile, OSError) as error:
                if isinstance(error, OSError) and error.errno != errno.ESTALE:  # gone, as NFS says it
                    raise
                if not self._move(window, revision):
                    raise

    def _ids(self, shard: Shard, fields: Sequence[str]) -> Ids:
        return {name: self._renumbering(shard, name) for name in fields if name in shard.fields}

    def _time(self, shard: Shard, window: Window) -> Array | None:
        """Seconds of the rows of the window's clip."""
        if "time" not in shard.fields:
            return None
        stop = window.start + window.after + self.config.frames
        return shard.read_rows("time", window.start - window.before, stop)

    def _move(self, window: Window, gone: str) -> bool:
        """Go on with the next revision of a shard, where one is `gone`; whether there is one."""
        with self._moving:
            if self._revision(window) != gone:  # another thread was faster
                return True
            shard, _, number = gone.rpartition(".")
            newer = Dataset(window.dataset).newest(shard, int(number) + 1)
            if newer is None:
                return False
            self._moved[window.dataset, window.shard] = newer.name
            self.say(f"{window.dataset}: {gone} was replaced while it was read; going on with {newer.name}")
            return True

    def read(self, window: Window, rng: np.random.Generator | None) -> dict[str, Array]:
        """A window in a random view, or in the centre view; what the reaches see of its clip in the same."""
        parts = self._stored(window)
        height, width = parts[0][0]["image"].shape[1:3]
        view = (
            centre_view(height, width, self.config.size)
            if rng is None
            else random_view(self.config.augment, height, width, self.config.size, rng)
        )
        colours = [_seen(stored, view) for stored, *_ in parts]
        if rng is not None:
            light = change_light(
                self.config.augment, np.concatenate([x for some in colours for x in some.values()]), rng
            )
            for some in colours:
                for name, images in some.items():
                    some[name], light = light[: len(images)], light[len(images) :]
        out: dict[str, Array] = {}
        for number, ((stored, ids, present, step), seen) in enumerate(zip(parts, colours, strict=True)):
            reach = self.reaches[number - 1] if number else None
            part = self._part(self.fields if reach is None else reach.fields, stored, ids, seen, view)
            if reach is None:
                out |= part
                continue
            part |= {"present": present} | _numbers(step=step)
            part["serves"] = np.asarray(reach.serves(present, stored.get(SPEED)), np.float32)
            for name in part:
                if name.endswith(WEIGHT_SUFFIX):
                    part[name][~present] = 0
            out |= {f"{reach.key}{name}": value for name, value in part.items()}
        return out | _numbers(domain=window.domain, clip=window.run)

    def _part(
        self, fields: Sequence[str], stored: Columns, ids: Ids, seen: Columns, view: View
    ) -> dict[str, Array]:
        """Frames and their fields in a view. seen: the fields that are images, in it already."""
        frames, (height, width) = len(stored["image"]), stored["image"].shape[1:3]
        resampler = Resampler(view, (height, width))
        if "edges" in stored:
            resampler.follow_lines(stored["edges"])
        out: dict[str, Array] = {"image": seen["image"].transpose(0, 3, 1, 2)}
        for name in fields:
            out |= entries(name, frames, stored, seen, resampler, ids.get(name))
        return out

    def _renumbering(self, shard: Shard, name: str) -> NDArray[np.int64] | None:
        """The ids that a shard's classes have in all the data; None where they are its own."""
        table = class_names(shard, name)
        if not table:
            return None
        known = self.catalogue.names.get(name, ())
        if new := sorted(set(table) - set(known)):
            raise UserError(
                f"{shard.name}: {name} has been made anew with classes that the run does not know "
                f"({', '.join(new[:3])}); begin another run"
            )
        return renumbering(known, table)

    def _columns(self, shard: Shard, fields: Sequence[str]) -> list[str]:
        made_by, read = shard.recipe, self.catalogue.versions
        wanted = ["image", *fields, *(confidence_name(name) for name in fields)]
        wanted += ["time"] if "sound" in fields else []  # which of its samples are a frame's
        return [name for name in wanted if name in made_by and of_version(made_by, name, read)]


def _at(shard: Shard, names: Sequence[str], rows: Sequence[int]) -> Columns:
    """Columns of a shard at some rows, which rise."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return shard.read_columns(names, rows[0], rows[-1] + 1)
    read = {row: shard.read_columns(names, row, row + 1) for row in dict.fromkeys(rows)}
    return {name: np.concatenate([read[row][name] for row in rows]) for name in names}


def _seen(stored: Columns, view: View) -> Columns:
    """The columns that are images, in a view."""
    resampler = Resampler(view, stored["image"].shape[1:3])
    images = {name: values for name, values in stored.items() if values.ndim == 4 and is_image(name)}
    return {name: resampler.image(values) for name, values in images.items()}


def _numbers(**values: int) -> dict[str, Array]:
    return {name: np.asarray(value, np.int64) for name, value in values.items()}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack samples into tensors; what is longer in some is filled up in the others, with zeros."""
    return {name: torch.from_numpy(_stacked([sample[name] for sample in samples])) for name in samples[0]}


def _stacked(values: Sequence[Array]) -> Array:
    if len({value.shape for value in values}) > 1:
        most = np.max([value.shape for value in values], axis=0)
        values = [np.pad(v, [(0, int(n) - m) for n, m in zip(most, v.shape, strict=True)]) for v in values]
    return np.ascontiguousarray(np.stack(values))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device, float64 as float32."""
    out = {}
    for name, tensor in batch.items():
        if device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        tensor = tensor.to(device, non_blocking=True)
        out[name] = tensor.float() if tensor.dtype is torch.float64 else tensor
    return out

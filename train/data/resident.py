"""A loader for data that fit into the device's memory: frames are decoded once, and views are made there.

The same windows in the same views as `Loader` draws them. Labels are the same bit for bit, turned vectors but for
rounding; so are images on a CPU, on other devices they are filtered by other code and differ by a few levels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from freelabels.generators.contract.fields import Array, Kind, confidence_name
from freelabels.generators.contract.fields import field as field_of
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.train.config import LoaderConfig
from freelabels.train.data.augment import THIN, Light, Resampler, View, lit, random_light, random_view
from freelabels.train.data.catalogue import Catalogue
from freelabels.train.data.labels import CAMERA, WEIGHT_SUFFIX
from freelabels.train.data.loader import SAMPLE_STREAM, Batch, Loader
from freelabels.train.data.reach import Reach

NOT_HELD = (Kind.IMAGE, Kind.TABLE)
REACH_OF_BLUR = 3  # pixels


class Resident(Loader):
    """As `Loader`, whose `batches` are on the device already. Raises UserError for what it can't hold."""

    def __init__(
        self,
        catalogue: Catalogue,
        fields: Sequence[str],
        config: LoaderConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        reaches: Sequence[Reach] = (),
        device: torch.device | None = None,
    ):
        super().__init__(catalogue, fields, config, seed, rank, world, reaches)
        self.device = device or torch.device("cpu")
        self.with_cv2 = self.device.type == "cpu"
        odd = [name for name in self.fields if name in CAMERA or field_of(name).kind in NOT_HELD]
        if odd or self.reaches:
            what = odd[0] if odd else "frames that a task has for itself"
            raise UserError(f"--loader.resident can't hold {what}: leave it out for these tasks")
        self._first: dict[tuple[str, str], int] = {}  # dataset, shard → row
        self._columns_of = self._decoded()
        self.height, self.width = self._columns_of["image"].shape[1:3]

    def _decoded(self) -> dict[str, Tensor]:
        """All frames: the image (rows, H, W, 3), each field (rows, H W, C), its weight uint8 (rows, H W).

        Zeros where a field isn't there, which on a CPU take no memory.
        """
        windows, shape = self.catalogue.windows, tuple[int, ...]()
        places = {
            (windows.dataset[block], name.decode()) for block, name in enumerate(windows.shard.tolist())
        }
        where = [(windows.datasets[number], name) for number, name in sorted(places)]
        shards = [Dataset(dataset).open(name) for dataset, name in where]
        rows, start = sum(shard.rows for shard in shards), 0
        held: dict[str, Tensor] = {}
        for (dataset, name), shard in zip(where, shards, strict=True):
            image = shard.read_rows("image")
            shape = shape or image.shape[1:]
            if image.shape[1:] != shape:
                raise UserError(
                    f"--loader.resident holds frames of one size; {dataset} has {image.shape[2]} × "
                    f"{image.shape[1]}, others {shape[1]} × {shape[0]}: leave it out"
                )
            self._first[dataset, name] = start
            columns = {"image": image}
            for field in self.fields:
                columns |= self._held_of(field, shard)
            for key, value in columns.items():
                if key not in held:
                    held[key] = self._nothing(rows, value.shape[1:], value.dtype)
                held[key][start : start + len(image)] = torch.from_numpy(value).to(self.device)
            shard.close()
            start += len(image)
        pixels = shape[0] * shape[1]
        for field in (name for name in self.fields if name not in held):
            channels = (field_of(field).sizes[2:] or (1,))[0] or 1
            held[field] = self._nothing(rows, (pixels, channels), _held_as(field))
            held[field + WEIGHT_SUFFIX] = self._nothing(rows, (pixels,), np.dtype(np.uint8))
        return held

    def _nothing(self, rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
        return torch.from_numpy(np.zeros((rows, *shape), dtype)).to(self.device)

    def _held_of(self, name: str, shard: Shard) -> dict[str, Array]:
        """A field of a shard and its weight; nothing where there is none. Ids are those of all the data."""
        if name not in self._columns(shard, (name,)):
            return {}
        spec, values = field_of(name), shard.read_rows(name)
        valid = spec.valid(values.astype(np.float32) if values.dtype == np.float16 else values)
        weight = np.where(valid, np.uint8(255), np.uint8(0))
        if (sure := confidence_name(name)) in shard.fields:
            weight = np.where(valid, shard.read_rows(sure), np.uint8(0))
        if (ids := self._renumbering(shard, name)) is not None:
            values = ids[values]
        values = np.where(valid.reshape(*valid.shape, *[1] * (values.ndim - valid.ndim)), values, 0)
        rows, height, width = values.shape[:3]
        held = np.ascontiguousarray(values.reshape(rows, height * width, -1).astype(_held_as(name)))
        return {name: held, name + WEIGHT_SUFFIX: np.ascontiguousarray(weight.reshape(rows, height * width))}

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Batches `start` … `stop` - 1, in order."""
        number = start
        while stop is None or number < stop:
            began = time.perf_counter()
            batch = self.made(self.plan(number))
            self.waited += time.perf_counter() - began
            yield batch
            number += 1

    def made(self, drawn: Sequence[tuple[int, int]]) -> Batch:
        """The batch of (epoch, window) samples."""
        windows = [self.catalogue.windows[number] for _, number in drawn]
        views, lights, seeds = list[View](), list[Light](), list[int]()
        for epoch, number in drawn:
            sequence = np.random.SeedSequence(self.seed, spawn_key=(SAMPLE_STREAM, epoch, number))
            rng = np.random.default_rng(sequence)
            views.append(random_view(self.config.augment, self.height, self.width, self.config.size, rng))
            lights.append(random_light(self.config.augment, rng))
            seeds.append(int(rng.integers(2**31)))
        first = [self._first[window.dataset, window.shard] + window.start for window in windows]
        rows = torch.tensor(first)[:, None] + torch.arange(self.config.frames)
        rows = rows.to(self.device)  # (B, T)
        numbers = {
            "domain": [window.domain for window in windows],
            "clip": [window.run for window in windows],
            "epoch": [epoch for epoch, _ in drawn],
            "window": [number for _, number in drawn],
            "seed": seeds,
        }
        images = self._images_by_cv2 if self.with_cv2 else self._images
        out = {"image": images(rows, views, lights)}
        out |= self._labels(rows, views)
        return out | {name: torch.tensor(values).to(self.device) for name, values in numbers.items()}

    def _points(self, views: Sequence[View], dx: float = 0.0, dy: float = 0.0) -> Tensor:
        """Coordinates (B, S, S, 2), float64, of the frame under each view pixel's centre moved by (dx, dy)."""
        axis = torch.arange(self.config.size, dtype=torch.float64, device=self.device) + 0.5
        y, x = torch.meshgrid(axis + dy, axis + dx, indexing="ij")
        centred = torch.stack([x, y], -1) - self.config.size / 2
        turn = torch.from_numpy(np.stack([view.turn for view in views])).to(self.device)
        scale = torch.tensor([view.scale for view in views], dtype=torch.float64, device=self.device)
        centre = torch.tensor([view.centre for view in views], dtype=torch.float64, device=self.device)
        turned = centred[None, :, :, 0, None] * turn[:, None, None, 0] + (
            centred[None, :, :, 1, None] * turn[:, None, None, 1]
        )
        return turned * scale[:, None, None, None] + centre[:, None, None]

    def _index(self, views: Sequence[View], dx: float = 0.0, dy: float = 0.0) -> tuple[Tensor, Tensor]:
        """Flat index (B, S²) of the nearest frame pixel, and which of them lie in the frame."""
        whole = self._points(views, dx, dy).flatten(1, 2).floor().long()
        x, y = whole.unbind(-1)
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return y.clamp(0, self.height - 1) * self.width + x.clamp(0, self.width - 1), inside

    def _labels(self, rows: Tensor, views: Sequence[View]) -> Batch:
        """Fields and weights as `Loader` gives them."""
        frames, size, out = rows.shape[1], self.config.size, Batch()
        nearest, inside = self._index(views)
        nearest = nearest[:, None].expand(-1, frames, -1)  # (B, T, S²)
        strongest = self._strongest(rows, views, nearest) if "edges" in self.fields else nearest
        for name in self.fields:
            index = strongest if name in THIN else nearest
            value = self._columns_of[name][rows[..., None], index]  # (B, T, S², C)
            weight = self._columns_of[name + WEIGHT_SUFFIX][rows[..., None], index]
            weight = (weight * inside[:, None]).float() / 255
            value = self._meant(name, value.float(), views)
            value = torch.where(weight[..., None] > 0, value, 0).transpose(2, 3)
            out[name] = value.reshape(*rows.shape, -1, size, size)
            out[name + WEIGHT_SUFFIX] = weight.view(*rows.shape, size, size)
        return out

    def _meant(self, name: str, value: Tensor, views: Sequence[View]) -> Tensor:
        """Values (B, T, S², C) under the view, by their kind."""
        kind = field_of(name).kind
        if kind is Kind.PROBABILITY:
            return value / 255
        if kind is Kind.DISPLACEMENT:
            turns = [(view.turn / view.scale).T.astype(np.float32) for view in views]
        elif kind is Kind.DIRECTION:
            turns = [view.camera_turn.T.astype(np.float32) for view in views]
        else:
            return value
        turned = value @ torch.from_numpy(np.stack(turns)).to(self.device)[:, None]
        if kind is Kind.DISPLACEMENT:
            return turned
        unit: Tensor = turned / turned.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return unit

    def _strongest(self, rows: Tensor, views: Sequence[View], nearest: Tensor) -> Tensor:
        """As `Resampler.follow_lines`: where edges are strongest under each view pixel; ties go to the nearest."""
        out = nearest.clone()
        parts = np.array([int(np.ceil(view.scale - 1e-6)) for view in views])
        for part in sorted({int(n) for n in parts} - {0, 1}):
            some = np.flatnonzero(parts == part).tolist()
            few = [views[k] for k in some]
            steps = (np.arange(part) + 0.5) / part - 0.5
            places = [self._index(few, float(x), float(y))[0] for y in steps for x in steps]
            chosen = torch.tensor(some, device=self.device)
            edges, of = self._columns_of["edges"], rows[chosen][..., None]
            best = nearest[chosen]
            most = edges[of, best][..., 0]
            for place in places:
                index = place[:, None].expand_as(best)
                value = edges[of, index][..., 0]
                better = value > most
                best, most = torch.where(better, index, best), torch.where(better, value, most)
            out[chosen] = best
        return out

    def _images_by_cv2(self, rows: Tensor, views: Sequence[View], lights: Sequence[Light]) -> Tensor:
        """uint8 (B, T, 3, S, S), as `Loader` makes them."""
        made: list[NDArray[np.uint8]] = []
        frames = self._columns_of["image"].numpy()
        for some, view, light in zip(rows.numpy(), views, lights, strict=True):
            seen = Resampler(view, (self.height, self.width)).image(frames[some[0] : some[-1] + 1])
            made.append(lit(light, seen))
        return torch.from_numpy(np.ascontiguousarray(np.stack(made).transpose(0, 1, 4, 2, 3)))

    def _images(self, rows: Tensor, views: Sequence[View], lights: Sequence[Light]) -> Tensor:
        """uint8 (B, T, 3, S, S), by torch: the mean of as many samples as a view pixel covers frame pixels."""
        size, frames = self.config.size, rows.shape[1]
        out = torch.empty(len(rows), frames * 3, size, size, device=self.device)
        parts = np.array([max(1, int(np.ceil(view.scale - 1e-6))) for view in views])
        extent = torch.tensor([self.width, self.height], dtype=torch.float64, device=self.device)
        for part in sorted({int(n) for n in parts}):
            some = np.flatnonzero(parts == part).tolist()
            chosen = torch.tensor(some, device=self.device)
            pictures = self._columns_of["image"][rows[chosen]].float()  # (b, T, H, W, 3)
            pictures = pictures.permute(0, 1, 4, 2, 3).flatten(1, 2)
            steps = (np.arange(part) + 0.5) / part - 0.5
            total = torch.zeros(len(some), frames * 3, size, size, device=self.device)
            for x in steps:
                for y in steps:
                    grid = self._points([views[k] for k in some], float(x), float(y)) / extent * 2 - 1
                    total += F.grid_sample(
                        pictures, grid.float(), padding_mode="reflection", align_corners=False
                    )
            out[chosen] = total / part**2
        seen = out.view(len(rows), frames, 3, size, size).round().clamp(0, 255).to(torch.uint8)
        return self._lit(seen, lights)

    def _lit(self, image: Tensor, lights: Sequence[Light]) -> Tensor:
        table = torch.from_numpy(np.stack([light.table for light in lights])).to(self.device)  # (B, 256, 3)
        levels = table.transpose(1, 2)[:, None].expand(-1, image.shape[1], -1, -1)
        through = levels.gather(3, image.flatten(3).long())  # (B, T, 3, S²)
        colours = torch.from_numpy(np.stack([light.colours for light in lights])).float().to(self.device)
        mixed = (colours[:, None] @ through.float()).view(image.shape)
        blurred = [k for k, light in enumerate(lights) if light.sigma]
        if blurred:
            chosen = torch.tensor(blurred, device=self.device)
            sigma = torch.tensor([lights[k].sigma for k in blurred], device=self.device)
            mixed[chosen] = blur(mixed[chosen].round(), sigma)
        return mixed.round().clamp(0, 255).to(torch.uint8)


def _held_as(name: str) -> np.dtype[Any]:
    """The dtype of a field's values here: one that torch has."""
    dtype = np.dtype(field_of(name).dtype)
    return np.dtype(np.int32) if dtype in (np.uint16, np.uint32, np.int64) else dtype


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images (N, T, 3, S, S) blurred by Gaussians of spreads (N,), mirrored at the border."""
    places = torch.arange(-REACH_OF_BLUR, REACH_OF_BLUR + 1, device=images.device)
    kernel = (-places.square() / (2 * sigma[:, None].square())).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)  # (N, 7)
    flat = F.pad(images.flatten(1, 2), (REACH_OF_BLUR,) * 4, mode="reflect").transpose(0, 1)  # (T 3, N, …)
    count = len(kernel)
    across = F.conv2d(flat, kernel[:, None, None, :], groups=count)
    down = F.conv2d(across, kernel[:, None, :, None], groups=count)
    return down.transpose(0, 1).reshape(images.shape)

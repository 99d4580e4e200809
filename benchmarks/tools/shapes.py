"""A small made-up world with exact labels, to measure training without any data: spheres over a floor.

Both domains show the same kind of scene in another style: synthetic is flat and saturated, real is textured,
shaded, grey and noisy. Spheres with stripes move.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from freelabels.generators.contract.fields import Array, as_stored, confidence_name
from freelabels.generators.contract.geometry import intrinsics, rays
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset

LABELS = ("edges", "motion", "disparity", "depth", "normals", "flow", "instance")
Place = TypeVar("Place", Path, str)


def scene(seed: int, size: int, frames: int, domain: int, gap: float = 1.0) -> dict[str, Array]:
    """One clip: image and exact labels, (frame, y, x, …), in the contract's dtypes.

    gap: how far the real style is from the synthetic one; 0: not at all.
    """
    rng = np.random.default_rng(seed)
    K = intrinsics(0.9 * size, size, size)
    view = rays(K, size, size)
    count = int(rng.integers(3, 6))
    centre = np.stack([rng.uniform(-2, 2, count), rng.uniform(-1, 1, count), rng.uniform(4, 9, count)], 1)
    radius = rng.uniform(0.4, 1.0, count)
    moves = rng.random(count) < 0.5
    velocity = rng.uniform(-0.08, 0.08, (count, 3)) * moves[:, None]
    tilt = rng.uniform(0.05, 0.25)
    floor = np.array([0.0, -1.0, -tilt]) / np.hypot(1, tilt)  # the floor's normal, up and towards the camera
    height = rng.uniform(1.2, 2.0)
    colours = rng.uniform(0.2, 1.0, (count + 2, 3))
    texture = _texture(rng, size)
    out: dict[str, list[Array]] = {name: [] for name in ("image", *LABELS)}
    for t in range(frames):
        depth = np.full((size, size), np.inf)
        normal = np.zeros((size, size, 3))
        ids = np.zeros((size, size), int)
        facing = view @ floor
        with np.errstate(divide="ignore"):
            ground = np.where(facing < -1e-6, -height / facing, np.inf)
        ground[ground > 30] = np.inf
        near = ground < depth
        depth[near], normal[near] = ground[near], floor
        for k in range(count):
            c = centre[k] + t * velocity[k]
            a, b = (view**2).sum(-1), view @ c
            root = b**2 - a * (c @ c - radius[k] ** 2)
            z = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
            near = (z > 0) & (z < depth)
            depth[near], ids[near] = z[near], k + 1
            normal[near] = (view[near] * z[near][:, None] - c) / radius[k]
        border = np.zeros((size, size), bool)
        border[:, :-1] |= ids[:, :-1] != ids[:, 1:]
        border[:-1] |= ids[:-1] != ids[1:]
        speed = np.concatenate([np.zeros((1, 3)), velocity])[ids]
        there = (view * np.where(np.isfinite(depth), depth, 1.0)[..., None]) + speed
        flow = np.stack([there[..., 0] / there[..., 2], there[..., 1] / there[..., 2]], -1) - view[..., :2]
        striped = np.concatenate([[False], moves])[ids]
        out["image"].append(_paint(rng, gap * (domain == 0), ids, depth, normal, colours, texture, striped))
        out["edges"].append(border * 255)
        out["motion"].append(striped * 255)
        out["depth"].append(depth)
        out["disparity"].append(1 / depth)
        out["normals"].append(normal)
        out["flow"].append(flow * 0.9 * size)
        out["instance"].append(ids)
    stacked = {name: as_stored(name, np.stack(values)) for name, values in out.items()}
    stacked["flow"][-1] = np.nan
    return stacked


def _texture(rng: np.random.Generator, size: int) -> Array:
    octaves = [
        cv2.resize(rng.uniform(-1, 1, (n, n)), (size, size), interpolation=cv2.INTER_CUBIC) / (i + 1)
        for i, n in enumerate((4, 8, 16, 32))
    ]
    return np.asarray(sum(octaves))


def _paint(
    rng: np.random.Generator,
    gap: float,
    ids: Array,
    depth: Array,
    normal: Array,
    colours: Array,
    texture: Array,
    striped: Array,
) -> Array:
    size = len(ids)
    layer = np.where(ids > 0, ids, np.where(np.isfinite(depth), len(colours) - 2, len(colours) - 1))
    image = colours[layer]
    light = np.clip(-normal @ np.array([0.5, 0.7, 0.5]), 0, 1)[..., None]
    image = image * np.where(np.isfinite(depth)[..., None], 0.4 + 0.6 * light, 1.0)
    stripes = ((np.indices((size, size)).sum(0) // max(2, size // 24)) % 2)[..., None]
    image = np.where(striped[..., None] & (stripes > 0), 1 - image, image)
    if gap > 0:
        image = image + 0.65 * gap * (image.mean(-1, keepdims=True) - image)
        image = image * (1 - 0.3 * gap) + gap * (0.12 * texture[..., None] + 0.1)
        image = cv2.GaussianBlur(image, (0, 0), 0.7 * gap) + rng.normal(0, 0.03 * gap, image.shape)
    return np.asarray(np.clip(image * 255, 0, 255))


def write_dataset(
    path: Place,
    domain: int,
    clips: int,
    size: int = 96,
    frames: int = 4,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    confidence: int | None = None,
    gap: float = 1.0,
) -> Place:
    """A dataset of `clips` clips, four a shard; with `confidence`, every label carries that one.

    gap: see `scene`.
    """
    dataset = Dataset.create(path, {"size": [size, size]})
    for first in range(0, clips, 4):
        numbers = range(first, min(first + 4, clips))
        made = [scene(seed * 100_003 + 2 * n + domain, size, frames, domain, gap) for n in numbers]
        columns = {name: np.concatenate([clip[name] for clip in made]) for name in ("image", *labels)}
        rows = len(columns["image"])
        if confidence is not None:
            for name in labels:
                columns[confidence_name(name)] = np.full((rows, size, size), confidence, np.uint8)
        columns["domain"] = np.full(rows, domain, np.uint8)
        columns["camera_K"] = np.tile(intrinsics(0.9 * size, size, size), (rows, 1, 1))
        table = [
            {
                "rows": [i * frames, (i + 1) * frames],
                "kind": "render" if domain else "video",
                "source": [f"shapes-{seed}-{domain}-{n}"],
                "key": f"{seed}-{n}",
            }
            for i, n in enumerate(numbers)
        ]
        made_by = {name: {"generator": "shapes", "version": 1} for name in columns}
        commit_shard(dataset, f"shapes-{first:04d}", columns, table, made_by)
    return path

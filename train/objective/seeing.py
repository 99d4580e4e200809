"""Images of all tasks through the trunk: those of one size together, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from freelabels.train.model.network import Features, resize
from freelabels.train.tasks.contract.task import Seen
from freelabels.train.tasks.contract.views import grey

Trunk = Callable[[Tensor, int], Features]


@dataclass(frozen=True)
class Stream:
    """What one asks to see: images (N k, 3, h, w), k views of each sample, whether with the shared feature.

    Or clips (N k, T, 3, h, w).
    """

    images: Tensor
    views: int
    maps: bool


def see(
    trunk: Trunk, streams: Mapping[str, Stream], least: int, only: int | None
) -> tuple[dict[str, Seen], list[Features]]:
    """What each sees by its name; the trunk's features by size, of the first stream's size first.

    trunk: images, and of how many of them the shared feature is wanted → features. least: the side of
    the smallest images that the trunk takes, to which smaller ones are enlarged; only: the one side that it takes,
    if there is one. One call for all, so that batch statistics are the same for every view.
    """
    groups: dict[tuple[int, ...], dict[str, Stream]] = {}
    for name, stream in sorted(streams.items(), key=lambda item: not item[1].maps):  # those with maps first
        here = stream.images.shape[-1]
        if stream.images.ndim == 4 and (side := only or max(least, here)) != here:
            stream = Stream(resize(stream.images.float(), (side, side)), stream.views, stream.maps)
        groups.setdefault(tuple(stream.images.shape[1:]), {})[name] = stream
    seen: dict[str, Seen] = {}
    features = []
    for group in groups.values():
        images = [stream.images for stream in group.values()]
        dtype = torch.float32 if any(image.is_floating_point() for image in images) else torch.uint8
        mapped = [len(stream.images) for stream in group.values() if stream.maps]
        made = trunk(torch.cat([image.to(dtype) for image in images]), sum(mapped))
        made = Features(made.stages, made.shared.float())
        features.append(made)
        stages = [_split(stage, [len(image) for image in images]) for stage in made.stages]
        shared = [*_split(made.shared, mapped), *[None] * (len(images) - len(mapped))]
        for k, (name, stream) in enumerate(group.items()):
            seen[name] = Seen([stage[k] for stage in stages], shared[k], stream.views)
    return seen, features


def without_colour(stream: Stream) -> Stream:
    """The brightness of its images, three times."""
    return replace(stream, images=grey(stream.images).expand(stream.images.shape))


def _split(x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Consecutive parts of a tensor; of one part itself."""
    return [x] if len(sizes) == 1 else list(torch.split(x, sizes)) if sizes else []

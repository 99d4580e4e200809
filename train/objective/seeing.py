"""Images of all tasks through the trunk: those of one size together, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from freelabels.train.model.network import Features, Model, resize, with_weights_held
from freelabels.train.tasks.contract.task import Asked, Seen
from freelabels.train.tasks.contract.views import grey

Trunk = Callable[[Tensor, int], Features]
FRAMES = "frames"  # the stream of images as they are


@dataclass(frozen=True)
class Stream:
    """What one asks to see: images (N k, 3, h, w), k views of each sample, whether with the shared feature.

    Or clips (N k, T, 3, h, w).
    """

    images: Tensor
    views: int
    maps: bool


def see_all(
    model: Model, size: int, frames: Stream | None, asked: Mapping[str, Asked], colourless: bool
) -> tuple[dict[str, Seen], list[Features]]:
    """What each task sees of what it asked for, by its name, and of `frames` by `FRAMES`; features as of `see`.

    size: side of the frames. Images that a task holds the weights for come through the same trunk, and so do
    clips through the trunk for clips. colourless: whether colour is taken away.
    """

    def of(images: Mapping[str, Tensor | None]) -> dict[str, Stream]:
        streams = {
            name: Stream(some.flatten(0, 1), some.shape[1], asked[name].maps)
            for name, some in images.items()
            if some is not None
        }
        return {name: _grey(stream) for name, stream in streams.items()} if colourless else streams

    streams = {} if frames is None else {FRAMES: _grey(frames) if colourless else frames}
    streams |= of({n: one.images for n, one in asked.items()})
    least = max(model.backbone.strides)
    only = size if hasattr(model.backbone.net, "set_input_size") else None
    held = partial(with_weights_held, model)
    seen, groups = see(model, streams, least, only)
    for name, part in see(held, of({n: one.held for n, one in asked.items()}), least, only)[0].items():
        seen[name] = replace(seen[name], held=part)
    clips, more = see(model, of({n: one.clips for n, one in asked.items()}), least, only)
    for name, part in see(held, of({n: one.held_clips for n, one in asked.items()}), least, only)[0].items():
        clips[name] = replace(clips[name], held=part)
    for name, part in clips.items():
        seen[name] = replace(seen.get(name, Seen((), None, 1)), clips=part)
    return seen, groups + more


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


def _grey(stream: Stream) -> Stream:
    """The brightness of its images, three times."""
    return replace(stream, images=grey(stream.images).expand(stream.images.shape))


def _split(x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Consecutive parts of a tensor; of one part itself."""
    return [x] if len(sizes) == 1 else list(torch.split(x, sizes)) if sizes else []

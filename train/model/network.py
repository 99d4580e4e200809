"""The network: any timm backbone, a light feature pyramid at stride 4, one small head per task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import closest
from freelabels.train.config import ModelConfig
from freelabels.train.model.clips import ClipBackbone

STRIDE = 4  # of the shared feature


class Backbone(nn.Module):
    """A timm model under its own parameter names, seen as a list of feature maps.

    channels, strides: of the maps that `forward` returns, finest first; up to four, at stride 4 or coarser where
    the model has such. A plain vision transformer gives four depths of one stride.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool, size: int):
        super().__init__()
        if not timm.is_model(name):
            raise UserError(f"timm has no backbone {name!r}: {_closest(name)}")
        self.net = timm.create_model(name, pretrained=pretrained, num_classes=0)
        if not hasattr(self.net, "forward_intermediates"):
            raise UserError(f"the backbone {name!r} gives no intermediate features; choose another")
        if hasattr(self.net, "set_input_size"):
            self.net.set_input_size(img_size=(size, size))
        info = list(self.net.feature_info)
        levels = [k for k, level in enumerate(info) if level["reduction"] >= STRIDE]
        if len(levels) > 4:  # equal steps that end at the last
            levels = [levels[(len(levels) * (i + 1)) // 4 - 1] for i in range(4)]
        self.indices = levels
        self.channels = tuple(int(info[k]["num_chs"]) for k in levels)
        self.strides = tuple(int(info[k]["reduction"]) for k in levels)
        mean, std = self.net.pretrained_cfg["mean"], self.net.pretrained_cfg["std"]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps (N, C, H / stride, W / stride) of uint8 or 0…255 images (N, 3, H, W), finest first."""
        x = (image.float() - self.mean) / self.std
        features: list[Tensor] = self.net.forward_intermediates(
            x, indices=self.indices, output_fmt="NCHW", intermediates_only=True
        )
        return features


def _closest(name: str) -> str:
    """The timm models nearest in spelling, not all of the more than a thousand."""
    return closest(name, timm.list_models()) or "timm.list_models() names them all"


class Pyramid(nn.Module):
    """A feature pyramid read at its finest level: lateral 1×1, added from coarse to fine, smoothed 3×3.

    With `deep` > 0 of the deepest so many stages alone. Lin et al., Feature pyramid networks for object detection,
    2017.
    """

    def __init__(self, channels: Sequence[int], width: int, deep: int = 0):
        super().__init__()
        self.deep = deep
        self.lateral = nn.ModuleList([nn.Conv2d(c, width, 1) for c in channels[-deep:]])
        self.smooth = block(width, width)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """(N, width, *size) from feature maps, finest first."""
        features = features[-self.deep :]
        x = self.lateral[-1](features[-1])
        for lateral, feature in zip(list(self.lateral)[-2::-1], list(features)[-2::-1], strict=True):
            x = lateral(feature) + resize(x, (feature.shape[-2], feature.shape[-1]))
        smoothed: Tensor = self.smooth(resize(x, size))
        return smoothed


def block(channels: int, width: int) -> nn.Sequential:
    """3×3 convolution, group norm (the same on any batch and any rank), ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU(inplace=True)
    )


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, pixel centres at +0.5; returns `x` itself if it has that size."""
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def in_float32(module: nn.Module, x: Tensor) -> Tensor:
    """What a module makes of something, in float32 whatever runs around it."""
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = module(x.float())
    return out


class DenseHead(nn.Module):
    """Shared feature (N, width, h, w) → maps (N, channels, 4 h, 4 w); `frames` of them side by side."""

    def __init__(self, width: int, channels: int, frames: int = 1):
        super().__init__()
        self.body = block(width * frames, width)
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, shared: Tensor) -> Tensor:
        """Maps at the image's resolution."""
        x = in_float32(self.out, self.body(shared))
        return resize(x, (x.shape[-2] * STRIDE, x.shape[-1] * STRIDE))


class GlobalHead(nn.Module):
    """Shared feature (N, width, h, w) → numbers (N, channels, 1, 1) for the whole image."""

    def __init__(self, width: int, channels: int, frames: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            nn.MaxPool2d(2), block(width * frames, width), nn.MaxPool2d(2), block(width, 2 * width)
        )
        self.cells = nn.AdaptiveAvgPool2d(3)  # a coarse grid, since some tasks ask where things are
        self.out = nn.Linear(9 * 2 * width, channels)

    def forward(self, shared: Tensor) -> Tensor:
        """Numbers as 1×1 maps."""
        x = in_float32(self.out, self.cells(self.body(shared)).flatten(1))
        return x[:, :, None, None]


@dataclass(frozen=True)
class Features:
    """What the trunk makes of images: the backbone's maps, finest first, and the feature that heads share."""

    stages: list[Tensor]
    shared: Tensor


@dataclass(frozen=True)
class Shape:
    """What a head has to fit: the side of the frames; channels and strides of the stages; width of the feature.

    clip_channels: of the stages of the trunk that sees clips, where a task asks for it.
    """

    size: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    width: int
    clip_channels: tuple[int, ...] = ()


class Model(nn.Module):
    """Backbone, pyramid and heads.

    heads: by task name, what makes its head for a trunk of that shape. clips: whether there is a trunk for clips.
    """

    def __init__(
        self,
        config: ModelConfig,
        size: int,
        heads: Mapping[str, Callable[[Shape], nn.Module]],
        clips: bool = False,
    ):
        super().__init__()
        self.backbone = Backbone(config.backbone, config.pretrained, size)
        self.pyramid = Pyramid(self.backbone.channels, config.width, config.laterals)
        self.clips = ClipBackbone(config.clips, config.clip_share) if clips else None
        clip_channels = self.clips.channels if self.clips else ()
        self.shape = Shape(size, self.backbone.channels, self.backbone.strides, config.width, clip_channels)
        self.heads = nn.ModuleDict({name: make(self.shape) for name, make in heads.items()})

    def forward(self, image: Tensor, mapped: int | None = None) -> Features:
        """Trunk features of images (N, 3, H, W); the shared one of the first `mapped`, by default of all.

        Of clips (N, T, 3, H, W) the stages of the trunk for clips, without a shared feature.
        """
        if image.ndim == 5:
            assert self.clips is not None, "no task says that it sees clips"
            return Features(self.clips(image), image.new_zeros(0, dtype=torch.float32))
        stages = self.backbone(image)
        size = (image.shape[-2] // STRIDE, image.shape[-1] // STRIDE)
        if mapped == 0:
            return Features(stages, image.new_zeros(0))
        some = stages if mapped in (None, len(image)) else [stage[:mapped] for stage in stages]
        return Features(stages, self.pyramid(some, size))

    features = forward


def with_weights_held(module: nn.Module, *arguments: Any) -> Any:
    """What a module gives while only its arguments get a gradient; its running statistics stay as they are."""
    fixed = {name: parameter.detach() for name, parameter in module.named_parameters()}
    fixed |= {name: buffer.clone() for name, buffer in module.named_buffers()}
    return torch.func.functional_call(module, fixed, arguments)

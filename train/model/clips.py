"""The trunk that sees clips: torchvision's 3-D residual networks as a list of feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video import resnet

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest

# What torchvision makes each of: the kind of convolution of its four layers, and its stem.
KINDS: dict[str, tuple[list[Any], Any]] = {
    "r3d_18": ([resnet.Conv3DSimple] * 4, resnet.BasicStem),
    "mc3_18": ([resnet.Conv3DSimple, *[resnet.Conv3DNoTemporal] * 3], resnet.BasicStem),
    "r2plus1d_18": ([resnet.Conv2Plus1D] * 4, resnet.R2Plus1dStem),
}
STEM = 64  # channels that torchvision's stems have
WIDTHS = (64, 128, 256, 512)
LEAST = 8  # channels of a layer
MEAN, STD = (
    (0.43216, 0.394666, 0.37645),
    (0.22803, 0.22145, 0.216989),
)  # that torchvision's own were trained with


class _Net(video.VideoResNet):  # type: ignore[misc]
    """torchvision's network with a share of its channels; all of them are exactly torchvision's."""

    def __init__(self, name: str, share: float):
        self.share = share
        kinds, stem = KINDS[name]
        super().__init__(resnet.BasicBlock, kinds, [2, 2, 2, 2], stem)
        self.fc = nn.Identity()

    def _make_layer(self, block: Any, kind: Any, planes: int, blocks: int, stride: int = 1) -> Any:
        return super()._make_layer(block, kind, narrowed(planes, self.share), blocks, stride)


def narrowed(channels: int, share: float) -> int:
    """A share of a layer's channels."""
    return max(LEAST, round(channels * share))


class ClipBackbone(nn.Module):
    """A network of torchvision's under its own parameter names, seen as a list of feature maps.

    channels, strides: of the maps that `forward` returns, finest first; strides in space.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, share: float = 1.0):
        super().__init__()
        if name not in KINDS:
            raise UserError(f"--model.clips {name}: {nearest(name, KINDS)}")
        if not 0 < share <= 1:
            raise UserError(f"--model.clip-share {share}: give a share of the channels, above 0 and up to 1")
        self.net = _Net(name, share)
        self.channels = tuple(narrowed(width, share) for width in WIDTHS)
        self.strides = (2, 4, 8, 16)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 1, 3, 1, 1) * 255, persistent=False)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Feature maps (N, C, T', h, w) of uint8 or 0…255 clips (N, T, 3, H, W), finest first."""
        x = self.net.stem(((clip.float() - self.mean) / self.std).transpose(1, 2))
        stages = []
        for layer in (self.net.layer1, self.net.layer2, self.net.layer3, self.net.layer4):
            x = layer(x)
            stages.append(x)
        return stages

"""Faster R-CNN on a backbone: trained on boxes, frozen or not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from freelabels.train.model.network import STRIDE, Backbone, resize
from freelabels.train.probing.transfer.box_scores import Boxes, Found, mirrored
from freelabels.train.probing.transfer.tuning import Tuning, tune

WIDTH, HEAD = (
    128,
    256,
)  # channels of the pyramid and of the boxes' head: half and a quarter of the published ones
PROPOSALS = 200  # an image, after suppression
SAMPLES = 64  # proposals of an image that the head is trained on
LARGE = 512  # pixels; from there on anchors are as published, 8 strides wide, below 4
GROUPS = 8


class PyramidTrunk(nn.Module):
    """A backbone under a feature pyramid: maps at strides 4, 8, 16, 32 (those the backbone has) and 64.

    The maps of a plain transformer, all of one stride, are first resized to strides 4, 8, 16, 32.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        self.out_channels = WIDTH  # where FasterRCNN looks for it
        self.strides = _strides(backbone)
        self.pyramid = FeaturePyramidNetwork(
            list(backbone.channels), WIDTH, LastLevelMaxPool(), lambda width: nn.GroupNorm(GROUPS, width)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps by name, finest first."""
        sides = [(image.shape[-2] // s, image.shape[-1] // s) for s in self.strides]
        maps = [resize(m, side) for m, side in zip(self.backbone(image), sides, strict=True)]
        found: dict[str, Tensor] = self.pyramid({str(k): m for k, m in enumerate(maps)})
        return found


def _strides(backbone: Backbone) -> tuple[int, ...]:
    if len(set(backbone.strides)) == len(backbone.strides):
        return backbone.strides
    return tuple(STRIDE * 2**k for k in range(len(backbone.strides)))


def faster_rcnn(backbone: Backbone, classes: int, size: int) -> FasterRCNN:
    """A Faster R-CNN, torchvision's, on a pyramid on a copy of the backbone; for images (3, size, size) in 0…255.

    A pyramid, not C4: C4 takes a residual net's last stage for its head, which other backbones haven't; a pyramid
    reads every stage of any backbone, and small images need its stride 4. Ren et al., Faster R-CNN, 2015; Lin et
    al., Feature pyramid networks for object detection, 2017.
    """
    trunk = PyramidTrunk(copy.deepcopy(backbone))
    strides = [*trunk.strides, trunk.strides[-1] * 2]
    across = 8 if size >= LARGE else 4
    names = [str(k) for k in range(len(trunk.strides))]
    return FasterRCNN(
        trunk,
        rpn_anchor_generator=AnchorGenerator(
            tuple((across * stride,) for stride in strides), ((0.5, 1.0, 2.0),) * len(strides)
        ),
        box_roi_pool=MultiScaleRoIAlign(names, 7, 2, canonical_scale=min(224, size), canonical_level=4),
        box_head=TwoMLPHead(WIDTH * 7 * 7, HEAD),
        box_predictor=FastRCNNPredictor(HEAD, classes + 1),
        rpn_pre_nms_top_n_train=2 * PROPOSALS,
        rpn_pre_nms_top_n_test=2 * PROPOSALS,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
        box_batch_size_per_image=SAMPLES,
        image_mean=[0.0] * 3,  # the backbone does this itself
        image_std=[1.0] * 3,
        min_size=size,
        max_size=size,
        fixed_size=(size, size),
    )


def detect(
    backbone: Backbone,
    images: Tensor,
    boxes: Sequence[Boxes],
    test: Tensor,
    classes: int,
    tuning: Tuning,
    seed: int,
    device: torch.device,
    state: Path | None = None,
) -> list[Found]:
    """Detections in the test images after training on `images`, which are mirrored at random.

    images, test: uint8 (n, 3, S, S), (m, 3, S, S). boxes: of each of `images`, labels below `classes`. state: see
    `tune`. The backbone itself isn't changed.
    """
    size = images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = faster_rcnn(backbone, classes, size).to(device)

    def loss(rows: Tensor) -> Tensor:
        flip = torch.rand(len(rows)) < 0.5
        seen = [images[r].flip(-1) if f else images[r] for r, f in zip(rows, flip, strict=True)]
        objects = [mirrored(boxes[r], size) if f else boxes[r] for r, f in zip(rows, flip, strict=True)]
        targets = [
            {
                "boxes": one.boxes[~one.ignored].to(device),
                "labels": one.labels[~one.ignored].to(device) + 1,  # 0 is the background
            }
            for one in objects
        ]
        losses: dict[str, Tensor] = model([image.to(device).float() for image in seen], targets)
        return torch.stack(list(losses.values())).sum()

    tune(model, model.backbone.backbone, loss, len(images), tuning, seed, device, state)
    return _found(model, test, tuning.batch, device)


@torch.no_grad()
def _found(model: FasterRCNN, images: Tensor, batch: int, device: torch.device) -> list[Found]:
    model.eval()
    found = []
    for part in torch.split(images, 2 * batch):
        for one in model([image.to(device).float() for image in part]):
            found.append(Found(one["boxes"].cpu(), one["labels"].cpu() - 1, one["scores"].cpu()))
    return found

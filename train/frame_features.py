"""One vector a frame: what the last stage of a run's backbone makes of it, averaged over all places."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from freelabels.generators.contract.fields import Array
from freelabels.pipeline.viewer.frame_map import FrameFeatures
from freelabels.train.data.augment import Resampler, centre_view
from freelabels.train.export import trained_backbone
from freelabels.train.model.network import Backbone
from freelabels.train.model.ranks import device_of
from freelabels.train.run.checkpoint import CHECKPOINT

BATCH = 32
FOLDER = "features"  # in the run's


@torch.no_grad()
def mean_features(
    backbone: Backbone, size: int, frames: Sequence[Array], device: torch.device | None = None
) -> NDArray[np.float32]:
    """Of frames uint8 (n, y, x, 3) each, in the centre view of `size` pixels: float32 (all frames, C)."""
    parts = []
    singles = [frame[None] for some in frames for frame in some]
    for start in range(0, len(singles), BATCH):
        views = []
        for frame in singles[start : start + BATCH]:
            height, width = frame.shape[1:3]
            view = Resampler(centre_view(height, width, size), (height, width)).image(frame)
            views.append(torch.from_numpy(view).permute(0, 3, 1, 2))
        seen = torch.cat(views).to(device or torch.device("cpu"))
        parts.append(backbone(seen)[-1].float().mean((2, 3)).cpu().numpy())
    return np.concatenate(parts)


def frame_features(run: str, device: str = "auto") -> FrameFeatures:
    """What the averaged backbone of a run makes of frames, kept in ``features/`` in the run's folder.

    Features of weights that the run has left behind are deleted. Raises UserError as `trained_backbone`, and if
    there is no such device.
    """
    backbone, config, _ = trained_backbone(run)
    place = device_of(device)
    backbone.to(place)
    kept = Path(run) / FOLDER
    weights = hashlib.sha256((Path(run) / CHECKPOINT).read_bytes()).hexdigest()[:16]
    for other in kept.iterdir() if kept.is_dir() else ():
        if other.name != weights:
            shutil.rmtree(other, ignore_errors=True)

    def of(images: Array) -> Array:
        return mean_features(backbone, config.loader.size, [images], place)

    return FrameFeatures(Path(run).resolve().name, of, kept / weights)

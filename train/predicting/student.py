"""The network of a run as it answers for single frames: backbone, pyramid and the heads of its dense labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.train.config import TrainConfig
from freelabels.train.model.network import STRIDE, Backbone, DenseHead, Pyramid
from freelabels.train.model.ranks import device_of
from freelabels.train.run import checkpoint
from freelabels.train.run.config_file import CONFIG, read_config
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.tasks import tasks

FRAMES = 16  # that the network sees at a time
STEP = 32  # sides of what it sees are multiples of this


class Network(nn.Module):
    """Answers of all heads, in the order of their names; images (N, 3, H, W) → (N, C, H, W) each."""

    def __init__(self, config: TrainConfig, heads: Mapping[str, int]):
        super().__init__()
        self.backbone = Backbone(config.model.backbone, False, config.loader.size)
        self.pyramid = Pyramid(self.backbone.channels, config.model.width)
        self.heads = nn.ModuleDict({n: DenseHead(config.model.width, count) for n, count in heads.items()})

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Heads' outputs, float32."""
        size = (image.shape[-2] // STRIDE, image.shape[-1] // STRIDE)
        shared = self.pyramid(self.backbone(image), size)
        return tuple(head(shared).float() for head in self.heads.values())


@dataclass(frozen=True)
class Student:
    """A run's network, in evaluation mode.

    tasks: by field that it labels. left_out: names of the run's other tasks. data: what it was trained on; step:
    how long; weights: digest of its checkpoint.
    """

    run: Path
    network: Network
    tasks: Mapping[str, Labelled]
    left_out: tuple[str, ...]
    config: TrainConfig
    data: Mapping[str, Any]
    step: int
    weights: str
    device: torch.device

    @torch.no_grad()
    def answers(self, images: Array) -> dict[str, Tensor]:
        """By field what the heads say, float32 (T, C, H, W), of frames uint8 (T, H, W, 3)."""
        size = images.shape[1:3]
        parts = []
        for start in range(0, len(images), FRAMES):
            frames = torch.from_numpy(np.ascontiguousarray(images[start : start + FRAMES])).to(self.device)
            seen = F.interpolate(
                frames.permute(0, 3, 1, 2).float(),
                size=self.sees(size),
                mode="bilinear",
                antialias=True,
                align_corners=False,
            )
            parts.append([_to(answer, size).cpu() for answer in self.network(seen)])
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return dict(zip(self.tasks, columns, strict=True))

    def sees(self, size: tuple[int, int]) -> tuple[int, int]:
        """In what size frames of (height, width) are seen: the shorter side as it was trained with."""
        side = self.config.loader.size
        if hasattr(self.network.backbone.net, "set_input_size"):
            return side, side  # a transformer of one size
        scale = side / min(size)
        return round(size[0] * scale / STEP) * STEP, round(size[1] * scale / STEP) * STEP


def _to(answer: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(answer, size=size, mode="bilinear", align_corners=False)


def load_student(run: str, device: str = "auto") -> Student:
    """The averaged network of a run, with the heads that label single frames.

    Raises UserError if the folder holds no run or no checkpoint, or nothing that labels frames.
    """
    folder = Path(run)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{run} is no run: it has no {CONFIG}; give the --out folder of a training")
    config, data = read_config(folder / CONFIG)
    path = folder / checkpoint.CHECKPOINT
    if not path.is_file():
        raise UserError(f"{run} holds no {checkpoint.CHECKPOINT} yet: let its training reach one first")
    if config.model.mix or config.model.grey:
        raise UserError(
            f"{run} was trained with --model.mix or --model.grey, which can't be taken out of it yet"
        )
    state = checkpoint.load(path)
    weights: dict[str, Tensor] = state["ema"]
    names = list(dict.fromkeys(name.split(".")[1] for name in weights if name.startswith("heads.")))
    chosen: dict[str, Labelled] = {}
    for name in names:
        task = tasks().get(name)
        if isinstance(task, Labelled) and task.dense and task.draws and task.draws not in chosen:
            chosen[task.draws] = task
    if not chosen:
        raise UserError(f"{run} has learned no label of single frames: {', '.join(names) or 'nothing'}")
    heads = {task.name: len(weights[f"heads.{task.name}.out.weight"]) for task in chosen.values()}
    network = Network(config, heads)
    known = network.state_dict().keys()
    network.load_state_dict({name: value for name, value in weights.items() if name in known})
    place = device_of(device)
    return Student(
        folder,
        network.eval().to(place),
        chosen,
        tuple(name for name in names if name not in heads),
        config,
        data,
        int(state["step"]),
        hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        place,
    )

"""Can a detector learn: Faster R-CNN on a random backbone overfits drawn pictures; AP and CPU-seconds.

    python -m benchmarks.detection

The bar is AP50 of at least .9 on 32 pictures in at most 300 CPU-seconds.

Cost: about 110 CPU seconds.
"""

from __future__ import annotations

from time import process_time

import numpy as np
import torch

from benchmarks.tools.command import run
from freelabels.train.model.network import Backbone
from freelabels.train.probing.transfer.box_scores import Boxes, precision
from freelabels.train.probing.transfer.detector import detect
from freelabels.train.probing.transfer.tuning import Tuning

SHAPES = 3  # rectangles, discs, stripes


def drawn(count: int, size: int, seed: int) -> tuple[torch.Tensor, list[Boxes]]:
    """Images uint8 (count, 3, size, size) of one to three things of random sides and colours on noise."""
    rng = np.random.default_rng(seed)
    images, truth = [], []
    for _ in range(count):
        image = rng.integers(60, 140, (size, size, 3)).astype(np.uint8)
        boxes, labels = [], []
        for _ in range(rng.integers(1, 4)):
            width, height = rng.integers(size // 6, size // 2, 2)
            x, y = rng.integers(0, size - width), rng.integers(0, size - height)
            label = int(rng.integers(SHAPES))
            v, u = np.mgrid[:height, :width] + 0.5
            disc = (2 * v / height - 1) ** 2 + (2 * u / width - 1) ** 2 <= 1
            inside = (np.ones_like(disc), disc, v // 3 % 2 == 0)[label]
            image[y : y + height, x : x + width][inside] = rng.integers(0, 256, 3)
            boxes.append([x, y, x + width, y + height])
            labels.append(label)
        images.append(image.transpose(2, 0, 1))
        marks = torch.zeros(len(labels), dtype=torch.bool)
        truth.append(Boxes(torch.tensor(np.array(boxes)).float(), torch.tensor(labels), marks))
    return torch.from_numpy(np.stack(images)), truth


def main(
    backbone: str = "resnet18",
    size: int = 128,
    images: int = 32,
    steps: int = 300,
    batch: int = 4,
    rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Overfit a detector.

    Args:
        backbone: Timm's name of it.
        size: Side of the pictures, pixels.
        images: How many there are.
        steps: Of training.
        batch: Pictures a step.
        rate: The learning rate.
        seed: Of pictures, weights and batches.
    """
    pictures, truth = drawn(images, size, seed)
    torch.manual_seed(seed)
    trunk = Backbone(backbone, False, size)
    start = process_time()
    tuning = Tuning(False, steps, batch, rate)
    found = detect(trunk, pictures, truth, pictures, SHAPES, tuning, seed, torch.device("cpu"))
    score = precision(found, truth)
    print("| backbone | pictures | steps | AP50 | AP50, 11 points | AP | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {backbone}, {size} px | {images} | {steps} | {score.area:.3f} | {score.points:.3f} | {score.coco:.3f} "
        f"| {process_time() - start:.0f} |"
    )


if __name__ == "__main__":
    run(main, __doc__)

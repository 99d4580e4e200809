"""Draws docs/pretexts.png: what every task on photos is shown, and what a small net answers.

python docs/pretexts_sheet.py [--steps 4]

The photos are scikit-image's. A net learns each task for some steps on these photos alone, so that answers can be
seen to be answers; they say nothing of what it would make of others. Tasks that make labels of their own are left
out; they see whole photos.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
import tyro
from numpy.typing import NDArray

from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.loader import Batch
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.online import Online
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.tasks import tasks

SHEET = Path(__file__).parent / "pretexts.png"
PHOTOS = ("astronaut", "coffee", "chelsea")
SIZE, SIDE, TITLE, GAP, WIDTH = 96, 128, 20, 8, 1200  # pixels
CONFIG = TrainConfig(loader=LoaderConfig(size=SIZE), model=ModelConfig("test_resnet", width=16))


def main(steps: int = 4) -> None:
    """Draw it.

    Args:
        steps: That a net learns each task for.
    """
    torch.set_num_threads(1)
    photos = torch.stack([photo(name) for name in PHOTOS])
    cells = [titled(name, drawn(task, photos, steps)) for name, task in tasks().items() if shown(task)]
    cells.sort(key=lambda cell: (cell.shape[0], cell.shape[1]))
    rows: list[list[NDArray[np.uint8]]] = [[]]
    for cell in cells:
        if sum(c.shape[1] for c in rows[-1]) + cell.shape[1] > WIDTH:
            rows.append([])
        rows[-1].append(cell)
    sheet = np.concatenate([laid(row) for row in rows])
    cv2.imwrite(str(SHEET), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def laid(row: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Cells beside each other, on white."""
    height = max(cell.shape[0] for cell in row)
    out = np.full((height, WIDTH, 3), 255, np.uint8)
    x = 0
    for cell in row:
        out[: cell.shape[0], x : x + cell.shape[1]] = cell
        x += cell.shape[1]
    return out


def shown(task: Task) -> bool:
    """Whether a task learns from photos alone."""
    return not (isinstance(task, Labelled | Online) or task.needs.fields or task.needs.frames > 1)


def photo(name: str) -> torch.Tensor:
    """The centre square of a photo, uint8 (3, SIZE, SIZE)."""
    image = getattr(skimage.data, name)()
    side = min(image.shape[:2])
    y, x = ((length - side) // 2 for length in image.shape[:2])
    square = cv2.resize(image[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(square).permute(2, 0, 1)


def drawn(task: Task, photos: torch.Tensor, steps: int) -> NDArray[np.uint8]:
    """Views and answers of all photos side by side, uint8 (SIDE, width, 3)."""
    torch.manual_seed(0)
    learner = Learner({task.name: task}, CONFIG)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for number in range(steps):
        backward(learner, learner, [prepare(learner.tasks, batch(photos, number))])
        optimizer.step()
        optimizer.zero_grad()
    learner.eval()
    with torch.no_grad():
        told = learner.predict(prepare(learner.tasks, batch(photos, steps)))
        pictures = task.picture(told.answers[task.name], told.asked[task.name], SIDE)
    assert pictures is not None
    pictures = (
        pictures.reshape(-1, len(photos), *pictures.shape[1:])[0] if len(pictures) > len(photos) else pictures
    )
    return np.concatenate(list(pictures), 1)


def batch(photos: torch.Tensor, number: int) -> Batch:
    """As the loader gives it."""
    seed = torch.arange(len(photos)) + 1000 * number
    return {"image": photos[:, None], "seed": seed, "domain": torch.zeros(len(photos), dtype=torch.long)}


def titled(name: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture below its task's name."""
    filled = np.flatnonzero((picture != 255).any((1, 2)))  # a montage may leave its lower part white
    picture = picture[: int(filled[-1]) + 1]
    strip = np.full((TITLE, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, name, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([strip, picture]), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


if __name__ == "__main__":
    tyro.cli(main)

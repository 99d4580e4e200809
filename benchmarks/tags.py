"""What wrong words beside pictures cost: the share of the clean gain that is kept.

    python -m benchmarks.tags [--wrong 0 0.2 0.4 0.6] [--doubt 0.7 0]

Pictures are stripes, checks, rings, spots and noise of any colour and size, each with its name as the one word
that came with it. Of those that are trained on, a share gets the name of another kind instead. The score is on
held-out pictures with right names: how often the word named is the right one. Gain: above the commonest word.

Cost: about one CPU minute.
"""

from __future__ import annotations

import tempfile
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.tools.command import run
from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.run.evaluate import Score, evaluate
from freelabels.train.run.labelling import turn
from freelabels.train.run.state import begin
from freelabels.train.run.step import step

KINDS = ("stripes", "checks", "rings", "spots", "noise")
SIZE, SHARD, HELD_OUT = 32, 64, 0.4
CPU = torch.device("cpu")


def main(
    wrong: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6),
    doubt: tuple[float, ...] = (0.7, 0.0),
    photos: int = 640,
    steps: int = 150,
    seed: int = 0,
) -> None:
    """Train once for each share and doubt and print a table.

    Args:
        wrong: Shares of the training pictures with another's name.
        doubt: Of the loss; 0 is cross-entropy.
        photos: Pictures, two fifths of them held out.
        steps: Of each run.
        seed: Of pictures, names and training.
    """
    torch.set_num_threads(1)
    print(f"{'wrong':>6}" + "".join(f"{f'doubt {d:g}':>12}{'kept':>7}" for d in doubt))
    clean: dict[float, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for share in wrong:
            data = Path(folder, f"wrong-{share:g}")
            write(data, photos, share, seed)
            row = f"{share:>6.0%}"
            for d in doubt:
                score = learned(data, Path(folder, f"run-{share:g}-{d:g}"), d, steps, seed)
                gain = score.score - score.constant
                clean.setdefault(d, gain)
                row += f"{score.score:>12.3f}{gain / (clean[d] or nan):>7.0%}"
            print(row, flush=True)
    print(f"commonest word {score.constant:.3f}; {score.frames} held-out pictures")


def learned(data: Path, out: Path, doubt: float, steps: int, seed: int) -> Score:
    """The held-out score of a small net."""
    config = TrainConfig(
        tasks=("tags",),
        set=(f"tags.doubt={doubt:g}", f"tags.words={len(KINDS)}"),
        steps=steps,
        lr=3e-3,
        ema=0.98,
        precision="fp32",
        device="cpu",
        seed=seed,
        loader=LoaderConfig(size=SIZE, batch=32, held_out=HELD_OUT),
        model=ModelConfig("test_resnet", width=16),
    )
    state = begin([str(data)], [], out, config, False, CPU)
    for batch in state.loader.batches(0, steps):
        turn(state, lambda sentence: None)
        step(state, [batch])
    with state.averaged(), torch.no_grad():
        [score, *_] = evaluate(state.learner, state.loader, CPU, 1_000_000)
    return score


def write(path: Path, photos: int, wrong: float, seed: int) -> None:
    """The pictures; of those that aren't held out, a share with a wrong name."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(len(KINDS), size=photos)
    images = np.stack([drawn(KINDS[k], rng) for k in kind])
    clean = path.with_name(f"{path.name}-clean")
    commit(clean, images, kind)
    loader = Loader(read_catalogue([str(clean)], [], 1), (), LoaderConfig(held_out=HELD_OUT), seed)
    learned = np.flatnonzero(~loader.held)
    told = kind.copy()
    some = rng.permutation(learned)[: round(wrong * len(learned))]
    told[some] = (kind[some] + rng.integers(1, len(KINDS), size=len(some))) % len(KINDS)
    commit(path, images, told)


def commit(path: Path, images: NDArray[np.uint8], kind: NDArray[np.int64]) -> None:
    """A dataset of pictures, each with the name of a kind."""
    dataset = Dataset.create(path, {"size": [SIZE, SIZE]})
    for first in range(0, len(images), SHARD):
        some = images[first : first + SHARD]
        columns: dict[str, NDArray[Any]] = {
            "image": some,
            "domain": np.zeros(len(some), np.uint8),
            "camera_K": np.tile(intrinsics(0.9 * SIZE, SIZE, SIZE), (len(some), 1, 1)),
        }
        clips = [
            {
                "rows": [k, k + 1],
                "kind": "photo",
                "source": [f"{first + k}.png"],
                "key": f"{first + k}.png",
                "tags": [{"kind": "tag", "text": KINDS[kind[first + k]], "origin": "drawn"}],
            }
            for k in range(len(some))
        ]
        made_by = {name: {"generator": "drawn", "version": 1} for name in columns}
        commit_shard(dataset, f"drawn-{first // SHARD:05d}", columns, clips, made_by)


def drawn(kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of a kind, uint8 (SIZE, SIZE, 3), in two colours, of any size, turn and place, with noise."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 12)
    y, x = np.mgrid[:SIZE, :SIZE] - rng.uniform(8, SIZE - 8, 2)[:, None, None]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = {
        "stripes": np.sin(2 * np.pi * u / period),
        "checks": np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period),
        "rings": np.sin(2 * np.pi * np.hypot(u, v) / period),
        "spots": np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period) - 1.2,
        "noise": rng.normal(size=(SIZE, SIZE)),
    }[kind]
    colours = rng.uniform(0, 255, (2, 3))
    image = np.where(wave[..., None] > 0, *colours) + rng.normal(0, 15, (SIZE, SIZE, 3))
    return np.asarray(image.clip(0, 255), np.uint8)


if __name__ == "__main__":
    run(main, __doc__)

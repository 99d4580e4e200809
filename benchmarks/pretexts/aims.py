"""How near tasks on flow, cameras and stereo come to what is aimed at, on clips of `controls`.

    python -m benchmarks.pretexts aims                         makes the clips once, then trains each
    python -m benchmarks.pretexts aims --only un_flow --seeds 0 1

Figures are of clips kept from training, and exact: `un_flow`, end-point error without labels over that of no flow,
with each seed (at most .6); `flow_net`, that of correlation over that of features laid side by side (the task
`flow`), at equal time (.8); `sfm_learner`, error of depth without labels, at one scale a frame, over that of the
best constant (.8), and by how many degrees the camera's direction is off, at the median of windows with parallax
(20); `active_stereo`, share of disparities off by more than two pixels where dots are projected over that of the
same net on the same scenes without dots (.5). Rows are those of `controls`, and lie with them in --out.

Cost: about 35 minutes of one core with the defaults, of which six are for the clips; the five trainings of
`un_flow` take sixteen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.pretexts.controls import SMOOTH, Training

BAD, DIRECTION = "bad-2", "degrees off the camera's direction"


@dataclass(frozen=True)
class Figure:
    """What was reached of an aim, and the most that it may be."""

    what: str
    reached: float
    most: float

    def __str__(self) -> str:
        met = "met" if self.reached <= self.most else "missed"
        return f"{self.what:64}{self.reached:>8.3f}{self.most:>8g}  {met}"


def main(
    out: str = "runs/pretexts-controls",
    only: tuple[str, ...] = (),
    seconds: float = 80.0,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    clips: int = 320,
    batch: int = 64,
    backbone: str = "resnet10t",
) -> None:
    """Measure and print.

    Args:
        out: Folder of the clips, the runs and the finished rows.
        only: Aims to measure; default: all.
        seconds: CPU seconds of training of each row.
        seeds: Of trainings of `un_flow`; others have one.
        clips: How many are made of each sort; a quarter of them is kept for figures.
        batch: Samples of a step, of frames of 32 pixels; of larger frames fewer.
        backbone: The timm model.
    """
    torch.set_num_threads(1)
    training = Training(Path(out), seconds, clips, batch, backbone)
    print(f"{'aim':64}{'reached':>8}{'at most':>8}")
    for name in only or tuple(AIMS):
        for figure in AIMS[name](training, seeds):
            print(figure, flush=True)


def flow_alone(training: Training, seeds: Sequence[int]) -> Iterator[Figure]:
    """Flow from two frames alone."""
    for seed in seeds:
        if facts := training.row("un_flow", "tours", seed=seed):
            what = f"un_flow, seed {seed}: end-point error, of that of no flow"
            yield Figure(what, facts["score"] / facts["trivial"], 0.6)


def flow_by_correlation(training: Training, _: Sequence[int]) -> Iterator[Figure]:
    """Correlated features against features side by side."""
    correlated, beside = (training.row(name, "tours") for name in ("flow_net", "flow"))
    if correlated and beside:
        what = "flow_net: end-point error, of that of features side by side"
        yield Figure(what, correlated["score"] / beside["score"], 0.8)


def depth_alone(training: Training, _: Sequence[int]) -> Iterator[Figure]:
    """Depth and the camera from frames alone."""
    if facts := training.row("sfm_learner", "tours", SMOOTH):
        what = "sfm_learner: error of depth, of that of the best constant"
        yield Figure(what, facts["score"] / facts["trivial"], 0.8)
        yield Figure(f"sfm_learner: {DIRECTION}", facts["beside"][DIRECTION], 20)


def stereo_by_dots(training: Training, _: Sequence[int]) -> Iterator[Figure]:
    """Dots against none."""
    dotted, bare = (training.row("active_stereo", sort) for sort in ("dotted", "pairs"))
    if dotted and bare:
        what = "active_stereo: disparities off by 2 pixels, of those without dots"
        yield Figure(what, dotted["beside"][BAD] / bare["beside"][BAD], 0.5)


AIMS: dict[str, Callable[[Training, Sequence[int]], Iterator[Figure]]] = {
    "un_flow": flow_alone,
    "flow_net": flow_by_correlation,
    "sfm_learner": depth_alone,
    "active_stereo": stereo_by_dots,
}

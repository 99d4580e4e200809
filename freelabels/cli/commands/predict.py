"""`freelabels predict`: photos and videos labelled by a run's network."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT, HERE, Where, size_of
from freelabels.cli.shell.terminal import DONE, conclude, reporter
from freelabels.ground.spelling import counted


def predict(
    run: Positional[str],
    sources: Positional[tuple[str, ...]] = (),
    /,
    *,
    out: str,
    labels: tuple[str, ...] = (),
    size: str = "256",
    fps: float | None = 10.0,
    device: str = "auto",
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Label photos and videos by a run's network, with confidence, into a dataset that can be trained on again.

    Args:
        run: Folder of a run.
        sources: As freelabels label takes them; none: the frames that --out holds.
        out: Folder or address of the dataset; it is made, or completed.
        labels: Which of the labels that the run has learned on single frames, default all.
        size: Side of the stored frames in pixels, or WIDTHxHEIGHT.
        fps: Frames a second taken from videos, by their time stamps; None takes every frame.
        device: auto, cpu or cuda.
        where: Where and how carefully sources are decoded.
        json: Print progress and summary as JSON lines on standard output.
    """
    done = freelabels.predict(
        run,
        sources,
        out,
        labels=labels,
        size=size_of(size),
        options=freelabels.SourceOptions(fps),
        device=device,
        cluster=where.cluster,
        reporter=reporter(json),
    )
    told = f"{', '.join(done.labels)} in {done.made} of {counted(done.shards, 'shard')}"
    conclude(json, done, f"{told}, {counted(done.frames, 'frame')} in {done.dataset}")
    return DONE

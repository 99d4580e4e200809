"""`freelabels label`: photos and videos → a dataset of labels."""

from __future__ import annotations

import dataclasses
import json as json_format
from typing import Annotated, Literal

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT, HERE, Where, chosen, compression_of, configured, size_of
from freelabels.cli.shell.terminal import DONE, FAILED, conclude, reporter, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted


def label(
    sources: Positional[tuple[str, ...]],
    /,
    *,
    out: str,
    labels: tuple[str, ...] = (),
    size: str = "256",
    fps: float | None = 10.0,
    clip_length: int = 64,
    shard_frames: int = 64,
    camera: tuple[float, float, float, float] | None = None,
    fov: float | None = None,
    depth_unit: float | None = None,
    stream: int = 0,
    seed: int = 0,
    set: tuple[str, ...] = (),
    detector: tuple[str, ...] = (),
    compression: str = "fast",
    layout: Literal["folders", "packed"] | None = None,
    strict: bool = False,
    update: tuple[str, ...] | None = None,
    dry_run: bool = False,
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Label photos and videos with hard-coded detectors into zarr shards; run again to go on where it stopped.

    Args:
        sources: Photos, videos, folders of them, globs, .txt lists (a source a line), s3:// gs:// https:// URIs.
        out: Folder or address (s3://bucket/path) of the dataset; it is made, or completed.
        labels: Which labels to make, default all that a source can give.
        size: Side of the stored frames in pixels, or WIDTHxHEIGHT.
        fps: Frames a second taken from videos, by their time stamps; None takes every frame.
        clip_length: Most frames of a clip, 2 to 64.
        shard_frames: Most frames of a shard, 1 to 64; clips are no longer than that.
        camera: Intrinsics fx fy cx cy in pixels of the full-size image, for all sources.
        fov: Field of view across the longer side in degrees, for all sources; instead of --camera.
        depth_unit: Metres that one count of stored depth is (0.001: millimetres); default: as layouts tell.
        stream: Which of the videos in a file with several, counted from 0; covers don't count.
        seed: Seed of detectors that draw random numbers.
        set: Parameters of detectors, as NAME.PARAMETER=VALUE; freelabels detectors NAME lists them.
        detector: Which detector makes a label where several could, as LABEL=NAME.
        compression: fast (LZ4) or small (zstd).
        layout: How a shard lies there: as a folder of files, usual on a disk, or packed into one object a commit,
            usual in an object store.
        strict: End with an error before any labelling if a source is refused.
        update: Labels to make anew where an older version made them, all if none is named; else they stay.
        dry_run: Show what would be labelled and what it costs; decode every file once and write nothing.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    if not 1 <= shard_frames <= 64:
        raise UserError(f"--shard-frames must lie in 1..64, not {shard_frames}")
    options = freelabels.SourceOptions(fps, clip_length, camera, fov, stream, depth_unit)
    options = dataclasses.replace(options, clip_length=min(clip_length, max(shard_frames, 2)))
    wanted = [name for item in labels for name in item.split(",") if name] or None
    detectors, makers = configured(set), chosen(detector)
    if dry_run:
        from freelabels.pipeline.sources.inventory import lines
        from freelabels.pipeline.stages.label_estimate import estimate

        found = estimate(
            sources,
            out,
            labels=wanted,
            size=size_of(size),
            options=options,
            shard_frames=shard_frames,
            seed=seed,
            detectors=detectors,
            makers=makers,
            compression=compression_of(compression),
            update=update,
        )
        for line in (
            [json_format.dumps(dataclasses.asdict(found))]
            if json
            else [*lines(found.inventory), *map(str, found.lines())]
        ):
            say(line)
        return DONE if found.shards else FAILED
    summary = freelabels.label(
        sources,
        out,
        labels=wanted,
        size=size_of(size),
        options=options,
        shard_frames=shard_frames,
        seed=seed,
        detectors=detectors,
        makers=makers,
        compression=compression_of(compression),
        layout=layout,
        strict=strict,
        update=update,
        cluster=where.cluster,
        reporter=reporter(json),
    )
    conclude(
        json,
        summary,
        f"{summary.made} of {counted(summary.shards, 'shard')} made, "
        f"{counted(summary.frames, 'frame')} in {summary.dataset}"
        + (f"; {summary.failed} failed" if summary.failed else "")
        + (f"; {counted(summary.refused, 'source')} refused" if summary.refused else "")
        + (f"; {counted(summary.passed, 'file')} passed over" if summary.passed else ""),
    )
    return DONE if summary.complete else FAILED

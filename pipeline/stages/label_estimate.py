"""What `label` would do and what that costs, from stated figures; nothing is labelled or stored."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from freelabels.generators.contract.detector import Detector
from freelabels.ground.errors import UserError
from freelabels.ground.paths import AnyPath, path_list
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import Index, index_of, read_index
from freelabels.pipeline.shards.shard import MAX_ROWS
from freelabels.pipeline.shards.summary import encoded
from freelabels.pipeline.sources.clip_specs import ClipColumns, SourceOptions
from freelabels.pipeline.sources.inventory import Inventory, with_clips
from freelabels.pipeline.stages.label_plan import plan_work
from freelabels.pipeline.stages.label_shard import LabelOptions
from freelabels.pipeline.stages.planning import pack, uncovered
from freelabels.pipeline.storage.local import RECORD
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster

# Measured by `python -m benchmarks.label --data …` on 148 frames of photos, video, stereo and RGB-D, on two cores
# that other programs shared; edges, flow, motion, saliency, speed, superpixels, disparity and normals of video on
# 262 frames of video, sequences and RGB-D likewise. Cost is taken to grow with the pixels of the stored frames.
FIGURES_AT = 256 * 256  # pixels a frame of all the figures
EXAMINE, DECODE, WRITE = "examine", "decode", "write"
SECONDS: Mapping[str, float] = {  # of one core, a frame, by step
    EXAMINE: 0.0104,
    DECODE: 0.0079,
    WRITE: 0.0093,
    "edges": 0.0577,
    "superpixels": 0.0049,
    "boundary_saliency": 0.0191,
    "dense_inverse_search": 0.0658,
    "independent_motion": 0.0909,
    "sensor_depth": 0.0009,
    "normals": 0.013,
    "motion_foreground": 0.0004,
    "video_disparity": 0.0202,
    "stereo": 0.53,
    "stereo_depth": 0.0011,  # on four frames
    "sound_track": 0.0006,  # with decoding it; on 187 frames of public clips
    "sound_texture": 0.0007,
    "scene_speed": 0.005,
}
KIB: Mapping[str, float] = {  # a frame, by column, with the default compression
    "image": 172,
    "flow": 206,
    "flow_backward": 206,
    "depth": 115,
    "normals": 53,
    "regions_confidence": 43,
    "edges_confidence": 27,
    "motion": 26,
    "foreground": 25,
    "regions": 22,
    "flow_confidence": 18,
    "flow_backward_confidence": 18,
    "edges": 17,
    "motion_confidence": 13,
    "disparity": 12,
    "depth_confidence": 11,
    "normals_confidence": 10,
    "foreground_confidence": 9,
    "disparity_confidence": 5,
    "sound": 3.1,
    "sound_texture": 0.8,
    "speed": 0.01,
}


@dataclass(frozen=True)
class Estimate:
    """What a run would do.

    shards, frames: of the whole plan; to_do: shards to make or complete. cpu_hours: of one core, by step (each
    detector by its name); gib: what the new columns take. without_figures: steps and columns of no stated cost.
    skipped: labels that sources of a kind can't give, with the reason, by kind.
    """

    inventory: Inventory
    shards: int
    frames: int
    to_do: int
    cpu_hours: Mapping[str, float]
    gib: float
    without_figures: tuple[str, ...] = ()
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The plan and its cost as text."""
        for kind, reasons in self.skipped.items():
            yield from (f"no {name} of {kind}: {reason}" for name, reason in reasons.items())
        whole = f"{counted(self.frames, 'frame')} in {counted(self.shards, 'shard')}"
        yield f"plan: {whole}, {self.to_do:,} to make or complete"
        total = sum(self.cpu_hours.values())
        yield f"cost: about {total:.3g} CPU-hours and {self.gib:.3g} GiB, from figures measured at 256 x 256"
        for step, hours in sorted(self.cpu_hours.items(), key=lambda one: -one[1]):
            yield f"  {step}: {hours:.3g} CPU-hours"
        if self.without_figures:
            yield f"not counted, for want of figures: {', '.join(self.without_figures)}"


def estimate(
    sources: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] = (256, 256),
    options: SourceOptions | None = None,
    shard_frames: int = MAX_ROWS,
    seed: int = 0,
    detectors: Sequence[Detector] = (),
    makers: Mapping[str, str] | None = None,
    compression: str = "fast",
    update: Collection[str] | None = None,
) -> Estimate:
    """Find and examine sources and plan as `label` would, told the same. Raises UserError for bad input."""
    wanted = LabelOptions.of(labels, detectors, size, shard_frames, seed, compression, update, makers)
    sources = path_list(sources)
    if not sources:
        raise UserError("no source: name photos, videos or folders of them")
    found, clips = with_clips(sources, options or SourceOptions(), [os.fspath(out)])
    index = _index_of(out, size)
    shards = uncovered(pack(ClipColumns.of(clips), shard_frames), index)
    work, skipped = plan_work(shards, index, os.fspath(out), wanted)
    scale = size[0] * size[1] / FIGURES_AT
    seconds, unknown, kib = dict[str, float](), dict[str, None](), 0.0
    for one in work:
        frames = one.shard.frames
        names = [detector.name for detector in one.detectors]
        columns = [name for detector in one.detectors for name in detector.makes]
        if one.base is None:
            names += [EXAMINE, DECODE]
            columns.append("image")
        for step in (*names, WRITE):
            seconds[step] = seconds.get(step, 0.0) + SECONDS.get(step, 0.0) * frames * scale
        unknown |= dict.fromkeys(name for name in names if name not in SECONDS)
        unknown |= dict.fromkeys(name for name in columns if name not in KIB)
        kib += frames * scale * sum(KIB.get(column, 0.0) for column in columns)
    return Estimate(
        found,
        len(shards),
        shards.frames,
        len(work),
        {step: total / 3600 for step, total in seconds.items()},
        kib / 1024**2,
        tuple(unknown),
        skipped,
    )


def _index_of(out: AnyPath, size: tuple[int, int]) -> Index:
    """What the dataset holds that a run would go on with."""
    dataset = Dataset(out)
    if not dataset.storage.exists(RECORD):
        return index_of(dataset, encoded([]), encoded([]), [])
    begun = dataset.attributes.get("size")
    if begun != list(size):
        raise UserError(f"{out} was begun with size {begun}, not {list(size)}: use that, or another --out")
    return read_index(dataset, Cluster(workers=0), Reporter("quiet"))

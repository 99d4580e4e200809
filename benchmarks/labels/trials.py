"""What each detector is tried on when its constants are changed: a few clips with their truth, and one figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from skimage.morphology import skeletonize

from benchmarks.labels.depth import bad_share
from benchmarks.labels.flow import endpoint_error
from benchmarks.labels.footage import drawn_images, flow_pairs, moving_clips, stereo_pairs
from benchmarks.labels.motion import region_score, stored
from benchmarks.labels.normals import TRUTH_REACH, angles, true_normals
from benchmarks.labels.rgbd import read_rgbd, rgbd_folders
from freelabels.generators import edges, flow, motion, normals, regions, saliency
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import Detector
from freelabels.generators.contract.fields import Array
from freelabels.generators.depth import (
    bundle_adjustment,
    camera_track,
    depth_reversal,
    point_tracks,
    semi_global,
    stereo,
    video_disparity,
)
from freelabels.generators.tools import (
    border_distance,
    camera_motion,
    contours,
    segment_planes,
    superpixel_graph,
    weighted_median,
)
from freelabels.pipeline.quality.rightness import order_right, regions_right
from freelabels.pipeline.stages.calibrate import calibration_options, rendered_views
from freelabels.train.probing.transfer.boundaries import count, score

Truth = Mapping[str, Array]
Samples = Sequence[tuple[Clip, Truth]]

SEED, FRAMES, SIDE = (
    1001,
    9,
    256,
)  # of the rendered clips: one of a room, one of a street, one of a crowded floor
SHOWN = 16  # source frames of each real clip
LEVELS = (64, 96, 128, 160, 192)  # of edge probability × 255
SUREST = 0.5  # share of the pixels with known truth that order and normals are judged on
DENSITY = 0.96
ORDER_GUESSED = 0.5
EVERY = 4  # frames from one that is judged to the next


@dataclass(frozen=True)
class Trial:
    """A detector, the modules whose constants it works with, what it is tried on by data, and its figure.

    figure: of what it made and the truth of one clip; better says which way.
    """

    detector: Detector
    modules: tuple[ModuleType, ...]
    metric: str
    better: str
    samples: Mapping[str, Samples]
    figure: Callable[[dict[str, Array], Truth], float]

    def run(self, detector: Detector, data: str) -> float:
        """Mean figure over the clips of `data`, a key of `samples`."""
        return float(np.mean([self.figure(detector(clip), truth) for clip, truth in self.samples[data]]))


def trials(data: Path | None) -> Iterator[Trial]:
    """One of each detector whose label has a truth: on renders and, where there is any, on the chosen half."""
    rendered = [
        rendered_views(options, number)
        for number, options in enumerate(calibration_options(SEED, FRAMES, (SIDE, SIDE)))
    ]
    names = ("photo", "pasted", "video", "stereo")
    of_view: dict[str, list[tuple[Clip, Truth]]] = {n: [views[n] for views in rendered] for n in names}
    for name in ("photo", "pasted", "stereo"):
        of_view[name] = [_first(*sample) for sample in of_view[name]]
    drawn = [
        (_still(image), {"drawn": lines, "segments": segments})
        for image, lines, segments in drawn_images(data, every=10, half="chosen")
    ]
    clips = [stored(frames[:SHOWN], masks[:SHOWN]) for _, frames, masks in moving_clips(data, "chosen")]
    frames = [(clip, {"motion": np.uint8(255) * masks}) for clip, masks in clips if masks is not None]
    filmed = list(_filmed(data))

    yield Trial(
        edges.ContourEdges(),
        (edges, contours),
        "best F",
        "more",
        _both(of_view["photo"], drawn),
        _edges,
    )
    yield Trial(
        regions.Superpixels(),
        (regions,),
        "pixels of their region's object",
        "more",
        _both(of_view["photo"], drawn),
        _regions,
    )
    outlined = [_with(edges.ContourEdges(), clip, truth) for clip, truth in of_view["pasted"]]
    stills = [
        _with(
            edges.ContourEdges(),
            _still(clip.image[len(clip) // 2]),
            {"saliency": truth["motion"][len(clip) // 2][None]},
        )
        for clip, truth in frames
    ]
    yield Trial(
        saliency.BoundarySaliency(), (saliency,), "J", "more", _both(outlined, stills), _masks("saliency")
    )
    real = [(_still(a, b), {"flow": truth[None]}) for _, a, b, truth in flow_pairs(data)]
    yield Trial(
        flow.DenseInverseSearch(), (flow,), "EPE px", "less", _both(_pairs(of_view["video"]), real), _flow
    )
    search = flow.DenseInverseSearch()
    movers = [_with(search, *sample) for sample in of_view["video"]]
    moving = [_with(search, *sample) for sample in frames[::2]]
    yield Trial(
        motion.IndependentMotion(),
        (motion, border_distance, camera_motion, superpixel_graph),
        "J",
        "more",
        _both([m for m in movers if (m[1]["motion"] > 127).any()], moving),
        _masks("motion"),
    )
    seen = [
        (_right(left, right), {"disparity": truth[None]})
        for name, left, right, truth in stereo_pairs(data)
        if name == "venus"
    ]
    yield Trial(
        stereo.Stereo(),
        (stereo, semi_global, segment_planes, weighted_median),
        f"bad 2 of all @ {DENSITY:.0%}",
        "less",
        _both([_exact(*sample) for sample in of_view["stereo"][::2]], seen),
        _stereo,
    )
    yield Trial(
        video_disparity.VideoDisparity(),
        (video_disparity, camera_track, point_tracks, bundle_adjustment, depth_reversal),
        f"order @ {SUREST:.0%}",
        "more",
        _both(of_view["video"][::2], filmed),
        _order,
    )
    depths = video_disparity.VideoDisparity()
    yield Trial(
        normals.Normals(),
        (normals,),
        f"median ° @ {SUREST:.0%}",
        "less",
        _both(
            [_with(depths, *sample) for sample in of_view["video"]],
            [_with(depths, *sample) for sample in filmed],
        ),
        _normals,
    )


def _both(rendered: Samples, real: Samples) -> dict[str, Samples]:
    return {name: part for name, part in (("renders", rendered), ("chosen half", real)) if part}


def _still(*frames: Array) -> Clip:
    return Clip(np.stack(frames), np.arange(len(frames)) / 25.0, np.eye(3))


def _right(left: Array, right: Array) -> Clip:
    return Clip(left[None], np.zeros(1), np.eye(3), right=right[None])


def _with(detector: Detector, clip: Clip, truth: Truth) -> tuple[Clip, Truth]:
    """The clip with what a detector makes of it, as the next one reads it."""
    return dataclasses.replace(clip.with_labels(detector(clip)), between=()), truth


def _first(clip: Clip, truth: Truth) -> tuple[Clip, Truth]:
    """The first frame of a clip."""
    right = None if clip.right is None else clip.right[:1]
    cut = dataclasses.replace(clip, image=clip.image[:1], time=clip.time[:1], right=right)
    return cut, {name: values[:1] for name, values in truth.items() if len(values) == len(clip)}


def _pairs(samples: Samples) -> list[tuple[Clip, Truth]]:
    """The first two frames of each clip."""
    return [
        (dataclasses.replace(clip, image=clip.image[:2], time=clip.time[:2]), {"flow": truth["flow"][:1]})
        for clip, truth in samples
    ]


def _exact(clip: Clip, truth: Truth) -> tuple[Clip, Truth]:
    assert clip.baseline is not None
    return clip, {"disparity": clip.camera_K[0, 0] * clip.baseline / truth["depth"].astype(np.float64)}


def _filmed(data: Path | None) -> Iterator[tuple[Clip, Truth]]:
    """The first frames of clips whose depth was measured, and their true inverse depth and normals."""
    for folder in rgbd_folders(data, "chosen"):
        half, full = read_rgbd(folder, 0.5), read_rgbd(folder, 1.0)
        rows = range(0, 2 * SHOWN, 2)  # the camera is slow: at half its rate there is parallax enough
        image = half.image[rows.start : rows.stop : rows.step]
        clip = Clip(image, np.arange(len(image)) / 15, half.colour_K, "given")
        inverse = [1 / full.fused(row, colour=True) if row % EVERY == 0 else None for row in rows]
        flat = np.full(image.shape[:3], np.nan)
        facing = np.zeros(image.shape)
        for t, values in enumerate(inverse):
            if values is not None:
                flat[t] = values[::2, ::2]
                facing[t] = true_normals(values, full.colour_K, TRUTH_REACH)[::2, ::2]
        yield clip, {"disparity": flat, "normals": facing}


def _edges(made: dict[str, Array], truth: Truth) -> float:
    counts = []
    for t, probability in enumerate(made["edges"]):
        lines = list(truth["drawn"]) if "drawn" in truth else [truth["edges"][t] > 127]
        counts.append(count((_thinned(probability, level) for level in LEVELS), lines))
    return score(counts).ods


def _thinned(probability: Array, level: int) -> Array:
    return np.asarray(skeletonize(probability >= level))


def _regions(made: dict[str, Array], truth: Truth) -> float:
    ids = truth["segments"] if "segments" in truth else truth["instance"]
    found = np.broadcast_to(made["regions"], ids.shape)  # of one picture that several people drew
    return float(regions_right(found, ids).mean())


def _masks(label: str) -> Callable[[dict[str, Array], Truth], float]:
    def figure(made: dict[str, Array], truth: Truth) -> float:
        said = (made[label] > 127) & (made[f"{label}_confidence"] > 0)
        return float(np.mean([region_score(*pair) for pair in zip(said, truth[label] > 127, strict=True)]))

    return figure


def _flow(made: dict[str, Array], truth: Truth) -> float:
    return float(endpoint_error(made["flow"][0], truth["flow"][0].astype(np.float32)).mean())


def _stereo(made: dict[str, Array], truth: Truth) -> float:
    each = zip(
        made["disparity"].astype(np.float64), made["disparity_confidence"], truth["disparity"], strict=True
    )
    return float(np.mean([bad_share(found, trust, true, DENSITY) for found, trust, true in each]))


def _order(made: dict[str, Array], truth: Truth) -> float:
    """Pairs ordered rightly among the surest half; where there is no label it could only be guessed."""
    right = order_right(made["disparity"], truth["disparity"])
    known = np.isfinite(truth["disparity"])
    right = np.where(np.isfinite(right), right, ORDER_GUESSED)[known]
    trust = made["disparity_confidence"][known]
    return float(right[np.argsort(-trust.astype(int), kind="stable")[: int(SUREST * len(right))]].mean())


def _normals(made: dict[str, Array], truth: Truth) -> float:
    known = truth["normals"].any(axis=-1)
    error = angles(made["normals"], truth["normals"].astype(np.float64))
    order = np.argsort(-made["normals_confidence"][known].astype(int), kind="stable")
    return float(np.median(error[order[: int(SUREST * len(order))]]))

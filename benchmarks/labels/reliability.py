"""Whether confidence tells the truth on real footage: scores and right labels, counted on real ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.labels.footage import HALVES, drawn_images, flow_pairs, moving_clips, stereo_pairs
from benchmarks.labels.metrics import Row
from benchmarks.labels.normals import TRUTH_REACH, true_normals
from benchmarks.labels.rgbd import EVERY, films, read_rgbd, rgbd_folders
from freelabels.generators.contract.calibration import map_name
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.depth.sensor_depth import SensorDepth
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.depth.video_disparity import VideoDisparity
from freelabels.generators.edges import ContourEdges
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.foreground import MotionForeground
from freelabels.generators.motion import IndependentMotion
from freelabels.generators.normals import Normals
from freelabels.generators.regions import Superpixels
from freelabels.generators.saliency import BoundarySaliency
from freelabels.pipeline.quality.plots import draw_reliability
from freelabels.pipeline.quality.reliability import Tally
from freelabels.pipeline.quality.rightness import (
    class_right,
    edges_right,
    flow_right,
    normals_right,
    order_right,
    regions_right,
)

Counted = tuple[str, str, str, Tally]  # label, name of the confidence map, data, counts
LONGEST = 480  # longer clips are reduced to this width, as users label them at 256
SURE = 0.1  # the share of labels that a careful trainer would start with
YES = map_name("", yes=True)  # how maps of labels that say yes end
STILLS = 8  # every so many frames of a clip are judged as photos


def edges_and_regions(data: Path, half: str, every: int = 3) -> Iterator[Counted]:
    """Against drawings, as BSDS counts: a boundary is one if anybody drew it, a missed one is each person's."""
    for image, boundaries, drawn in drawn_images(data, every, half):
        clip = _stills(image[None])
        edges, regions = ContourEdges()(clip), Superpixels()(clip)
        each = edges_right(np.repeat(edges["edges"], len(boundaries), axis=0), boundaries)
        right = np.where(edges["edges"] > 127, each.max(axis=0), each.mean(axis=0))
        yield from yes_and_no("edges", ContourEdges.name, f"BSDS, {half} half", edges, right)
        for segments in drawn:
            right = regions_right(regions["regions"], segments[None])
            yield (
                "regions",
                "superpixels",
                f"BSDS, {half} half",
                Tally.of(regions["regions_confidence"], right),
            )


def motion(data: Path, half: str) -> Iterator[Counted]:
    """Motion, foreground from it, and saliency, against masks of what moves; foreground says "yes" alone."""
    for name, frames, masks in moving_clips(data, half):
        frames, masks = _reduced(frames), _reduced(masks.astype(np.uint8)) > 0
        clip = _stills(frames)
        clip = clip.with_labels(DenseInverseSearch()(clip))
        made = IndependentMotion()(clip)
        yield from yes_and_no(
            "motion", IndependentMotion.name, name, made, class_right(made["motion"], masks)
        )
        made = MotionForeground()(clip.with_labels(made))
        right = class_right(made["foreground"], masks)
        yield from yes_and_no("foreground", MotionForeground.name, name, made, right)
        stills = _stills(frames[::STILLS])
        made = BoundarySaliency()(stills.with_labels(ContourEdges()(stills)))
        right = class_right(made["saliency"], masks[::STILLS])
        yield from yes_and_no("saliency", BoundarySaliency.name, name, made, right)


def flow(data: Path, half: str) -> Iterator[Counted]:
    """Flow of pairs of frames, and of stereo pairs, which count among the chosen."""
    if half == "other":
        return
    for name, first, second, truth in flow_pairs(data):
        made = DenseInverseSearch()(_stills(np.stack([first, second])))
        known = np.isfinite(truth).all(axis=-1)
        right = np.where(known, flow_right(made["flow"][0], np.nan_to_num(truth)), np.nan)
        yield "flow", DenseInverseSearch.name, name, Tally.of(made["flow_confidence"][0], right)


def depth(data: Path, half: str) -> Iterator[Counted]:
    """Disparity and normals from stereo pairs, from video and from sensor depth."""
    for name, left, right_view, truth in stereo_pairs(data) if half != "other" else ():
        made = Stereo()(Clip(left[None], np.zeros(1), np.eye(3), right=right_view[None]))
        right = order_right(made["disparity"], truth[None])
        yield "disparity", Stereo.name, name, Tally.of(made["disparity_confidence"], right)
    for folder in rgbd_folders(data, half):
        yield from _rgbd(folder)


def _rgbd(folder: Path) -> Iterator[Counted]:
    name = folder.name
    full = read_rgbd(folder, 1.0)
    for film in films(folder, full):
        made = VideoDisparity()(film.clip)
        made |= Normals()(film.clip.with_labels(made))
        where = f"{name}, video{film.setting}"
        for k, t in film.judged:
            inverse = 1 / full.fused(t, colour=True)
            right = order_right(made["disparity"][k : k + 1], film.seen(inverse)[None])
            trust = made["disparity_confidence"][k : k + 1]
            yield "disparity", VideoDisparity.name, where, Tally.of(trust, right)
            truth = film.seen(true_normals(inverse, full.colour_K, TRUTH_REACH))
            yield _normals(where, made["normals"][k], made["normals_confidence"][k], truth)
    for t in range(EVERY // 2, len(full.image), 2 * EVERY):
        inverse = 1 / full.fused(t, colour=False)
        sensed = full.depth[t : t + 1].astype(np.float32)
        clip = Clip(full.image[t : t + 1], np.zeros(1), full.K, "given", sensor_depth=sensed)
        made = SensorDepth()(clip)
        right = order_right(made["disparity"], inverse[None])
        yield "disparity", SensorDepth.name, f"{name}, sensor", Tally.of(made["disparity_confidence"], right)
        made = Normals()(clip.with_labels(made))
        truth = true_normals(inverse, full.K, TRUTH_REACH)
        yield _normals(f"{name}, sensor", made["normals"][0], made["normals_confidence"][0], truth)


def _normals(data: str, normals: Array, trust: Array, truth: Array) -> Counted:
    right = np.where(truth.any(axis=-1), normals_right(normals, truth), np.nan)
    return "normals", Normals.name, data, Tally.of(trust, right)


def yes_and_no(
    label: str, detector: str, data: str, made: dict[str, Array], right: Array
) -> Iterator[Counted]:
    """The two tallies of a label that says yes or no."""
    for yes in (False, True):
        trust = np.where((made[label] > 127) == yes, made[f"{label}_confidence"], 0)
        yield label, map_name(detector, yes), data, Tally.of(trust, right)


def _stills(frames: Array) -> Clip:
    return Clip(frames, np.arange(len(frames)) / 25.0, np.eye(3))


def _reduced(frames: Array) -> Array:
    scale = LONGEST / max(frames.shape[1:3])
    if scale >= 1:
        return frames
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


PARTS = (edges_and_regions, motion, flow, depth)


def reliability_rows(data: Path | None, pictures: Path | None, half: str = "") -> Iterator[Row]:
    """Per label, half and data ECE, also of "yes", and the error among the surest; diagrams into `pictures`.

    Then of each half, with its clips weighed equally: mean ECE, mean ECE of "yes", and the share of clips in which
    the surer half of the labels errs more than all of them.
    """
    if data is None:
        return
    drawn: dict[str, dict[str, Tally]] = {}
    for each in [half] if half else HALVES:
        counted: dict[tuple[str, str, str], list[Tally]] = {}
        for part in PARTS:
            for label, name, source, tally in part(data, each):
                counted.setdefault((label, name, source), []).append(tally)
        by_map = {key: Tally.sum(parts) for key, parts in counted.items()}
        for (label, name, source), tally in by_map.items():
            if not tally.count.any():
                continue
            drawn.setdefault(label, {})[f"{name}, {source}"] = tally
            about = {"label": label, "data": source, "method": name}
            yield {**about, "metric": "ECE", "value": tally.calibration_error}
            yield {**about, "metric": "wrong", "value": tally.risk(1.0)}
            yield {**about, "metric": f"wrong of the surest {SURE:.0%}", "value": tally.risk(SURE)}
        yield from _half_rows(by_map, each)
    for label, curves in drawn.items() if pictures is not None else ():
        assert pictures is not None
        pictures.mkdir(parents=True, exist_ok=True)
        draw_reliability(f"{label}: real footage", curves, pictures / f"real-{label}.png")


def _half_rows(by_map: Mapping[tuple[str, str, str], Tally], half: str) -> Iterator[Row]:
    for label in dict.fromkeys(label for label, _, _ in by_map):
        whole: dict[tuple[str, str], list[Tally]] = {}
        yes = []
        for (of, name, source), tally in by_map.items():
            if of == label and tally.count.any():
                detector = name.removesuffix(YES)
                whole.setdefault((detector, source), []).append(tally)
                yes += [tally] if name != detector else []
        clips = [Tally.sum(parts) for parts in whole.values()]
        if not clips:
            continue
        about: Row = {"label": label, "data": f"{half} half", "method": "all"}
        yield {**about, "metric": "ECE", "value": Tally.sum(clips).calibration_error}
        each = [tally.calibration_error for tally in clips]
        yield {**about, "metric": "ECE, data weighed equally", "value": float(np.mean(each))}
        if yes:
            each = [tally.calibration_error for tally in yes]
            yield {**about, "metric": "ECE of yes, data weighed equally", "value": float(np.mean(each))}
        backwards = [tally.risk(0.5) > tally.risk(1.0) for tally in clips]
        yield {**about, "metric": "where the surer half errs more", "value": float(np.mean(backwards))}

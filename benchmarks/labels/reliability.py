"""Whether confidence tells the truth on real footage: scores and right labels, counted on real ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.labels.footage import HALVES, Mask, drawn_images, flow_pairs, moving_clips, stereo_pairs
from benchmarks.labels.metrics import Row
from benchmarks.labels.motion import stored
from benchmarks.labels.normals import TRUTH_REACH, true_normals
from benchmarks.labels.rgbd import EVERY, films, read_rgbd, rgbd_folders
from freelabels.generators.contract.calibration import (
    calibrated,
    calibration_digest,
    detector_of,
    map_name,
    maps_in_use,
    using,
)
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import Detector, detectors
from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, Array, Kind, field
from freelabels.generators.depth.sensor_depth import SensorDepth
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.depth.video_disparity import VideoDisparity
from freelabels.generators.edges import ContourEdges
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.foreground import MotionForeground, SalientForeground
from freelabels.generators.motion import IndependentMotion
from freelabels.generators.normals import Normals
from freelabels.generators.regions import Superpixels
from freelabels.generators.saliency import BoundarySaliency
from freelabels.pipeline.quality.plots import draw_reliability
from freelabels.pipeline.quality.reliability import FootageCount, Tally, counts_as_json
from freelabels.pipeline.quality.rightness import (
    class_right,
    edges_right,
    flow_right,
    normals_right,
    order_right,
    regions_right,
)


class Counted(NamedTuple):
    """Counts of raw scores: label, name of the confidence map, data, and detectors whose labels were read."""

    label: str
    map: str
    data: str
    tally: Tally
    read: tuple[str, ...] = ()


LONGEST = 480  # longer clips are reduced to this width, as users label them at 256
DRAWN, GROUPS = "BSDS", 6  # pictures with drawings are counted in groups, so that some can be left out
SURE = 0.1  # the share of labels that a careful trainer would start with
AS_STORED = "as stored"  # how the product stores a clip by default
STILLS = 8  # every so many frames of a clip are judged as photos


def edges_and_regions(data: Path, half: str) -> Iterator[Counted]:
    """Against drawings, as BSDS counts: a boundary is one if anybody drew it, a missed one is each person's."""
    for k, (image, boundaries, drawn) in enumerate(drawn_images(data, half=half)):
        where = f"{DRAWN} {half} {k % GROUPS + 1}"  # other pictures in each half, so clips of their own
        clip = _stills(image[None])
        edges, regions = _raw(ContourEdges(), clip), _raw(Superpixels(), clip)
        each = edges_right(np.repeat(edges["edges"], len(boundaries), axis=0), boundaries)
        right = np.where(edges["edges"] > 127, each.max(axis=0), each.mean(axis=0))
        yield from yes_and_no("edges", ContourEdges.name, where, edges, right)
        trust = regions["regions_confidence"]
        of_each = [regions_right(regions["regions"], segments[None]) for segments in drawn]
        right = np.mean(of_each, axis=0)  # the share of people of whose objects it is
        yield Counted("regions", Superpixels.name, where, Tally.of(trust, right))


def motion(data: Path, half: str) -> Iterator[Counted]:
    """Motion, saliency and foreground from either, against masks of what moves; foreground says "yes" alone.

    Each clip as it is, at most `LONGEST` wide, and as the product stores it by default.
    """
    for name, frames, masks in moving_clips(data, half):
        plain = _stills(_reduced(frames)), _reduced(masks.astype(np.uint8)) > 0
        yield from _moving(name, *plain, STILLS)
        clip, kept = stored(frames, masks)
        assert kept is not None
        yield from _moving(f"{name}, {AS_STORED}", clip, kept, STILLS // 2)


def _moving(name: str, clip: Clip, masks: Mask, every: int) -> Iterator[Counted]:
    flow = DenseInverseSearch()(clip)
    clip = replace(clip, between=())
    made = _raw(IndependentMotion(), clip.with_labels(flow))
    right = class_right(made["motion"], masks)
    read: tuple[str, ...] = (DenseInverseSearch.name,)
    yield from yes_and_no("motion", IndependentMotion.name, name, made, right, read)
    made = _raw(MotionForeground(), clip.with_labels(_mapped(IndependentMotion.name, made)))
    read += (IndependentMotion.name,)
    yield from yes_and_no("foreground", MotionForeground.name, name, made, right, read)
    stills, masks = _stills(clip.image[::every]), masks[::every]
    made = _raw(BoundarySaliency(), stills.with_labels(ContourEdges()(stills)))
    right = class_right(made["saliency"], masks)
    read = (ContourEdges.name,)
    yield from yes_and_no("saliency", BoundarySaliency.name, name, made, right, read)
    made = _raw(SalientForeground(), stills.with_labels(_mapped(BoundarySaliency.name, made)))
    read += (BoundarySaliency.name,)
    yield from yes_and_no("foreground", SalientForeground.name, name, made, right, read)


def flow(data: Path, half: str) -> Iterator[Counted]:
    """Flow of pairs of frames, and of stereo pairs, which count among the chosen."""
    if half == "other":
        return
    for name, first, second, truth in flow_pairs(data):
        made = _raw(DenseInverseSearch(), _stills(np.stack([first, second])))
        known = np.isfinite(truth).all(axis=-1)
        right = np.where(known, flow_right(made["flow"][0], np.nan_to_num(truth)), np.nan)
        yield Counted("flow", DenseInverseSearch.name, name, Tally.of(made["flow_confidence"][0], right))


def depth(data: Path, half: str) -> Iterator[Counted]:
    """Disparity and normals from stereo pairs, from video and from sensor depth."""
    for name, left, right_view, truth in stereo_pairs(data) if half != "other" else ():
        made = _raw(Stereo(), Clip(left[None], np.zeros(1), np.eye(3), right=right_view[None]))
        right = order_right(made["disparity"], truth[None])
        yield Counted("disparity", Stereo.name, name, Tally.of(made["disparity_confidence"], right))
    for folder in rgbd_folders(data, half):
        yield from _rgbd(folder)


def _rgbd(folder: Path) -> Iterator[Counted]:
    name = folder.name
    full = read_rgbd(folder, 1.0)
    for film in films(folder, full):
        made = _raw(VideoDisparity(), film.clip)
        made |= _raw(Normals(), film.clip.with_labels(_mapped(VideoDisparity.name, made)))
        where = f"{name}, video" + f", {AS_STORED}" * bool(film.setting)
        for k, t in film.judged:
            inverse = 1 / full.fused(t, colour=True)
            right = order_right(made["disparity"][k : k + 1], film.seen(inverse)[None])
            trust = made["disparity_confidence"][k : k + 1]
            yield Counted("disparity", VideoDisparity.name, where, Tally.of(trust, right))
            truth = film.seen(true_normals(inverse, full.colour_K, TRUTH_REACH))
            yield _normals(where, made, k, truth, VideoDisparity.name)
    for t in range(EVERY // 2, len(full.image), 2 * EVERY):
        inverse = 1 / full.fused(t, colour=False)
        sensed = full.depth[t : t + 1].astype(np.float32)
        clip = Clip(full.image[t : t + 1], np.zeros(1), full.K, "given", sensor_depth=sensed)
        made = _raw(SensorDepth(), clip)
        right = order_right(made["disparity"], inverse[None])
        where, trust = f"{name}, sensor", made["disparity_confidence"]
        yield Counted("disparity", SensorDepth.name, where, Tally.of(trust, right))
        made = _raw(Normals(), clip.with_labels(_mapped(SensorDepth.name, made)))
        truth = true_normals(inverse, full.K, TRUTH_REACH)
        yield _normals(where, made, 0, truth, SensorDepth.name)


def _normals(data: str, made: dict[str, Array], k: int, truth: Array, read: str) -> Counted:
    right = np.where(truth.any(axis=-1), normals_right(made["normals"][k], truth), np.nan)
    return Counted("normals", Normals.name, data, Tally.of(made["normals_confidence"][k], right), (read,))


def _raw(detector: Detector, clip: Clip) -> dict[str, Array]:
    """What a detector makes of a clip, its confidence as it is before any map."""
    with using({}):
        return detector(clip)


def _mapped(detector: str, made: dict[str, Array]) -> dict[str, Array]:
    """The same with confidence by the maps in use, as others read it."""
    sure = {}
    for name in made:
        label = name.removesuffix(CONFIDENCE_SUFFIX)
        if label != name:
            says = made[label] > 127 if field(label).kind is Kind.PROBABILITY else None
            sure[name] = calibrated(detector, made[name] / np.float32(255), says)
    return made | sure


def yes_and_no(
    label: str, detector: str, data: str, made: dict[str, Array], right: Array, read: tuple[str, ...] = ()
) -> Iterator[Counted]:
    """The two tallies of a label that says yes or no."""
    for yes in (False, True):
        trust = np.where((made[label] > 127) == yes, made[f"{label}_confidence"], 0)
        yield Counted(label, map_name(detector, yes), data, Tally.of(trust, right), read)


def _stills(frames: Array) -> Clip:
    return Clip(frames, np.arange(len(frames)) / 25.0, np.eye(3))


def _reduced(frames: Array) -> Array:
    scale = LONGEST / max(frames.shape[1:3])
    if scale >= 1:
        return frames
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


PARTS = (edges_and_regions, motion, flow, depth)


def footage_counts(data: Path, half: str) -> list[FootageCount]:
    """The raw scores of a half, by map and data; labels that others read have the maps in use."""
    found: dict[tuple[str, str, str], list[Counted]] = {}
    for part in PARTS:
        for each in part(data, half):
            if each.tally.count.any():
                found.setdefault(each[:3], []).append(each)
    known = detectors()
    counts = []
    for (label, name, where), parts in found.items():
        read = parts[0].read
        versions = {each: known[each].version for each in (*read, detector_of(name))}
        heard = [known[each] for each in (*read, detector_of(name))]
        maps = {
            each: calibration_digest(each) for each in read if any(_believes(other, each) for other in heard)
        }
        clips = len(parts) if where.startswith(DRAWN) else 1  # each picture is a scene of its own
        tally = Tally.sum([part.tally for part in parts])
        counts.append(FootageCount(name, label, where, clips, tally, versions, maps))
    return counts


def _believes(detector: type[Any], other: str) -> bool:
    """Whether a detector reads another one's confidence."""
    return not detector.needs.isdisjoint(n for n in detectors()[other].makes if n.endswith(CONFIDENCE_SUFFIX))


def reliability_rows(
    data: Path | None, pictures: Path | None, half: str = "", counted: Path | None = None
) -> Iterator[Row]:
    """Per label, half and data ECE, also of "yes", and the error among the surest; diagrams into `pictures`.

    Then of each half and detector, as it is and at the defaults: ECE, also of "yes", of all together and with
    clips weighed equally, and the share of clips in which the surer half of the labels errs more than all of
    them. counted: a file that counts of raw scores are written into, for `freelabels calibrate --footage`.
    """
    if data is None:
        return
    drawn: dict[str, dict[str, Tally]] = {}
    every: list[FootageCount] = []
    for each in [half] if half else HALVES:
        counts = footage_counts(data, each)
        every += counts
        counts = grouped(counts)
        for count, tally in zip(counts, judged := [believed(count) for count in counts], strict=True):
            if not count.data.endswith(AS_STORED):
                drawn.setdefault(count.label, {})[f"{count.map}, {count.data}"] = tally
            about = {"label": count.label, "data": count.data, "method": count.map}
            yield {**about, "metric": "ECE", "value": tally.calibration_error}
            yield {**about, "metric": "wrong", "value": tally.risk(1.0)}
            yield {**about, "metric": f"wrong of the surest {SURE:.0%}", "value": tally.risk(SURE)}
        yield from half_rows(counts, judged, each)
    if counted is not None:
        counted.write_text(counts_as_json(every))
    for label, curves in drawn.items() if pictures is not None else ():
        assert pictures is not None
        pictures.mkdir(parents=True, exist_ok=True)
        draw_reliability(f"{label}: real footage", curves, pictures / f"real-{label}.png")


def grouped(counts: Sequence[FootageCount]) -> list[FootageCount]:
    """The same with the groups of drawings in one."""
    found: dict[tuple[str, str, str], list[FootageCount]] = {}
    for count in counts:
        data = f"{DRAWN}, {count.data.split()[1]} half" if count.data.startswith(DRAWN) else count.data
        found.setdefault((count.label, count.map, data), []).append(count)
    return [
        replace(its[0], data=data, clips=sum(c.clips for c in its), tally=Tally.sum([c.tally for c in its]))
        for (_, _, data), its in found.items()
    ]


def believed(count: FootageCount) -> Tally:
    """Counts by the confidences that the maps in use give to raw scores."""
    known = maps_in_use().get(count.map)
    return count.tally if known is None else count.tally.mapped(known)


def half_rows(counts: Sequence[FootageCount], judged: Sequence[Tally], half: str) -> Iterator[Row]:
    """The rows of a half by label and detector: `judged` are the counts by confidence."""
    groups: dict[tuple[str, str, bool], dict[str, list[tuple[bool, Tally]]]] = {}
    for count, tally in zip(counts, judged, strict=True):
        detector = detector_of(count.map)
        group = groups.setdefault((count.label, detector, count.data.endswith(AS_STORED)), {})
        group.setdefault(count.data, []).append((count.map != detector, tally))
    for (label, detector, default), by_data in groups.items():
        clips = [Tally.sum([tally for _, tally in parts]) for parts in by_data.values()]
        yes = [tally for parts in by_data.values() for says, tally in parts if says]
        about: Row = {"label": label, "data": f"{half} half" + f", {AS_STORED}" * default, "method": detector}
        for what, tallies in (("ECE", clips), ("ECE of yes", yes)):
            if tallies:
                yield {**about, "metric": what, "value": Tally.sum(tallies).calibration_error}
                each = [tally.calibration_error for tally in tallies]
                yield {**about, "metric": f"{what}, data weighed equally", "value": float(np.mean(each))}
        backwards = [tally.risk(0.5) > tally.risk(1.0) for tally in clips]
        yield {**about, "metric": "where the surer half errs more", "value": float(np.mean(backwards))}

"""How to make one label of several cues.

    python -m benchmarks.label_model [--data DIR] [--clips 8] [--every 2]

Edges: the four cues of `generators.edges` (gradient, filling near and far, grouping) vote on the arcs between
regions of rendered photos and, with --data, of BSDS images in ``edges/images`` and ``edges/boundaries``. An arc is
true if most of it lies within 2 px of a true boundary; arcs count by their length. Motion: what flow and colour
leave unexplained, towards the next frame and the previous one, votes on the superpixels of rendered clips and of
those in ``motion``; a superpixel is true if most of it moves, and counts by its pixels. Compared, on the same
items: each cue alone, the majority of votes, two-coin Dawid-Skene (for binary votes the same model as STAPLE),
Dawid-Skene on graded votes, both estimated without truth over the data set, and the detector's own fusion.

Cost: about 75 CPU seconds without data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from skimage.filters import threshold_otsu

from benchmarks.labels.footage import drawn_images, moving_clips
from benchmarks.labels.metrics import calibration_error
from benchmarks.tools.command import run
from freelabels.generators.contract.clip import Clip
from freelabels.generators.edges import ContourEdges, saturate
from freelabels.generators.flow import DenseInverseSearch
from freelabels.generators.motion import TRUSTED, IndependentMotion, deviation
from freelabels.generators.tools.camera_motion import camera_homography
from freelabels.generators.tools.contours import Arcs
from freelabels.generators.tools.segmentation import region_means, working_lab
from freelabels.generators.tools.superpixels import Mesh, waterpixels
from freelabels.pipeline.stages.calibrate import calibration_options, rendered_views

Values = NDArray[np.float64]
EDGE_CUES = ("gradient", "filling, near", "filling, far", "grouping")
MOTION_CUES = ("flow, next", "flow, previous", "colour, next", "colour, previous")
REACH = 2  # pixels
LEVELS = 8  # of a graded vote
ROUNDS = 100  # of expectation maximisation
RENDER_SEED, RENDERED_FRAMES = 1001, 8
TINY = 1e-6


@dataclass(frozen=True)
class Votes:
    """Items of a data set: names of cues, cues (J, m), their weight and truth (m,).

    fusions: probabilities (m,) by which the detector fuses the cues, by what they are called in the table.
    """

    names: tuple[str, ...]
    cues: Values
    fusions: Mapping[str, Values]
    weight: Values
    true: NDArray[np.bool_]


def rendered_photos(clips: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Images (H, W, 3) and true boundaries (H, W) of rendered clips, plain and crowded in turn."""
    options = calibration_options(RENDER_SEED, RENDERED_FRAMES, (256, 256))
    for number in range(clips):
        clip, truth = rendered_views(options[number % len(options)], number)["photo"]
        yield from zip(clip.image, truth["edges"] > 127, strict=True)


def drawn_photos(data: Path, every: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Images and boundaries that at least half of the people drew, within the reach of an arc."""
    for image, people, _ in drawn_images(data, every):
        yield image, np.mean([_near(person) for person in people], axis=0) >= 0.5


def _near(boundary: NDArray[np.bool_]) -> NDArray[np.bool_]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1,) * 2)
    return np.asarray(cv2.dilate(boundary.astype(np.uint8), disc) > 0)


def edge_votes(photos: Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]], near: bool) -> Votes:
    """The cues on all arcs of the photos. near: the boundaries are widened already."""
    detector, parts = ContourEdges(), []
    for image, boundary in photos:
        lab = working_lab(image, detector.longest)
        [(arcs, cues, alone)] = detector.cues([lab])
        fused = detector.fused(cues) * alone
        wide = boundary if near else _near(boundary)
        size = lab.shape[1::-1]
        wide = cv2.resize(wide.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        parts.append((cues, saturate(fused**4, detector.threshold**4), arcs.length, _true_arcs(arcs, wide)))
    each, fusions, lengths, truths = zip(*parts, strict=True)
    fusion = {"ours": np.concatenate(fusions)}
    return Votes(
        EDGE_CUES, np.concatenate(each, axis=1), fusion, np.concatenate(lengths), np.concatenate(truths)
    )


def _true_arcs(arcs: Arcs, near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(arcs.mean(near.ravel()[arcs.before].astype(np.float64)) > 0.5)


def rendered_clips(clips: int) -> Iterator[tuple[Clip, NDArray[np.bool_]]]:
    """Rendered clips, plain and crowded in turn, and what moves in them (T, H, W)."""
    options = calibration_options(RENDER_SEED, RENDERED_FRAMES, (256, 256))
    for number in range(clips):
        clip, truth = rendered_views(options[number % len(options)], number)["video"]
        yield clip, truth["motion"] > 127


def real_clips(data: Path) -> Iterator[tuple[Clip, NDArray[np.bool_]]]:
    """Clips with masks of what moves, at most as large as the detector works at."""
    for _, frames, masks in moving_clips(data):
        scale = min(1.0, IndependentMotion().side / max(frames.shape[1:3]))
        size = round(frames.shape[2] * scale), round(frames.shape[1] * scale)
        images = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
        moving = [cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in masks]
        yield Clip(np.stack(images), np.arange(len(frames)) / 25.0, np.eye(3)), np.stack(moving)


def motion_votes(clips: Iterator[tuple[Clip, NDArray[np.bool_]]]) -> Votes:
    """The cues on the superpixels of all frames that follow the camera in both directions of time."""
    detector, parts = IndependentMotion(), []
    for bare, moving in clips:
        clip = bare.with_labels(DenseInverseSearch()(bare))
        found = detector(clip)["motion"] / 255
        lab = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32) for image in clip.image]
        for t in range(1, len(clip) - 1):
            towards = (("flow", "flow_backward", t + 1), ("flow_backward", "flow", t - 1))
            nodes = waterpixels(clip.image[t], detector.step)
            found_ways = []
            for label, home, other in towards:
                flow, trust = _flow(clip, label, t)
                pair = flow, trust, _flow(clip, home, other)[0], lab[t], lab[other]
                camera = camera_homography(flow, trust > TRUSTED)
                found_ways.append(deviation(*pair, Mesh.of(nodes), camera))
            ways = [way for way in found_ways if way is not None and way.following > detector.following]
            if len(ways) < 2:
                continue
            flows, colours = [way.flow for way in ways], [way.colour for way in ways]
            alone = np.sqrt(np.minimum(*flows) * np.minimum(*colours))
            mean = region_means(np.dstack([*flows, *colours, alone, found[t], moving[t]]), nodes).T
            cues = expit((mean[:5] - detector.evidence) / detector.softness)
            parts.append((cues, mean[5], np.bincount(nodes.ravel()).astype(np.float64), mean[6] > 0.5))
    graded, ours, size, true = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return Votes(
        MOTION_CUES, graded[:4], {"ours, this superpixel alone": graded[4], "ours": ours}, size, true
    )


def _flow(clip: Clip, label: str, t: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    trust = clip.labels[f"{label}_confidence"][t] / np.float32(255)
    return np.nan_to_num(clip.labels[label][t].astype(np.float32)), trust


def dawid_skene(levels: NDArray[np.int64], weight: Values, start: Values) -> Values:
    """P(true) (m,) of items by their votes `levels` (J, m), from 0, and nothing else.

    Each voter has its own distribution of votes for true and for false items, independent of the other voters
    given the truth; expectation maximisation from the probabilities `start` (m,). Source: A. Dawid and
    A. Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979.
    """
    belief, count = np.clip(start, TINY, 1 - TINY), int(levels.max()) + 1
    for _ in range(ROUNDS):
        odds = np.log(np.sum(weight * belief) / np.sum(weight * (1 - belief))) + np.zeros(len(weight))
        for vote in levels:
            rates = [np.bincount(vote, weight * p, minlength=count) + TINY for p in (belief, 1 - belief)]
            rates = [rate / rate.sum() for rate in rates]
            odds += np.log(rates[0][vote] / rates[1][vote])
        belief = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return np.asarray(belief)


def methods(given: Votes) -> dict[str, Values]:
    """P(true) or another score in [0, 1] (m,) by method."""
    binary = np.stack([cue > threshold_otsu(cue) for cue in given.cues]).astype(np.int64)
    share = binary.mean(axis=0)
    edges = [np.quantile(cue, np.arange(1, LEVELS) / LEVELS) for cue in given.cues]
    graded = np.stack([np.searchsorted(e, cue) for e, cue in zip(edges, given.cues, strict=True)])
    found = {f"{name} alone": cue for name, cue in zip(given.names, given.cues, strict=True)}
    return {
        **found,
        "majority vote": share,
        "Dawid-Skene (STAPLE), yes or no": dawid_skene(binary, given.weight, share),
        f"Dawid-Skene, {LEVELS} grades": dawid_skene(graded, given.weight, share),
        **given.fusions,
    }


def average_precision(score: Values, true: NDArray[np.bool_], weight: Values) -> tuple[float, float]:
    """Area under precision over recall, and the best F; items of equal score are taken together."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    hit = np.cumsum((weight * true)[order])[last]
    taken = np.cumsum(weight[order])[last]
    recall, precision = hit / max(hit[-1], TINY), hit / taken
    f = 2 * recall * precision / np.maximum(recall + precision, TINY)
    return float(np.sum(np.diff(recall, prepend=0) * precision)), float(f.max())


def main(*, data: Path | None = None, clips: int = 8, every: int = 2) -> None:
    """Print a table: label, data, method, average precision, best F, calibration error.

    Args:
        data: Folder of real footage with ground truth, for its ``edges`` and ``motion``.
        clips: How many rendered clips.
        every: One of so many BSDS images.
    """
    cv2.setNumThreads(1)
    sets: dict[tuple[str, str], Callable[[], Votes]] = {
        ("edges", "renders"): lambda: edge_votes(rendered_photos(clips), near=False),
        ("motion", "renders"): lambda: motion_votes(rendered_clips(clips)),
    }
    if data is not None:
        if missing := [name for name in ("edges", "motion") if not (data / name).is_dir()]:
            raise SystemExit(f"--data {data} has no folder {missing[0]}; name the folder of ground truth")
        sets["edges", "BSDS"] = lambda: edge_votes(drawn_photos(data, every), near=True)
        sets["motion", "DAVIS"] = lambda: motion_votes(real_clips(data))
    print("| label | data | method | AP | best F | ECE |\n|---|---|---|---|---|---|")
    for (label, name), gather in sets.items():
        given = gather()
        for method, score in methods(given).items():
            ap, f = average_precision(score, given.true, given.weight)
            ece = calibration_error(score, given.true, given.weight)
            print(f"| {label} | {name} | {method} | {ap:.3f} | {f:.3f} | {ece:.3f} |", flush=True)


if __name__ == "__main__":
    run(main, __doc__)

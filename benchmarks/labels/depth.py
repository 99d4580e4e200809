"""Disparity benchmark: bad pixels over density for stereo, order and AbsRel over coverage for video."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.footage import Floats, Image, stereo_pairs
from benchmarks.labels.metrics import Row, calibration_error
from benchmarks.labels.rgbd import films, read_rgbd, rgbd_folders
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.depth.video_disparity import VideoDisparity

DENSITIES = (0.5, 0.75, 0.9, 0.96, 1.0)
COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BAD = 2.0  # pixels
APART = 1.05  # pairs of pixels nearer in depth than this ratio have no order a Kinect can tell
PAIRS = 20000


def seen_by_both(disparity: Floats) -> NDArray[np.bool_]:
    """Where the left view's surface is in the right view too: inside it and behind nothing nearer."""
    height, width = disparity.shape
    row, column = np.nonzero(np.isfinite(disparity))
    here = disparity[row, column]
    at = np.rint(column - here).astype(int)
    nearest = np.full((height, width + 2), -1.0)
    for step in (-1, 0, 1):
        np.maximum.at(nearest, (row, np.clip(at + step, -1, width) + 1), here)
    out = np.zeros(disparity.shape, bool)
    out[row, column] = (at >= 0) & (nearest[row, np.clip(at, -1, width) + 1] <= here + 1.5)
    return out


def plain_sgbm(left: Image, right: Image) -> tuple[Array, Array]:
    """OpenCV's matcher as in its tutorial, on grey images; pixels it leaves out come last."""
    levels = int(np.ceil(left.shape[1] / 4 / 16)) * 16
    matcher = cv2.StereoSGBM.create(minDisparity=0, numDisparities=levels, blockSize=5, P1=200, P2=800)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right)]
    found = np.asarray(matcher.compute(grey[0], grey[1]), np.float32) / 16
    return found, (found >= 0).astype(np.float32)


def ours_stereo(left: Image, right: Image) -> tuple[Array, Array]:
    """The detector's disparity and confidence of one pair."""
    made = Stereo()(Clip(left[None], np.zeros(1), np.eye(3), right=right[None]))
    return made["disparity"][0].astype(np.float64), made["disparity_confidence"][0] / 255


def stereo_rows(data: Path | None) -> Iterator[Row]:
    """Share of pixels off by more than two, over density: the most confident pixels with known truth.

    "visible" counts surfaces that both cameras see (the usual non-occluded measure), "all" every pixel with
    known truth, also those no matcher can see.
    """
    totals: dict[tuple[str, str], list[float]] = {}
    for name, left, right, truth in stereo_pairs(data):
        visible = np.where(seen_by_both(truth), truth, np.nan)
        for method, run in (("stereo", ours_stereo), ("OpenCV SGBM", plain_sgbm)):
            start = time.process_time()
            found, score = run(left, right)
            spent = 1e3 * (time.process_time() - start)
            metrics = {"ms": spent}
            for which, known in (("visible", visible), ("all", truth)):
                for density in DENSITIES:
                    metrics[f"bad2 {which} @ {density:.0%}"] = bad_share(found, score, known, density)
            for metric, value in metrics.items():
                totals.setdefault((method, metric), []).append(value)
                yield {"label": "disparity", "data": name, "method": method, "metric": metric, "value": value}
    for (method, metric), values in totals.items():
        if len(values) < 2:
            continue
        mean = float(np.mean(values))
        yield {"label": "disparity", "data": "stereo mean", "method": method, "metric": metric, "value": mean}


def bad_share(found: Array, score: Array, truth: Floats, density: float) -> float:
    """Share of wrong pixels among the `density` most confident of those with known truth."""
    known = np.isfinite(truth)
    wrong = ~(np.abs(found - truth)[known] <= BAD)
    order = np.argsort(-score[known], kind="stable")
    return float(wrong[order[: max(1, int(np.ceil(density * len(order))))]].mean())


def order_and_error(
    inverse: Array, score: Array, depth: Floats, coverage: float, seed: int = 0
) -> tuple[float, float]:
    """Ordinal accuracy and AbsRel (median scale) over the `coverage` most confident pixels with known depth.

    NaN if the method labels fewer. Pairs are drawn at random among those pixels.
    """
    random = np.random.default_rng(seed)
    known = np.flatnonzero(np.isfinite(depth))
    value, trust, true = np.nan_to_num(inverse).ravel(), score.ravel().astype(np.float64), depth.ravel()
    order = known[np.lexsort((random.random(len(known)), -trust[known]))]
    kept = order[: max(2, int(coverage * len(known)))]
    if not (trust[kept] > 0).all():
        return float("nan"), float("nan")
    a, b = random.choice(kept, (2, PAIRS))
    apart = np.abs(np.log(true[a] / true[b])) > np.log(APART)
    right = (value[a] > value[b]) == (true[a] < true[b])
    scale = np.median(value[kept] * true[kept])
    error = np.abs(scale / np.maximum(value[kept], 1e-9) - true[kept]) / true[kept]
    return float(right[apart].mean()), float(error.mean())


def order_right(inverse: Array, depth: Floats, seed: int = 0) -> NDArray[np.bool_]:
    """Whether each labelled pixel (N,) with known depth is ordered rightly against a random other one."""
    random = np.random.default_rng(seed)
    known = np.flatnonzero(np.isfinite(depth) & np.isfinite(inverse))
    other = random.choice(known, len(known))
    value, true = inverse.ravel(), depth.ravel()
    return np.asarray((value[known] > value[other]) == (true[known] < true[other]))


def video_disparity_rows(folder: Path) -> Iterator[Row]:
    """Order and AbsRel over coverage on an RGB-D clip, beside vertical position and flow magnitude."""
    full = read_rgbd(folder, 1.0)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found: dict[tuple[str, str, float], list[tuple[float, float]]] = {}
    sure: dict[str, list[tuple[Array, Array]]] = {}
    spent: dict[str, list[float]] = {}
    for film in films(folder, full):
        clip, name = film.clip, f"{folder.name}{film.setting}"
        y = np.repeat(np.arange(clip.size[0], dtype=np.float64)[:, None], clip.size[1], axis=1)
        begin = time.process_time()
        made = VideoDisparity()(clip)
        spent.setdefault(name, []).append((time.process_time() - begin) / len(clip))
        for k, t in film.judged:
            grey = [cv2.cvtColor(clip.image[n], cv2.COLOR_RGB2GRAY) for n in (k, min(k + 1, len(clip) - 1))]
            motion = np.asarray(flow.calc(grey[0], grey[1], np.zeros((*y.shape, 2), np.float32)))
            inverse, score = made["disparity"][k].astype(np.float64), made["disparity_confidence"][k] / 255
            depth = film.seen(full.fused(t, colour=True))
            answers = {
                "video_disparity": (inverse, score),
                "vertical position": (y, np.ones_like(y)),
                "vertical position, our pixels": (y, score),
                "flow magnitude": (np.hypot(motion[..., 0], motion[..., 1]), np.ones_like(y)),
            }
            for method, (value, certainty) in answers.items():
                for coverage in COVERAGES:
                    result = order_and_error(value, certainty, depth, coverage)
                    found.setdefault((name, method, coverage), []).append(result)
            known = np.isfinite(depth) & np.isfinite(inverse)
            sure.setdefault(name, []).append((score[known], order_right(inverse, depth)))
    for (name, method, coverage), results in found.items():
        about: Row = {"label": "disparity", "data": name, "method": method}
        reached = [r for r in results if np.isfinite(r[0])]
        if len(reached) < 0.9 * len(results):
            continue
        order, error = np.mean(reached, axis=0)
        yield {**about, "metric": f"ordinal @ {coverage:.0%}", "value": float(order)}
        if method == "video_disparity":
            yield {**about, "metric": f"AbsRel @ {coverage:.0%}", "value": float(error)}
    for name, pairs in sure.items():
        about = {"label": "disparity", "data": name, "method": "video_disparity"}
        trust, right = (np.concatenate(part) for part in zip(*pairs, strict=True))
        if len(trust):  # else it abstains
            yield {**about, "metric": "ECE", "value": calibration_error(trust, right)}
        yield {**about, "metric": "ms", "value": 1e3 * float(np.mean(spent[name]))}


def depth_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """From stereo pairs, which count among the chosen, and from video where there are clips with true depth."""
    if half != "other":
        yield from stereo_rows(data)
    for folder in rgbd_folders(data, half):
        yield from video_disparity_rows(folder)

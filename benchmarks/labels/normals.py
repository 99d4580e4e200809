"""Normals benchmark: angular error over coverage, from sensor depth, stereo and video, beside cross products."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from benchmarks.labels.footage import Floats
from benchmarks.labels.metrics import Row, calibration_error
from benchmarks.labels.rgbd import EVERY, films, read_rgbd, rgbd_folders
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import backproject, intrinsics
from freelabels.generators.depth.sensor_depth import SensorDepth
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.depth.video_disparity import VideoDisparity
from freelabels.generators.normals import Normals

COVERAGES = (0.15, 0.3, 0.5, 0.7, 1.0)
TRUTH_REACH = 5  # pixels at 640 × 480: truth is a plane through 11 × 11 fused depths
TRUTH_RESIDUAL = 0.01  # of the depth: where no plane fits better than this there is no truth
RIGHT = 22.5  # degrees
# The motorcycle pair (Middlebury 2014, a quarter of full size): focal length and offset of the right view's
# principal point, in pixels.
MOTORCYCLE_FOCAL, MOTORCYCLE_OFFSET = 994.978, 31


def true_normals(inverse: Floats, K: Floats, reach: int) -> Floats:
    """(H, W, 3) normals of least-squares planes in inverse depth over square windows; 0 where none fits."""
    height, width = inverse.shape
    known = np.isfinite(inverse)
    w = np.where(known, inverse, 0)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)

    def mean(values: Floats) -> Floats:
        size = (2 * reach + 1, 2 * reach + 1)
        return np.asarray(cv2.boxFilter(values * known, cv2.CV_64F, size, borderType=cv2.BORDER_CONSTANT))

    share = mean(np.ones_like(w))
    n = np.maximum(share, 1e-9)
    mx, my, mw = (mean(v) / n for v in (x, y, w))
    xx, yy, xy = mean(x * x) / n - mx**2, mean(y * y) / n - my**2, mean(x * y) / n - mx * my
    xw, yw, ww = mean(x * w) / n - mx * mw, mean(y * w) / n - my * mw, mean(w * w) / n - mw**2
    determinant = np.maximum(xx * yy - xy**2, 1e-9)
    a, b = (yy * xw - xy * yw) / determinant, (xx * yw - xy * xw) / determinant
    normal = -(np.stack([a, b, mw - a * mx - b * my], axis=-1) @ K)
    residual = np.sqrt(np.maximum(ww - a * xw - b * yw, 0)) / np.maximum(mw, 1e-9)
    fits = known & (share > 0.6) & (residual < TRUTH_RESIDUAL)
    return np.where(
        fits[..., None], normal / np.maximum(np.linalg.norm(normal, axis=-1), 1e-12)[..., None], 0
    )


def cross_product(depth: Floats, K: Floats) -> Floats:
    """(H, W, 3) normals from the differences of neighbouring points; 0 where these are unknown."""
    points = backproject(depth, K)
    across, down = np.zeros_like(points), np.zeros_like(points)
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    down[1:-1] = points[2:] - points[:-2]
    normal = np.nan_to_num(np.cross(down, across))
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=-1), 1e-12)[..., None])


def angles(found: Array, truth: Floats) -> Floats:
    """Degrees between normals (H, W, 3), (N,) where there is truth; 90 where nothing was found."""
    known = truth.any(axis=-1)
    f, t = found[known].astype(np.float64), truth[known]
    length = np.linalg.norm(f, axis=-1)
    cosine = (f * t).sum(axis=-1) / np.maximum(length, 1e-9)
    return np.where(length > 0, np.degrees(np.arccos(np.clip(cosine, -1, 1))), 90)


def summary(error: Floats, score: Floats) -> dict[str, float]:
    """Metrics of angular errors (N,) in degrees, over the most confident pixels first."""
    order = np.argsort(-score, kind="stable")
    out = {}
    for coverage in COVERAGES:
        kept = error[order[: max(1, int(coverage * len(order)))]]
        out[f"median ° @ {coverage:.0%}"] = float(np.median(kept))
        out[f"mean ° @ {coverage:.0%}"] = float(kept.mean())
        for limit in (11.25, 22.5, 30):
            out[f"< {limit}° @ {coverage:.0%}"] = float((kept < limit).mean())
    return out


def measured(data: Path | None, half: str = "") -> Iterator[tuple[str, str, Array, Array, Floats, float]]:
    """Source, method, normals, confidence, true normals and seconds of every measured frame."""
    for folder in rgbd_folders(data, half):
        about = f", {folder.name}"
        full = read_rgbd(folder, 1.0)
        for t in range(EVERY // 2, len(full.image), 2 * EVERY):
            truth = true_normals(1 / full.fused(t, colour=False), full.K, TRUTH_REACH)
            depth = full.depth[t].astype(np.float32)
            clip = Clip(full.image[t : t + 1], np.zeros(1), full.K, "given", sensor_depth=depth[None])
            yield f"sensor depth{about}", *_ours(clip, SensorDepth()(clip), 0), truth, 0.0
            yield (
                f"sensor depth{about}",
                "cross product",
                cross_product(full.depth[t], full.K),
                np.ones(depth.shape),
                truth,
                0.0,
            )
        for film in films(folder, full):
            clip, made = film.clip, VideoDisparity()(film.clip)
            begin = time.process_time()
            labels = Normals()(clip.with_labels(made))
            spent = (time.process_time() - begin) / len(clip)
            where = f"video{about}{film.setting}"
            for k, t in film.judged:
                truth = film.seen(true_normals(1 / full.fused(t, colour=True), full.colour_K, TRUTH_REACH))
                inverse = made["disparity"][k].astype(np.float64)
                normals, trust = labels["normals"][k], labels["normals_confidence"][k] / 255
                yield where, "normals", normals, trust, truth, spent
                yield where, "cross product", cross_product(1 / inverse, clip.camera_K), trust, truth, 0.0
    if half == "other":
        return
    clip, truth = motorcycle()
    made = Stereo()(clip)
    inverse = made["disparity"][0].astype(np.float64)
    yield "stereo", *_ours(clip, made, 0), truth, 0.0
    yield (
        "stereo",
        "cross product",
        cross_product(1 / inverse, clip.camera_K),
        np.ones(inverse.shape),
        truth,
        0.0,
    )


def motorcycle() -> tuple[Clip, Floats]:
    """The motorcycle as a stereo clip, and the normals (H, W, 3) of planes through its true disparity."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    height, width = disparity.shape
    K = intrinsics(MOTORCYCLE_FOCAL, width, height)
    # Cutting the offset off the right view gives both views one principal point, as the labels presume.
    shifted = np.zeros_like(right)
    shifted[:, :-MOTORCYCLE_OFFSET] = right[:, MOTORCYCLE_OFFSET:]
    true = np.where(np.isfinite(disparity), disparity + MOTORCYCLE_OFFSET, np.nan).astype(np.float64)
    clip = Clip(left[None], np.zeros(1), K, "given", right=shifted[None])
    return clip, true_normals(true, K, TRUTH_REACH)


def _ours(clip: Clip, made: dict[str, Array], k: int) -> tuple[str, Array, Array]:
    labels = Normals()(clip.with_labels(made))
    return "normals", labels["normals"][k], labels["normals_confidence"][k] / 255


def normals_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """Angular errors over coverage for each source of depth; truth: planes through depth fused over frames."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for source, method, normals, score, truth, spent in measured(data, half):
        error, trust = angles(normals, truth), score[truth.any(axis=-1)].astype(np.float64)
        metrics = summary(error, trust)
        if method == "normals":
            labelled = trust > 0
            metrics["ECE"] = calibration_error(trust[labelled], error[labelled] < RIGHT)
        if spent:
            metrics["ms"] = 1e3 * spent
        found.setdefault((source, method), []).append(metrics)
    for (source, method), frames in found.items():
        for metric in frames[0]:
            value = float(np.mean([frame[metric] for frame in frames]))
            yield {"label": "normals", "data": source, "method": method, "metric": metric, "value": value}

"""Every label on rendered clips, whose truth is exact, beside the plain baseline: runs anywhere, without data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from benchmarks.labels.depth import bad_share, order_and_error, plain_sgbm
from benchmarks.labels.edges import canny
from benchmarks.labels.flow import endpoint_error, kept_error, opencv_default
from benchmarks.labels.metrics import Row
from benchmarks.labels.motion import METHODS as MOTION_METHODS
from benchmarks.labels.motion import contour_score, region_score
from benchmarks.labels.normals import angles, cross_product, summary
from freelabels.generators.contract.clip import CONSECUTIVE, INTRINSICS, SEED, Clip
from freelabels.generators.contract.detector import detectors, label_names, plan, run_detectors
from freelabels.generators.contract.fields import Array
from freelabels.pipeline.quality.rightness import regions_right
from freelabels.pipeline.stages.calibrate import rendered_views
from freelabels.pipeline.stages.render import RenderOptions
from freelabels.train.probing.transfer.boundaries import Counts, count, score, thresholded

Truth = Mapping[str, Array]
Found = dict[tuple[str, str, str], list[float]]  # label, method, metric → a value a clip
RENDER_SEED = 1001  # not the one that the confidence maps are fitted to
GRID = 16  # pixels of the square regions that superpixels must beat


def rendered_rows(clips: int, frames: int = 16) -> Iterator[Row]:
    """Ours and the baselines on `clips` rendered clips at 256 × 256; mean over clips, a row per metric."""
    options = RenderOptions(seed=RENDER_SEED, frames=frames)
    found: Found = {}
    counts: dict[str, list[Counts]] = {}
    for number in range(clips):
        views = rendered_views(options, number)
        _photo(*views["photo"], found, counts)
        _video(*views["video"], found)
        _stereo(*views["stereo"], found)
        _sensor(*views["sensor"], found)
    for method, each in counts.items():
        result = score(each)
        for metric in ("ods", "ois", "ap"):
            found["edges", method, metric.upper()] = [getattr(result, metric)]
    for (label, method, metric), values in sorted(found.items()):
        known = [value for value in values if np.isfinite(value)]
        about = {"label": label, "data": "renders", "method": method, "metric": metric}
        yield {**about, "value": float(np.mean(known)) if known else float("nan")}


def cost_rows(frames: int = 16, rounds: int = 5) -> Iterator[Row]:
    """CPU milliseconds per frame of each detector of the default set, and of all, on a 256 × 256 video.

    The least of `rounds` (what else runs on the machine only adds), after a first one that isn't counted, in which
    libraries fill the tables they keep; of all, the least sum of a round and the median one.
    """
    video, _ = rendered_views(RenderOptions(seed=RENDER_SEED, frames=frames), 0)["video"]
    default = plan(label_names(), frozenset({CONSECUTIVE, INTRINSICS, SEED}), {}).detectors
    spent: dict[str, list[float]] = {detector.name: [] for detector in default}
    for _ in range(1 + rounds):
        clip = video
        for detector in default:
            start = time.process_time()
            clip = clip.with_labels(run_detectors(clip, [detector]))
            spent[detector.name].append(1e3 * (time.process_time() - start) / frames)
    about = {"label": "all labels", "data": "a video at 256 × 256", "metric": "ms"}
    for name, times in spent.items():
        yield {**about, "method": name, "value": min(times[1:])}
    sums = np.sum(list(spent.values()), axis=0)[1:]
    yield {**about, "method": "all", "value": float(sums.min())}
    yield {**about, "method": "all", "metric": "ms, median round", "value": float(np.median(sums))}


def _add(found: Found, label: str, method: str, metrics: Mapping[str, float]) -> None:
    for metric, value in metrics.items():
        found.setdefault((label, method, metric), []).append(value)


def _run(name: str, clip: Clip) -> dict[str, Array]:
    return run_detectors(clip, [detectors()[name]()])


def _photo(clip: Clip, truth: Truth, found: Found, counts: dict[str, list[Counts]]) -> None:
    made = _run("edges", clip)
    edges = made["edges"]
    for t, image in enumerate(clip.image):
        drawn = [truth["edges"][t] > 127]
        counts.setdefault("edges", []).append(count(thresholded(edges[t]), drawn))
        counts.setdefault("Canny, σ 2.8", []).append(count(canny(image), drawn))
    regions = _run("superpixels", clip)["regions"]
    row, column = np.indices(clip.size) // GRID
    squares = np.broadcast_to(row * 1000 + column, regions.shape)
    for method, ids in (("superpixels", regions), (f"squares of {GRID} px", squares)):
        share = float(regions_right(ids, truth["instance"]).mean())
        _add(found, "regions", method, {"pixels of their region's object": share})
    saliency = _run("boundary_saliency", clip.with_labels(made))["saliency"] > 127
    centre = np.zeros(regions.shape, bool)
    height, width = clip.size
    centre[:, height // 4 : -height // 4, width // 4 : -width // 4] = True
    for method, mask in (("boundary_saliency", saliency), ("the middle quarter", centre)):
        _add(found, "saliency", method, _masks(mask, truth["foreground"] > 127))


def _masks(mask: Array, truth: Array) -> dict[str, float]:
    pairs = list(zip(mask, truth, strict=True))
    return {
        "J": float(np.mean([region_score(*pair) for pair in pairs])),
        "F": float(np.mean([contour_score(*pair) for pair in pairs])),
    }


def _video(clip: Clip, truth: Truth, found: Found) -> None:
    made = _run("dense_inverse_search", clip)
    known = truth["flow"].astype(np.float32)
    for t in range(0, len(clip) - 1, 4):
        error = endpoint_error(made["flow"][t], known[t])
        trust = made["flow_confidence"][t][np.isfinite(known[t]).all(axis=-1)]
        kept, oracle = kept_error(error, trust)
        metrics = {"EPE px": float(error.mean()), "EPE of the surest 75 %": kept, "oracle's": oracle}
        _add(found, "flow", "dense_inverse_search", metrics)
        plain, _ = opencv_default(clip.image[t], clip.image[t + 1])
        _add(found, "flow", "OpenCV DIS", {"EPE px": float(endpoint_error(plain, known[t]).mean())})
    clip = clip.with_labels(made)
    for method, run in MOTION_METHODS.items():
        mask, trust = run(clip)
        moving = truth["motion"] > 127
        metrics = _masks(mask, moving) if moving.any() else {"claimed where all is still": float(mask.mean())}
        if trust is not None:
            metrics["coverage"] = float((trust > 0).mean())
        _add(found, "motion", method, metrics)
    made = _run("video_disparity", clip)
    _add(
        found, "disparity", "video_disparity", {"coverage": float((made["disparity_confidence"] > 0).mean())}
    )
    height = np.repeat(np.arange(clip.size[0], dtype=np.float64)[:, None], clip.size[1], axis=1)
    for t in range(0, len(clip) - 1, 4):
        answers = {
            "video_disparity": (made["disparity"][t], made["disparity_confidence"][t]),
            "vertical position": (height, np.ones_like(height)),
            "flow magnitude": (np.hypot(*np.moveaxis(clip.labels["flow"][t], -1, 0)), np.ones_like(height)),
        }
        depth = np.where(np.isfinite(truth["depth"][t]), truth["depth"][t], np.nan)
        for method, (value, trust) in answers.items():
            for coverage in (0.3, 0.6, 0.9):
                order, off = order_and_error(value, trust, depth, coverage)
                metrics = {f"ordinal @ {coverage:.0%}": order}
                if method == "video_disparity":
                    metrics[f"AbsRel @ {coverage:.0%}"] = off
                _add(found, "disparity", method, metrics)
    _normals(clip.with_labels(made), truth, found, "video")


def _stereo(clip: Clip, truth: Truth, found: Found) -> None:
    assert clip.right is not None and clip.baseline is not None
    made = _run("stereo", clip)
    for t in range(len(clip)):
        exact = clip.camera_K[0, 0] * clip.baseline / truth["depth"][t].astype(np.float64)
        plain = plain_sgbm(clip.image[t], clip.right[t])
        ours = made["disparity"][t], made["disparity_confidence"][t]
        for method, (disparity, trust) in (("stereo", ours), ("OpenCV SGBM", plain)):
            shares = {f"bad2 all @ {d:.0%}": bad_share(disparity, trust, exact, d) for d in (0.75, 0.96)}
            _add(found, "disparity", method, shares)
    _normals(clip.with_labels(made), truth, found, "stereo")


def _sensor(clip: Clip, truth: Truth, found: Found) -> None:
    _normals(clip.with_labels(_run("sensor_depth", clip)), truth, found, "sensor depth")


def _normals(clip: Clip, truth: Truth, found: Found, source: str) -> None:
    made = _run("normals", clip)
    for t in range(0, len(clip), 4 if source == "video" else 1):
        true = truth["normals"][t].astype(np.float64)
        inverse = cv2.medianBlur(clip.labels["disparity"][t].astype(np.float32), 3).astype(np.float64)
        plain = cross_product(1 / np.where(inverse > 0, inverse, np.nan), clip.camera_K)
        trust = made["normals_confidence"][t][true.any(axis=-1)].astype(np.float64)
        for method, normals in (("normals", made["normals"][t]), ("cross product", plain)):
            metrics = summary(angles(normals, true), trust)
            chosen = {name: v for name, v in metrics.items() if name.endswith(("@ 30%", "@ 70%"))}
            _add(found, f"normals, {source}", method, chosen)

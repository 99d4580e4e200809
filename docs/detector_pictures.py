"""Draws the pictures of docs/detectors/: scikit-image's photos, the best and the worst frame of rendered clips.

Of each label the frames of a few rendered clips of all kinds are judged against their exact truth; drawn are the
one with the least and the one with the greatest error: frame, truth, label, confidence. Says where these are and
how large their errors are, for the pages' captions.

python docs/detector_pictures.py [NAME ...]
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors, run_detectors
from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.contract.pictures import picture
from freelabels.pipeline.quality.rightness import (
    edges_right,
    flow_right,
    normals_right,
    order_right,
    regions_right,
)
from freelabels.pipeline.stages.calibrate import calibration_options, rendered_views

OUT = Path(__file__).parent / "detectors"
SIDE = 200
SEED, CLIPS, FRAMES = 7, 6, 12  # of the rendered clips: rooms, streets, crowded floors in turn
EVERY = 3  # frames from one that is judged to the next
LEAST_FLOW = 2.0  # px, in the median
LEAST_LABELLED = 0.02  # of the frame: with less there is nothing to look at

Truth = Mapping[str, Array]


def still(image: Array, right: Array | None = None) -> Clip:
    """A clip of one photo, or of one stereo pair."""
    height, width = image.shape[:2]
    K = intrinsics(0.85 * width, width, height)
    return Clip(image[None], np.zeros(1), K, right=None if right is None else right[None])


def row(clip: Clip, made: Truth, label: str, frame: int = 0, truth: Array | None = None) -> Array:
    """Frame, truth where it is known, label, confidence side by side."""
    panels = [clip.image[frame]]
    if truth is None:
        panels.append(picture(label, made[label][frame]))
    elif label == "flow":  # both on one scale; others have theirs, or truth is in another unit
        panels += list(picture(label, np.stack([truth, made[label][frame]]).astype(truth.dtype)))
    else:
        panels += [picture(label, truth), picture(label, made[label][frame])]
    panels.append(picture(confidence_name(label), made[confidence_name(label)][frame]))
    width = round(SIDE * clip.size[1] / clip.size[0])
    return np.hstack([cv2.resize(panel, (width, SIDE), interpolation=cv2.INTER_AREA) for panel in panels])


def write(name: str, *rows: Array) -> None:
    """Write rows of panels, one below the other, each scaled to the width of the first."""
    width = rows[0].shape[1]
    scaled = [
        cv2.resize(one, (width, round(one.shape[0] * width / one.shape[1])), interpolation=cv2.INTER_AREA)
        for one in rows
    ]
    # A palette keeps the files small.
    whole = Image.fromarray(np.vstack(scaled))
    whole.quantize(96, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)


def run(name: str, clip: Clip) -> dict[str, Array]:
    """The labels one detector makes of a clip."""
    return run_detectors(clip, [detectors()[name]()])


# --- photos ---------------------------------------------------------------------------------------------------


def photos() -> None:
    """Labels of scikit-image's photos, of which no truth is known but for what one sees."""
    photo = still(cv2.resize(data.chelsea(), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA))
    write("edges", row(photo, run("edges", photo), "edges"))
    write("regions", row(photo, run("superpixels", photo), "regions"))
    write("saliency", *(standing_out(image) for image in (data.rocket(), data.chelsea())))
    left, right, _ = data.stereo_motorcycle()
    pair = still(left, right)
    made = run("stereo", pair)
    write("stereo", row(pair, made, "disparity"))
    write("normals", row(pair, run("normals", pair.with_labels(made)), "normals"))


def standing_out(image: Array) -> Array:
    """The row of saliency of a photo."""
    photo = still(cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    made = run("edges", photo)
    return row(photo, made | run("boundary_saliency", photo.with_labels(made)), "saliency")


# --- rendered clips -------------------------------------------------------------------------------------------

Judge = Callable[[Truth, Truth, int], float]


def wrong(label: str, right: Callable[[Array, Array], Array]) -> Judge:
    """Share of wrong labels among the trusted ones, each as far as it is trusted; NaN: hardly any."""

    def judge(made: Truth, truth: Truth, t: int) -> float:
        with np.errstate(invalid="ignore"):
            good = right(made[label][t : t + 1], truth[label][t : t + 1])[0]
        trust = np.where(np.isfinite(good), made[confidence_name(label)][t], 0).astype(np.float64)
        if (trust > 0).mean() < LEAST_LABELLED:
            return float("nan")
        return float((trust * (1 - np.nan_to_num(good))).sum() / trust.sum())

    return judge


def flow_wrong(made: Truth, truth: Truth, t: int) -> float:
    """`wrong` of the flow; NaN where most of the frame hardly moves."""
    length = np.linalg.norm(truth["flow"][t].astype(np.float64), axis=-1)
    moves = np.isfinite(length).any() and np.nanmedian(length) >= LEAST_FLOW
    return wrong("flow", flow_right)(made, truth, t) if moves else float("nan")


def unlike(label: str) -> Judge:
    """1 - intersection over union of what is claimed and what is so; NaN where nothing much is so."""

    def judge(made: Truth, truth: Truth, t: int) -> float:
        said = (made[label][t] > 127) & (made[confidence_name(label)][t] > 0)
        true = truth[label][t] > 127
        if true.mean() < LEAST_LABELLED:
            return float("nan")
        return 1 - float((said & true).sum() / (said | true).sum())

    return judge


def edges_wrong(made: Truth, truth: Truth, t: int) -> float:
    """Share of wrong labels among the pixels near a claimed or a true boundary."""
    claimed, true = made["edges"][t] > 127, truth["edges"][t] > 127
    near = cv2.dilate((claimed | true).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return 1 - float(edges_right(made["edges"][t][None], true[None])[0][near].mean())


def regions_wrong(made: Truth, truth: Truth, t: int) -> float:
    """Share of pixels that aren't of their region's object."""
    return 1 - float(regions_right(made["regions"][t : t + 1], truth["instance"][t : t + 1]).mean())


# Label → the view of `rendered_views` it is looked at in, the detectors run, what is wrong with a frame.
JUDGED: Mapping[str, tuple[str, str, tuple[str, ...], Judge]] = {
    "edges": ("edges", "photo", ("edges",), edges_wrong),
    "regions": ("regions", "photo", ("superpixels",), regions_wrong),
    "saliency": ("saliency", "pasted", ("edges", "boundary_saliency"), unlike("saliency")),
    "motion": ("motion", "video", ("dense_inverse_search", "independent_motion"), unlike("motion")),
    "flow": ("flow", "video", ("dense_inverse_search",), flow_wrong),
    "video_disparity": ("disparity", "video", ("video_disparity",), wrong("disparity", order_right)),
    "stereo": ("disparity", "stereo", ("stereo",), wrong("disparity", order_right)),
    "normals": ("normals", "video", ("video_disparity", "normals"), wrong("normals", normals_right)),
}


def renders(asked: Sequence[str]) -> None:
    """The best and the worst frame of each label, or of those asked for."""
    clips = list(rendered())
    for name, (label, view, names, judge) in JUDGED.items():
        if asked and name not in asked:
            continue
        found: list[tuple[float, int, int, Array]] = []
        for number, views in enumerate(clips):
            clip, truth = views[view]
            for detector in names:
                clip = clip.with_labels(run(detector, clip))
            for t in range(0, len(clip), EVERY if view == "video" else 1):
                error = judge(clip.labels, truth, t)
                if np.isfinite(error):
                    drawn = row(clip, clip.labels, label, t, shown(truth, label, t))
                    found.append((error, number, t, drawn))
        found.sort(key=lambda each: each[:3])
        for which, (error, number, t, _) in (("best", found[0]), ("worst", found[-1])):
            said = f"{name}: {which} of {len(found)} frames, clip {number}, frame {t}: {error:.3f}"
            sys.stdout.write(said + "\n")
        write(f"{name}-renders", found[0][3], found[-1][3])


def rendered() -> Iterator[Mapping[str, tuple[Clip, Truth]]]:
    """What each clip looks like in every view, with the truth."""
    options = calibration_options(SEED, FRAMES, (256, 256))
    for number in range(CLIPS):
        yield rendered_views(options[number % len(options)], number)


def shown(truth: Truth, label: str, t: int) -> Array:
    """The truth of a frame as the label has it."""
    return np.asarray(truth["instance" if label == "regions" else label][t])


def main(asked: Sequence[str]) -> None:
    """Draw them all, or the rendered ones asked for."""
    cv2.setNumThreads(1)
    OUT.mkdir(exist_ok=True)
    if not asked:
        photos()
    renders(asked)


if __name__ == "__main__":
    main(sys.argv[1:])

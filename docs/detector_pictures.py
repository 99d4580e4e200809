"""Draws the pictures of docs/detectors.md, of scikit-image's photos and of a rendered clip."""

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
from freelabels.pipeline.stages.calibrate import rendered_views
from freelabels.pipeline.stages.render import RenderOptions

OUT = Path(__file__).parent / "detectors"
SIDE = 200
SEED, CLIP, FRAMES, SHOWN = 7, 0, 12, 5  # of the rendered clip


def still(image: Array, right: Array | None = None) -> Clip:
    """A clip of one photo, or of one stereo pair."""
    height, width = image.shape[:2]
    K = intrinsics(0.85 * width, width, height)
    return Clip(image[None], np.zeros(1), K, right=None if right is None else right[None])


def row(clip: Clip, made: dict[str, Array], label: str, frame: int = 0) -> Array:
    """Frame, label, confidence side by side."""
    trust = made[confidence_name(label)][frame]
    panels = [
        clip.image[frame],
        picture(label, made[label][frame]),
        picture(confidence_name(label), trust),
    ]
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


def strip(name: str, clip: Clip, made: dict[str, Array], label: str, frame: int = 0) -> None:
    """Write one row."""
    write(name, row(clip, made, label, frame))


def run(name: str, clip: Clip) -> dict[str, Array]:
    """The labels one detector makes of a clip."""
    return run_detectors(clip, [detectors()[name]()])


def standing_out(image: Array) -> Array:
    """The row of saliency of a photo."""
    photo = still(cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    made = run("edges", photo)
    return row(photo, made | run("boundary_saliency", photo.with_labels(made)), "saliency")


def main() -> None:
    """Draw them all."""
    cv2.setNumThreads(1)
    OUT.mkdir(exist_ok=True)
    photo = still(cv2.resize(data.chelsea(), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA))
    strip("edges", photo, run("edges", photo), "edges")
    strip("regions", photo, run("superpixels", photo), "regions")
    write("saliency", *(standing_out(image) for image in (data.rocket(), data.chelsea())))
    left, right, _ = data.stereo_motorcycle()
    pair = still(left, right)
    made = run("stereo", pair)
    strip("stereo", pair, made, "disparity")
    strip("normals", pair, run("normals", pair.with_labels(made)), "normals")
    video, _ = rendered_views(RenderOptions(seed=SEED, frames=FRAMES), CLIP)["video"]
    flow = run("dense_inverse_search", video)
    strip("flow", video, flow, "flow", SHOWN)
    strip("motion", video, run("independent_motion", video.with_labels(flow)), "motion", SHOWN)
    strip("video_disparity", video, run("video_disparity", video), "disparity", SHOWN)


if __name__ == "__main__":
    main()

"""Real footage with ground truth, as `--data` holds it; what isn't there yields nothing.

``edges/images/*.jpg`` and ``edges/boundaries/*.mat`` (BSDS), ``motion/<clip>`` (DAVIS frames and masks), ``flow``
and ``stereo`` (Middlebury), ``rgbd/<clip>`` (7-Scenes, see `rgbd`). One stereo pair comes inside scikit-image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import scipy.io
import skimage.data
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Constants were chosen on this half of the clips and on the pictures of even number, in sorted order; what is left
# is the other half, which is only reported.
CHOSEN = frozenset({"car-shadow", "dogs-jump", "blackswan", "camel", "goat", "scooter-black", "seven-scenes"})
HALVES = ("chosen", "other")
DISPARITY_SCALE = {"cones": 4, "teddy": 4, "venus": 8}  # grey levels per pixel of disparity
UNKNOWN_FLOW = 1e9  # flow files mark unknown pixels with larger values


def read_image(path: Path) -> Image:
    """An image file as (H, W, 3) RGB. Raises ValueError if it can't be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} can't be read as an image: replace it or take it out of the folder")
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def half_of(name: str) -> str:
    """Which of `HALVES` a clip belongs to."""
    return HALVES[name not in CHOSEN]


def drawn_images(
    data: Path | None, every: int = 1, half: str = ""
) -> Iterator[tuple[Image, Mask, NDArray[np.int64]]]:
    """One of so many images (H, W, 3), with each person's boundaries and segments (person, H, W).

    half: of `HALVES`, "" for both.
    """
    if data is None:
        return
    paths = sorted((data / "edges" / "images").glob("*.jpg"))
    for path in (paths[HALVES.index(half) :: 2] if half else paths)[::every]:
        drawn = scipy.io.loadmat(data / "edges" / "boundaries" / f"{path.stem}.mat")["groundTruth"]
        people = [drawn[0, k][0, 0] for k in range(drawn.shape[1])]
        boundaries = np.stack([person["Boundaries"] > 0 for person in people])
        segments = np.stack([person["Segmentation"].astype(np.int64) for person in people])
        yield read_image(path), boundaries, segments


def moving_clips(data: Path | None, half: str = "") -> Iterator[tuple[str, Image, Mask]]:
    """Named frames (T, H, W, 3) and masks of what moves (T, H, W); half: of `HALVES`, "" for both."""
    for folder in _folders(data, "motion", half):
        if (folder / "video.mp4").is_file():
            with av.open(str(folder / "video.mp4")) as container:
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        else:
            frames = [read_image(file) for file in sorted((folder / "images").iterdir())]
        masks = [read_image(file).any(axis=-1) for file in sorted((folder / "masks").iterdir())]
        count = min(len(frames), len(masks))
        yield folder.name, np.stack(frames[:count]), np.stack(masks[:count])


def static_clips(data: Path | None, half: str = "") -> Iterator[tuple[str, Image]]:
    """Named frames (T, H, W, 3) of scenes in which only the camera moves; half: of `HALVES`, "" for both."""
    for folder in _folders(data, "rgbd", half):
        if files := sorted(folder.glob("*.color.jpg")):
            yield folder.name, np.stack([read_image(file) for file in files])


def _folders(data: Path | None, name: str, half: str) -> list[Path]:
    parent = data / name if data is not None else None
    found = sorted(parent.iterdir()) if parent is not None and parent.is_dir() else []
    return [folder for folder in found if half in ("", half_of(folder.name))]


def flow_pairs(data: Path | None) -> Iterator[tuple[str, Image, Image, NDArray[np.float32]]]:
    """Name, first and second image and the true flow (H, W, 2), NaN unknown; disparities are taken as flow too."""
    if data is None:
        return
    for file in sorted((data / "flow").glob("*.flo")):
        truth = np.array(cv2.readOpticalFlow(str(file)), np.float32)
        truth[(np.abs(truth) > UNKNOWN_FLOW).any(axis=-1)] = np.nan
        first, second = (read_image(file.with_name(f"{file.stem}{number}.png")) for number in (1, 2))
        yield file.stem, first, second, truth
    for name, left, right, disparity in _middlebury(data):
        truth = np.stack([-disparity, 0 * disparity], axis=-1).astype(np.float32)
        yield name, left, right, truth


def stereo_pairs(data: Path | None) -> Iterator[tuple[str, Image, Image, Floats]]:
    """Name, left and right image, and the left view's disparity in pixels, NaN unknown."""
    yield from _middlebury(data)
    left, right, disparity = skimage.data.stereo_motorcycle()
    yield "motorcycle", left, right, np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float64)


def _middlebury(data: Path | None) -> Iterator[tuple[str, Image, Image, Floats]]:
    for name, scale in DISPARITY_SCALE.items():
        if data is not None and (folder := data / "stereo" / name).is_dir():
            left, right = (read_image(folder / f"im{number}.png") for number in (2, 6))
            grey = read_image(folder / "disp2.png")[..., 0].astype(np.float64)
            yield name, left, right, np.where(grey > 0, grey / scale, np.nan)

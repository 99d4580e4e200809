"""What `make demo` works on, made without a download.

Sources: real photos and a stereo pair from inside scikit-image, and two short rendered videos, one of which
training holds out. Classes: crops of photos of materials, which the probe tells apart; those it is tested on come
from the other half of each photo.
"""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage import data

from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
MATERIALS = ("brick", "coins", "grass", "gravel", "moon", "page")
CROP, TRAINING, TESTING = 96, 16, 8
VIDEO_SEEDS, VIDEO_FRAMES, VIDEO_SIZE = (30, 31), 10, (240, 320)


def write_photos(folder: Path) -> None:
    """Photos as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")


def write_stereo(folder: Path) -> None:
    """A rectified pair, found as one by its names."""
    folder.mkdir(parents=True, exist_ok=True)
    left, right, _ = data.stereo_motorcycle()
    for name, image in (("left", left), ("right", right)):
        Image.fromarray(image).save(folder / f"{name}.png")


def write_video(path: Path, seed: int) -> None:
    """A moving camera over moving things, as MP4: to the label stage it is a video like any other."""
    assets = library()
    ranges = SceneRanges(
        paths={"orbit": 1}, orbit_speed=(12, 20), fps=(12,), behaviours={"throw": 1, "drop": 1, "rest": 1}
    )
    scene, motion = find_scene(seed, 0, ranges, assets, VIDEO_FRAMES, VIDEO_SIZE)
    clip = render_clip(scene, assets, VIDEO_FRAMES, VIDEO_SIZE, "ray", motion)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(scene.fps))
        stream.height, stream.width = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "16"}
        for image in clip.columns["image"]:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_classes(folder: Path) -> None:
    """train/ and test/ with a folder of crops a material, in changing light so that brightness says nothing."""
    rng = np.random.default_rng(0)
    for name in MATERIALS:
        photo = getattr(data, name)().astype(float)
        left, right = np.array_split(photo, 2, axis=1)
        for part, half, count in (("train", left, TRAINING), ("test", right, TESTING)):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                y, x = (int(rng.integers(0, length - CROP + 1)) for length in half.shape)
                crop = half[y : y + CROP, x : x + CROP]
                lit = rng.uniform(90, 160) + rng.uniform(30, 60) * (crop - crop.mean()) / crop.std()
                Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).save(
                    folder / part / name / f"{k:02d}.png"
                )


if __name__ == "__main__":
    target, classes = map(Path, sys.argv[1:])
    write_photos(target / "photos")
    write_stereo(target / "stereo")
    for seed in VIDEO_SEEDS:
        write_video(target / f"video_{seed}.mp4", seed)
    write_classes(classes)

"""What the demo works on: photos from inside scikit-image, and a short clip made of one of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image
from skimage import data

from freelabels.generators.contract.fields import Array

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
BEHIND, BEFORE = "rocket", "chelsea"  # of the clip
FRAMES, RATE = 12, 10
HEIGHT, WIDTH = 180, 240
PAN, WALK = 3, 9  # pixels a frame: of the camera, of what walks


def write_sources(folder: Path) -> None:
    """Write ``photos/`` and ``clip.mp4``."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        Image.fromarray(getattr(data, name)()).save(folder / "photos" / f"{name}.png")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for image in moving_frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def moving_frames() -> list[Array]:
    """A camera that pans over a photo, and an oval of another that crosses its view; uint8 (y, x, 3) each."""
    behind = cv2.resize(getattr(data, BEHIND)(), (WIDTH + PAN * FRAMES, HEIGHT), interpolation=cv2.INTER_AREA)
    size = HEIGHT // 2
    before = cv2.resize(getattr(data, BEFORE)()[:, 80:380], (size, size), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    oval = np.hypot(y, x) < 0.95
    frames = []
    for k in range(FRAMES):
        frame = behind[:, PAN * k : PAN * k + WIDTH].copy()
        place = frame[HEIGHT // 3 : HEIGHT // 3 + size, 12 + WALK * k : 12 + WALK * k + size]
        place[oval] = before[oval]
        frames.append(frame)
    return frames

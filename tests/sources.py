"""Small real sources for tests, from the photos that come inside scikit-image."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage import data


def photo(name: str) -> np.ndarray:
    return np.ascontiguousarray(getattr(data, name)()[..., :3])


def write_photos(folder: Path, count: int = 6, side: int = 96) -> list[Path]:
    """Distinct crops of real photos, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(count):
        whole = photo(("astronaut", "coffee", "chelsea")[k % 3])
        top, left = 40 + 23 * (k // 3), 50 + 31 * (k // 3)
        path = folder / f"photo {chr(ord('a') + k)}.png"
        Image.fromarray(whole[top : top + 2 * side, left : left + 2 * side]).resize((side, side)).save(path)
        paths.append(path)
    return paths


def moving_frames(frames: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A camera that pans over one photo while a patch of another moves its own way, (T, H, W, 3)."""
    ground, patch = photo("coffee"), photo("astronaut")[60:100, 200:240]
    out = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        out[t] = ground[60 + t : 60 + t + height, 80 + 2 * t : 80 + 2 * t + width]
        left = 10 + 4 * t
        out[t, 30:70, left : left + 40] = patch[:, : max(0, min(40, width - left))]
    return out


def write_video(path: Path, frames: np.ndarray, fps: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "12", "threads": "1"}
        for image in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path

"""Stills whose foreground is known: rendered objects in front of photos."""

from pathlib import Path

import cv2
import numpy as np

from freelabels.pipeline.quality.composites import pasted

SIDE = 64
BLUE = (10, 20, 200)


def photos(folder: Path) -> list[str]:
    """One photo, all green."""
    path = folder / "green.png"
    assert cv2.imwrite(str(path), np.full((40, 90, 3), (0, 180, 0), np.uint8))
    return [str(path)]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Two blue objects on grey, and one too small to be what a picture shows."""
    ids = np.zeros((2, SIDE, SIDE), np.int32)
    ids[:, 5:30, 5:30], ids[:, 35:60, 20:60], ids[:, 2:5, 60:63] = 1, 2, 3
    image = np.where(ids[..., None] > 0, BLUE, (90, 90, 90)).astype(np.uint8)
    return image, ids


def test_objects_keep_their_pixels_and_all_else_is_the_photo(tmp_path: Path) -> None:
    image, ids = scene()
    shown, where = pasted(image, ids, photos(tmp_path), np.random.default_rng(0))
    assert (shown[where > 0] == BLUE).all()
    assert (shown[where == 0] == (0, 180, 0)).all()
    sizes = {25 * 25, 25 * 40, 25 * 25 + 25 * 40}  # the small one never; the others whole, but for the border
    for frame in where:
        inner = not (frame[0].any() or frame[-1].any() or frame[:, 0].any() or frame[:, -1].any())
        assert (frame > 0).sum() in sizes if inner else frame.any()


def test_what_is_pasted_lies_near_the_middle(tmp_path: Path) -> None:
    image, ids = scene()
    many = np.repeat(image[:1], 40, axis=0), np.repeat(np.where(ids == 1, 1, 0)[:1], 40, axis=0)
    _, where = pasted(*many, photos(tmp_path), np.random.default_rng(0))
    assert (where.sum(axis=(1, 2)) == 255 * 25 * 25).mean() > 0.9  # hardly any is cut off
    middle = [np.mean(np.nonzero(frame), axis=1) + 0.5 for frame in where]
    assert np.abs(np.mean(middle, axis=0) - SIDE / 2).max() < 6
    assert 4 < np.std(middle) < 14


def test_the_same_seed_pastes_the_same(tmp_path: Path) -> None:
    image, ids = scene()
    first, again = (pasted(image, ids, photos(tmp_path), np.random.default_rng(3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_a_frame_without_objects_is_all_photo(tmp_path: Path) -> None:
    image, ids = scene()
    shown, where = pasted(image, np.zeros_like(ids), photos(tmp_path), np.random.default_rng(0))
    assert not where.any()
    assert (shown == (0, 180, 0)).all()

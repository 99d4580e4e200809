"""Planted copies are found, and other pictures are not taken for them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from freelabels.cli.main import main
from freelabels.generators.contract.fields import Array
from freelabels.pipeline.quality.duplicates import (
    candidates,
    duplicates,
    look_at,
    same_picture,
    same_pictures,
)
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import read_exclusions

SIDE = 96


def photo(seed: int) -> Array:
    """Blobs and strokes in chance colours over coloured noise of all scales."""
    rng = np.random.default_rng(seed)
    image = sum(
        cv2.resize(rng.uniform(0, 1, (n, n, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 60 / k
        for k, n in enumerate((3, 6, 12, 24), 1)
    )
    image = np.clip(np.asarray(image) + 60, 0, 255).astype(np.uint8)
    for _ in range(8):
        at, size = rng.integers(0, SIDE, 2).tolist(), int(rng.integers(6, 26))
        cv2.circle(image, at, size, rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return image


def recoded(image: Array, quality: int) -> Array:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1))


def cropped(image: Array, keep: float, at: float) -> Array:
    side = round(keep * SIDE)
    first = round(at * (SIDE - side))
    return np.asarray(cv2.resize(image[first : first + side, first : first + side], (SIDE, SIDE)))


def halved(image: Array) -> Array:
    return np.asarray(cv2.resize(image, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA))


COPIES = {
    "the same": lambda image: image,
    "coded anew": lambda image: recoded(image, 30),
    "half as large": lambda image: halved(image),
    "brighter": lambda image: np.clip(image * 1.1 + 6, 0, 255).astype(np.uint8),
    "cropped": lambda image: cropped(image, 0.9, 0.3),
    "cropped and coded anew": lambda image: recoded(cropped(image, 0.92, 1.0), 60),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_among_others(copy: str) -> None:
    images = [photo(seed) for seed in range(20)]
    looks = [look_at(image) for image in [*images, *(COPIES[copy](image) for image in images)]]
    assert same_pictures(looks, range(40)) == [(k, k + 20) for k in range(20)]
    assert same_pictures(looks, [*range(20)] * 2) == []  # of one source


def test_frames_without_detail_are_not_judged() -> None:
    flat = look_at(np.full((SIDE, SIDE, 3), 120, np.uint8))
    assert not same_picture(flat, flat) and flat.varied == 0
    assert same_pictures([], []) == []


def test_pictures_alike_but_for_their_detail_are_others() -> None:
    """One layout of light with two textures: their coarse cosines are all but the same."""
    light = cv2.GaussianBlur(photo(3), (0, 0), 8).astype(np.float32)
    grain = [np.random.default_rng(k).normal(0, 25, (SIDE // 3, SIDE // 3, 1)) for k in range(2)]
    images = [np.clip(light + cv2.resize(g, (SIDE, SIDE))[..., None], 0, 255).astype(np.uint8) for g in grain]
    looks = [look_at(image) for image in images]
    assert [(a, b) for a, b, _ in candidates([k.grey for k in looks], np.arange(2)) if a < b] == [(0, 1)]
    assert same_pictures(looks, range(2)) == []


def bricks(seed: int) -> Array:
    """A part of one wall: bricks in rows, each a little out of place, of one clay and light."""
    rng = np.random.default_rng(seed)
    wall = np.full((SIDE, SIDE, 3), 150, np.uint8)
    for row in range(-1, 7):
        for column in range(-1, 5):
            y, x = 16 * row + rng.normal(0, 0.8), 32 * column + 16 * (row % 2) + rng.normal(0, 0.8)
            corners = [round(16 * at) for at in (x + 2, y + 2, x + 29, y + 13)]
            cv2.rectangle(wall, corners[:2], corners[2:], (90, 80, 80), -1, cv2.LINE_AA, 4)
    light = cv2.GaussianBlur(photo(3), (0, 0), 12).mean(-1, keepdims=True) - 128
    return np.clip(cv2.GaussianBlur(wall, (0, 0), 0.8) + light, 0, 255).astype(np.uint8)


def test_parts_of_one_wall_are_others_and_their_copies_are_found() -> None:
    walls = [bricks(seed) for seed in range(4)]
    looks = [look_at(image) for image in walls]
    assert list(candidates([look.grey for look in looks], np.arange(4)))
    assert same_pictures(looks, range(4)) == []
    copies = [look_at(recoded(image, 30)) for image in walls]
    assert same_pictures([*looks, *copies], range(8)) == [(k, k + 4) for k in range(4)]


def test_crops_of_grass_are_found_wherever_they_lie() -> None:
    """Fine detail alone tells them apart: a window a few pixels out of place is not alike."""
    grass = data.grass()[..., None].repeat(3, axis=2)
    tiles = [
        cv2.resize(grass[y : y + 128, x : x + 128], (SIDE, SIDE))
        for y in range(0, 512, 128)
        for x in range(0, 512, 128)
    ]
    copies = [cropped(image, 0.8, 0.25) for image in tiles]
    assert same_pictures([look_at(image) for image in tiles + copies], range(32)) == [
        (k, k + 16) for k in range(16)
    ]


def test_what_is_spare_is_a_list_for_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [photo(k) for k in (0, 1, 2)]
    images.append(recoded(images[1], 40))
    dataset = Dataset.create(tmp_path / "d", {"size": [SIDE, SIDE]})
    columns = {"image": np.stack(images), "domain": np.zeros(4, np.uint8)}
    clips = [
        {"rows": [k, k + 1], "kind": "photo", "source": [f"{k}.png"], "sha256": f"{k:064d}"} for k in range(4)
    ]
    made_by = {name: {"generator": "test", "version": 1} for name in columns}
    commit_shard(dataset, "photo-a", columns, clips, made_by)
    found = duplicates(dataset)
    assert (found.frames, found.flat) == (4, 0)
    assert [[frame.clip for frame in group] for group in found.groups] == [[f"{1:064d}", f"{3:064d}"]]
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(tmp_path / "d"), "--duplicates", str(tmp_path / "spare.json")])
    assert end.value.code == 0
    assert "2 of 4 frames show the same as another" in capsys.readouterr().err
    assert {frame.clip for frame in read_exclusions(tmp_path / "spare.json")} == {f"{3:064d}"}
    assert len(json.loads((tmp_path / "spare.json").read_text())["exclude"]) == 1

"""Superpixels keep to edges; foreground is what the border does not explain."""

import numpy as np
import pytest

from freelabels.generators.contract.calibration import using
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.foreground import (
    BoundarySaliency,
    MotionForeground,
    SalientForeground,
    distinctness,
)
from freelabels.generators.regions import Superpixels

SIZE = 128
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5
DISC = np.hypot(X - 64, Y - 60) < 30
PICTURE = np.where(DISC[..., None], (220, 70, 40), (60, 90, 140))


def clip_of(*frames, labels=None):
    images = np.stack(frames).astype(np.uint8)
    height, width = images.shape[1:3]
    return Clip(
        images, np.arange(len(images), dtype=float), intrinsics(width, width, height), labels=labels or {}
    )


def label(detector, clip):
    made = detector(clip)
    for name, values in made.items():
        field(name).check(values)
        assert values.shape == clip.image.shape[:3]
    return made


def test_superpixels_do_not_cross_a_strong_edge():
    regions = label(Superpixels(), clip_of(PICTURE))["regions"][0]
    inside = np.bincount(regions[DISC], minlength=regions.max() + 1)
    size = np.bincount(regions.ravel())
    leak = np.minimum(inside, size - inside).sum() / DISC.sum()
    assert leak < 0.05
    assert 100 < regions.max() + 1 < 400


def test_superpixels_are_trusted_less_where_colours_mix():
    random = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3))
    flat = label(Superpixels(), clip_of(PICTURE))["regions_confidence"]
    mixed = label(Superpixels(), clip_of(random))["regions_confidence"]
    assert mixed.mean() < 0.5 * flat.mean()


def test_a_disc_on_a_plain_ground_stands_out():
    made = label(BoundarySaliency(), clip_of(PICTURE))
    found = made["saliency"][0] >= 128
    assert (found & DISC).sum() / (found | DISC).sum() > 0.9
    assert made["saliency_confidence"][0][DISC].mean() > 128


def test_what_runs_along_the_border_is_background():
    band = np.where((Y > 80)[..., None], (40, 120, 40), PICTURE)
    found = label(BoundarySaliency(), clip_of(band))["saliency"][0]
    assert found[DISC & (Y < 78)].mean() > 2 * found[Y > 84].mean()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_in_a_flat_frame_nothing_stands_out(value):
    made = label(BoundarySaliency(), clip_of(np.full((SIZE, SIZE, 3), value)))
    assert made["saliency"].max() < 26 and made["saliency_confidence"].max() < 26


def test_noise_gives_little_confidence():
    random = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3))
    with using({}):
        made = label(BoundarySaliency(), clip_of(random))
        plain = label(BoundarySaliency(), clip_of(PICTURE))
    assert made["saliency_confidence"].mean() < 0.5 * plain["saliency_confidence"].mean()


@pytest.mark.parametrize(
    "detector, evidence", [(MotionForeground(), "motion"), (SalientForeground(), "saliency")]
)
def test_foreground_has_positive_evidence_alone(detector, evidence):
    """What moves or stands out is a thing; what does neither may be one all the same."""
    made_before = {
        evidence: np.zeros((1, SIZE, SIZE), np.uint8),
        f"{evidence}_confidence": np.full((1, SIZE, SIZE), 200, np.uint8),
    }
    made_before[evidence][0, 90:120, 10:40] = 255
    clip = clip_of(PICTURE, labels=made_before)
    assert np.array_equal(label(detector, clip)["foreground"], made_before[evidence])
    with using({}):
        raw = label(detector, clip)["foreground_confidence"]
    assert np.array_equal(raw, np.where(made_before[evidence] > 0, 200, 0))


@pytest.mark.parametrize("detector", [Superpixels(), BoundarySaliency()])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (64, 64), (180, 101), (700, 400)])
def test_any_size_works_and_runs_repeat_exactly(detector, shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3))
    first, second = label(detector, clip_of(frame, frame)), label(detector, clip_of(frame, frame))
    for name in first:
        assert np.array_equal(first[name], second[name])
        assert np.array_equal(first[name][0], first[name][1])


def test_distinctness_is_how_little_colours_overlap() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    red, green = np.float32((50, 60, 40)), np.float32((50, -60, 40))
    apart = np.where(mask[..., None], red, green)
    assert distinctness(apart, mask) == 1
    assert distinctness(np.broadcast_to(red, (8, 8, 3)).copy(), mask) < 1e-6
    half = apart.copy()
    half[:4, :4] = green  # half of the foreground has the colour of all the rest
    assert abs(distinctness(half, mask) - (1 - np.sqrt(0.5))) < 1e-6
    assert distinctness(apart, np.zeros_like(mask)) == distinctness(apart, np.ones_like(mask)) == 0

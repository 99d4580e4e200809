"""Superpixels keep to edges; what stands out is walled off from the border; foreground is a thing."""

import numpy as np
import pytest

from freelabels.generators.contract.calibration import using
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.edges import ContourEdges
from freelabels.generators.foreground import MotionForeground, SalientForeground
from freelabels.generators.regions import Superpixels
from freelabels.generators.saliency import BoundarySaliency, Regions, ahead, minimum_barrier, otsu, walled_off
from freelabels.generators.tools.contours import find_arcs

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
    if "edges" in detector.needs:
        clip = clip.with_labels(ContourEdges()(clip))
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
    with using({}):
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


@pytest.mark.slow
@pytest.mark.parametrize("detector", [Superpixels(), BoundarySaliency()])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (64, 64), (180, 101), (700, 400)])
def test_any_size_works_and_runs_repeat_exactly(detector, shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3))
    first, second = label(detector, clip_of(frame, frame)), label(detector, clip_of(frame, frame))
    for name in first:
        assert np.array_equal(first[name], second[name])
        assert np.array_equal(first[name][0], first[name][1])


def chain(*colours, rim):
    """Regions in a row, each touching the next, of some lightness; `rim`: which reach the border."""
    n = len(colours)
    colour = np.zeros((n, 3))
    colour[:, 0] = colours
    arcs = find_arcs(np.arange(n, dtype=np.int32)[None])
    return Regions(arcs, colour, np.ones(n), np.zeros((n, 2)), np.isin(range(n), rim))


def test_a_place_is_as_far_from_the_border_as_its_walls_are_high() -> None:
    regions = chain(*[50] * 5, rim=[0, 4])
    np.testing.assert_allclose(
        walled_off(regions, np.array([0.5, 0.1, 0.2, 0.05])), [0, 0.35, 0.25, 0.05, 0], atol=0.01
    )


def test_the_barrier_is_the_span_of_colours_on_the_way() -> None:
    regions = chain(50, 80, 60, 55, 40, rim=[0])
    np.testing.assert_allclose(minimum_barrier(regions), [0, 30, 30, 30, 40])


def test_what_ranks_ahead_and_where_two_kinds_part() -> None:
    inside = np.arange(8) < 2
    cue = np.array([7.0, 6, 5, 4, 3, 2, 1, 0])
    each = np.arange(8, dtype=np.int32)
    assert ahead(inside, cue, each) == pytest.approx(0.5)
    assert ahead(inside, -cue, each) == pytest.approx(-0.5)
    assert ahead(inside, np.zeros(8), each) == ahead(np.ones(8, bool), cue, each) == 0
    assert ahead(inside, cue[::2], each // 2) == pytest.approx(0.5)
    assert 0.2 < otsu(np.array([0.1, 0.2, 0.8, 0.9]), np.ones(4)) < 0.8


def test_where_the_cues_disagree_it_abstains() -> None:
    """Of patches of all colours each is walled off, and none stands out of the others."""
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3))
    with using({}):
        patches = label(BoundarySaliency(), clip_of(np.kron(colours, np.ones((16, 16, 1)))))
        plain = label(BoundarySaliency(), clip_of(PICTURE))
    assert patches["saliency_confidence"].mean() < 0.7 * plain["saliency_confidence"].mean()

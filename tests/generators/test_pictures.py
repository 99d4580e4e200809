"""Pictures of labels: one colouring rule per kind of field."""

import numpy as np
import pytest

from freelabels.generators.contract.fields import EDGE_TYPES, Kind, field, fields
from freelabels.generators.contract.legends import legend
from freelabels.generators.contract.pictures import UNKNOWN, id_colours, overlay, picture


def sample(name: str, frames: int = 2, height: int = 6, width: int = 8) -> np.ndarray:
    known = field(name)
    rng = np.random.default_rng(0)
    shape = (frames, *(size or length for size, length in zip(known.sizes, (height, width, 3), strict=False)))
    if known.kind is Kind.BITS:
        return rng.integers(0, 256, (frames, 3, height, width // 8), dtype=np.uint8)
    if known.kind is Kind.CATEGORY:
        return rng.integers(0, len(known.names) or 4, shape).astype(known.dtype)
    if np.issubdtype(np.dtype(known.dtype), np.integer):
        return rng.integers(0, 200, shape).astype(known.dtype)
    return rng.uniform(0.1, 1, shape).astype(known.dtype)


MAPS = [name for name, known in fields().items() if known.is_map or known.kind is Kind.BITS]


@pytest.mark.parametrize("name", MAPS)
def test_every_map_has_a_picture_for_a_frame_and_for_a_clip(name: str) -> None:
    values = sample(name)
    clip = picture(name, values)
    assert clip.dtype == np.uint8
    assert clip.shape == (2, 6, 8, 3)
    assert picture(name, values[0]).shape == (6, 8, 3)


@pytest.mark.parametrize("name", ["depth", "disparity", "flow", "normals", "object_coordinates"])
def test_pixels_without_a_label_have_the_colour_of_unknown(name: str) -> None:
    values = sample(name, frames=1)[0]
    values[0, 0] = field(name).invalid
    drawn = picture(name, values)
    assert tuple(drawn[0, 0]) == UNKNOWN
    assert tuple(drawn[1, 1]) != UNKNOWN


def test_a_frame_without_any_label_is_all_unknown() -> None:
    for name in ("depth", "disparity"):
        assert (picture(name, np.full((4, 4), np.nan, field(name).dtype)) == UNKNOWN).all()


def test_nearer_is_brighter_in_depth_and_disparity_and_infinity_is_black() -> None:
    depth = np.linspace(1, 9, 64, dtype=np.float32).reshape(8, 8)
    depth[7, 7] = np.inf
    drawn = picture("depth", depth).astype(int).sum(-1)
    assert drawn[0, 0] > drawn[3, 3] > drawn[7, 0] > drawn[7, 7] == 0
    disparity = picture("disparity", (1 / depth[:7]).astype(np.float16)).astype(int).sum(-1)
    assert disparity[0, 0] > disparity[6, 7]


def test_normals_are_half_of_n_plus_one() -> None:
    normals = np.array([[[1, 0, 0], [0, 0, -1]]], np.float16)
    assert picture("normals", normals).tolist() == [[[255, 128, 128], [128, 128, 0]]]


def test_flow_is_red_to_the_right_white_at_rest_and_each_direction_has_its_hue() -> None:
    flow = np.array([[[5, 0], [0, 0], [-5, 0], [0, 5], [0, -5]]], np.float16)
    right, rest, left, down, up = picture("flow", flow)[0].astype(int)
    assert right.tolist() == [255, 0, 0]
    assert rest.tolist() == [255, 255, 255]
    assert left[0] == 0 and left[2] == 255
    assert down[0] > 200 and down[1] > 200 and down[2] == 0
    assert up[2] == 255 and up[0] > 100 and up[1] == 0


def test_a_clip_is_drawn_on_one_scale() -> None:
    flow = np.zeros((2, 4, 4, 2), np.float16)
    flow[0, ..., 0], flow[1, ..., 0] = 2, 8
    slow, fast = picture("flow", flow)
    assert slow[0, 0, 1] > 150
    assert fast[0, 0, 1] == 0


def test_ids_keep_their_colour_and_neighbours_differ() -> None:
    ids = np.arange(3000)
    colours = id_colours(ids).astype(int)
    assert (id_colours(ids[::-1])[::-1] == colours).all()
    assert np.abs(np.diff(colours, axis=0)).sum(-1).min() > 40
    assert len(np.unique(colours[:300], axis=0)) == 300
    assert colours[0].sum() < 60


def test_categories_are_told_apart() -> None:
    drawn = picture("edge_type", np.arange(len(EDGE_TYPES), dtype=np.uint8)[None])
    assert len(np.unique(drawn[0], axis=0)) == len(EDGE_TYPES)
    semantic = picture("semantic", np.array([[0, 1, 255]], np.uint8))
    assert tuple(semantic[0, 2]) == UNKNOWN


def test_distrusted_pixels_fade_out() -> None:
    edges = np.full((2, 2), 255, np.uint8)
    trust = np.array([[255, 0], [128, 255]], np.uint8)
    drawn = picture("edges", edges, confidence=trust)
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert tuple(drawn[0, 1]) == UNKNOWN
    assert drawn[1, 0, 0] == pytest.approx((255 + UNKNOWN[0]) / 2, abs=1)


def test_overlapping_amodal_masks_mix() -> None:
    masks = np.zeros((3, 1, 8), np.uint8)
    masks[0] = 1  # the static scene
    masks[1, 0, :4], masks[2, 0, 2:6] = 1, 1
    drawn = picture("amodal", np.packbits(masks, axis=-1))[0].astype(int)
    one, two = id_colours(np.array([1, 2])).astype(int)
    assert (drawn[0] == one).all() and (drawn[5] == two).all()
    assert np.abs(drawn[3] - (one + two) / 2).max() <= 1


def test_what_is_no_map_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="camera_K has no value per pixel"):
        picture("camera_K", np.eye(3))
    with pytest.raises(ValueError, match=r"flow: values have shape \(4, 4\)"):
        picture("flow", np.zeros((4, 4), np.float16))
    with pytest.raises(KeyError, match="no field called 'flaw'"):
        picture("flaw", np.zeros((4, 4)))


def test_what_has_no_label_is_slate_whatever_the_field() -> None:
    """Also where confidence is drawn itself, and never the colour of an id."""
    assert tuple(picture("edges_confidence", np.array([[0, 1]], np.uint8))[0, 0]) == UNKNOWN
    colours = id_colours(np.arange(64)).astype(int)
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1) + 999 * np.eye(64)
    assert apart.min() > 30
    assert np.linalg.norm(colours - UNKNOWN, axis=-1).min() > 30


def test_classes_that_are_everywhere_flood_nothing() -> None:
    """Seen is the ordinary case and no edge is none: pale or dark as a picture, clear as a layer."""
    seen = np.array([[0, 1, 2]], np.uint8)
    assert (
        tuple(picture("flow_visibility", seen)[0, 0]) == UNKNOWN
        and picture("flow_visibility", seen)[0, 1].min() > 200
    )
    assert overlay("flow_visibility", seen)[0, :, 3].tolist() == [0, 0, 255]
    assert overlay("edge_type", seen)[0, :, 3].tolist() == [0, 255, 255]


@pytest.mark.parametrize("name", [n for n, f in fields().items() if f.is_map])
def test_legends_say_what_colours_mean(name: str) -> None:
    told = legend(name)
    words = [word for _, word in told.swatches]
    spec = field(name)
    if spec.is_label and (spec.invalid is not None or spec.kind is Kind.PROBABILITY):
        assert words[-1] == "no label" and told.swatches[-1][0] == UNKNOWN
    if spec.names:
        assert set(words) - {"no label"} == set(spec.names) - ({"undefined"} if spec.invalid == 0 else set())
    assert (told.picture is None) == (told.low == "")


def test_legends_have_the_colours_of_the_pictures() -> None:
    wheel = legend("flow").picture
    right = picture("flow", np.array([[[9, 0], [9, 0]]], np.float16))[0, 0]
    assert wheel is not None and np.abs(wheel[len(wheel) // 2, -2].astype(int) - right).max() < 40
    known = {word: colour for colour, word in legend("edge_type").swatches}
    assert known["crease"] == tuple(picture("edge_type", np.array([[2]], np.uint8))[0, 0])

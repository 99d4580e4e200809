"""The geometry kit on closed forms: warps, likeness, occlusion, smoothness, matching, motions, scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from analytic_scene import ROOM, render
from scipy.optimize import minimize_scalar
from torch import Tensor

from freelabels.generators.contract import geometry
from freelabels.train.tasks.geometry.likeness import (
    census,
    census_distance,
    charbonnier,
    local_contrast,
    photometric,
    ssim_distance,
)
from freelabels.train.tasks.geometry.matching import Correlation, along, correlation, square
from freelabels.train.tasks.geometry.occlusion import inconsistent, range_map
from freelabels.train.tasks.geometry.poses import (
    angle_between,
    filled,
    inverse,
    known,
    motion_of,
    numbers_of,
)
from freelabels.train.tasks.geometry.smoothness import first_order, relative, second_order
from freelabels.train.tasks.geometry.truth import Truth, depth_errors, end_point_errors
from freelabels.train.tasks.geometry.warp import centres, inside, project, rays, rigid_flow, sample, warp


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def steady(u: float, v: float, height: int = 12, width: int = 16) -> Tensor:
    """One flow everywhere."""
    return torch.tensor([float(u), float(v)])[None, :, None, None].expand(1, 2, height, width).clone()


# --- looking up -------------------------------------------------------------------------------------------------


def test_pixels_are_centred_at_halves_and_looked_up_as_they_are() -> None:
    image = noise(2, 3, 12, 16)
    assert centres(image)[:, 2, 5].tolist() == [5.5, 2.5]
    torch.testing.assert_close(sample(image, centres(image).expand(2, -1, -1, -1)), image)


def test_a_flow_says_where_a_pixel_is_in_the_other_image() -> None:
    image = noise(1, 3, 12, 16)
    torch.testing.assert_close(warp(image, steady(2, 1))[..., :-1, :-2], image[..., 1:, 2:])
    between = (image[..., :-1] + image[..., 1:]) / 2
    torch.testing.assert_close(warp(image, steady(0.5, 0))[..., :-1], between)
    torch.testing.assert_close(warp(image, steady(100, 0))[..., 3], image[..., -1])


def test_what_a_flow_leads_out_of_the_image() -> None:
    there = inside(centres(steady(0, 0)) + steady(2, 0))[0, 0]
    assert there[:, :14].all() and not there[:, 14:].any()


K = geometry.intrinsics(40.0, 16, 12)


def as_batch(array: object) -> Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float32)[None]


def test_projection_is_that_of_the_contract() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (12, 16))
    motion = motion_of(torch.tensor([[0.02, -0.05, 0.1, 0.1, -0.2, 0.3]]))
    points = geometry.transform(motion[0].double().numpy(), geometry.backproject(depth, K))
    wanted = geometry.project(points, K) - geometry.pixel_centres(12, 16)
    told = rigid_flow(as_batch(depth)[:, None], motion, as_batch(K))
    torch.testing.assert_close(told[0].permute(1, 2, 0), torch.tensor(wanted).float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        project(as_batch(depth)[:, None] * rays(as_batch(K), told), as_batch(K))[0], centres(told)
    )


def test_a_turn_moves_near_and_far_alike_and_a_step_moves_the_near_more() -> None:
    near, far = torch.full((1, 1, 12, 16), 2.0), torch.full((1, 1, 12, 16), 4.0)
    turn, step = (
        motion_of(torch.tensor([numbers])) for numbers in ([0, 0.1, 0, 0, 0, 0], [0, 0, 0, 0.1, 0, 0])
    )
    torch.testing.assert_close(rigid_flow(near, turn, as_batch(K)), rigid_flow(far, turn, as_batch(K)))
    for depth, pixels in ((near, 2.0), (far, 1.0)):  # focal × step / depth
        torch.testing.assert_close(rigid_flow(depth, step, as_batch(K)), steady(pixels, 0), atol=1e-5, rtol=0)


def test_what_is_behind_the_camera_stays_finite_with_its_gradient() -> None:
    depth = torch.ones(1, 1, 12, 16, requires_grad=True)
    flow = rigid_flow(depth, motion_of(torch.tensor([[0, 0, 0, 0, 0, -3.0]])), as_batch(K))
    sample(noise(1, 3, 12, 16), centres(flow) + flow).sum().backward()
    assert flow.isfinite().all() and depth.grad is not None and depth.grad.isfinite().all()


def test_depth_and_poses_as_shards_hold_them_rebuild_a_frame_from_its_neighbour() -> None:
    camera = geometry.intrinsics(60.0, 64, 48)
    here, there = np.eye(4), np.eye(4)
    there[:3, 3] = (0.12, 0.03, 0.1)
    there[:3, :3] = motion_of(torch.tensor([[0.01, 0.03, -0.02, 0, 0, 0]]))[0, :3, :3].numpy()
    (first, depth, _), (second, *_) = (
        render(ROOM, pose, camera, (48, 64), metres_per_period=60.0) for pose in (here, there)
    )
    motion = inverse(as_batch(there)) @ as_batch(here)
    flow = rigid_flow(as_batch(depth)[:, None], motion, as_batch(camera))
    images = [as_batch(image).permute(0, 3, 1, 2) for image in (first, second)]
    gap = (warp(images[1], flow) - images[0]).abs().median()
    assert gap < 0.15 * (images[1] - images[0]).abs().median()
    assert not inside(centres(flow) + flow).all()


# --- likeness ---------------------------------------------------------------------------------------------------


def test_census_doesnt_see_light_but_sees_what_moved() -> None:
    image = 40 + 100 * noise(1, 3, 20, 20)
    assert census(image).shape == (1, 49, 20, 20) and census(image).abs().max() <= 1
    torch.testing.assert_close(
        census_distance(image, image + 30), torch.zeros(1, 1, 20, 20), atol=1e-5, rtol=0
    )
    lit, moved = (census_distance(image, other).mean() for other in (1.2 * image, image.roll(2, 3)))
    assert lit < 0.05 * moved and moved > 0.3


def test_ssim_is_nought_for_itself_and_half_for_what_has_nothing_in_common() -> None:
    a, b = noise(1, 1, 64, 64), noise(1, 1, 64, 64, seed=1)
    torch.testing.assert_close(ssim_distance(a, a), torch.zeros_like(a), atol=1e-6, rtol=0)
    assert ssim_distance(a, 1 - a).mean() > 0.7 > ssim_distance(a, b).mean() > 0.3
    flat = torch.full((1, 1, 8, 8), 0.2)  # only the means differ: (2 ab + c) / (a² + b² + c)
    wanted = (1 - (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)) / 2
    torch.testing.assert_close(
        ssim_distance(flat, 3 * flat), torch.full_like(flat, wanted), atol=1e-4, rtol=0
    )
    assert photometric(255 * a.expand(-1, 3, -1, -1), 255 * a.expand(-1, 3, -1, -1)).abs().max() < 1e-6


def test_local_contrast_forgets_gain_and_offset() -> None:
    image = 60 + 80 * noise(1, 3, 24, 24)
    (one, spread), (other, wider) = (local_contrast(x, floor=0.0) for x in (image, 1.3 * image - 10))
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(1.3 * spread, wider, atol=1e-2, rtol=1e-3)


def test_charbonnier_is_a_power_away_from_nought_and_flat_at_it() -> None:
    x = torch.tensor([0.0, 2.0, -2.0], requires_grad=True)
    charbonnier(x).sum().backward()
    torch.testing.assert_close(charbonnier(x)[1:], torch.full((2,), 2.0**0.9), atol=1e-5, rtol=0)
    assert x.grad is not None and x.grad[0] == 0


# --- occlusion --------------------------------------------------------------------------------------------------


def square_before_wall(shift: int) -> tuple[Tensor, Tensor]:
    """Flows there and back of a square of 4 × 4 that goes right while all else stands still."""
    there, back = steady(0, 0), steady(0, 0)
    there[0, 0, 4:8, 4:8] = shift
    back[0, 0, 4:8, 4 + shift : 8 + shift] = -shift
    return there, back


def test_what_a_square_hides_is_where_it_goes() -> None:
    there, back = square_before_wall(3)
    hidden = torch.zeros(12, 16, dtype=torch.bool)
    hidden[4:8, 8:11] = True  # seen now, covered next
    assert torch.equal(inconsistent(there, back)[0, 0], hidden)
    assert torch.equal(range_map(back)[0, 0] == 0, hidden)


def test_the_range_map_counts_arrivals() -> None:
    there, _ = square_before_wall(3)
    arrivals = range_map(there)[0, 0]
    assert arrivals[5, 9] == 2 and arrivals[5, 5] == 0 and arrivals[0, 0] == 1
    torch.testing.assert_close(range_map(steady(0.25, 0))[0, 0, 0, :2], torch.tensor([0.75, 1.0]))
    assert float(range_map(steady(-100, 0)).sum()) == 0


# --- smoothness -------------------------------------------------------------------------------------------------


def test_a_slope_is_rough_of_first_order_only_and_edges_excuse_a_step() -> None:
    grey = torch.full((1, 3, 12, 16), 90.0)
    slope = 0.5 * centres(grey)[None, :1]
    torch.testing.assert_close(first_order(slope, grey), torch.tensor([0.5]))
    assert second_order(slope, grey) < 5e-3 < second_order(slope.square(), grey)
    step = (centres(grey)[None, :1] > 8).float()
    edge = torch.where(step > 0, 200.0, 20.0).expand(-1, 3, -1, -1)
    assert first_order(step, edge) < 1e-2 * first_order(step, grey)
    torch.testing.assert_close(relative(3 * slope), relative(slope))


# --- matching ---------------------------------------------------------------------------------------------------


def test_correlation_is_highest_where_the_features_went() -> None:
    a = F.normalize(torch.randn(2, 8, 10, 10, generator=torch.Generator().manual_seed(0)), dim=1)
    steps = square(2)
    costs = correlation(a, a.roll((1, -2), (2, 3)), steps)
    assert costs.shape == (2, 25, 10, 10)
    best = costs[:, :, 2:8, 2:8].argmax(1)
    assert (best == steps.index((1, -2))).all()
    assert costs[0, 0, 0, 0] == 0  # outside
    direct = (a[0, :, 4, 4] * a[0, :, 5, 2]).mean()
    torch.testing.assert_close(correlation(a, a, steps)[0, steps.index((1, -2)), 4, 4], direct)


def test_correlation_along_a_line_and_of_learned_features() -> None:
    steps = along(-3, 0)
    assert steps == [(0, -3), (0, -2), (0, -1), (0, 0)]
    x = noise(1, 16, 6, 6)
    made = Correlation(16, steps)(x, x)
    assert made.shape == (1, 4, 6, 6) and made.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(made[:, 3], torch.ones(1, 6, 6))


def test_what_all_places_share_fits_none_of_them_better() -> None:
    torch.manual_seed(0)
    correlate = Correlation(16, square(1))
    here, there = noise(2, 16, 8, 8), noise(2, 16, 8, 8, seed=1)
    apart = correlate(here, there)
    assert (
        apart.std() > 0.1
    )  # while features that are all positive, as behind a ReLU, have cosines of about 1
    torch.testing.assert_close(correlate(here + 5, there + 3), apart, atol=1e-4, rtol=0)


# --- motions ----------------------------------------------------------------------------------------------------


def test_six_numbers_are_a_motion_and_a_motion_six_numbers() -> None:
    numbers = torch.tensor(
        [[0.3, -0.2, 0.5, 1.0, 2.0, 3.0], [0, 0, 0, 0, 0, 0], [0, torch.pi / 2, 0, 0, 0, 1]]
    )
    motion = motion_of(numbers)
    torch.testing.assert_close(numbers_of(motion), numbers, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(motion @ inverse(motion), torch.eye(4).expand(3, 4, 4), atol=1e-6, rtol=0)
    turned = motion[2] @ torch.tensor([0.0, 0, 1, 1])  # a quarter turn about y takes z to x
    torch.testing.assert_close(turned, torch.tensor([1.0, 0, 1, 1]), atol=1e-6, rtol=0)


def test_unknown_poses_can_be_reckoned_with() -> None:
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[1, 0, 3] = torch.nan
    assert known(pose).tolist() == [True, False]
    assert torch.equal(filled(pose)[1], torch.eye(4))


def test_angles_between_directions() -> None:
    a = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 0]])
    b = torch.tensor([[0.0, 3, 0], [2, 0, 0], [0, -1, 0], [0, 0, 1]])
    torch.testing.assert_close(angle_between(a, b), torch.tensor([90.0, 0, 180, 90]))


# --- scores -----------------------------------------------------------------------------------------------------


def test_end_point_errors_count_labelled_pixels_only() -> None:
    truth = Truth(steady(3, 4), torch.zeros(1, 12, 16))
    truth.weight[:, :6] = 1
    told = steady(3, 4)
    told[:, :, :6, :8] = 0
    told[:, :, 6:] = 77
    torch.testing.assert_close(end_point_errors(told, truth), torch.tensor([[2.5, 5.0]]).double())
    assert Truth(truth.values, 0 * truth.weight).counts.tolist() == [0]


def test_depth_is_scored_at_its_best_scale_and_a_constant_too() -> None:
    depth = 1 + 4 * noise(2, 1, 12, 16)
    weight = (noise(2, 12, 16, seed=1) > 0.3).float()
    scores = depth_errors(depth * torch.tensor([0.1, 7.0])[:, None, None, None], Truth(depth, weight))
    assert scores[:, 0].max() < 1e-6
    for n in range(2):
        true = depth[n, 0][weight[n] > 0].double().numpy()
        best = minimize_scalar(lambda c, true=true: np.mean(np.abs(c - true) / true), (1, 3)).fun
        assert scores[n, 1] == pytest.approx(best, rel=1e-3)
    assert depth_errors(depth, Truth(depth, 0 * weight)).tolist() == [[0, 0], [0, 0]]

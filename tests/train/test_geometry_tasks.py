"""What tasks on flow and cameras call wrong: least at the exact answer, whatever they have to learn it from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from analytic_scene import ROOM, Rectangle, path, render
from torch import Tensor

from freelabels.generators.contract import geometry
from freelabels.testing.task_samples import sample_batch
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.camera import active_stereo, sfm_learner
from freelabels.train.tasks.camera.active_stereo import ActiveStereo
from freelabels.train.tasks.camera.df_net import DFNet
from freelabels.train.tasks.camera.geo_net import GeoNet, rigid_both
from freelabels.train.tasks.camera.learn_by_move import LearnByMove
from freelabels.train.tasks.camera.sfm_learner import SfMLearner, directions
from freelabels.train.tasks.camera.tied_ego_motion import TiedEgoMotion
from freelabels.train.tasks.camera.view_synthesis import parallax
from freelabels.train.tasks.camera.visual_odometry import VisualOdometry
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen, Task
from freelabels.train.tasks.flow.cross_model import CrossModel
from freelabels.train.tasks.flow.cross_pixel import CrossPixel
from freelabels.train.tasks.flow.flow_net import FlowNet
from freelabels.train.tasks.flow.flow_net2 import Refiner
from freelabels.train.tasks.flow.flow_trunk import own_motion
from freelabels.train.tasks.flow.matcher import Matcher
from freelabels.train.tasks.flow.pose_action import PoseAction
from freelabels.train.tasks.flow.un_flow import UnFlow
from freelabels.train.tasks.geometry.poses import inverse, motion_of, numbers_of
from freelabels.train.tasks.geometry.warp import rigid_flow

STEP, TURN = (0.06, 0.01, 0.08), (0.0, 0.012, 0.004)
PLACE = [*ROOM, Rectangle((-30, -30, 7), (60, 0, 0), (0, 60, 0))]  # something is seen everywhere
K = geometry.intrinsics(48.0, 64, 64)


def as_maps(arrays: object) -> Tensor:
    """Arrays (T, H, W[, C]) as a batch of one has them, (1, T, C, H, W)."""
    values = torch.as_tensor(np.asarray(arrays), dtype=torch.float32)
    return (values[..., None] if values.ndim == 3 else values).permute(0, 3, 1, 2)[None]


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Three frames of a room by a camera that moves, with exact depth, flow and poses, and a right view."""
    torch.set_num_threads(1)
    poses = path(3, STEP, TURN)
    shots = [render(PLACE, pose, K, (64, 64), metres_per_period=40.0) for pose in poses]
    beside = poses[0] @ np.block([[np.eye(3), np.array([[0.2], [0], [0]])], [np.zeros(3), 1]])
    right = render(PLACE, beside, K, (64, 64), metres_per_period=40.0)[0]
    depth = as_maps([shot[1] for shot in shots])
    pose = torch.tensor(poses, dtype=torch.float32)
    motions = inverse(pose[[1, 2, 2]]) @ pose[[0, 1, 2]]
    intrinsics = torch.tensor(K, dtype=torch.float32).expand(3, 3, 3)
    return {
        "image": as_maps([shot[0] for shot in shots]).byte(),
        "depth": depth,
        "depth_weight": torch.ones(1, 3, 64, 64),
        "flow": rigid_flow(depth[0], motions, intrinsics)[None],
        "flow_weight": torch.ones(1, 3, 64, 64),
        "camera_K": intrinsics[None],
        "camera_pose": pose[None],
        "right": as_maps(np.repeat(right[None], 3, 0)).byte(),
        "right_weight": torch.ones(1, 3),
        "right_axis": torch.tensor([[1.0, 0.0]]),
        "baseline": torch.full((1, 3), 0.2),
        "seed": torch.tensor([3]),
    }


def asked(task: Task, batch: Batch) -> Asked:
    return task.ask(batch, Draw(batch["seed"], task.name))


def told(task: SfMLearner, batch: Batch, scale: float = 1.0) -> sfm_learner.Told:
    """The exact answer, but for how large all is."""
    pose = batch["camera_pose"][0]
    motions = inverse(pose[[0, 2]]) @ pose[1]
    motions[:, :3, 3] *= scale
    exact = sfm_learner.Told(1 / (scale * batch["depth"]), motions[None])
    return replace(exact, flow=rigid_both(exact, asked(task, batch).target))


@pytest.mark.parametrize("task", [SfMLearner(), GeoNet(), DFNet()], ids=lambda task: task.name)
def test_frames_are_rebuilt_best_by_the_exact_depth_and_motion_at_any_scale(
    task: SfMLearner, batch: Batch
) -> None:
    exact, question = told(task, batch), asked(task, batch)
    flat = replace(exact, inverse=torch.full_like(exact.inverse, 0.3))
    still = replace(exact, motions=torch.eye(4).expand(1, 2, 4, 4))
    back = replace(exact, motions=inverse(exact.motions))
    losses = [float(task.judge(one, question)) for one in (exact, flat, still, back)]
    assert losses[0] < 0.95 * min(losses[1:])
    assert float(task.judge(told(task, batch, 0.5), question)) == pytest.approx(losses[0], rel=1e-3)
    assert directions(exact, question.target, 0.5).tolist() == pytest.approx([0], abs=0.1)
    assert directions(back, question.target, 0.5)[0] > 150


def test_the_camera_s_direction_is_told_where_its_way_moves_what_is_seen(batch: Batch) -> None:
    task = SfMLearner()
    exact, question = told(task, batch), asked(task, batch)
    columns = task.keep(exact, question)
    [off] = task.beside(columns).values()
    assert off == pytest.approx(0, abs=0.1) and task.summary(columns)[0] < 1e-3
    window = question.target
    moved = float(parallax(window))
    assert 0.5 < moved < 10
    far = replace(window.depth, values=10 * window.depth.values)
    assert float(parallax(replace(window, depth=far))) == pytest.approx(moved / 10, rel=0.1)
    turns = window.motion.clone()
    turns[:, :3, 3] = 0
    unknown = replace(window.depth, weight=0 * window.depth.weight)
    for other in (replace(window, motion=turns, moved=0 * window.moved), replace(window, depth=unknown)):
        assert parallax(other).isnan().all()
        assert not task.beside(task.keep(exact, replace(question, target=other, weight=question.weight)))


def test_no_motion_is_excused_by_depths_that_all_grow(batch: Batch) -> None:
    torch.manual_seed(0)
    task, question = SfMLearner(), asked(SfMLearner(), batch)
    head = task.head(Shape(64, (8, 8, 8, 8), (4, 8, 16, 32), 16))
    seen = Seen([torch.randn(3, 8, 16, 16)], torch.randn(3, 16, 16, 16), 3)
    for _ in range(2):
        inverse = task.answer(head, seen, question).inverse.detach()
        assert inverse.std() > 1e-3 and float(inverse.mean()) == pytest.approx(1, abs=1e-5)
        for name, parameter in head["depth"].named_parameters():
            if name.endswith("bias") and parameter.shape == (1,):
                parameter.data -= 3.0  # all farther away


def test_depth_is_scored_at_its_best_scale_and_windows_that_stand_still_not_at_all(batch: Batch) -> None:
    task = SfMLearner()
    score, _, counts = task.keep(told(task, batch, 7.0), asked(task, batch))
    assert score[0, 0] < 1e-3 < score[0, 1] and counts.tolist() == [1]
    slow = {**batch, "flow": 0.01 * batch["flow"]}
    assert asked(task, slow).weight.tolist() == [0]
    unknown = {name: value for name, value in slow.items() if not name.startswith(("flow", "depth"))}
    assert asked(task, unknown).weight.tolist() == [1]  # data without labels are learned from
    assert task.keep(told(task, batch), asked(task, unknown))[-1].tolist() == [0]
    lost = {**batch, "camera_K": torch.full_like(batch["camera_K"], torch.nan)}
    assert asked(task, lost).weight.tolist() == [0]
    for bend, weight in (
        (0.0, 1),
        (torch.nan, 1),
        (-0.1, 0),
    ):  # a pinhole's flow can't rebuild what a lens bends
        lens = {**batch, "camera_distortion": torch.full((1, 3, 5), bend)}
        assert asked(task, lens).weight.tolist() == [weight]
    rolling = {**batch, "camera_shutter": torch.full((1, 3, 2), 0.02)}
    assert asked(task, rolling).weight.tolist() == [0]


def test_frames_further_apart_move_as_many_times_as_far_and_have_no_stored_flow_between_them(
    batch: Batch,
) -> None:
    little = {**batch, "flow": 0.1 * batch["flow"]}
    assert asked(SfMLearner(), little).weight.tolist() == [0]
    apart = little | {"step": torch.tensor([6])}
    question = asked(SfMLearner(), apart)
    assert question.weight.tolist() == [1] and question.target.depth.counts.tolist() == [1]
    assert not question.target.flow.weight.any() and asked(GeoNet(), batch).target.flow.weight.all()
    assert SfMLearner().needs.span > 0 == GeoNet().needs.span  # whose score is of flow


def test_flow_without_labels_is_judged_best_where_it_is_exact(batch: Batch) -> None:
    task = UnFlow()
    question = asked(task, batch)
    there, back = told(SfMLearner(), batch).flow
    first = batch["flow"][:, 0]
    pair = {**batch, "image": batch["image"][:, 1:]}  # `told` is of the middle frame and the next
    losses = [
        float(task.judge([(share * there, share * back)], asked(task, pair)))
        for share in (1.0, 0.0, 0.5, 1.5)
    ]
    assert losses[0] < 0.9 * min(losses[1:])
    score, counts = task.keep([(first, first)], question)
    assert score[0, 0] == 0 < score[0, 1] and counts.tolist() == [1]
    assert not torch.equal(question.images, question.target.frames)  # seen in another light than judged


def test_flow_that_disagrees_with_itself_all_over_still_learns(batch: Batch) -> None:
    task = UnFlow(agree=0.0, smooth=0.0)
    there = torch.full((1, 2, 64, 64), 3.0, requires_grad=True)
    task.judge([(there, there.detach())], asked(task, batch)).backward()
    assert there.grad is not None and there.grad.abs().sum() > 0


def test_a_head_of_flow_begins_at_next_to_none() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 2, 16, 16, 16).relu()
    for head in (Matcher(16), Refiner(16, rounds=2)):
        assert all(flow.detach().abs().max() < 1 for flow in head(*features))  # pixels


def test_flow_net_is_judged_on_labelled_pixels_alone(batch: Batch) -> None:
    task, half = FlowNet(), batch["flow_weight"].clone()
    half[..., :32] = 0
    question = asked(task, {**batch, "flow_weight": half})
    flow = batch["flow"][:, 0].clone()
    flow[..., :32] = 99
    assert float(task.judge([flow], question)) < 1e-2
    assert float(task.judge([0 * flow], question)) > 1


def test_both_views_are_alike_best_by_the_exact_disparity(batch: Batch) -> None:
    task = ActiveStereo()
    question = asked(task, batch)
    exact = 48.0 * 0.2 / batch["depth"][:, 0]
    losses = []
    for left in (exact, 0 * exact + 0.01, exact.mean() + 0 * exact, 1.4 * exact):
        answer = active_stereo.Told(left, left, torch.zeros_like(left))
        losses.append(float(task._one_way(*question.target.frames.unbind(1), left, left, -1)[0]))
    assert losses[0] < 0.9 * min(losses[1:])
    score, _, counts = task.keep(active_stereo.Told(exact, exact, answer.valid), question)
    assert score[0, 0] < 1e-3 < score[0, 1] and counts.tolist() == [1]
    for wrong, share in ((1.9, 0), (2.1, 1)):
        off = active_stereo.Told(exact + wrong, exact, answer.valid)
        kept = task.keep(off, question)
        assert task.beside(kept) == {"bad-2": share} and float(kept[0][0, 0]) == pytest.approx(
            wrong, abs=1e-3
        )
    half = exact.clone()
    half[..., 32:] += 3
    seen = (torch.arange(64) + 0.5 >= exact).sum()
    off = active_stereo.Told(half, exact, answer.valid)
    assert task.beside(task.keep(off, question))["bad-2"] == pytest.approx(float(64 * 32 / seen), abs=1e-3)
    unknown = {name: value for name, value in batch.items() if name != "baseline"}
    kept = task.keep(off, asked(task, unknown))
    assert not task.beside(kept) and kept[-1].tolist() == [0]
    mirrored = {name: value.flip(-1) if value.ndim > 3 else value for name, value in batch.items()}
    mirrored["depth_weight"], mirrored["right_axis"] = batch["depth_weight"], torch.tensor([[-1.0, 0.0]])
    assert torch.equal(asked(task, mirrored).images, question.images)
    assert asked(task, {**batch, "right_axis": torch.tensor([[0.8, 0.6]])}).weight.tolist() == [0]


def test_kinds_and_bins_of_motion_are_those_of_the_camera(batch: Batch) -> None:
    moved = asked(LearnByMove(bins=4, metres=0.1, degrees=4.0), batch).target[0]
    assert moved.tolist() == [3, 3, 2]  # 6 and 8 of ±10 cm, .7 of ±4 degrees
    assert asked(TiedEgoMotion(), batch).target.tolist() == [7]  # right, forward, turning right
    back = {**batch, "camera_pose": batch["camera_pose"].flip(1)}
    assert asked(TiedEgoMotion(), back).target.tolist() == [0]
    stands = {**batch, "camera_pose": batch["camera_pose"][:, :1].expand(-1, 3, -1, -1)}
    assert asked(TiedEgoMotion(), stands).weight.tolist() == [0]
    for rounding in (-1e-8, 1e-8):  # turns by nothing
        aside = motion_of(torch.tensor([[0, rounding, 0, 0.1, 0, rounding]]))
        pose = torch.stack([torch.eye(4), aside[0], aside[0]])[None]
        assert asked(TiedEgoMotion(), {**batch, "camera_pose": pose}).target.tolist() == [4]


@pytest.mark.parametrize("task", [LearnByMove(), TiedEgoMotion()], ids=lambda task: task.name)
def test_where_things_went_is_seen_by_what_tells_the_camera(task: Task, batch: Batch) -> None:
    torch.manual_seed(0)
    head = task.head(Shape(64, (8, 8, 8, 8), (4, 8, 16, 32), 16))
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)  # or all kinds of motion were alike
    first = torch.randn(1, 16, 16, 16)
    answers = []
    for step in (-2, 2):
        maps = torch.cat([first, first.roll(step, 3)])  # of one mean over places
        answers.append(task.answer(head, Seen([maps[:, :8]], maps, 2), asked(task, batch)).detach())
    assert (answers[0] - answers[1]).abs().max() > 1e-2


def test_labelled_motions_are_reached_in_few_steps(batch: Batch) -> None:
    torch.manual_seed(0)
    task = VisualOdometry()
    head, question = task.head(Shape(64, (8, 8, 8, 8), (4, 8, 16, 32), 16)), asked(task, batch)
    maps, fine = torch.randn(3, 16, 16, 16), torch.randn(1, 8, 16, 16)
    seen = Seen([torch.cat([fine, fine.roll(1, 3), fine.roll(2, 3)])], maps, 3)
    optimizer = torch.optim.AdamW(head.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss = task.judge(task.answer(head, seen, question), question)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_a_span_is_the_product_of_its_steps(batch: Batch) -> None:
    task = VisualOdometry()
    question = asked(task, batch)
    steps, whole = question.target
    exact = torch.cat([steps, whole[:, None]], 1)
    torch.testing.assert_close(
        motion_of(steps[0, :1]) @ motion_of(steps[0, 1:]), motion_of(whole), atol=1e-5, rtol=0
    )
    assert float(task.judge(exact, question)) < 1e-3
    for wrong in (0 * exact, torch.cat([steps, 0 * whole[:, None]], 1)):
        assert float(task.judge(wrong, question)) > 0.1
    score = task.score(0 * exact, question)
    torch.testing.assert_close(score[:, 0], score[:, 1])
    assert numbers_of(motion_of(whole)).allclose(whole, atol=1e-5)


def test_what_moves_alike_is_near_and_the_camera_is_no_motion_of_its_own() -> None:
    task = CrossPixel()
    many = sample_batch(task)
    two = torch.zeros_like(many["flow"])
    two[..., two.shape[-1] // 2 :] = 3.0
    many |= {"flow": two, "flow_weight": torch.ones_like(many["flow_weight"])}
    question = asked(task, many)
    flow = question.target.flow
    exact = 1 - (flow[:, :, None] - flow[:, None]).square().sum(3)
    assert float(task.judge(exact, question)) < 0.1 * float(task.judge(0 * exact, question))
    assert task.score(exact, question)[:, 0].min() == 1 > task.score(-exact, question)[:, 0].max()
    assert not asked(task, many | {"flow": torch.full_like(two, 2.0)}).weight.any()
    motion, moves = own_motion(many | {"flow": torch.full_like(two, 2.0)}, (0,), 0.3)
    assert not motion.any() and not moves.any()


@pytest.mark.parametrize("task", [PoseAction(), CrossModel()], ids=lambda task: task.name)
def test_one_small_fast_thing_is_motion_enough_and_as_fast_as_many(task: Task) -> None:
    many = sample_batch(task)
    still, ball = torch.zeros_like(many["flow"]), torch.zeros_like(many["flow"])
    side = ball.shape[-1]
    first, stop = 5 * side // 16, side // 2
    ball[..., 0, first:stop, first:stop] = 1.0  # pixels a frame, in a thirtieth of what is seen
    some = {"flow_weight": torch.ones_like(many["flow_weight"]), "serves": torch.ones(len(still))}
    assert asked(task, many | some | {"flow": ball}).weight.all()
    assert not asked(task, many | some | {"flow": still + 0.2 * ball}).weight.any()
    assert not asked(task, many | some | {"flow": ball * (torch.arange(side) <= first)}).weight.any()
    frames = range(still.shape[1] - 1) or (0,)
    motion, _ = own_motion(many | some | {"flow": 3 * ball}, frames, 0.3)
    assert motion.max() == pytest.approx(1, abs=1e-4)


def test_where_a_thing_goes_is_seen_by_what_judges_its_motion() -> None:
    torch.manual_seed(0)
    head = PoseAction(flows=1).head(Shape(64, (8, 8, 8, 8), (4, 8, 16, 32), 16))
    first = torch.zeros(1, 16, 16, 16)
    first[..., 6, 6] = 1.0
    last, flow = first.roll(2, 3), torch.zeros(1, 2, 64, 64)
    flow[:, 0, 24:28, 24:28] = 8.0
    ways = [(first, last), (last, first), (first, first.roll(2, 2))]
    told = [head(*map(head.look, way), head.moved(flow)).detach() for way in ways]
    assert min((told[0] - other).abs() for other in told[1:]) > 1e-3

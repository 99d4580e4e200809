"""What tasks that learn from time make of clips whose motion is known."""

import itertools

import numpy as np
import pytest
import torch

from freelabels.testing.task_samples import learner, sample_batch
from freelabels.train.data.loader import Batch
from freelabels.train.model.network import Shape
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Clips
from freelabels.train.tasks.contract.task import Asked
from freelabels.train.tasks.prediction.conv_lstm import Forecast
from freelabels.train.tasks.prediction.frames import AHEAD
from freelabels.train.tasks.prediction.lstm_dynamics import centres, nearest
from freelabels.train.tasks.prediction.mcnet import MotionAndContent
from freelabels.train.tasks.prediction.un_lstm import Composite
from freelabels.train.tasks.prediction.video_colorization import VideoColorization, colour_classes
from freelabels.train.tasks.time.arrow_of_time import ArrowOfTime
from freelabels.train.tasks.time.order_policy import OrderPolicy
from freelabels.train.tasks.time.stills import UNEVEN, disorder, orders_up_to_direction, stills
from freelabels.train.tasks.time.tracks import elsewhere, followed, moving_corner
from freelabels.train.tasks.time.transitive import Transitive
from freelabels.train.tasks.time.video_jigsaw import coherent_orders

SEEDS = torch.arange(64)


def gliding(frames: int, step: tuple[int, int]) -> Batch:
    """Two clips in which a square of 16 pixels glides (x, y) a frame over a plain, with exact flow both ways."""
    image = torch.full((2, frames, 3, 64, 64), 90, dtype=torch.uint8)
    flow = torch.zeros(2, frames, 2, 64, 64)
    back = flow.clone()
    for t in range(frames):
        y, x = 8 + t * step[1], 8 + t * step[0]
        image[:, t, :, y : y + 16, x : x + 16] = 200
        for map_, sign in ((flow, 1), (back, -1)):
            map_[:, t, :, y : y + 16, x : x + 16] = sign * torch.tensor(step)[:, None, None].float()
    weight = torch.ones(2, frames, 64, 64)
    return {
        "image": image,
        "flow": flow,
        "flow_weight": weight,
        "flow_backward": back,
        "flow_backward_weight": weight,
        "seed": torch.arange(2),
        "serves": torch.ones(2),
    }


def test_light_sharpness_and_colour_of_a_frame_say_nothing_of_when_it_was() -> None:
    frame = torch.randint(60, 120, (64, 1, 3, 32, 32)).float().expand(-1, 4, -1, -1, -1)
    drift = torch.linspace(0.6, 1.8, 4)[None, :, None, None, None]
    plain, drifting = (stills(x, Draw(SEEDS, "a")) for x in (frame, frame * drift))
    for x in (plain, drifting):
        assert x.shape == (64, 4, 1, 28, 28)
        assert x.mean((2, 3, 4)).sub(128).abs().max() < 0.01
    assert (plain - drifting).abs().mean() < 2  # in a spread of 50


def test_stills_are_equally_sharp_and_of_one_contrast_whatever_the_frames_were() -> None:
    g = torch.Generator().manual_seed(0)
    grain = torch.randn(1600, 1, 20, 20, generator=g)
    soft, softer = (
        torch.nn.functional.avg_pool2d(grain, k, 1, k // 2).view(400, 4, 1, 20, 20) for k in (3, 5)
    )
    sharp, soft = 128 + 60 * soft, 128 + 60 * softer
    pulse = sharp + torch.linspace(0, 0.5, 4).view(4, 1, 1, 1) * (soft - sharp)
    light = torch.linspace(0.7, 1.3, 4).view(4, 1, 1, 1)
    x = stills((pulse * light).expand(-1, -1, 3, -1, -1), Draw(torch.arange(400), "a"))
    spread = x.std((2, 3, 4))
    fine = (x.diff(dim=3).square().mean((2, 3, 4)) + x.diff(dim=4).square().mean((2, 3, 4))) / spread**2
    assert (spread.amax(1) / spread.amin(1)).max() < 1.001
    assert (fine.amax(1) / fine.amin(1)).median() < 1 + UNEVEN
    sharpest = torch.bincount(fine.argmax(1), minlength=4) / len(fine)  # by however little
    assert (sharpest - 0.25).abs().max() < 4 * (0.25 * 0.75 / len(fine)) ** 0.5


def test_wrong_orders_are_neither_right_nor_right_backwards() -> None:
    found = {tuple(order) for order in disorder(4, Draw(torch.arange(2000), "a")).tolist()}
    wanted = set(itertools.permutations(range(4))) - {(0, 1, 2, 3), (3, 2, 1, 0)}
    assert found == wanted
    assert len(orders_up_to_direction(4)) == 12


def test_orders_of_a_video_keep_the_tiles_of_a_frame_together() -> None:
    orders = coherent_orders(50)
    assert len({tuple(order) for order in orders.tolist()}) == 50
    assert (orders.sort(1).values == torch.arange(12)).all()
    assert all(len(set((order[k : k + 4] // 4).tolist())) == 1 for order in orders for k in (0, 4, 8))


@pytest.mark.parametrize("step", [(3, 0), (2, 1)])
def test_a_patch_is_followed_where_it_goes(step: tuple[int, int]) -> None:
    batch = gliding(6, step)
    corner = moving_corner(batch, 32)
    assert ((corner <= 8) & (corner + 32 >= 24)).all()  # it holds the square
    square = torch.full_like(corner, 8)
    corners = followed(batch, square, 16)
    assert corners[0].tolist() == [[8 + t * step[1], 8 + t * step[0]] for t in range(6)]
    assert elsewhere(torch.tensor([[0, 30], [20, 10]]), 64, 32).tolist() == [[32, 0], [0, 32]]


def test_time_backwards_is_what_the_clip_played_backwards_shows() -> None:
    batch = gliding(6, (3, 1))
    played = {name: value.flip(1) if value.ndim > 1 else value for name, value in batch.items()}
    for ahead, back in (("flow", "flow_backward"), ("flow_weight", "flow_backward_weight")):
        played[ahead], played[back] = played[back], played[ahead]
    task, seeds = ArrowOfTime(6), torch.arange(2)
    drawn = [Draw(seeds, str(n)).integers(2).tolist() for n in range(40)]
    ahead, backwards = (drawn.index([way, way]) for way in (1, 0))
    shown, mirrored = task.ask(batch, Draw(seeds, str(backwards))), task.ask(played, Draw(seeds, str(ahead)))
    assert shown.images is not None and mirrored.images is not None
    assert shown.images.shape == (2, 5, 3, 64, 64) and torch.equal(shown.images, mirrored.images)
    assert shown.target.tolist() == [0, 0] and mirrored.target.tolist() == [1, 1]


def test_flow_is_seen_as_well_where_a_frame_is_small() -> None:
    fast, slow = gliding(6, (8, 2)), gliding(6, (8, 2))
    for name in ("flow", "flow_backward"):
        slow[name] = slow[name] / 8
    shown = [ArrowOfTime(6).ask(batch, Draw(torch.arange(2), "a")).images for batch in (fast, slow)]
    assert shown[0] is not None and shown[1] is not None
    assert (shown[0] - shown[1]).abs().max() < 0.01
    assert (shown[0] - 128).abs().max() > 100


def test_a_camera_that_always_pans_one_way_does_not_tell_which_way_time_runs() -> None:
    batch = gliding(6, (0, 0))
    batch["flow"][:, :, 0] += 3
    batch["flow_backward"][:, :, 0] -= 3
    for number in range(4):
        asked = ArrowOfTime(6).ask(batch, Draw(torch.arange(2), str(number)))
        assert asked.images is not None and (asked.images == 128).all()


def test_classes_of_motion_are_the_nearest() -> None:
    flow = centres().T[None, None, :, None].contiguous()  # (1, 1, 2, 1, 25)
    assert nearest(1.1 * flow).flatten().tolist() == list(range(25))


def test_masks_are_carried_by_the_places_that_colours_came_from() -> None:
    task = VideoColorization()
    batch = sample_batch(task)
    asked = task.ask(batch, Draw(batch["seed"], task.name))
    colours, ids = asked.target
    cells = colours.shape[2]
    # The last frame is the one before moved on by a cell: a task that knows it carries all over exactly.
    ids[:, -1], colours[:, -1] = ids[:, -2].roll(1, 1), colours[:, -2].roll(1, 1)
    known = torch.eye(cells).roll(1, 0)
    answer = torch.cat([torch.zeros(cells, 2 * cells), known], 1).expand(len(ids), -1, -1)
    carried = task.carried(answer, asked)
    told = carried[carried.isfinite().all(1)]
    assert len(told) and (told[:, 0] == 1).all() and (told[:, 1] < 1).all()
    score = task.score(answer, asked)
    assert (score[:, 0] == 1).all() and (score[:, 1] < 1).all()
    assert float(task.judge(answer, asked)) < 0.01


def test_grey_is_one_colour_and_hues_are_others() -> None:
    patches = torch.tensor([[90, 90, 90], [200, 200, 200], [220, 40, 40], [40, 60, 220]])
    classes = colour_classes(patches[:, :, None, None].expand(-1, -1, 8, 8)).flatten().tolist()
    assert classes[:2] == [0, 0] and len(set(classes)) == 3


def test_the_policy_chooses_for_every_other_sample_and_never_where_scores_are_taken() -> None:
    task = OrderPolicy()
    head = learner(task).model.heads[task.name]
    batch = sample_batch(task, samples=64)
    asked = task.ask(batch, Draw(batch["seed"], task.name))
    with torch.no_grad():
        head.policy[7] = 50.0
    which, chosen = task.paint(head, asked).target
    assert 16 < int(chosen.sum()) < 48
    assert (which[chosen == 1] == 7).all() and len(set(which[chosen == 0].tolist())) > 6
    which, chosen = task.paint(head.eval(), asked).target
    assert not chosen.any() and len(set(which.tolist())) > 8


def test_a_question_that_teaches_the_others_is_asked_more_often() -> None:
    task = OrderPolicy()
    # Samples 0 to 3 were drawn evenly; 4 has their order and their looks, 5 has neither.
    which, chosen = torch.tensor([2, 2, 2, 2, 2, 9]), torch.tensor([0, 0, 0, 0, 1, 1])
    policy = torch.zeros(12, requires_grad=True)
    deep = torch.tensor([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    answer = (torch.zeros(6, 12), deep, -torch.log_softmax(policy, 0))
    task.judge(answer, Asked((which, chosen), torch.ones(6))).backward()
    assert policy.grad is not None and policy.grad[2] < 0 < policy.grad[9]  # descent likes 2 more, 9 less


def test_what_is_alike_is_of_another_source_and_what_is_not_lies_farther() -> None:
    rng = np.random.default_rng(0)
    deep = rng.normal(size=(12, 8)).astype(np.float32)
    placed = np.arange(12 * 64, dtype=np.float32).reshape(12, 64)
    clips = Clips(np.concatenate([deep, placed], 1), np.arange(12, dtype=np.uint64) // 2, np.arange(12) < 10)
    labels = Transitive().assign(clips, None, 0)
    alike, unlike = (labels.clips[name].astype(int)[:, 0] // 64 for name in ("alike", "unlike"))
    assert labels.version == 0 and (labels.clips["weight"] == 1).all()
    assert (alike < 10).all() and (unlike < 10).all()  # none of those held out
    for clip in range(10):
        assert alike[clip] // 2 != clip // 2 != unlike[clip] // 2
        near, far = (np.linalg.norm(deep[clip] - deep[other[clip]]) for other in (alike, unlike))
        assert near < far


def test_predictions_begin_at_the_last_frame() -> None:
    shape = Shape(32, (8, 8, 8, 8), (4, 8, 16, 32), 16)
    last, maps = torch.rand(2, 3, 16, 16), torch.rand(2, 4, 8, 4, 4)
    seen = torch.cat([torch.rand(2, 3, 3, 16, 16), last[:, None]], 1)
    ahead = last[:, None].expand(-1, AHEAD, -1, -1, -1)
    assert torch.equal(Forecast(shape)(maps, last), ahead)
    assert torch.equal(MotionAndContent(shape)(seen, maps[:, 0]), ahead)
    past, future = Composite(shape)(torch.rand(2, 4, 8), last)
    assert torch.equal(past, ahead) and torch.equal(future, ahead)

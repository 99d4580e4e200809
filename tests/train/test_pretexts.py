"""What single pretexts do beyond their contract."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from freelabels.testing.task_samples import NORMED, SAMPLES, learner, sample_batch
from freelabels.train.model.network import Shape
from freelabels.train.objective.inputs import prepare
from freelabels.train.tasks.colour.colourful import ColorfulColorization, expected
from freelabels.train.tasks.colour.lab import ab_bins, lab, rgb
from freelabels.train.tasks.colour.split_brain import SplitBrain
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.task import Asked, Seen, Task
from freelabels.train.tasks.generation.bigan import BiGAN
from freelabels.train.tasks.generation.frechet import distinct, frechet, spread
from freelabels.train.tasks.generation.gan import DCGAN, GAN
from freelabels.train.tasks.generation.generators import NOISE, Convolutional, Dense, alike, veil
from freelabels.train.tasks.generation.spot_artifacts import SpotArtifacts
from freelabels.train.tasks.generation.temporal_gan import TemporalGAN
from freelabels.train.tasks.generation.video_gan import VideoGAN
from freelabels.train.tasks.generation.wgan import WGAN
from freelabels.train.tasks.space.context_prediction import AROUND, PAIRS
from freelabels.train.tasks.space.jigsaw import Jigsaw
from freelabels.train.tasks.space.orders import far_orders
from freelabels.train.tasks.space.tiles import PIECES, Puzzle
from freelabels.train.tasks.tasks import FORM, choose, tasks

JUDGED = "gan", "dcgan", "wgan", "self_gan"
JUDGED_CLIPS = "video_gan", "moco_gan", "temporal_gan"


@pytest.mark.parametrize("task", [GAN(), DCGAN(), VideoGAN()], ids=lambda task: task.name)
def test_a_maker_is_told_of_its_image_what_the_judge_thinks_of_it(task: Task) -> None:
    """With batch norm, whose statistics must be of the same images: of made ones alone it hides their mean."""
    made = learner(task, NORMED)
    answer = made.predict(prepare({task.name: task}, sample_batch(task))).answers[task.name]
    _, ours, maker = answer
    torch.testing.assert_close(ours, maker)


def test_laying_tiles_after_the_trunk_is_laying_them_before() -> None:
    task = Jigsaw(orders=5, puzzles=2)
    made = learner(task).eval()
    [asked] = prepare({task.name: task}, sample_batch(task)).asked.values()
    assert asked.images is not None
    head, deep = made.model.heads[task.name], torch.randn(SAMPLES, PIECES, made.model.shape.channels[-1])
    told = task.answer(head, Seen([deep.flatten(0, 1)[..., None, None]], None, PIECES), asked)
    for k in range(2):
        order = far_orders(5, PIECES)[asked.target[:, k]]
        laid = torch.stack([deep[n, order[n]] for n in range(SAMPLES)])
        torch.testing.assert_close(told[:, k], head.orders(head.alone(laid), far_orders(5, PIECES)))


def test_what_a_tile_says_of_its_cell_is_the_same_wherever_it_lies() -> None:
    head = Puzzle(Shape(32, (4,), (32,), 8), 3)
    tiles, order = torch.randn(2, PIECES, 256), torch.randperm(PIECES)
    torch.testing.assert_close(head.cells(tiles[:, order]), head.cells(tiles)[:, order])
    orders = torch.stack([torch.arange(PIECES), order])
    suits = head.orders(tiles, torch.cat([orders, order[None]])) - head.together(tiles)
    torch.testing.assert_close(suits[:, 0], head.cells(tiles).diagonal(dim1=1, dim2=2).sum(1))


@pytest.mark.parametrize("name", ["jigsaw", "damaged_jigsaw", "deep_perm_net"])
def test_runs_of_form_2_go_on_with_the_heads_they_have(name: str) -> None:
    def keys(form: int) -> set[str]:
        [task] = choose([name], lambda field: False, {}, 1, form=form).values()
        return {key for key in task.head(Shape(32, (4,), (32,), 8)).state_dict() if "shares" in key}

    assert not keys(2) and keys(FORM)


def test_all_neighbours_in_a_grid_are_asked_once() -> None:
    assert len(set(PAIRS)) == len(PAIRS) == 40
    for patch, neighbour, where in PAIRS:
        assert (neighbour // 3 - patch // 3, neighbour % 3 - patch % 3) == AROUND[where]


def test_colours_come_back_from_lab() -> None:
    image = torch.randint(0, 256, (2, 3, 5, 5), generator=torch.Generator().manual_seed(0)).float()
    torch.testing.assert_close(rgb(lab(image)), image, rtol=0, atol=0.5)


@pytest.mark.parametrize("name", ["colourful", "split_brain"])
def test_a_colour_is_scored_as_if_rare_ones_had_not_counted_more(name: str) -> None:
    """A net that learned its loss perfectly says chances times rarity; the score is of the chances."""
    task, ones = tasks()[name], torch.ones(1, 2, 2)
    assert isinstance(task, ColorfulColorization | SplitBrain)
    rarity = task.rarity()
    chances = torch.softmax(torch.randn(1, len(rarity), 2, 2, generator=torch.Generator().manual_seed(0)), 1)
    learned = (chances * rarity[:, None, None]).log()
    truth = torch.einsum("nqhw,qc->nchw", chances, ab_bins())
    if isinstance(task, SplitBrain):
        error, *_ = task.keep((learned, torch.zeros(1, 50, 2, 2)), Asked((truth, ones), ones))
    else:
        error, *_ = task.keep(learned, Asked(truth, ones))
    assert float(error[0]) < 1e-4
    assert float((expected(learned) - truth).abs().max()) > 1  # it makes a difference


def test_rare_colours_count_more_in_split_brain_too() -> None:
    task, weight = SplitBrain(light=0.0), torch.ones(1, 1, 1)
    says_nothing = torch.zeros(1, len(ab_bins()), 1, 1), torch.zeros(1, 50, 1, 1)
    grey, red = (torch.tensor(ab).view(1, 2, 1, 1) for ab in ((0.0, 0.0), (60.0, 40.0)))
    losses = [float(task.judge(says_nothing, Asked((ab, weight), weight))) for ab in (grey, red)]
    assert losses[1] > 2 * losses[0]


def test_whole_and_damaged_images_come_out_of_one_autoencoder_and_differ_where_told() -> None:
    task = SpotArtifacts()
    made = learner(task)
    inputs = prepare({task.name: task}, sample_batch(task))
    painted = task.paint(made.model.heads[task.name], inputs.asked[task.name])  # type: ignore[arg-type]
    assert painted.images is not None and painted.held is not None
    assert torch.equal(painted.images, painted.images.round())
    blank = painted.target[0].bool()
    assert bool(blank.flatten(1).any(1).all()) and not bool(blank.all())
    assert bool((painted.images[:, 0] != painted.images[:, 1]).flatten(1).any(1).all())
    head = made.model.heads[task.name]
    painted.held[:, 1].sum().backward()
    learning = {name.split(".")[0] for name, p in head.named_parameters() if p.grad is not None}
    assert learning == {"repair"}  # against the trunk; the autoencoder must not learn to please it


@pytest.mark.parametrize("name", [*JUDGED, "bigan", *JUDGED_CLIPS])
def test_what_generators_make_is_judged_beside_what_a_new_one_makes(name: str) -> None:
    task = tasks()[name]
    made = learner(task).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        new = (task.generator if isinstance(task, GAN) else lambda: Convolutional(32))()
    made.model.heads[name].generator.load_state_dict(new.state_dict())
    with torch.no_grad():
        told = made.predict(prepare({name: task}, sample_batch(task)))
    columns = [torch.cat([x] * 16) for x in task.keep(told.answers[name], told.asked[name])]
    beside = task.beside(columns)
    distance, expected = beside.get("distance", task.summary(columns)[0]), beside["of a new generator"]
    if name in JUDGED_CLIPS:  # the mean of five, of which this is the first
        counts = columns[-1] > 0
        news = [frechet(columns[0][counts], new) for new in columns[2][counts].unbind(1)]
        assert sum(news) / 5 == pytest.approx(expected) and max(news) > 1.2 * min(news)
        expected = news[0]
    assert distance == pytest.approx(expected, rel=1e-3) and distance > 0
    assert ("share of real clips' spread" if name in JUDGED_CLIPS else "distinct of 64") in beside


@pytest.mark.parametrize("name", [*JUDGED, "bigan", *JUDGED_CLIPS])
def test_a_generator_is_told_that_it_makes_one_image_whatever_the_noise(name: str) -> None:
    task = tasks()[name]
    made, said = learner(task), []
    inputs = prepare({name: task}, sample_batch(task))
    head = made.model.heads[name]
    for _ in range(2):
        with torch.no_grad():
            if name == "bigan":
                said.append(float(made.predict(inputs).answers[name]["alike"].mean()))
            else:
                more, less = (
                    one.paint(head, inputs.asked[name]).target[1].mean()
                    for one in (task, replace(task, variety=0.0))  # type: ignore[type-var]
                )
                said.append(float(more - less) / task.variety)  # type: ignore[attr-defined]
        for module in head.generator.modules():
            if isinstance(module, nn.Linear):
                module.weight.data.zero_()
    assert said[0] < 0.27 and said[1] == pytest.approx(task.apart)  # type: ignore[attr-defined]
    assert float(alike(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 80.0), 0.5)[0]) == 0


@pytest.mark.parametrize("name", [*JUDGED, *JUDGED_CLIPS])
def test_what_is_judged_is_behind_a_veil_while_training_and_as_it_is_after(name: str) -> None:
    task = tasks()[name]
    made = learner(task)
    asked = prepare({name: task}, sample_batch(task)).asked[name]
    head, hidden = made.model.heads[name], asked.target[2]
    with torch.no_grad():
        each = asked, task.paint(head, asked), task.paint(head.eval(), asked)
    given, shown, plain = (one.images if one.clips is None else one.clips.flatten(2, 3) for one in each)
    assert given is not None and shown is not None and plain is not None
    assert torch.equal(plain[:, 0], given[:, 0])
    torch.testing.assert_close(shown[:, :2], hidden(plain[:, :2]))
    assert bool((shown[:, :2] != plain[:, :2]).flatten(1).any(1).all())
    assert torch.equal(plain[:, :2], plain[:, :2].round())


def test_a_veil_takes_detail_away_and_leaves_the_mean_alike_on_both() -> None:
    images = 255 * torch.rand(64, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images[:, 1] = images[:, 0]
    hidden = veil(Draw(torch.arange(64), "veil"), 30.0, 32)
    shown = replace(hidden, grain=torch.zeros(()))(images)
    assert torch.equal(shown[:, 0], shown[:, 1])
    torch.testing.assert_close(shown.mean((3, 4)), images.mean((3, 4)), atol=6.0, rtol=0)
    spread = shown.flatten(1).std(1)
    by_level = [spread[hidden.level == level].mean() for level in range(4)]
    assert sorted(by_level) == by_level and by_level[0] < 20 < 60 < by_level[3]
    assert torch.equal(shown[hidden.level == 3], images[hidden.level == 3])
    strength = hidden.grain.flatten(1).std(1)
    assert 0 < strength.min() < 5 and 25 < strength.max() < 32


def test_bigan_is_judged_by_what_an_image_loses_on_its_way_there_and_back() -> None:
    task = BiGAN(weight=1.0)
    made = learner(task)
    told = made.predict(prepare({task.name: task}, sample_batch(task)))
    answer, asked = told.answers["bigan"], told.asked["bigan"]
    assert asked.images is not None
    lost = answer["again"].sum()
    more = task.judge(answer, asked) - replace(task, again=0.0).judge(answer, asked)
    assert float(more.detach()) == pytest.approx(2 * float(lost.detach()), rel=1e-4)
    assert 0 < float(lost.detach()) < 2 * len(asked.images)
    lost.backward()
    with_gradient = {
        name.split(".")[0] for name, p in made.model.heads["bigan"].named_parameters() if p.grad is not None
    }
    assert with_gradient == {"encoder", "generator"}


def test_samples_lie_as_far_apart_as_two_of_them_do_in_the_mean() -> None:
    assert spread(torch.tensor([[0.0, 0.0], [3.0, 4.0]])) == 5
    assert spread(torch.tensor([[1.0], [1.0], [4.0]])) == 2
    assert spread(torch.ones(8, 3, 4, 4).byte()) == 0


def test_images_are_distinct_that_lie_as_far_apart_as_real_ones() -> None:
    genuine = torch.arange(64.0)[:, None] * 10
    assert distinct(genuine, genuine) == 64
    assert distinct(genuine, torch.zeros(64, 1)) == 1
    assert distinct(genuine, (torch.arange(64.0)[:, None] % 8) * 7) == 8
    assert distinct(genuine, torch.arange(64.0)[:, None]) == 13  # every fifth


def test_forms_of_before_say_how_sure_their_score_is() -> None:
    target = torch.tensor([0.0, 1.0, 1.0, 3.0])[:, None, None, None]
    answer = torch.eye(4)[:, :, None, None]  # the third is wrong
    task = tasks()["rotation_maps"]
    score, trivial, error = task.summary(task.keep(answer, Asked(target, torch.ones(4, 1, 1))))
    assert (score, trivial) == (0.75, 0.5)
    assert error == pytest.approx(float(torch.tensor([1.0, 0.0, -1.0, 1.0]).std(correction=0)) / 2)


def test_two_full_layers_begin_with_what_regions_share_and_not_with_grain() -> None:
    images = Dense(32)(torch.randn(16, NOISE, generator=torch.Generator().manual_seed(0))).detach()
    neighbours = torch.stack([images[..., :-1].flatten(), images[..., 1:].flatten()])
    assert images.shape == (16, 3, 32, 32) and float(torch.corrcoef(neighbours)[0, 1]) > 0.5


def test_a_critic_widens_its_gap_only_so_far() -> None:
    task, nothing = WGAN(), torch.zeros(1)
    asked = Asked((nothing, nothing), torch.ones(1))

    def lost(apart: float) -> float:
        return float(task.judge(((torch.full((1,), apart), nothing, nothing), nothing), asked))

    assert lost(5.0) < lost(0.0) and lost(5.0) < lost(10.0)


@pytest.mark.parametrize(("steepness", "too_steep"), [(0.0, 0.0), (0.5, 0.0), (3.0, 4.0)])
def test_a_critic_may_be_flat_but_not_steep(steepness: float, too_steep: float) -> None:
    """Of a critic whose answer rises by so much for each unit of length of an image in -1 … 1."""
    images = torch.zeros(1, 1, 3, 2, 2, requires_grad=True)
    along = steepness * torch.ones(12) / 12**0.5 / 127.5
    told = (images.flatten(1) @ along).view(1, 1, 1, 1).expand(3, 1, 1, 1)
    seen = Seen([told], None, 3, held=Seen([told.detach()], None, 3))
    head = nn.Module()
    head.judge = nn.Linear(1, 1)
    nn.init.ones_(head.judge.weight)
    asked = Asked((None, None, images), torch.ones(1))
    for task, shown in ((WGAN(), seen), (TemporalGAN(), Seen([], None, 3, clips=seen))):
        _, slope = task.answer(head, shown, asked)  # type: ignore[arg-type]
        assert slope.tolist() == pytest.approx([too_steep], abs=1e-4)


@pytest.mark.parametrize("name", [*JUDGED, "bigan", *JUDGED_CLIPS])
def test_a_generator_and_its_judge_weigh_a_tenth_among_other_tasks(name: str) -> None:
    task = tasks()[name]
    whole = replace(task, weight=1.0)  # type: ignore[type-var]
    told = learner(task).predict(prepare({name: task}, sample_batch(task)))
    losses = [float(one.judge(told.answers[name], told.asked[name]).detach()) for one in (whole, task)]
    assert losses[1] == pytest.approx(0.1 * losses[0]) and losses[0]

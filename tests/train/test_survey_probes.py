"""The survey's probes of classes: streamed classifiers, support vector machines, both average precisions."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.config import ProbeConfig
from freelabels.train.model.network import Backbone
from freelabels.train.model.statistics import measure_statistics
from freelabels.train.probing import classifiers
from freelabels.train.probing import finetune as finetune_module
from freelabels.train.probing.classifiers import (
    eleven_points,
    fit_support_vectors,
    logistic,
    quality,
    span,
    support_vectors,
)
from freelabels.train.probing.features import Pooled
from freelabels.train.probing.layouts.folders import class_folders
from freelabels.train.probing.layouts.pixels import read_image
from freelabels.train.probing.layouts.sets import Classified, Listed
from freelabels.train.probing.low_shot import frozen_measures
from freelabels.train.probing.networks import at_chance
from freelabels.train.probing.probe_report import lacks
from freelabels.train.probing.splits import listed_split, random_split
from freelabels.train.probing.streams import streamed
from freelabels.train.probing.streams.streamed import (
    EPOCHS,
    LARGE,
    Schedule,
    StreamedImages,
    epochs_of,
    schedule_for,
    streamed_accuracy,
)

CPU = torch.device("cpu")
NAN = math.nan


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Average precision, by hand


@pytest.mark.parametrize(
    ("shown", "ranked", "points"),
    [
        # hits at ranks 1 and 3: precision 1 up to recall 1/2 (recalls 0 to .5), 2/3 up to 1 (.6 to 1)
        ([1, 0, 1, 0], (1 + 2 / 3) / 2, (6 * 1 + 5 * 2 / 3) / 11),
        # hits at ranks 2 and 4: 1/2 at both, and at every recall
        ([0, 1, 0, 1], 1 / 2, 1 / 2),
        # hits at ranks 2, 3 and 4: 1/2, 2/3, 3/4; the best at that recall or higher is 3/4 at every one
        ([0, 1, 1, 1], (1 / 2 + 2 / 3 + 3 / 4) / 3, 3 / 4),
        # the first is difficult and counts nowhere: as the first row
        ([NAN, 1, 0, 1, 0], (1 + 2 / 3) / 2, (6 * 1 + 5 * 2 / 3) / 11),
        # hits at ranks 1, 2, 3 and 10 of ten shown at 3/10 of recall, exactly on a point, which 0.1 * 3 isn't
        ([1, 1, 1, 0, 0, 0, 0, 0, 0, 0] + [1] * 7, None, (4 * 1 + 7 * 10 / 17) / 11),
    ],
)
def test_both_average_precisions_by_hand(shown: list[float], ranked: float | None, points: float) -> None:
    truth = torch.tensor(shown)[:, None]
    scores = -torch.arange(len(shown), dtype=torch.float32)[:, None]
    assert eleven_points(truth, scores) == pytest.approx(points, abs=1e-12)
    if ranked is not None:
        assert quality(truth, scores, False) == pytest.approx(ranked, abs=1e-12)


def test_average_precisions_are_means_over_classes_and_equal_scores_share_a_rank() -> None:
    truth = torch.tensor([[1.0, 0], [0, 1], [0, 0]])
    assert eleven_points(truth, torch.tensor([[3.0, 1], [2, 1], [1, 1]])) == pytest.approx((1 + 1 / 3) / 2)
    order = torch.tensor([1, 2, 0])
    assert eleven_points(truth[order], torch.ones(3, 2)) == eleven_points(truth, torch.ones(3, 2))


# Support vector machines


def test_two_points_by_hand() -> None:
    """Of x = 1 (shown, counted twice) and x = -1: the stationary point of the squared hinge's quadratic."""
    cost = 0.3
    weight = fit_support_vectors(
        torch.tensor([[1.0], [-1]]), torch.tensor([[1.0], [0]]), cost, torch.zeros(2, 1)
    )
    # w - 4C (1 - w - b) - 2C (1 - w + b) = 0 and b - 4C (1 - w - b) + 2C (1 - w + b) = 0
    equations = np.array([[1 + 6 * cost, 2 * cost], [2 * cost, 1 + 6 * cost]])
    torch.testing.assert_close(
        weight[:, 0].double(),
        torch.from_numpy(np.linalg.solve(equations, [6 * cost, 2 * cost])),
        atol=1e-4,
        rtol=0,
    )


def several_classes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features (n, 20) of unit length and truth (n, 2), which two directions tell with errors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 20))
    truth = (x[:, :2] + 0.5 * rng.normal(size=(count, 2)) > 0).astype(np.float32)
    return torch.tensor(x, dtype=torch.float32), torch.from_numpy(truth)


@pytest.mark.slow
def test_machines_tell_classes_apart_and_do_not_read_what_is_not_said() -> None:
    x, truth = several_classes(150, 0)
    y, wanted = several_classes(100, 1)
    fitted = support_vectors(x, truth, y, 0)
    assert quality(wanted, fitted.scores, False) > 0.85 and fitted.validation > 0.85
    silent = truth.clone()
    silent[:20] = NAN
    kept = fit_support_vectors(x[20:], truth[20:], 1.0, torch.zeros(21, 2))
    torch.testing.assert_close(
        fit_support_vectors(x, silent, 1.0, torch.zeros(21, 2)), kept, atol=1e-3, rtol=0
    )


# Streamed


class Pixels(torch.nn.Module):
    """A stand-in for a network, whose stage is the picture, times a number."""

    def __init__(self, gain: float):
        super().__init__()
        self.gain = gain


def see(network: Pixels, images: Tensor) -> list[Tensor]:
    return [network.gain * images.float().flatten(1), images.float().mean((2, 3))]


@pytest.fixture(scope="module")
def tinted(tmp_path_factory: pytest.TempPathFactory) -> Listed:
    """Three classes of noise of slightly different tints."""
    root, rng = tmp_path_factory.mktemp("tinted"), np.random.default_rng(0)
    for k in range(3):
        for number in range(100):
            image = np.kron(128 + 40 * rng.normal(size=(4, 4, 3)) + 25 * np.eye(3)[k], np.ones((4, 4, 1)))
            (root / f"c{k}").mkdir(exist_ok=True)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"c{k}" / f"{number}.png")
    return class_folders(root)


def pictures(data: Listed) -> Tensor:
    return torch.stack([torch.from_numpy(read_image(Path(file), 4)) for file in data.files])


@pytest.mark.slow
def test_streamed_is_the_in_memory_solver_within_a_point(
    tinted: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    truth, images = tinted.classified().truth, pictures(tinted)
    number = {Path(file): k for k, file in enumerate(tinted.files)}
    monkeypatch.setattr(
        streamed, "read_image", lambda file, side: reads.append(file) or images[number[file]].numpy()
    )
    monkeypatch.setattr(streamed, "PENALTY", 1e-2)  # a minimum that few steps reach
    split = listed_split(tinted, 0.8, np.random.default_rng(0))
    one = StreamedImages(tinted, Schedule(40, 10, crops=False))
    networks = {"a": Pixels(1.0), "b": Pixels(0.1)}
    found = streamed_accuracy(networks, see, one, split.train.numpy(), split.test.numpy(), 4, 0, CPU)  # type: ignore[arg-type]
    # One pass for statistics and one an epoch serve all rows and stages.
    assert len(reads) == (1 + 40) * len(split.train) + len(split.test)
    monkeypatch.setattr(classifiers, "LOGISTIC_PENALTIES", (streamed.PENALTY,))
    for features, accuracy in zip(see(networks["a"], images), found["a"], strict=True):
        axes = span(features[split.train], features[split.test])
        fitted = logistic(axes[0], truth[split.train], axes[1], True, torch.arange(len(split.train)) < 9)
        assert abs(accuracy - quality(truth[split.test], fitted.scores, True)) < 0.01
    assert found["a"] == pytest.approx(found["b"])  # standardised features know no scale
    assert found["a"][1] > 0.5 and one.chance(split.test) == pytest.approx(1 / 3)


def test_published_schedule_is_for_large_sets(tinted: Listed) -> None:
    assert schedule_for(LARGE + 1, EPOCHS) == Schedule(28, 256, True) and schedule_for(500, 9).batch == 31
    assert Schedule(1, 256, True).decay(9216) == 5e-4
    assert epochs_of(tinted, None) == 0 and epochs_of(tinted, 3) == 3


def test_crops_show_all_places_and_both_sides(tinted: Listed) -> None:
    picture = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).expand(200, 3, 5, 5)
    views = streamed._cropped(picture, 4, np.random.default_rng(0))
    corners = {(int(v[0, 0, 0]), int(v[0, 0, -1])) for v in views}
    assert corners == {pair for k in (0, 1, 5, 6) for pair in ((k, k + 3), (k + 3, k))}
    assert streamed._cropped(picture, 4, None)[0, 0, 0, 0] == 0  # half of the one spare pixel, rounded down


def test_a_picture_that_cannot_be_read_is_named(tinted: Listed, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    files = (*tinted.files[:-1], str(tmp_path / "broken.jpg"))
    one = StreamedImages(Listed("x", files, tinted.labels, tinted.classes, None), Schedule(1, 16, False))
    with pytest.raises(UserError, match=r"broken\.jpg"):
        streamed_accuracy({"a": Pixels(1.0)}, see, one, np.arange(284, 300), np.arange(3), 4, 0, CPU)  # type: ignore[arg-type, dict-item]


# Rows


def test_batch_statistics_are_of_the_images_and_weights_stay() -> None:
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    network.forward = lambda x, whole=network.forward: whole(x.float())  # type: ignore[method-assign]
    before = network[0].weight.clone()
    measure_statistics(network, [images])
    seen = network[0](images.float())
    torch.testing.assert_close(network[1].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(network[1].running_var, seen.var((0, 2, 3)))
    assert torch.equal(network[0].weight, before) and network[1].momentum == 0.1 and not network[1].training


def score(task: str, value: float, constant: float, better: bool, error: float | None) -> dict[str, object]:
    return {
        "task": task,
        "domain": "all",
        "score": value,
        "constant": constant,
        "better": better,
        "error": error,
    }


def test_a_pretext_at_chance_is_known_from_the_record(tmp_path: Path) -> None:
    assert at_chance(tmp_path) == frozenset()
    early = [score("rotation", 0.25, 0.25, False, 0.02), score("edges", 0.5, 0.1, True, None)]
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps({"step": 1}) + "\n" + json.dumps({"held_out": early}) + "\n"
    )
    assert at_chance(tmp_path) == {"rotation"}  # a run that was stopped has no summary
    late = [score("rotation", 0.4, 0.25, True, 0.02), score("jigsaw", 0.3, 0.25, True, 0.02)]
    (tmp_path / "summary.json").write_text(json.dumps({"scores": late}))
    assert at_chance(tmp_path) == {"jigsaw"}  # better, but by less than three standard errors


# Fine-tuned from a stage on


def test_what_lies_below_a_stage_keeps_weights_and_statistics() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", False, 32)
        images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    before = {name: value.clone() for name, value in backbone.net.state_dict().items()}
    truth = torch.nn.functional.one_hot(torch.arange(8) % 2, 2).float()
    model = finetune_module._fit(backbone, images, truth, False, 1e-2, 1, 0, CPU, "layer2")
    moved = {
        name.partition(".")[0]
        for name, value in model.backbone.net.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"layer3", "layer4"}


def test_ten_crops_and_random_scales_show_parts_of_the_image() -> None:
    ramp = torch.arange(64, dtype=torch.float32).expand(2, 3, 64, 64)
    crops = finetune_module.ten_crops(ramp)
    begins = [round(float(crop[0, 0, 0, 0])) for crop in crops]
    assert begins == [0, 55, 0, 55, 8, 63, 8, 63, 4, 59]  # pairs of a crop and its mirror image
    views = finetune_module.scaled(ramp[:1].expand(100, 3, 64, 64))
    widths = (views[:, 0, 0, -1] - views[:, 0, 0, 0]).abs()
    assert 31 <= float(widths.min()) < 35 and 60 < float(widths.max()) <= 63.5
    assert 0 < int((views[:, 0, 0, -1] > views[:, 0, 0, 0]).sum()) < 100


# The measures of several classes an image, and what a report lacks


@pytest.mark.slow
def test_both_precisions_stand_beside_ridge_and_machines() -> None:
    x, truth = several_classes(60, 0)
    about = Classified("x", (), truth, ("a", "b"), False, None)
    rng = np.random.default_rng(0)
    split = random_split(truth, about.classes, False, None, 0.4, rng)
    found = frozen_measures([Pooled(x, x)], about, split, ProbeConfig(shots=(), draws=1), rng)
    assert (
        next(iter(found)) == "linear, ridge"
        and {
            "linear, ridge, 11 points",
            "support vector machines",
            "support vector machines, 11 points",
        }
        < found.keys()
    )
    assert all(0.5 < score <= 1 for ((score, _),) in found.values())
    given = frozen_measures([Pooled(x, x)], about, split, ProbeConfig(shots=(), neighbours=20), rng)
    assert given["nearest neighbours, k 20"][0][1] == 20 and "nearest neighbours" not in given


def test_a_report_says_what_itlacks() -> None:
    assert [note.split(":")[0] for note in lacks(ProbeConfig(seeds=2))] == [
        "No row learned from human labels stands beside",
        "2 seeds",
    ]
    assert list(lacks(ProbeConfig(supervised="timm"))) == []

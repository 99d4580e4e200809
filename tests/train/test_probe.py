"""Probes: layouts are read right, classifiers find what is there and only that, and test images choose nothing."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.config import LoaderConfig, ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.held_out import held_out_groups
from freelabels.train.data.windows import REAL, SYNTHETIC
from freelabels.train.model.network import Backbone
from freelabels.train.probing import classifiers
from freelabels.train.probing import dense_probe as dense
from freelabels.train.probing.classifiers import chance, logistic, nearest_neighbours, quality, ridge, span
from freelabels.train.probing.dense_probe import DenseImages
from freelabels.train.probing.features import GRID_DIMENSIONS, grid_side, pooled, stages
from freelabels.train.probing.finetune import finetune
from freelabels.train.probing.labelled_images import read_folder, read_images, read_maps
from freelabels.train.probing.labelled_shards import read_shards
from freelabels.train.probing.layouts.sets import Classified, Listed, Segmented
from freelabels.train.probing.networks import random_network
from freelabels.train.probing.options import check
from freelabels.train.probing.probe import probe
from freelabels.train.probing.probe_report import ProbeReport, half_width, markdown
from freelabels.train.probing.splits import block_split, few_shots, random_split
from freelabels.train.run.trainer import fit

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
CLASSES = ("disc", "square", "stripes")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawing(shape: str, rng: np.random.Generator, side: int = 48) -> np.ndarray:
    """A shape in a random place and colour on noise."""
    image = rng.integers(90, 110, (side, side, 3), dtype=np.uint8)
    y, x = np.mgrid[:side, :side]
    cy, cx = rng.integers(18, side - 18, 2)
    inside = {
        "disc": (y - cy) ** 2 + (x - cx) ** 2 < 120,
        "square": (abs(y - cy) < 10) & (abs(x - cx) < 10),
        "stripes": (y + cy) % 8 < 4,
    }[shape]
    image[inside] = rng.integers(150, 255, 3)
    return image


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_classes(root: Path, each: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        for k in range(each):
            save(root / name / f"{k:02}.png", drawing(name, rng))
    return root


def annotation(*objects: tuple[str, int]) -> str:
    inner = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult></object>"
        for name, difficult in objects
    )
    return f"<annotation>{inner}</annotation>"


def write_voc(root: Path) -> Path:
    rng = np.random.default_rng(0)
    shown = {
        "a": [("disc", 0)],
        "b": [("disc", 0), ("square", 1)],
        "c": [("square", 0), ("square", 1)],
        "d": [("square", 0)],
    }
    for folder in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name, objects in shown.items():
        save(root / "JPEGImages" / f"{name}.jpg", drawing("disc", rng))
        (root / "Annotations" / f"{name}.xml").write_text(annotation(*objects))
    for name in ("a", "d"):
        ids = np.zeros((48, 48), np.uint8)
        ids[:, 24:], ids[:4] = 15, 255
        path = root / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        palette = Image.fromarray(ids, mode="P")
        palette.putpalette(list(range(256)) * 3)
        palette.save(path)
    for task, train_names, test_names in (("Main", "a\nb\n", "c\nd\n"), ("Segmentation", "a\n", "d\n")):
        (root / "ImageSets" / task / "train.txt").write_text(train_names)
        (root / "ImageSets" / task / "val.txt").write_text(test_names)
    return root


def write_coco(root: Path) -> Path:
    rng = np.random.default_rng(0)
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "disc"}]
    marks = {
        "train2017": [(1, 7, 0), (2, 3, 1), (2, 7, 0)],
        "val2017": [(1, 3, 0)],
    }
    for split, annotations in marks.items():
        names = {1: f"{split}_1.jpg", 2: f"{split}_2.jpg"}
        for name in names.values():
            save(root / split / name, drawing("disc", rng))
        document = {
            "images": [{"id": k, "file_name": name} for k, name in names.items()],
            "annotations": [
                {"image_id": i, "category_id": c, "iscrowd": crowd} for i, c, crowd in annotations
            ],
            "categories": categories,
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return root


def only(found: list[Classified | Listed | Segmented], kind: type) -> Classified | Segmented:
    ready = [data.classified() if isinstance(data, Listed) else data for data in found]
    (one,) = [data for data in ready if isinstance(data, kind)]
    return one


# Layouts


def test_class_folders(tmp_path: Path) -> None:
    data = only(read_folder(str(write_classes(tmp_path / "x", 2))), Classified)
    assert isinstance(data, Classified)
    assert data.classes == CLASSES and data.exclusive and data.test is None and data.name == "x"
    assert [CLASSES[k] for k in data.truth.argmax(1)] == [file.parent.name for file in data.files]


def test_class_folders_with_a_test_part(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", 2)
    write_classes(tmp_path / "val", 1)
    data = only(read_folder(str(tmp_path)), Classified)
    assert isinstance(data, Classified) and data.test is not None
    assert [file.parent.parent.name for file in data.files] == ["val" if t else "train" for t in data.test]


def test_voc(tmp_path: Path) -> None:
    found = read_folder(str(write_voc(tmp_path)))
    shown, maps = only(found, Classified), only(found, Segmented)
    assert isinstance(shown, Classified) and isinstance(maps, Segmented)
    assert shown.classes == ("disc", "square") and not shown.exclusive
    assert [file.stem for file in shown.files] == ["a", "b", "c", "d"]
    nan = float("nan")  # difficult; where an easy one is shown too, that counts
    torch.testing.assert_close(shown.truth, torch.tensor([[1, 0], [1, nan], [0, 1], [0, 1]]), equal_nan=True)
    assert shown.test is not None and shown.test.tolist() == [False, False, True, True]
    assert [file.stem for file in maps.maps] == ["a", "d"]
    ids, weight = read_maps(maps, 48, (255,))
    assert set(ids[0, 0, 4:, 24:].unique().tolist()) == {15} and (ids[0, 0, 4:, :24] == 0).all()
    assert (weight[0, :4] == 0).all() and (weight[0, 4:] == 1).all()


def test_coco(tmp_path: Path) -> None:
    data = only(read_folder(str(write_coco(tmp_path))), Classified)
    assert isinstance(data, Classified) and data.test is not None
    assert data.classes == ("disc", "square") and data.test.tolist() == [False, False, True, True]
    nan = float("nan")  # a crowd
    torch.testing.assert_close(data.truth, torch.tensor([[1, 0], [1, nan], [0, 1], [0, 0]]), equal_nan=True)


def test_images_beside_maps_and_their_view(tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = 200
    for k in range(4):
        save(tmp_path / "images" / f"{k}.png", image)
        save(tmp_path / "labels" / f"{k}.png", (image[..., 0] > 0).astype(np.uint8))
    data = only(read_folder(str(tmp_path)), Segmented)
    assert isinstance(data, Segmented)
    images = read_images(data.files, 40)  # the centred square
    ids, _ = read_maps(data, 40, ())
    assert images.shape == (4, 3, 40, 40) and images.dtype is torch.uint8
    assert torch.equal(images[:, :1] > 100, ids > 0) and ids.mean() == 0.5


def test_shards_are_tested_on_clips_that_the_run_held_out(tmp_path: Path) -> None:
    real = str(write_dataset(tmp_path / "real", REAL, 6, 48, labels=("depth",)))
    other = str(write_dataset(tmp_path / "other", SYNTHETIC, 6, 48))
    config = LoaderConfig(size=32, held_out=0.3, frames=2)
    seen = {"real": [real], "synthetic": [other]}
    (depth,) = read_shards(other, ("depth", "semantic"), seen, config, 1000, 0)
    groups = held_out_groups(read_catalogue([real], [other], 2).windows, 0.3)
    windows = read_catalogue([other], [], 1).windows
    assert depth.test is not None and 0 < int(depth.test.sum()) == sum(w.group in groups for w in windows)
    assert depth.field == "depth" and torch.isfinite(depth.target).all()
    with pytest.raises(UserError, match="holds none of the labels to probe: semantic"):
        read_shards(other, ("semantic",), seen, config, 10, 0)
    nothing = {"real": [real], "synthetic": []}
    runs = [LoaderConfig(size=32, held_out=share) for share in (0, 0.3)]
    unseen = [read_shards(other, ("depth",), nothing, run, 99, 0) for run in runs]
    one, two = (found[0].test for found in unseen)
    assert (
        one is not None and two is not None and torch.equal(one, two)
    )  # whatever the run held out of other data


# Classifiers


def blobs(each: int, classes: int, dimensions: int, apart: float, seed: int) -> tuple[Tensor, Tensor]:
    """Gaussian blobs whose centres depend on the dimensions alone."""
    centres = torch.randn(classes, dimensions, generator=torch.Generator().manual_seed(99)) * apart
    number = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(number), dimensions, generator=torch.Generator().manual_seed(seed))
    return centres[number] + noise, torch.nn.functional.one_hot(number, classes).float()


def third(count: int) -> Tensor:
    return torch.arange(count) % 3 == 0


@pytest.mark.parametrize("dimensions", [8, 300])  # fewer and more than there are images
def test_classes_apart_are_told_and_shuffled_ones_are_not(dimensions: int) -> None:
    x, truth = blobs(40, 4, dimensions, 3, 0)
    y, wanted = blobs(40, 4, dimensions, 3, 1)
    a, b = span(x, y)

    def scores(truth: Tensor) -> list[float]:
        fitted = (
            ridge(a, truth, b, True),
            logistic(a, truth, b, True, third(len(x))),
            nearest_neighbours(x, truth, y, True),
        )
        return [quality(wanted, one.scores, True) for one in fitted]

    assert min(scores(truth)) > 0.99
    assert chance(wanted, True) == pytest.approx(0.25)
    orders = (torch.randperm(len(truth), generator=torch.Generator().manual_seed(k)) for k in range(6))
    guessed = torch.tensor([scores(truth[order]) for order in orders]).mean(0)
    assert guessed.sub(0.25).abs().max() < 0.15, guessed


def test_leave_one_out_is_what_leaving_one_out_gives() -> None:
    x, truth = blobs(5, 2, 6, 2, 3)
    z, _ = span(x, x)
    fitted = ridge(z, truth, z, True)
    right = 0
    for k in range(len(z)):
        kept = torch.arange(len(z)) != k
        mean, level = z[kept].mean(0), truth[kept].double().mean(0)
        centred = z[kept] - mean
        moment = centred.T @ centred + fitted.setting * torch.eye(z.shape[1], dtype=z.dtype)
        weight = torch.linalg.solve(moment, centred.T @ (truth[kept].double() - level))
        right += int(((z[k] - mean) @ weight + level).argmax() == truth[k].argmax())
    assert fitted.validation == pytest.approx(right / len(z))


def test_span_keeps_all_inner_products() -> None:
    for count, dimensions in ((30, 12), (12, 30)):
        x, y = torch.randn(count, dimensions) * 3 + 1, torch.randn(5, dimensions)
        a, b = span(x, y)
        s = (x - x.mean(0)) / x.std(0) / dimensions**0.5
        t = (y - x.mean(0)) / x.std(0) / dimensions**0.5
        torch.testing.assert_close(b @ a.T, (t @ s.T).double(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a @ a.T, (s @ s.T).double(), atol=1e-4, rtol=1e-4)


def test_average_precision_by_hand_and_what_is_not_said_counts_nowhere() -> None:
    nan = float("nan")
    truth = torch.tensor([[1.0, 0], [0, 0], [1, nan], [0, 1]])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.4], [0.7, 0.9], [0.1, 0.3]])
    # First class: hits at ranks 1 and 3; second, without the third image: the hit at rank 2.
    assert quality(truth, scores, False) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_equal_scores_share_a_rank_in_whatever_order_they_stand() -> None:
    truth, scores = torch.tensor([1.0, 0, 1, 0])[:, None], torch.tensor([0.5, 0.5, 0.5, 0.1])[:, None]
    for order in ([0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0]):
        assert quality(truth[order], scores[order], False) == pytest.approx(2 / 3)


def test_several_classes_an_image() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = (torch.rand(120, 3, generator=generator) < 0.4).float()
    x = truth @ torch.randn(3, 20, generator=generator) * 8 + torch.randn(120, 20, generator=generator)
    truth[::7, 1] = float("nan")
    a, b = span(x[:80], x[80:])
    for one in (ridge(a, truth[:80], b, False), logistic(a, truth[:80], b, False, third(80))):
        assert quality(truth[80:], one.scores, False) > 0.97


def test_few_shots_hold_k_of_each_class() -> None:
    truth = torch.eye(3).repeat(5, 1)
    rows = few_shots(truth, 4, np.random.default_rng(0))
    assert rows is not None and truth[rows].sum(0).tolist() == [4, 4, 4]
    assert few_shots(truth, 6, np.random.default_rng(0)) is None


def test_splits_share_no_image_and_keep_every_class() -> None:
    truth = torch.eye(3).repeat(7, 1)
    split = random_split(truth, CLASSES, True, None, 0.3, np.random.default_rng(0))
    assert not set(split.train.tolist()) & set(split.test.tolist())
    assert truth[split.test].sum(0).tolist() == [2, 2, 2] and len(split.held_out) == len(split.train) == 15
    assert split.ratio == 6 / 15
    given = np.arange(21) < 5
    fixed = random_split(truth, CLASSES, True, given, 0.3, np.random.default_rng(0))
    assert fixed.test.tolist() == [0, 1, 2, 3, 4] and fixed.ratio == 0
    block = block_split(20, None, 0.3, np.random.default_rng(3))
    gaps = np.diff(sorted(block.test.tolist()))
    assert len(block.test) == 6 and (gaps > 1).sum() <= 1  # one run of neighbours, maybe round the end
    with pytest.raises(UserError, match="the class disc has one image"):
        random_split(torch.eye(3), CLASSES, True, None, 0.3, np.random.default_rng(0))


def test_interval_over_seeds() -> None:
    assert half_width([0.5], 0.0) is None
    # t of 0.975 at two degrees of freedom is 4.303; the standard deviation is 1.
    assert half_width([1.0, 2.0, 3.0], 0.0) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert half_width([1.0, 2.0, 3.0], 0.5) == pytest.approx(4.3027 * (1 / 3 + 1 / 2) ** 0.5, rel=1e-4)


# Features


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("test_resnet", ("conv1", "conv2", "conv3", "conv4", "conv5")),
        ("test_convnext", ("conv2", "conv3", "conv4", "conv5")),
        ("test_vit", ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.5")),
    ],
)
def test_stages_are_called_by_their_stride(name: str, names: tuple[str, ...]) -> None:
    backbone = Backbone(name, False, 64)
    chosen = stages(backbone)
    assert tuple(stage.name for stage in chosen) == names
    found = pooled(backbone, torch.zeros(3, 3, 64, 64, dtype=torch.uint8), chosen, 2, CPU)
    for stage, features in zip(chosen, found, strict=True):
        assert features.mean.shape == (3, stage.channels)
        assert features.grid.shape[1] % stage.channels == 0 and features.grid.shape[1] <= GRID_DIMENSIONS


def test_grids_have_about_nine_thousand_dimensions() -> None:
    for channels, side in ((64, 12), (128, 8), (256, 6), (512, 4), (2048, 2)):
        assert grid_side(torch.zeros(1, channels, 56, 56)) == side
    assert grid_side(torch.zeros(1, 512, 2, 3)) == 2


def test_random_rows_are_the_same_for_a_seed_and_leave_others_random_numbers_alone() -> None:
    row = random_network(TrainConfig(model=ModelConfig("test_resnet")), 64, 5)
    before = torch.get_rng_state()
    a, b, c = row.load(0), row.load(0), row.load(1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [net.net.conv1[0].weight for net in (a, b, c)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


# The dense probe


def labelled(field: str, target: Tensor, classes: int = 0, count: int = 12, side: int = 32) -> DenseImages:
    images = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    return DenseImages("toy", field, images, target, torch.ones(count, side, side), classes)


def dense_score(data: DenseImages, maps: Tensor, penalty: bool = False) -> float:
    rows = torch.arange(len(data.images))
    train, test = rows[:8], rows[8:]
    held_out = torch.arange(8) < 2
    sampled = dense.sample(data, train, torch.Generator().manual_seed(0))
    return dense.dense_probe(maps, data, train, held_out, test, sampled)[penalty]


def test_what_is_linear_in_the_feature_is_read_off_it() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.randn(12, 4, 4, 4, generator=generator), size=(16, 16), mode="bicubic"
    )
    fine = torch.nn.functional.interpolate(smooth, size=(32, 32), mode="bilinear", align_corners=False)
    maps = torch.cat([smooth, torch.randn(12, 2, 16, 16, generator=generator)], dim=1)
    depth = labelled("depth", (fine[:, :1] * 0.5 + 1).exp())
    assert dense_score(depth, maps) < 0.01 < dense.best_constant(depth, torch.arange(8, 12)) / 10
    ids = labelled("semantic", fine[:, :3].argmax(1, keepdim=True).float(), 3)
    assert dense_score(ids, maps) > 0.9 > 3 * dense.best_constant(ids, torch.arange(8, 12))
    vectors = torch.cat(
        [fine[:, :2] / 4, torch.full_like(fine[:, :1], -1)], dim=1
    )  # nearly unit: nearly linear
    normals = labelled("normals", torch.nn.functional.normalize(vectors))
    assert dense_score(normals, maps) < 1 < dense.best_constant(normals, torch.arange(8, 12)) / 5
    disparity = labelled("disparity", fine[:, :1] * torch.arange(1, 13).view(-1, 1, 1, 1) + 5)
    assert dense_score(disparity, maps) < 0.05  # each frame on a scale of its own
    noise = torch.randn(12, 6, 16, 16, generator=generator)
    assert dense_score(depth, noise) > 0.9 * dense.best_constant(depth, torch.arange(8, 12))


def test_pixels_without_a_label_are_not_fitted_to() -> None:
    target = torch.ones(12, 1, 32, 32)
    data = labelled("depth", target)
    data.weight[:, :, 16:] = 0
    data.target[:, :, :, 16:] = 99
    data.weight[3] = 0  # an image without any label
    sampled = dense.sample(data, torch.arange(8), torch.Generator().manual_seed(0))
    known = sampled.weight > 0
    assert (sampled.where[known][:, 0] < 0).all() and (sampled.target[:, 0][known] == 1).all()
    assert (sampled.weight[3] == 0).all()


# The whole


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    real = write_dataset(root / "real", REAL, 6, 48, labels=("edges", "normals"))
    synthetic = write_dataset(root / "synthetic", SYNTHETIC, 6, 48)
    config = TrainConfig(
        steps=2,
        tasks=("edges", "normals"),
        precision="fp32",
        device="cpu",
        evaluate=4,
        loader=LoaderConfig(size=64, batch=4, held_out=0.3),
        model=ModelConfig("test_resnet", width=16),
    )
    fit([str(real)], [str(synthetic)], str(root / "run"), config, quiet=True)
    return root / "run"


QUICK = ProbeConfig(seeds=2, draws=2, shots=(1, 2, 99), rotation="skip", device="cpu")
ONCE = dataclasses.replace(QUICK, seeds=1, draws=1)


@pytest.fixture(scope="module")
def report(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ProbeReport, Path]:
    root = tmp_path_factory.mktemp("probed")
    data = [str(write_classes(root / "shapes", 8)), str(run.parent / "synthetic")]
    config = dataclasses.replace(QUICK, fields=("normals",), rotation="train", finetune=1)
    return probe(str(run), data, str(root / "out"), config), root / "out"


def test_rows_stages_and_measures(report: tuple[ProbeReport, Path]) -> None:
    found, _ = report
    assert list(found.rows) == ["random", "rotation", "run"] and found.rows["run"].startswith(
        "edges, normals"
    )
    assert found.stages == ("conv1", "conv2", "conv3", "conv4", "conv5")
    measures = {table.measure for table in found.tables}
    assert {"linear, ridge", "linear, logistic", "nearest neighbours", "fine-tuned"} < measures
    assert {"low-shot, 1 a class", "low-shot, 2 a class", "normals, linear a pixel"} < measures
    assert "low-shot, 99 a class" not in measures  # there aren't as many
    for table in found.tables:
        for figures in table.rows.values():
            told = [figure for figure in figures if figure is not None]
            assert len(figures) == 5 and len(told) == (1 if table.measure == "fine-tuned" else 5)
            assert all(len(f.values) == 2 and f.interval is not None and f.gain is not None for f in told)
    (random,) = {f.gain for f in found.tables[0].rows["random"] if f is not None}
    assert random == (0.0, 0.0)


def test_shapes_are_told_apart_by_frozen_features(report: tuple[ProbeReport, Path]) -> None:
    ridge_table = report[0].tables[0]
    assert ridge_table.constant == pytest.approx(1 / 3)
    assert max(figure.mean for figure in ridge_table.rows["run"] if figure is not None) > 0.6


def test_files_of_a_report(report: tuple[ProbeReport, Path]) -> None:
    found, out = report
    document = json.loads((out / "probe.json").read_text())
    assert document["tables"][0]["rows"]["run"][0]["values"] == list(found.tables[0].rows["run"][0].values)  # type: ignore[union-attr]
    assert (out / "probe.md").read_text() == markdown(found)
    assert "| conv1 | conv2 | conv3 | conv4 | conv5 |" in markdown(found)
    with Image.open(out / "probe.png") as image:
        assert (
            image.width > 500 and len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
        )


def test_a_seed_gives_the_same_report(run: Path, tmp_path: Path) -> None:
    data = [str(write_classes(tmp_path / "shapes", 6))]
    a, b = (probe(str(run), data, str(tmp_path / name), ONCE) for name in "ab")
    assert a == b
    other = probe(str(run), data, str(tmp_path / "c"), dataclasses.replace(ONCE, seed=9))
    assert a.tables != other.tables


def test_test_truth_chooses_nothing(run: Path, tmp_path: Path) -> None:
    """With other classes on the test images, all fitted settings stay as they were: only scores change."""
    for name, order in (("a", CLASSES), ("b", (*CLASSES[1:], CLASSES[0]))):
        write_classes(tmp_path / name / "train", 6)
        for shown, called in zip(CLASSES, order, strict=True):
            rng = np.random.default_rng(7)
            for k in range(4):
                save(tmp_path / name / "test" / called / f"{k}.png", drawing(shown, rng))
    a, b = (probe(str(run), [str(tmp_path / name)], str(tmp_path / f"out {name}"), ONCE) for name in "ab")
    for one, other in zip(a.tables, b.tables, strict=True):
        for row in one.rows:
            for f, g in zip(one.rows[row], other.rows[row], strict=True):
                assert f is not None and g is not None and f.settings == g.settings
    assert a.tables[0].rows["run"] != b.tables[0].rows["run"]


def test_several_classes_an_image_and_their_maps_from_one_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "COSTS", (1.0,))  # of support vector machines, for speed
    rng = np.random.default_rng(1)
    root = tmp_path / "voc"
    (root / "Annotations").mkdir(parents=True)
    for k in range(30):
        shown = CLASSES[k % 2 : k % 2 + 1 + k % 3 // 2]
        image = np.maximum.reduce([drawing(name, rng) for name in shown])
        save(root / "JPEGImages" / f"{k:02}.png", image)
        save(root / "SegmentationClass" / f"{k:02}.png", (image.max(2) > 130).astype(np.uint8))
        (root / "Annotations" / f"{k:02}.xml").write_text(annotation(*((name, 0) for name in shown)))
    config = dataclasses.replace(QUICK, seeds=1, draws=1, shots=(2,))
    found = probe(str(run), [str(root)], str(tmp_path / "out"), config)
    assert [data["name"] for data in found.data] == ["voc", "voc (segmentation)"]
    ridge_table, segmentation = found.tables[0], found.tables[-1]
    assert ridge_table.unit == "%, mean AP" and segmentation.unit == "%, mean IoU"
    for table in (ridge_table, segmentation):
        assert max(f.mean for f in table.rows["run"] if f is not None) > 1.2 * table.constant


def test_fine_tuning_learns_and_leaves_the_backbone_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    number = torch.arange(96) % 2
    level = torch.tensor([70.0, 180.0])[number].view(-1, 1, 1, 1)
    images = (level + 20 * torch.randn(96, 3, 32, 32, generator=generator)).clamp(0, 255).to(torch.uint8)
    truth = torch.nn.functional.one_hot(number, 2).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", False, 32)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    fitted = finetune(backbone, images[:64], truth[:64], images[64:], True, third(64), 10, 0, CPU)
    assert quality(truth[64:], fitted.scores, True) > 0.9
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_bad_input_is_said_in_a_sentence(run: Path, tmp_path: Path) -> None:
    def refused(data: Path, match: str, given: Path = run, **options: object) -> None:
        with pytest.raises(UserError, match=match) as error:
            probe(str(given), [str(data)], str(tmp_path / "out"), dataclasses.replace(QUICK, **options))  # type: ignore[arg-type]
        assert "\n" not in str(error.value)

    shapes = write_classes(tmp_path / "shapes", 3)
    refused(tmp_path / "nowhere", "there is no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds nothing to probe on; want a folder a class")
    save(tmp_path / "one" / "disc" / "a.png", drawing("disc", np.random.default_rng(0)))
    refused(tmp_path / "one", "holds 1 class, a probe needs two or more")
    refused(shapes, "is no run", given=tmp_path)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "train.toml").write_text((run / "train.toml").read_text())
    refused(shapes, "holds no checkpoint.pt yet", given=tmp_path / "begun")
    refused(shapes, "--supervised nothing.pth: there is no such file", supervised="nothing.pth")
    refused(shapes, "is no checkpoint of test_resnet", supervised=str(shapes / "disc" / "00.png"))
    refused(shapes, "--test is a share", test=1.5)
    refused(shapes, "--fields flow: there are", fields=("flow",))
    (shapes / "disc" / "bad.jpg").write_bytes(b"not an image")
    refused(shapes, r"bad\.jpg is not an image of a known format; take it away or mend it")
    colours = tmp_path / "colours"
    for k in range(4):
        image = drawing("disc", np.random.default_rng(k))
        save(colours / "images" / f"{k}.png", image)
        save(colours / "labels" / f"{k}.png", image)
    refused(colours, "holds colours; a label map holds a class id a pixel")
    voc = write_voc(tmp_path / "voc")
    refused(voc, "2 of the images are left to fit to; give 4 or more")
    (voc / "Annotations" / "a.xml").write_text("<annotation>")
    refused(voc, "a.xml can't be read as a VOC annotation")
    coco = write_coco(tmp_path / "coco")
    instances = coco / "annotations" / "instances_val2017.json"
    document = json.loads(instances.read_text())
    document["annotations"].append({"image_id": 77, "category_id": 3})
    instances.write_text(json.dumps(document))
    refused(coco, "has an annotation of an image or category it doesn't list")
    instances.write_text("{")
    refused(coco, r"instances_val2017\.json can't be read as COCO instances")


def test_a_part_without_images_is_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for tested, sentence in (
        (np.ones(5, bool), "0 of the images are left to fit"),
        (np.zeros(5, bool), "to test on"),
    ):
        with pytest.raises(UserError, match=sentence):
            block_split(5, tested, 0.3, rng)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shots": (4, 0)}, "--shots 0: give numbers of images a class"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"finetune": -1}, "--finetune must be at least 0"),
        ({"stream": -1}, "--stream must be at least 0"),
        ({"segmentation_steps": -5}, "--segmentation-steps must be at least 0"),
        ({"finetune_stages": True}, "give --finetune too"),
        ({"random": "yes"}, "--random yes: give add or skip"),
        ({"detection": ("nowhere",)}, "--detection nowhere: there is no such folder"),
    ],
)
def test_options_out_of_range_are_said_before_anything_is_read(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check(ProbeConfig(**change), ["."])

"""Networks trained on from a backbone: scores as worked out by hand; trainings learn, go on and are kept."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import Tensor, nn

from freelabels.ground.errors import UserError
from freelabels.train.config import ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.model.network import Backbone
from freelabels.train.probing import dense_probe as dense
from freelabels.train.probing.dense_probe import DenseImages, drawn_images
from freelabels.train.probing.features import Pooled
from freelabels.train.probing.labelled_images import read_drawings, read_folder, read_images
from freelabels.train.probing.layouts.bsds import Drawn
from freelabels.train.probing.layouts.sets import Classified, Segmented
from freelabels.train.probing.low_shot import by_share
from freelabels.train.probing.networks import Network, random_network
from freelabels.train.probing.splits import Split, block_split
from freelabels.train.probing.transfer import detector, tuning
from freelabels.train.probing.transfer.boundaries import count
from freelabels.train.probing.transfer.box_scores import Boxes, Found, by_area, by_points, mirrored, precision
from freelabels.train.probing.transfer.few_labels import nested
from freelabels.train.probing.transfer.letterbox import letterboxed
from freelabels.train.probing.transfer.segmenter import segment
from freelabels.train.probing.transfer.tuning import Tuning, batch_of, once, tune
from freelabels.train.probing.transfer_tables import (
    Terms,
    detection_tables,
    read_boxes,
    segmentation_tables,
)
from freelabels.train.tasks.metrics import mean_iou

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def boxes(
    *each: tuple[int, int, int, int], labels: tuple[int, ...] = (), ignored: tuple[int, ...] = ()
) -> Boxes:
    count = len(each)
    mark = torch.zeros(count, dtype=torch.bool)
    mark[list(ignored)] = True
    return Boxes(torch.tensor(each).reshape(-1, 4).float(), torch.tensor(labels or (0,) * count), mark)


def found(*each: tuple[float, int, int, int, int], labels: tuple[int, ...] = ()) -> Found:
    rows = torch.tensor(each).reshape(-1, 5).float()
    return Found(rows[:, 1:], torch.tensor(labels or (0,) * len(each)).long(), rows[:, 0])


# Scores of detections


def test_average_precision_by_hand() -> None:
    """Four objects in two images. Surest first: right, wrong, right, the same again (wrong), right; one not found.

    Precision 1, 1/2, 2/3, 2/4, 3/5 at recall 1/4, 1/4, 2/4, 2/4, 3/4.
    """
    truth = [boxes((0, 0, 10, 10), (20, 0, 30, 10)), boxes((0, 0, 10, 10), (40, 40, 50, 50))]
    told = [
        found((0.9, 0, 0, 10, 10), (0.7, 20, 0, 30, 10), (0.6, 20, 0, 30, 10)),
        found((0.8, 0, 20, 10, 30), (0.5, 0, 0, 10, 10)),
    ]
    score = precision(told, truth)
    assert score.area == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # Best precision at recall 0, .1, .2: 1; at .3, .4, .5: 2/3; at .6, .7: 3/5; above: 0.
    assert score.points == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)
    # COCO reads precision at 101 recalls, 26 up to .25, 25 up to .5, 25 up to .75; boxes are exact, so at any IoU.
    assert score.coco == pytest.approx((26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101)


def test_coco_asks_for_closer_boxes_and_means_are_over_classes() -> None:
    """A box of which 8 of 10 columns are covered, IoU .8, counts at .5 to .8: 7 of 10; another class is missed."""
    truth = [boxes((0, 0, 10, 10), (20, 20, 30, 30), labels=(0, 2))]
    score = precision([found((0.9, 0, 0, 8, 10))], truth)
    assert (score.area, score.points, score.coco) == pytest.approx((0.5, 0.5, 0.35))
    assert precision([found()], truth).coco == 0
    assert all(math.isnan(x) for x in vars(precision([found()], [boxes()])).values())


def test_what_is_ignored_is_neither_asked_for_nor_a_fault() -> None:
    truth = [boxes((0, 0, 10, 10), (20, 0, 30, 10), ignored=(1,))]
    hit, difficult, wrong = (0.5, 0, 0, 10, 10), (0.9, 20, 0, 30, 10), (0.8, 50, 50, 60, 60)
    assert vars(precision([found(difficult, hit)], truth)) == pytest.approx(
        {"area": 1, "points": 1, "coco": 1}
    )
    assert precision([found(difficult, wrong, hit)], truth).area == pytest.approx(0.5)


def test_vocs_detection_goes_to_what_it_covers_most_cocos_to_what_is_free() -> None:
    """The second covers the left object more (IoU 9 of 11), which is taken, than the right one (8 of 12)."""
    truth = [boxes((0, 0, 10, 10), (3, 0, 13, 10))]
    score = precision([found((0.9, 0, 0, 10, 10), (0.8, 1, 0, 11, 10))], truth)
    assert score.area == pytest.approx(0.5)
    assert score.coco == pytest.approx((4 * 1 + 6 * 51 / 101) / 10)  # free at IoU .5 to .65


def test_eleven_points_round_no_recall_away() -> None:
    recall = np.arange(1, 11) / 10
    assert by_points(recall, np.full(10, 0.5)) == pytest.approx(0.5)
    assert by_area(recall, np.full(10, 0.5)) == pytest.approx(0.5)


def test_mean_iou_by_hand() -> None:
    """Void counts nowhere. Class 0: 2 of 3; class 1: 1 of 3; class 3 is told but isn't there: not averaged."""
    truth = torch.tensor([0, 0, 1, 1, 0, 1]).float().view(1, 1, 6)
    told = torch.tensor([0, 0, 0, 1, 3, 3]).float().view(1, 1, 6)
    weight = torch.tensor([1.0, 1, 1, 1, 0, 1]).view(1, 6)
    assert mean_iou(told, truth, weight) == pytest.approx((2 / 3 + 1 / 3) / 2)


# The loop


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 1)


def toy(tuning: Tuning, state: Path | None = None, stop: int = 10**9) -> tuple[Toy, list[list[int]]]:
    torch.manual_seed(0)
    model, seen = Toy(), []
    x = torch.randn(7, 3)

    def loss(rows: Tensor) -> Tensor:
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append(rows.tolist())
        noise = torch.randn(len(rows), 3)
        answer: Tensor = model.head(model.backbone(x[rows] + noise))
        return (answer[:, 0] - x[rows].sum(1)).square().mean()

    tune(model, model.backbone, loss, len(x), tuning, 3, CPU, state)
    return model, seen


def test_a_training_that_is_stopped_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = toy(Tuning(False, 8, 4))
    monkeypatch.setattr(tuning, "SAVE_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        toy(Tuning(False, 8, 4), tmp_path / "state.pt", stop=5)
    rest, seen = toy(Tuning(False, 8, 4), tmp_path / "state.pt")
    assert len(seen) == 3
    for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_frozen_backbone_keeps_weights_and_statistics_and_a_free_one_neither() -> None:
    torch.manual_seed(0)
    before = Toy().backbone.state_dict()
    for frozen in (True, False):
        model, _ = toy(Tuning(frozen, 2, 4))
        same = {name: torch.equal(v, before[name]) for name, v in model.backbone.state_dict().items()}
        assert set(same.values()) == {frozen}, same


def test_each_pass_shows_every_image_once() -> None:
    rows = torch.cat([batch_of(step, 7, 4, 0) for step in range(7)]).view(4, 7)
    assert (rows.sort(1).values == torch.arange(7)).all() and not torch.equal(rows[0], rows[1])


def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"tuned can't be written .*; name another --out"):
        once(tmp_path / "file" / "tuned", {}, lambda state: pytest.fail("it trained"))


def test_what_was_found_is_not_trained_for_again(tmp_path: Path) -> None:
    calls = []

    def compute(state: Path | None) -> dict[str, float]:
        assert state is not None
        state.write_text("half a training")
        calls.append(state)
        return {"AP50": 0.25}

    for key in ({"seed": 0}, {"seed": 0}, {"seed": 1}):
        assert once(tmp_path / "tuned", key, compute) == {"AP50": 0.25}
    assert len(set(calls)) == len(calls) == 2 and not any(state.exists() for state in calls)


# Few labels


def test_shares_lie_within_each_other_and_keep_proportions() -> None:
    groups = np.repeat([0, 1, 2], [200, 100, 10])
    found = nested(groups, (0.01, 0.05, 0.1, 1.0), np.random.default_rng(0))
    counts = {share: np.bincount(groups[rows]).tolist() for share, rows in found.items()}
    assert counts == {0.01: [2, 1, 1], 0.05: [10, 5, 1], 0.1: [20, 10, 1], 1.0: [200, 100, 10]}
    sets = [set(rows.tolist()) for rows in found.values()]
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert not torch.equal(found[0.05], nested(groups, (0.05,), np.random.default_rng(1))[0.05])


def test_ridge_by_share_of_the_labels() -> None:
    """Two classes apart in the feature are told with two images; the whole is what the other tables show."""
    rng = np.random.default_rng(0)
    number = np.arange(60) % 2
    x = torch.from_numpy(rng.normal(size=(60, 8)) + 6 * number[:, None]).float()
    truth = torch.nn.functional.one_hot(torch.from_numpy(number)).float()
    about = Classified("toy", (), truth, ("a", "b"), True, None)
    split = Split(torch.arange(40), torch.arange(40, 60), torch.arange(40) % 5 == 0, 0.0)
    config = ProbeConfig(shares=(0.05, 0.5, 1.0), finetune=0)
    backbone = Backbone("test_resnet", False, 32)
    arguments = (backbone, [Pooled(x, x)], torch.zeros(60), about, split, config, rng, 0, CPU)
    found = by_share(*arguments)
    assert list(found) == ["linear, ridge, 5 % of the labels", "linear, ridge, 50 % of the labels"]
    assert all(score > 0.95 for ((score, _),) in found.values())


# Detectors


def pictures(count: int, size: int, seed: int = 0) -> tuple[Tensor, list[Boxes]]:
    """One to three bright rectangles (label 0) or discs (1) on noise."""
    rng = np.random.default_rng(seed)
    images, truth = [], []
    for _ in range(count):
        image = rng.integers(60, 120, (size, size, 3), dtype=np.uint8)
        edges, labels = [], []
        for _ in range(rng.integers(1, 4)):
            width, height = rng.integers(size // 4, size // 2, 2)
            x, y = rng.integers(0, size - width), rng.integers(0, size - height)
            label = int(rng.integers(2))
            v, u = np.mgrid[:height, :width] + 0.5
            inside = (2 * v / height - 1) ** 2 + (2 * u / width - 1) ** 2 <= (1 if label else 2)
            image[y : y + height, x : x + width][inside] = rng.integers(150, 256, 3)
            edges.append((int(x), int(y), int(x + width), int(y + height)))
            labels.append(label)
        images.append(image.transpose(2, 0, 1))
        truth.append(boxes(*edges, labels=tuple(labels)))
    return torch.from_numpy(np.stack(images)), truth


def test_mirrored_boxes_lie_on_the_mirrored_image() -> None:
    image = torch.zeros(1, 8, 8)
    image[:, 2:4, 1:6] = 1
    left, top, right, bottom = mirrored(boxes((1, 2, 6, 4)), 8).boxes[0].int().tolist()
    assert image.flip(-1)[:, top:bottom, left:right].all() and (right - left) * (bottom - top) == image.sum()


def test_whole_images_lie_in_the_square_with_their_boxes(tmp_path: Path) -> None:
    image = np.full((20, 40, 3), 50, np.uint8)
    image[10:20, 30:40] = 250
    Image.fromarray(image).save(tmp_path / "a.png")
    square, (one,) = letterboxed([tmp_path / "a.png"], [boxes((30, 10, 40, 20))], 80)
    left, top, right, bottom = one.boxes[0].int().tolist()
    assert (left, top, right, bottom) == (60, 20, 80, 40)
    assert square[0, :, top + 2 : bottom, left + 2 :].min() > 240 and square[0, :, :18].max() < 60
    assert (square[0, :, 40:] == 128).all()
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png is not an image"):
        letterboxed([tmp_path / "a.png"], [boxes()], 80)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_detector_stands_on_any_backbone(name: str) -> None:
    model = detector.faster_rcnn(Backbone(name, False, 64), 2, 64).eval()
    with torch.no_grad():
        maps = model.backbone(torch.zeros(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps.values()] == [16, 8, 4, 2, 1]


@pytest.mark.slow
def test_a_detector_overfits_a_few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """`benchmarks.detection` has the bar itself, 32 pictures."""
    monkeypatch.setattr(detector, "WIDTH", 32)
    monkeypatch.setattr(detector, "HEAD", 64)
    monkeypatch.setattr(detector, "SAMPLES", 32)
    monkeypatch.setattr(detector, "PROPOSALS", 64)
    images, truth = pictures(2, 64)
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", False, 64)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    told = detector.detect(backbone, images, truth, images, 2, Tuning(False, 70, 2, 5e-3), 0, CPU)
    assert precision(told, truth).area > 0.9
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


# Segmentation


@pytest.mark.slow
def test_a_segmentation_network_learns() -> None:
    images = torch.randint(0, 60, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    ids = torch.zeros(6, 1, 32, 32)
    for k in range(6):
        ids[k, :, 4 * k : 4 * k + 10, 8:24] = 1
    images += (150 * ids).to(torch.uint8)
    weight = torch.ones(6, 32, 32)
    weight[:, :2], ids[:, :, :2] = 0, 1  # void, and wrong
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", False, 32)
    told = segment(backbone, images, ids, weight, images, 2, Tuning(False, 30, 4, 4e-3), 0, CPU)
    assert mean_iou(told.flatten(2), ids.flatten(2), weight.flatten(1)) > 0.8
    assert told[:, :, :2].mean() < 0.5


def test_parts_of_images_beside_maps_are_the_official_split(tmp_path: Path) -> None:
    """Validation is fitted to where there is a test part, else tested on."""
    for part in ("train", "val", "test"):
        for folder in ("images", "labels"):
            (tmp_path / part / folder).mkdir(parents=True)
            for k in range(4):
                Image.new("L", (16, 16)).save(tmp_path / part / folder / f"{part}{k}.png")
    (both,) = read_folder(str(tmp_path))
    assert isinstance(both, Segmented) and both.test is not None
    assert {file.parts[-3] for file, test in zip(both.files, both.test, strict=True) if test} == {"test"}
    assert len(both.files) == 12 and both.layout == "images/ with labels/ (train/ and val/ / test/)"
    assert all(file.stem == ids.stem for file, ids in zip(both.files, both.maps, strict=True))
    (tmp_path / "test").rename(tmp_path / "other")
    (both,) = read_folder(str(tmp_path))
    assert both.test is not None and both.test.sum() == 4


# Boundaries


def write_bsds(root: Path, folder: str, parts: tuple[str, ...]) -> Path:
    """Four images a part, half dark, half bright; two people drew where they meet, a third something else."""
    for part in parts:
        for k in range(4):
            at = 12 + 6 * k
            image = np.full((48, 64, 3), 60, np.uint8)
            image[:, at + 8 :] = 200
            drawn = np.zeros((3, 48, 64), np.uint8)
            drawn[:2, :, at + 8] = 1
            drawn[2, 10, :] = 1
            people = np.empty((1, 3), object)
            for person in range(3):
                people[0, person] = np.array([[(drawn[person],)]], [("Boundaries", object)])
            for name in (root / "images" / part, root / folder / part):
                name.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / "images" / part / f"x{k}.png")
            scipy.io.savemat(root / folder / part / f"x{k}.mat", {"groundTruth": people})
    return root


def test_boundaries_that_people_drew_are_read_where_the_image_shows_them(tmp_path: Path) -> None:
    (plain,) = read_folder(str(write_bsds(tmp_path / "a", "boundaries", (".",))))
    (split,) = read_folder(str(write_bsds(tmp_path / "b", "groundTruth", ("train", "val", "test"))))
    assert isinstance(plain, Drawn) and plain.test is None and len(plain.files) == 4
    assert isinstance(split, Drawn) and split.test is not None and split.test.sum() == 4
    drawn = read_drawings(plain, 24)
    images = read_images(plain.files, 24)
    assert drawn[0].shape == (3, 24, 24) and drawn[0][0].sum() in (23, 24) and drawn[0][2].any(0).all()
    for image, people in zip(images, drawn, strict=True):
        (column,) = set(np.nonzero(people[0])[1])
        assert image[0, 5, column - 1] < 100 < image[0, 5, column + 1]
    data = drawn_images("toy", images, drawn, None)
    assert (data.weight == 0).any() and data.target[0, 0].any(
        0
    ).sum() == 3  # what one of three drew is neither
    plain.drawings[0].write_bytes(b"nothing")
    with pytest.raises(UserError, match="can't be read as BSDS's groundTruth"):
        read_drawings(plain, 24)


def test_a_small_views_boundary_may_be_a_pixel_off() -> None:
    """BSDS's tolerance, 0.75 % of the diagonal, is less than a pixel there."""
    line, beside = np.zeros((2, 32, 32), bool)
    line[:, 10], beside[:, 11] = True, True
    assert [int(count([line], [beside], least).hit_edge[0]) for least in (0.0, 1.5)] == [0, 32]


def test_boundaries_are_read_off_a_feature_that_has_them() -> None:
    drawn = []
    for k in range(8):
        lines = np.zeros((2, 32, 32), bool)
        lines[:, :, 6 + 3 * k % 20] = True
        drawn.append(lines)
    data = drawn_images("toy", torch.zeros(8, 3, 32, 32, dtype=torch.uint8), drawn, None)
    rows = torch.arange(8)
    train, test = rows[:5], rows[5:]
    sampled = dense.sample(data, train, torch.Generator().manual_seed(0))
    assert 0.4 < sampled.target.mean() < 0.6
    scores = []
    for feature in (data.target, torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))):
        arguments = (feature, data, train, rows[:5] < 1, test, sampled)
        scores.append(dense.dense_probe(*arguments)[0])
    assert scores[0] > 0.95 > 2 * scores[1]
    assert dense.best_constant(data, test) < 0.5


# Tables


row = random_network(TrainConfig(model=ModelConfig("test_resnet")), 32, 0)


def terms(folder: Path, config: ProbeConfig) -> Terms:
    return Terms([row, replace(row, name="run")], config, folder, CPU, lambda sentence: None)


def write_voc(root: Path, count: int) -> Path:
    images, truth = pictures(count, 48)
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for k, (image, one) in enumerate(zip(images, truth, strict=True)):
        Image.fromarray(image.numpy().transpose(1, 2, 0)).save(root / "JPEGImages" / f"{k}.jpg")
        objects = "".join(
            f"<object><name>{'ab'[label]}</name><bndbox><xmin>{x + 1:g}</xmin><ymin>{y + 1:g}</ymin>"
            f"<xmax>{right:g}</xmax><ymax>{lower:g}</ymax></bndbox></object>"
            for (x, y, right, lower), label in zip(one.boxes.tolist(), one.labels.tolist(), strict=True)
        )
        (root / "Annotations" / f"{k}.xml").write_text(f"<annotation>{objects}</annotation>")
    for split, names in (("trainval", range(count // 2)), ("test", range(count // 2, count))):
        (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{k}\n" for k in names))
    return root


@pytest.mark.slow
def test_boxes_from_a_folder_to_tables_that_are_not_trained_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_voc(tmp_path / "VOC2007", 8)
    flat = root / "Annotations" / "0.xml"
    corners = "<xmin>9</xmin><ymin>9</ymin><xmax>8</xmax><ymax>20</ymax>"
    line = f"<object><name>a</name><bndbox>{corners}</bndbox></object></annotation>"
    flat.write_text(flat.read_text().replace("</annotation>", line))
    (one,) = read_boxes(str(root), 32, 100, np.random.default_rng(0))
    assert one.boxes[0].ignored.tolist() == [False] * (len(one.boxes[0].boxes) - 1) + [True]  # it has no area
    config = ProbeConfig(seeds=1, detection_steps=1)
    facts, tables = detection_tables(one, "VOC2007", terms(tmp_path / "tuned", config))
    assert facts["train"] == facts["test"] == 4
    assert [table.measure for table in tables] == ["Faster R-CNN, frozen", "Faster R-CNN, fine-tuned"]
    for table in tables:
        assert table.columns == ("AP50", "AP50, 11 points", "AP, IoU .5 to .95")
        assert all(len(figure.values) == 1 for row in table.rows.values() for figure in row if figure)
    monkeypatch.setattr("freelabels.train.probing.transfer_tables.detect", None)
    alone = replace(terms(tmp_path / "tuned", config), networks=[Network("run", "edges", row.load)])
    (mine, _) = detection_tables(one, "VOC2007", alone)[1]
    assert [figure and figure.mean for figure in mine.rows["run"]] == [
        figure and figure.mean for figure in tables[0].rows["run"]
    ]
    told, again = detection_tables(one, "VOC2007", terms(tmp_path / "tuned", config))
    assert told == facts and [table.rows for table in again] == [table.rows for table in tables]
    with pytest.raises(UserError, match="there is no such folder"):
        read_boxes(str(tmp_path / "nowhere"), 32, 100, np.random.default_rng(0))
    with pytest.raises(UserError, match="holds no boxes; want VOC"):
        read_boxes(str(tmp_path / "tuned"), 32, 100, np.random.default_rng(0))


def test_cocos_boxes_are_read_into_the_view(tmp_path: Path) -> None:
    """A box of x, y, width, height in an image of twice the size; crowds are aside; an image may have none."""
    for split in ("train2017", "val2017"):
        (tmp_path / split).mkdir()
        for k in range(2):
            Image.new("RGB", (64, 48)).save(tmp_path / split / f"{k}.jpg")
        rows = [{"image_id": 0, "category_id": 7, "bbox": [10, 20, 30, 16], "iscrowd": k} for k in (0, 1)]
        document = {
            "images": [{"id": k, "file_name": f"{k}.jpg"} for k in range(2)],
            "annotations": rows,
            "categories": [{"id": 3, "name": "bus"}, {"id": 7, "name": "car"}],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    (one,) = read_boxes(str(tmp_path), 32, 100, np.random.default_rng(0))
    assert one.about.test is not None and one.about.test.tolist() == [False, False, True, True]
    assert one.boxes[0].boxes.tolist() == [[5, 10, 20, 18]] * 2 and one.boxes[0].labels.tolist() == [1, 1]
    assert one.boxes[0].ignored.tolist() == [False, True] and one.boxes[1].boxes.shape == (0, 4)
    (fewer,) = read_boxes(str(tmp_path), 32, 3, np.random.default_rng(0))
    assert len(fewer.images) == len(fewer.boxes) == 3


def test_segmentation_by_shares_of_the_maps(tmp_path: Path) -> None:
    images = torch.zeros(12, 3, 32, 32, dtype=torch.uint8)
    ids = torch.zeros(12, 1, 32, 32)
    ids[:, :, :8] = 1
    data = DenseImages("toy", "semantic", images, ids, torch.ones(12, 32, 32), 2)
    config = ProbeConfig(seeds=1, segmentation_steps=1, shares=(0.5, 1.0))
    splits = [block_split(12, None, 0.3, np.random.default_rng(0))]
    tables = segmentation_tables(data, "toy", splits, terms(tmp_path / "tuned", config))
    assert [table.measure for table in tables] == [
        "segmentation network, frozen",
        "segmentation network, fine-tuned",
    ]
    assert all(table.columns == ("50 % of the labels", "100 % of the labels") for table in tables)
    assert tables[0].constant == pytest.approx(0.75 / 2)  # the ground alone

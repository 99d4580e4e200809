"""Layouts of the survey's data, on generated trees of the same folders, names and lists."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from freelabels.ground.errors import UserError
from freelabels.train.probing.labelled_images import read_folder
from freelabels.train.probing.layouts.coco import coco_boxes
from freelabels.train.probing.layouts.sets import Classified, Listed, Segmented
from freelabels.train.probing.layouts.voc import voc_boxes, voc_masks

NAN = float("nan")
CLS_LOC = "ILSVRC/Data/CLS-LOC"
KIT = "ILSVRC2012_devkit_t12/data"
TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"
WORDS = {TENCH: "tench, Tinca tinca", CRANE: "crane", MACHINE: "crane"}
KIT_NUMBERS = {2: CRANE, 1: MACHINE, 3: TENCH}  # the kit's own, not in the order of synsets
VALIDATION = (MACHINE, TENCH, CRANE, TENCH)


def touch(*paths: Path) -> None:
    """Pictures; nobody opens them."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def validation_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}.JPEG"


def write_training(folder: Path) -> None:
    for synset in WORDS:
        touch(*(folder / "train" / synset / f"{synset}_{k}.JPEG" for k in (7, 12)))


def write_flat(root: Path) -> None:
    write_training(root / CLS_LOC)
    touch(*(root / CLS_LOC / "val" / validation_name(k + 1) for k in range(len(VALIDATION))))


def write_kaggle(root: Path) -> None:
    write_flat(root)
    rows = [f"{Path(validation_name(k + 1)).stem},{s} 1 2 3 4 " for k, s in enumerate(VALIDATION)]
    write(root / "LOC_val_solution.csv", "ImageId,PredictionString", *reversed(rows))
    write(root / "LOC_synset_mapping.txt", *(f"{synset} {words}" for synset, words in WORDS.items()))


def write_kit(root: Path) -> None:
    write_flat(root)
    number = {synset: k for k, synset in KIT_NUMBERS.items()}
    write(root / KIT / "ILSVRC2012_validation_ground_truth.txt", *(str(number[s]) for s in VALIDATION))
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    leaves = [(k, synset, WORDS[synset], 0) for k, synset in KIT_NUMBERS.items()]
    table = np.array([*leaves, (4, "n00001740", "entity", 3)], kinds)
    scipy.io.savemat(root / KIT / "meta.mat", {"synsets": table[:, None]})


def write_folders(root: Path) -> None:
    write_training(root)
    for k, synset in enumerate(VALIDATION):
        touch(root / "val" / synset / validation_name(k + 1))


def read_list(root: Path) -> Listed:
    (found,) = read_folder(str(root))
    assert isinstance(found, Listed)
    return found


def sides(found: Listed) -> tuple[dict[str, str], dict[str, str]]:
    """By side, the class of each picture by its name; every picture is there."""
    assert found.test is not None and all(Path(file).is_file() for file in found.files)
    both: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for file, label, test in zip(found.files, found.labels, found.test, strict=True):
        both[int(test)][Path(file).name] = found.classes[label]
    return both


@pytest.mark.parametrize(
    ("make", "inside", "named", "layout"),
    [
        (write_kaggle, "", True, "Kaggle"),
        (write_kaggle, "ILSVRC", True, "Kaggle"),  # named by a folder inside, support files above it
        (write_kaggle, CLS_LOC, True, "Kaggle"),
        (write_kit, "", True, "development kit"),
        (write_folders, "", False, "folder a class"),
    ],
)
def test_imagenet(
    make: Callable[[Path], None], inside: str, named: bool, layout: str, tmp_path: Path
) -> None:
    make(tmp_path)
    found = read_list(tmp_path / inside)
    title = {synset: f"{synset} {words}" if named else synset for synset, words in WORDS.items()}
    assert found.classes == tuple(title.values()) and layout in found.layout
    train, test = sides(found)
    assert train == {f"{s}_{k}.JPEG": title[s] for s in WORDS for k in (7, 12)}
    assert test == {validation_name(k + 1): title[s] for k, s in enumerate(VALIDATION)}


def test_imagenet_of_some_synsets_leaves_out_validation_pictures_of_others(tmp_path: Path) -> None:
    write_kaggle(tmp_path)
    for file in (tmp_path / CLS_LOC / "train" / TENCH).iterdir():
        file.unlink()
    (tmp_path / CLS_LOC / "train" / TENCH).rmdir()
    found = read_list(tmp_path)
    assert list(sides(found)[1]) == [validation_name(k) for k in (3, 1)] and "2 validation" in found.layout


def write_places205(root: Path) -> None:
    lists, pictures = root / "trainvalsplit_places205", root / "data/vision/torralba/deeplearning/images256"
    train, val = ("a/abbey/x1.jpg 0", "b/bakery/shop/x2.jpg 1"), ("b/bakery/shop/x3.jpg 1",)
    write(lists / "train_places205.csv", *train)
    write(lists / "val_places205.csv", *val)
    touch(*(pictures / line.split()[0] for line in (*train, *val)))


def write_places365(root: Path, train: str = "data_large", val: str = "val_256") -> None:
    names = ("/a/abbey", "/b/bakery/shop")
    write(root / "categories_places365.txt", *(f"{name} {k}" for k, name in enumerate(names)))
    lines = ("/a/abbey/00000001.jpg 0", "/b/bakery/shop/00000001.jpg 1")
    write(root / "places365_train_standard.txt", *lines)
    write(root / "places365_val.txt", "Places365_val_00000001.jpg 1")
    touch(*(root / train / line.split()[0][1:] for line in lines))
    touch(root / val / "Places365_val_00000001.jpg")


def write_places365_small(root: Path) -> None:
    write_places365(root, "data_256_standard", "val_256")


@pytest.mark.parametrize("make", [write_places205, write_places365, write_places365_small])
def test_places(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    found = read_list(tmp_path)
    assert found.classes == ("abbey", "bakery/shop") and found.labels.tolist() == [0, 1, 1]
    assert found.test is not None and found.test.tolist() == [False, False, True]
    assert all(Path(file).is_file() for file in found.files) and "Places" in found.layout


def annotation(*objects: tuple[str, int, tuple[int, int, int, int]]) -> str:
    inner = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmax>{x1}</xmax><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><ymax>{y1}</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        "</object>"
        for name, difficult, (x0, y0, x1, y1) in objects
    )
    return f"<annotation>{inner}</annotation>"


def write_voc07(root: Path) -> None:
    year = root / "VOCdevkit" / "VOC2007"
    shown = {
        "000005": annotation(("cat", 0, (1, 2, 10, 20)), ("dog", 1, (5, 5, 5, 5))),
        "000007": annotation(("dog", 0, (1, 1, 2, 2))),
        "000001": annotation(("cat", 0, (3, 3, 4, 4)), ("cat", 1, (1, 1, 9, 9))),
    }
    for name, text in shown.items():
        touch(year / "JPEGImages" / f"{name}.jpg")
        write(year / "Annotations" / f"{name}.xml", text)
    main = year / "ImageSets" / "Main"
    write(main / "trainval.txt", "000005", "000007")
    write(main / "test.txt", "000001")
    write(main / "cat_trainval.txt", "000005  1", "000007 -1")
    write(main / "dog_trainval.txt", "000005  0", "000007  1")
    write(main / "cat_test.txt", "000001  1")
    write(main / "dog_test.txt", "000001 -1")


@pytest.mark.parametrize("inside", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
@pytest.mark.parametrize("lists", [True, False])
def test_voc07_classes(inside: str, lists: bool, tmp_path: Path) -> None:
    write_voc07(tmp_path)
    if not lists:
        for file in (tmp_path / "VOCdevkit/VOC2007/ImageSets/Main").glob("*_*.txt"):
            file.unlink()
    (found,) = read_folder(str(tmp_path / inside))
    assert isinstance(found, Classified) and found.classes == ("cat", "dog") and not found.exclusive
    assert [file.stem for file in found.files] == ["000005", "000007", "000001"] and found.name == "VOC2007"
    np.testing.assert_equal(found.truth.numpy(), np.array([[1, NAN], [0, 1], [1, 0]], np.float32))
    assert found.test is not None and found.test.tolist() == [False, False, True]
    assert ("<class>" if lists else "Annotations") in found.layout


def test_voc_boxes_are_edges(tmp_path: Path) -> None:
    write_voc07(tmp_path)
    found = voc_boxes(tmp_path / "VOCdevkit" / "VOC2007")
    assert found.classes == ("cat", "dog") and found.test is not None
    assert found.boxes[0].tolist() == [[0, 1, 10, 20], [4, 4, 5, 5]] and found.areas[0].tolist() == [190, 1]
    assert found.labels[0].tolist() == [0, 1] and found.ignored[0].tolist() == [False, True]
    assert [k.tolist() for k in found.labels[1:]] == [[1], [0, 0]] and found.test.tolist() == [0, 0, 1]


def write_voc12(root: Path, listed: bool = True) -> None:
    """Segmentation with the augmented maps, whose list names a picture of val too."""
    lists = root / "ImageSets" / "Segmentation"
    touch(*(root / "JPEGImages" / f"2007_00000{k}.jpg" for k in range(1, 5)))
    touch(*(root / "SegmentationClass" / f"2007_00000{k}.png" for k in (1, 2)))
    touch(*(root / "SegmentationClassAug" / f"2007_00000{k}.png" for k in (1, 2, 3, 4)))
    write(lists / "train.txt", "2007_000001")
    write(lists / "val.txt", "2007_000002")
    write(lists / "trainval.txt", "2007_000001", "2007_000002")
    if listed:
        rows = (f"/JPEGImages/2007_00000{k}.jpg /SegmentationClassAug/2007_00000{k}.png" for k in (1, 2, 3))
        write(lists / "trainaug.txt", *rows)


@pytest.mark.parametrize(("listed", "train"), [(True, [1, 3]), (False, [1, 3, 4])])
def test_voc12_augmented_maps(listed: bool, train: list[int], tmp_path: Path) -> None:
    write_voc12(tmp_path, listed)
    (found,) = read_folder(str(tmp_path))
    assert isinstance(found, Segmented) and found.test is not None
    assert found.test.tolist() == [False] * len(train) + [True]
    assert [f"{file.parent.name}/{file.stem}" for file in found.maps] == [
        *(f"SegmentationClassAug/2007_00000{k}" for k in train),
        "SegmentationClass/2007_000002",
    ]
    assert [file.stem for file in found.files] == [file.stem for file in found.maps]


def test_voc12_without_augmented_maps(tmp_path: Path) -> None:
    write_voc12(tmp_path, False)
    (tmp_path / "SegmentationClassAug").rename(tmp_path / "elsewhere")
    found = voc_masks(tmp_path)
    assert [file.stem for file in found.maps] == ["2007_000001", "2007_000002"]
    assert found.test is not None and found.test.tolist() == [False, True] and "train / val" in found.layout


def write_coco(root: Path) -> None:
    categories = [{"id": 90, "name": "cat"}, {"id": 18, "name": "dog"}]
    objects = {
        "train2017": [(9, 18, [1.5, 2, 3, 4], 0), (9, 90, [0, 0, 8, 8], 1), (4, 90, [0, 1, 2, 2], 0)],
        "val2017": [],
    }
    for split, rows in objects.items():
        names = {k: f"{k:012}.jpg" for k in (9, 4)}
        images = [{"id": k, "file_name": name, "width": 8, "height": 8} for k, name in names.items()]
        touch(*(root / split / name for name in names.values()))
        annotations = [
            {"image_id": i, "category_id": c, "bbox": box, "iscrowd": crowd, "area": 7.0}
            for i, c, box, crowd in rows
        ]
        document = {"images": images, "annotations": annotations, "categories": categories}
        write(root / "annotations" / f"instances_{split}.json", json.dumps(document))


def test_coco_boxes(tmp_path: Path) -> None:
    write_coco(tmp_path)
    found = coco_boxes(tmp_path)
    assert found.classes == ("cat", "dog") and found.test is not None
    assert found.boxes[0].tolist() == [[1.5, 2, 4.5, 6], [0, 0, 8, 8]] and found.areas[0].tolist() == [7, 7]
    assert found.labels[0].tolist() == [1, 0] and found.ignored[0].tolist() == [False, True]
    assert [len(k) for k in found.boxes] == [2, 1, 0, 0] and found.test.tolist() == [0, 0, 1, 1]
    assert found.boxes[3].shape == (0, 4) and all(file.is_file() for file in found.files)


VOC07 = "VOCdevkit/VOC2007"


@pytest.mark.parametrize(
    ("make", "gone", "told"),
    [
        (write_kaggle, f"{CLS_LOC}/val/{validation_name(2)}", "one of 1 pictures that"),
        (write_kaggle, "LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt"),
        (write_kit, f"{KIT}/meta.mat", "put the kit's there"),
        (write_places205, "trainvalsplit_places205/val_places205.csv", "put it there"),
        (write_places365, "categories_places365.txt", "the names of the classes; put it there"),
        (write_places365, "data_large/a/abbey/00000001.jpg", "take their lines out"),
        (write_places365, "val_256/Places365_val_00000001.jpg", "unpack the pictures into"),
        (write_voc07, f"{VOC07}/ImageSets/Main/dog_test.txt", "put it there"),
        (write_voc07, f"{VOC07}/JPEGImages/000007.jpg", "named 000007; unpack it there"),
        (write_voc12, "ImageSets/Segmentation/val.txt", "take it from VOC2012"),
        (write_voc12, "SegmentationClassAug/2007_000003.png", "unpack the label maps"),
        (write_coco, "val2017/000000000004.jpg", "take their lines out"),
    ],
)
def test_what_is_missing_is_named(make: Callable[[Path], None], gone: str, told: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(UserError, match=told) as raised:
        read_folder(str(tmp_path))
    assert Path(gone).stem in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "file", "text", "told"),
    [
        (write_kaggle, "LOC_val_solution.csv", "image,class\nx,1\n", "want the columns ImageId"),
        (
            write_kit,
            f"{KIT}/ILSVRC2012_validation_ground_truth.txt",
            "1\n9\n1\n1\n",
            "line 2: '9' is no class",
        ),
        (write_kit, f"{KIT}/ILSVRC2012_validation_ground_truth.txt", "1\n", "isn't one of the 1 pictures"),
        (write_places365, "places365_val.txt", "Places365_val_00000001.jpg\n", "line 1: want a path and"),
        (write_places365, "places365_val.txt", "Places365_val_00000001.jpg 7\n", "the class 7, which has no"),
        (write_voc07, f"{VOC07}/ImageSets/Main/cat_test.txt", "000001 2\n", "want a picture and 1, 0 or -1"),
        (write_voc07, f"{VOC07}/ImageSets/Main/cat_test.txt", "000005 1\n000001 1\n", "lacks 000005"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(
    make: Callable[[Path], None], file: str, text: str, told: str, tmp_path: Path
) -> None:
    make(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=told):
        read_folder(str(tmp_path))


def test_annotations_of_some_of_a_list_are_asked_for(tmp_path: Path) -> None:
    write_voc07(tmp_path)
    (tmp_path / VOC07 / "Annotations" / "000007.xml").unlink()
    with pytest.raises(UserError, match=r"trainval.txt names 000007, which has no annotation, one of 1"):
        voc_boxes(tmp_path / VOC07)
    write(tmp_path / VOC07 / "Annotations" / "000007.xml", "<annotation><object/></annotation>")
    with pytest.raises(UserError, match=r"000007.xml has an object without a box"):
        voc_boxes(tmp_path / VOC07)

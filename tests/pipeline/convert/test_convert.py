"""A dataset in other formats: each is opened by its own library, and holds what the shards hold."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import datasets
import numpy as np
import OpenEXR
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml
from pycocotools.coco import COCO

import freelabels
from benchmarks.tools.shapes import LABELS, write_dataset
from freelabels.generators.contract.fields import Array, confidence_name
from freelabels.ground.errors import UserError
from freelabels.pipeline.convert.formats import FORMATS
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import FrameIdentity, write_exclusions
from freelabels.pipeline.work.progress import Reporter

os.environ["HF_HUB_OFFLINE"] = "1"
SIZE, FRAMES = 24, 2
EXCLUDED = 1  # of the six frames
EVERY = ("image", *LABELS, *map(confidence_name, LABELS))
Rows = Mapping[str, Mapping[str, Array]]  # by key of a frame, its columns


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "shapes"
    write_dataset(path, 1, 3, SIZE, FRAMES, confidence=200)
    write_exclusions(Dataset(path), [FrameIdentity("0-2", 1)])
    return path


@pytest.fixture(scope="module")
def stored(dataset: Path) -> Rows:
    found = {}
    for name in Dataset(dataset).shards():
        shard = Dataset(dataset).open(name)
        for row in range(shard.rows - EXCLUDED):
            found[f"{shard.id}-{row:02d}"] = {n: shard.read(n, row) for n in shard.fields}
    return found


@pytest.fixture(scope="module")
def converted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("converted")
    for name in FORMATS:
        assert freelabels.convert(dataset, name, root / name).frames == 3 * FRAMES - EXCLUDED
    return {name: root / name for name in FORMATS}


def lines(folder: Path) -> dict[str, dict[str, object]]:
    return {line["key"]: line for line in map(json.loads, (folder / "frames.jsonl").read_text().splitlines())}


def decoded(name: str, p: Array, limits: tuple[float, float] | None) -> Array:
    """What a PNG says, as the sentences of `PNG_SAYS` have it."""
    p = p.astype(np.float64)
    if name == "depth":
        return np.where(p == 0, np.nan, np.where(p == 65535, np.inf, p / 1000))
    if name == "disparity":
        low, high = limits or (0, 0)
        return np.where(p == 0, np.nan, low + (p - 1) / 65534 * (high - low))
    if name == "normals":
        return np.where(p.any(axis=-1, keepdims=True), (p - 32768) / 32767, 0)
    if name == "flow":
        return np.where(p[..., 2:] > 0, (p[..., :2] - 32768) / 64, np.nan)
    return p


STEP = {"depth": 5e-4, "disparity": 1e-3, "normals": 1e-4, "flow": 1 / 128}


def check_png(name: str, p: Array, limits: tuple[float, float] | None, want: Array) -> None:
    np.testing.assert_allclose(
        decoded(name, p, limits), want.astype(np.float64), atol=STEP.get(name, 0), rtol=1e-6
    )


@pytest.mark.parametrize("name", EVERY)
def test_folders_of_png(converted: Mapping[str, Path], stored: Rows, name: str) -> None:
    found = lines(converted["png"])
    assert found.keys() == stored.keys()
    for key, line in found.items():
        p = cv2.imread(str(converted["png"] / line["files"][name]), cv2.IMREAD_UNCHANGED)
        check_png(name, p[..., ::-1] if p.ndim == 3 else p, line["ranges"].get(name), stored[key][name])


def test_folders_of_npy_are_what_is_stored(converted: Mapping[str, Path], stored: Rows) -> None:
    for key, line in lines(converted["npy"]).items():
        assert line["files"].keys() == set(EVERY)
        for name in EVERY[1:]:
            values = np.load(converted["npy"] / line["files"][name])
            assert values.dtype == stored[key][name].dtype
            np.testing.assert_array_equal(values, stored[key][name])


def test_folders_of_exr(converted: Mapping[str, Path], stored: Rows) -> None:
    channels = {"depth": "Y", "disparity": "Y", "normals": "RGB", "flow": "RG"}
    for key, line in lines(converted["exr"]).items():
        for name, letters in channels.items():
            with OpenEXR.File(str(converted["exr"] / line["files"][name]), separate_channels=True) as file:
                values = np.dstack([file.channels()[letter].pixels for letter in letters])
            np.testing.assert_array_equal(values, stored[key][name].reshape(values.shape).astype(np.float32))
        assert line["files"]["instance"].endswith(".png")


def test_the_layout_of_ultralytics(
    converted: Mapping[str, Path], dataset: Path, stored: Rows, tmp_path: Path
) -> None:
    """Images, and of each the array that their loader finds by exchanging folder and suffix."""
    images = sorted((converted["ultralytics"] / "images" / "train").iterdir())
    assert [path.stem for path in images] == list(stored)
    for path in images:
        depth = np.load(str(path).replace("/images/", "/depth/").replace(".png", ".npy"))
        want = stored[path.stem]["depth"]
        assert depth.dtype == np.float32 and depth.shape == (SIZE, SIZE)
        np.testing.assert_array_equal(depth, np.where(np.isfinite(want), want, 0))
    told = yaml.safe_load((converted["ultralytics"] / "dataset.yaml").read_text())
    assert told == {"train": "images/train", "val": "images/train", "nc": 1, "names": {0: "depth"}}
    freelabels.copy(dataset, tmp_path / "split", reporter=Reporter("quiet"))
    freelabels.split(tmp_path / "split", put="val", selection=freelabels.Selection.of(clips=["0-1"]))
    freelabels.convert(tmp_path / "split", "ultralytics", tmp_path / "out")
    told = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())
    assert told["val"] == "images/val" and len(list((tmp_path / "out" / "depth" / "val").iterdir())) == FRAMES


def test_webdataset(converted: Mapping[str, Path], stored: Rows) -> None:
    tars = sorted(map(str, converted["webdataset"].glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == list(stored)
    for sample in samples:
        want = stored[sample["__key__"]]
        np.testing.assert_array_equal(sample["image.png"], want["image"])
        np.testing.assert_array_equal(sample["flow.npy"], want["flow"])
        np.testing.assert_array_equal(sample["edges.png"][..., 0], want["edges"])
        assert sample["json"]["camera_K"] == want["camera_K"].tolist()


def test_coco(converted: Mapping[str, Path], stored: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    coco = COCO(converted["coco"] / "annotations.json")
    keys = {image["id"]: image["key"] for image in coco.dataset["images"]}
    assert list(keys.values()) == list(stored)
    for number, key in keys.items():
        ids = stored[key]["instance"]
        found = coco.loadAnns(coco.getAnnIds(imgIds=number))
        assert [one["instance_id"] for one in found] == np.unique(ids[ids > 0]).tolist()
        for one in found:
            mask = coco.annToMask(one) > 0
            np.testing.assert_array_equal(mask, ids == one["instance_id"])
            x, y, width, height = one["bbox"]
            assert mask[y : y + height, x : x + width].sum() == mask.sum() == one["area"]
            assert one["score"] == round(200 / 255, 4)


def test_parquet_has_thumbnails_and_figures(converted: Mapping[str, Path], stored: Rows) -> None:
    table = pq.read_table(converted["parquet"] / "frames.parquet")
    rows = {row["key"]: row for row in table.to_pylist()}
    assert rows.keys() == stored.keys()
    for key, row in rows.items():
        thumbnail = cv2.imdecode(np.frombuffer(row["thumbnail"], np.uint8), cv2.IMREAD_COLOR)
        assert thumbnail.shape == (SIZE, SIZE, 3)
        assert row["edges_confidence"] == pytest.approx(200 / 255, abs=1e-4)
        assert row["depth_coverage"] == pytest.approx(np.isfinite(stored[key]["depth"]).mean(), abs=0.5)
    assert json.loads(table.schema.metadata[b"freelabels"])["fields"]["depth"]["unit"] == "m"


def test_hugging_face_dataset(converted: Mapping[str, Path], stored: Rows, tmp_path: Path) -> None:
    rows = datasets.load_dataset(str(converted["huggingface"]), split="train", cache_dir=str(tmp_path))
    assert rows["key"][:] == list(stored)
    for row in rows:
        want = stored[row["key"]]
        np.testing.assert_array_equal(np.asarray(row["image"]), want["image"])
        check_png("depth", np.asarray(row["depth"]), None, want["depth"])
        check_png(
            "disparity",
            np.asarray(row["disparity"]),
            json.loads(row["ranges"])["disparity"],
            want["disparity"],
        )
        assert row["camera_K"] == want["camera_K"].tolist()


def test_what_made_them_stands_beside_them(converted: Mapping[str, Path], dataset: Path) -> None:
    for folder in converted.values():
        about = json.loads((folder / "freelabels.json").read_text())
        assert about["fields"]["edges"]["made_by"] == [{"generator": "shapes", "version": 1}]
        assert about["fields"]["edges"]["png"] == "probability = p / 255"
        assert about["dataset"] == f"{dataset.parent.name}/{dataset.name}"


def test_real_frames_are_superpixels_in_coco(tmp_path: Path) -> None:
    made = Dataset.create(tmp_path / "photos", {"size": [4, 6]})
    regions = np.repeat(np.arange(3, dtype=np.uint16), 2)[None, None].repeat(4, axis=1)
    columns = {"image": np.zeros((1, 4, 6, 3), np.uint8), "regions": regions}
    columns |= {"flow_visibility": np.full((1, 4, 6), 2, np.uint8)}
    clip = {"rows": [0, 1], "kind": "photo", "source": ["/home/someone/pictures/a.png"], "key": "a"}
    made_by = {name: {"generator": "test", "version": 1} for name in columns}
    commit_shard(made, "photo-0", columns, [clip], made_by)
    freelabels.convert(tmp_path / "photos", "coco", tmp_path / "coco")
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert [one["bbox"] for one in document["annotations"]] == [[0, 0, 2, 4], [2, 0, 2, 4], [4, 0, 2, 4]]
    assert document["images"][0]["source"] == "pictures/a.png"
    assert document["images"][0]["names"] == {"flow_visibility": {"2": "occluded"}}


def test_mistakes_are_said_and_write_nothing(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for to, fields, sentence in (
        ("cocoa", (), "there is no such format: did you mean 'coco'"),
        ("npy", ("edgs",), "has no 'edgs' to convert: did you mean 'edges'"),
        ("coco", ("edges",), "neither instances nor regions"),
    ):
        with pytest.raises(UserError, match=sentence):
            freelabels.convert(dataset, to, out, fields=fields)
        assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(UserError, match="holds something already"):
        freelabels.convert(dataset, "npy", out)

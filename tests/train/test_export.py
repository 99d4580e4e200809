"""An exported backbone is timm's again: plain timm loads it and gives the same features, bit for bit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.windows import REAL, SYNTHETIC
from freelabels.train.export import export, trained_backbone
from freelabels.train.run import checkpoint
from freelabels.train.run.trainer import fit
from tests.preloaded import Programs

SIZE = 64
# As a user would who has timm and nothing of ours.
ELSEWHERE = """
import json, sys, timm, torch
torch.set_num_threads(1)
image = torch.load(sys.argv[1])
out = {}
for name, file, options in json.loads(sys.argv[2]):
    overlay = {"file": file + "/model.safetensors"}
    ways = {"as it is": {}, "headless": {"num_classes": 0}, "of seven": {"num_classes": 7}}
    nets = {
        how: timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options, **way)
        for how, way in ways.items()
    }
    nets["folder"] = timm.create_model("local-dir:" + file, pretrained=True)
    for how, net in nets.items():
        net.eval()
        mean, std = (torch.tensor(net.pretrained_cfg[k]).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))
        with torch.no_grad():
            x = (image.float() - mean) / std
            out[name, how] = net.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
assert not [module for module in sys.modules if module.split(".")[0] in ("train", "pipeline", "generators")]
torch.save(out, sys.argv[3])
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    real = write_dataset(root / "photos", REAL, 4, 48, labels=("edges",))
    synthetic = write_dataset(root / "renders", SYNTHETIC, 4, 48)
    for name in ("test_resnet", "test_vit"):
        config = TrainConfig(
            steps=2,
            tasks=("edges", "normals"),
            precision="fp32",
            device="cpu",
            evaluate=4,
            loader=LoaderConfig(size=SIZE, batch=4, held_out=0.3),
            model=ModelConfig(name, width=16),
        )
        fit([str(real)], [str(synthetic)], str(root / name), config, quiet=True)
    return {name: root / name for name in ("test_resnet", "test_vit")}


@pytest.mark.slow
def test_plain_timm_gives_the_same_features_in_a_fresh_process(
    runs: dict[str, Path], tmp_path: Path, programs: Programs
) -> None:
    image = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    torch.save(image, tmp_path / "image.pt")
    orders = []
    for name, run in runs.items():
        path = export(str(run), str(tmp_path / name))
        assert path == tmp_path / name / "model.safetensors" and path.is_file()
        orders.append((name, str(tmp_path / name), {"img_size": SIZE} if "vit" in name else {}))
    arguments = [str(tmp_path / "image.pt"), json.dumps(orders), str(tmp_path / "features.pt")]
    done = programs.run("-c", ELSEWHERE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "features.pt")
    assert len(found) == 8
    for (name, how), features in found.items():
        backbone, _, _ = trained_backbone(str(runs[name]))
        with torch.no_grad():
            wanted = backbone(image)
        for index, feature in zip(backbone.indices, wanted, strict=True):
            assert torch.equal(features[index], feature), (name, how, index)


@pytest.mark.slow
def test_weights_are_the_averaged_ones(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["test_resnet"]
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    state["ema"]["backbone.net.conv1.0.weight"] += 1
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "train.toml").write_bytes((run / "train.toml").read_bytes())
    backbone, config, seen = trained_backbone(str(tmp_path))
    assert torch.equal(backbone.net.conv1[0].weight, state["ema"]["backbone.net.conv1.0.weight"])
    assert not backbone.training and config.loader.size == SIZE
    assert seen["tasks"] == ("edges", "normals") and seen["step"] == 2


@pytest.mark.slow
def test_a_checkpoint_is_read_once_until_the_run_writes_another(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.toml").write_bytes((runs["test_resnet"] / "train.toml").read_bytes())
    state = checkpoint.load(runs["test_resnet"] / "checkpoint.pt")
    read: list[Path] = []

    def load(path: Path) -> dict[str, Any]:
        read.append(path)
        return checkpoint_load(path)

    checkpoint_load = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", load)
    for step in (2, 3):
        checkpoint.save(tmp_path / "checkpoint.pt", {**state, "step": step})
        assert [trained_backbone(str(tmp_path))[2]["step"] for _ in range(3)] == [step] * 3
    assert len(read) == 2


@pytest.mark.slow
def test_the_card_names_data_labels_versions_and_figures(runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["test_vit"]
    export(str(run), str(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert "test_vit" in card and "2 of 2 steps (8 images) of 64 × 64" in card and "img_size=64" in card
    assert "| real | photos |" in card and "| synthetic | renders |" in card
    assert "edges (shapes 1)" in card and "normals (shapes 1)" in card and "flow" not in card
    assert f"torch {torch.__version__.partition('+')[0]}" in card
    (edges,) = [
        score
        for score in json.loads((run / "summary.json").read_text())["scores"]
        if score["task"] == "edges" and score["domain"] == "all"
    ]
    assert f"| edges | average precision | {edges['score']:.4g} | {edges['constant']:.4g} |" in card
    assert str(run.parent) not in card  # names of data, not where it lay


def test_an_export_outlives_its_data(runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("train.toml", "checkpoint.pt"):
        (run / name).write_bytes((runs["test_resnet"] / name).read_bytes())
    text = (run / "train.toml").read_text().replace("photos", "gone").replace("renders", "lost")
    (run / "train.toml").write_text(text)
    export(str(run), str(tmp_path / "out"))
    assert "| gone | not at hand when this was written |" in (tmp_path / "out" / "README.md").read_text()


def test_bad_input_is_said_in_a_sentence(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run: it has no train\.toml"):
        export(str(tmp_path), str(tmp_path / "out"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "train.toml").write_bytes((runs["test_resnet"] / "train.toml").read_bytes())
    with pytest.raises(UserError, match=r"holds no checkpoint\.pt yet"):
        export(str(tmp_path / "begun"), str(tmp_path / "out"))
    (tmp_path / "begun" / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(UserError, match="is damaged"):
        export(str(tmp_path / "begun"), str(tmp_path / "out"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="can't be written"):
        export(str(runs["test_resnet"]), str(tmp_path / "file"))
    with pytest.raises(UserError, match="has no trunk for clips"):
        export(str(runs["test_resnet"]), str(tmp_path / "out"), "clips")

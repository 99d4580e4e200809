"""The package as a Python program uses it: `import freelabels`, and each thing it does in a line or two."""

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import freelabels
from freelabels.generators.contract import detector
from tests.sources import write_photos

HERE = freelabels.Cluster(workers=0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("face") / "photos"
    write_photos(folder, 4)
    return folder


@pytest.fixture(scope="module")
def real(photos: Path) -> Path:
    """Made of one folder, given as it is."""
    out = photos.parent / "real"
    labels = ["edges", "regions"]
    made = freelabels.label(photos, out, labels=labels, size=(64, 64), cluster=HERE)
    assert made.complete and made.frames == 4
    return out


@pytest.fixture(scope="module")
def synthetic(photos: Path) -> Path:
    out = photos.parent / "synthetic"
    made = freelabels.render(out, 2, freelabels.RenderOptions(frames=1, size=(64, 64)), cluster=HERE)
    assert made.complete and made.frames == 2
    return out


@pytest.fixture(scope="module")
def run(real: Path, synthetic: Path) -> Path:
    out = real.parent / "run"
    ended = freelabels.fit([real, synthetic], out, config(), quiet=True)
    assert ended.finished and ended.steps == 1
    return out


def config() -> freelabels.TrainConfig:
    from freelabels.train.config import LoaderConfig, ModelConfig

    return freelabels.TrainConfig(
        steps=1,
        device="cpu",
        precision="fp32",
        evaluate=1,
        loader=LoaderConfig(size=32, batch=2, held_out=0.0),
        model=ModelConfig("test_resnet", width=16),
    )


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert {"label", "render", "inspect", "verify", "calibrate", "card", "fit", "probe", "export"} < set(
        dir(freelabels)
    )
    for name in freelabels.__all__:
        thing = getattr(freelabels, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), name


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError):
        freelabels.lable  # noqa: B018


def test_several_sources_are_a_list(photos: Path, tmp_path: Path) -> None:
    sources = [photos / "photo a.png", str(photos / "photo b.png")]
    made = freelabels.label(sources, tmp_path / "out", labels=["regions"], size=(64, 64), cluster=HERE)
    assert made.frames == 2


def test_what_is_wrong_is_said_by_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(freelabels.UserError, match="nowhere: does not exist"):
        freelabels.label("nowhere", tmp_path / "out", cluster=HERE)
    with pytest.raises(freelabels.UserError, match="fov must lie in"):
        freelabels.SourceOptions(fov=200)
    with pytest.raises(freelabels.UserError, match="is not a Freelabels dataset"):
        freelabels.fit(tmp_path, tmp_path / "run")
    freelabels.Dataset.create(tmp_path / "begun", {})
    with pytest.raises(freelabels.UserError, match="holds no shards yet"):
        freelabels.fit(tmp_path / "begun", tmp_path / "run")
    with pytest.raises(freelabels.UserError, match="is no run"):
        freelabels.export(tmp_path, tmp_path / "backbone")


def test_a_dataset_is_looked_at_checked_and_described(real: Path) -> None:
    assert freelabels.inspect(real)["rows"] == 4
    assert freelabels.verify(real).problems == ()
    assert [Path(str(file)).name for file in freelabels.card(real)] == ["README.md", "croissant.json"]
    [name] = freelabels.Dataset(real).shards()
    assert freelabels.Dataset(real).open(name).rows == 4


@pytest.mark.slow
@pytest.mark.renders
def test_confidence_is_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "freelabels.pipeline.stages.calibrate.draw_reliability", lambda *_: None
    )  # nobody looks
    done = freelabels.calibrate(tmp_path, 2, frames=1, size=(32, 32), cluster=HERE)
    assert done.complete and (tmp_path / "calibration.json").exists()


@pytest.mark.slow
@pytest.mark.renders
def test_the_domain_of_a_dataset_is_read_from_its_shards(real: Path, synthetic: Path, run: Path) -> None:
    written = (run / "train.toml").read_text()
    data = tomllib.loads(written)["data"]
    assert data["real"] == [str(real)] and data["synthetic"] == [str(synthetic)]


@pytest.mark.slow
@pytest.mark.renders
def test_a_run_that_is_done_goes_on_to_nothing_and_is_not_begun_anew(
    real: Path, synthetic: Path, run: Path
) -> None:
    again = freelabels.fit([real, synthetic], run, config(), resume=True, quiet=True)
    assert again.finished and again.steps == 1
    with pytest.raises(freelabels.UserError, match="holds a run already"):
        freelabels.fit([real, synthetic], run, config(), quiet=True)


@pytest.mark.renders
def test_domains_may_be_named(real: Path, synthetic: Path, tmp_path: Path) -> None:
    ended = freelabels.fit((), tmp_path / "run", config(), real=real, synthetic=[synthetic], quiet=True)
    assert ended.finished


@pytest.mark.slow
@pytest.mark.renders
def test_features_are_exported_and_probed(run: Path, tmp_path: Path) -> None:
    weights = freelabels.export(run, tmp_path / "backbone")
    assert weights.is_file() and weights.parent == tmp_path / "backbone"
    rng = np.random.default_rng(0)
    for kind, level in (("dark", 60), ("light", 200)):
        (tmp_path / "classes" / kind).mkdir(parents=True)
        for k in range(6):
            image = rng.integers(level - 40, level + 40, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "classes" / kind / f"{k}.png")
    few = freelabels.ProbeConfig(seeds=1, draws=1, shots=(1,), rotation="skip", device="cpu")
    report = freelabels.probe(run, tmp_path / "classes", tmp_path / "report", few)
    assert report.tables and (tmp_path / "report" / "probe.md").is_file()


def test_a_plug_in_needs_nothing_but_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_REGISTRY", dict(detector._REGISTRY))

    @dataclass(frozen=True)
    class Brightness:
        name: ClassVar[str] = "brightness"
        version: ClassVar[int] = 1
        needs: ClassVar[frozenset[str]] = frozenset()
        makes: ClassVar[tuple[str, ...]] = ("edges",)

        def __call__(self, clip: freelabels.Clip) -> Mapping[str, freelabels.Array]:
            return {"edges": freelabels.as_bytes(clip.image.mean(axis=-1) / 255)}

    assert freelabels.register(Brightness) is Brightness
    white = freelabels.Clip(np.full((1, 8, 8, 3), 255, np.uint8), np.zeros(1), np.eye(3))
    assert (Brightness()(white)["edges"] == 255).all()

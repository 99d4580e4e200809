"""The dataset card: Croissant that MLCommons' own tool accepts, a README that overwrites nobody's words."""

import json
import warnings
from pathlib import Path

import mlcroissant
import numpy as np
import pytest

from freelabels.cli.main import main
from freelabels.generators.contract.fields import field
from freelabels.ground.errors import UserError
from freelabels.pipeline.cards import About, card
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from tests.pipeline.shards.test_shards import CLIPS, HEIGHT, WIDTH, some_columns

ABOUT = About(
    name="Streets",
    description='Streets with labels, <b>quite</b> "a" few.',
    license="CC-BY-4.0",
    source_license="https://example.com/terms",
    creators=("A. Person", "A Lab"),
    url="https://example.com/streets",
    citation="@misc{streets}",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dataset = Dataset.create(tmp_path / "streets", {"size": [HEIGHT, WIDTH], "seed": 0})
    columns = some_columns()
    columns["object_box"] = np.zeros((5, 3, 4), np.float32)
    made_by = {name: {"generator": "test", "version": 3, "parameters": {"k": 1}} for name in columns}
    commit_shard(dataset, "video-1", columns, CLIPS, made_by)
    return Path(dataset.path)


def load(path: Path) -> mlcroissant.Dataset:
    with warnings.catch_warnings(record=True):
        return mlcroissant.Dataset(jsonld=path / "croissant.json")


def test_mlcroissant_accepts_it_and_every_column_is_a_field(data: Path) -> None:
    card(data, ABOUT)
    metadata = load(data).metadata
    assert not metadata.issues.errors and not metadata.issues.warnings - {
        w for w in metadata.issues.warnings if "datePublished" in w
    }
    assert (metadata.name, metadata.license, metadata.url) == ("Streets", ["CC-BY-4.0"], ABOUT.url)
    assert [creator.name for creator in metadata.creators] == list(ABOUT.creators)
    [frames] = metadata.record_sets
    fields = {f.name: f for f in frames.fields}
    shard = Dataset(data).open(Dataset(data).shards()[0])
    assert set(fields) == set(shard.fields)
    assert fields["flow"].array_shape == f"{HEIGHT},{WIDTH},2" and fields["flow"].is_array
    assert fields["object_box"].array_shape == "-1,4"
    assert not fields["time"].is_array
    for name, found in fields.items():
        assert field(name).meaning in found.description
    assert "unit: px" in fields["flow"].description and "invalid: nan" in fields["flow"].description
    assert "test 3" in json.loads((data / "croissant.json").read_text())["rai:machineAnnotationTools"]


def test_the_files_it_names_are_those_of_the_columns(data: Path) -> None:
    card(data, ABOUT)
    [shards] = load(data).metadata.distribution
    [pattern] = shards.includes
    found = {p.relative_to(data).parts[1] for p in data.glob(pattern + "/*") if p.is_file()}
    shard = Dataset(data).open(Dataset(data).shards()[0])
    assert found == set(shard.fields)


def test_without_a_word_from_the_owner_it_is_still_valid(data: Path) -> None:
    card(data, About())
    assert not load(data).metadata.issues.errors
    text = (data / "README.md").read_text()
    assert "# streets" in text and "not stated" in text


def test_the_readme_tells_fields_units_licence_provenance_and_figures(data: Path) -> None:
    card(data, ABOUT)
    text = (data / "README.md").read_text()
    for word in ("Streets", "CC-BY-4.0", "https://example.com/terms", "A. Person, A Lab", "@misc{streets}"):
        assert word in text
    assert "| frames | 5 of 24 × 32 pixels in 1 shard" in text
    [flow] = [line for line in text.splitlines() if line.startswith("| flow |")]
    assert (
        "| float16 [24, 32, 2] | (u, v) displacement to the next frame | px, image | nan | 80.0 % | test 3"
        in flow
    )
    assert 'license: "CC-BY-4.0"' in text


def test_the_same_dataset_gives_the_same_card_again(data: Path) -> None:
    before = [file.read_text() for file in card(data, ABOUT)]
    assert [file.read_text() for file in card(data, ABOUT)] == before
    assert [file.read_text() for file in card(data, About(name="Other"))] != before


@pytest.mark.parametrize("name", ["README.md", "croissant.json"])
def test_what_somebody_wrote_is_not_overwritten(data: Path, name: str) -> None:
    (data / name).write_text("my own words")
    with pytest.raises(UserError, match=f"{name} was written or changed by somebody else"):
        card(data, ABOUT)
    assert (data / name).read_text() == "my own words"
    (data / name).unlink()
    card(data, ABOUT)
    (data / name).write_text((data / name).read_text().replace("Streets", "Roads"))
    with pytest.raises(UserError, match="changed by somebody else"):
        card(data, ABOUT)
    assert "Roads" in (data / name).read_text()


def test_a_card_is_no_part_of_the_dataset(data: Path) -> None:
    card(data, ABOUT)
    assert len(Dataset(data).shards()) == 1
    Dataset.create(data, {"size": [HEIGHT, WIDTH], "seed": 0})


def test_it_is_a_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["card", str(data), "--license", "MIT", "--creator", "Me"])
    assert end.value.code == 0 and "croissant.json" in capsys.readouterr().out
    Dataset.create(tmp_path / "empty", {})
    for folder, sentence in ((tmp_path / "empty", "no shards yet"), (tmp_path, "not a Freelabels dataset")):
        with pytest.raises(SystemExit) as end:
            main(["card", str(folder)])
        assert end.value.code == 2 and sentence in capsys.readouterr().err

"""What older versions left in `tests/data` is still read, completed, trained on and gone on with.

Each archive there holds what the commit in its JSON made, and the JSON says what that commit read from it. A test
that fails here means that somebody's dataset or run of that time can't be used any more.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from freelabels.cli.main import main
from freelabels.ground.spelling import counted
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.record import SCHEMA
from freelabels.pipeline.stages.render import RENDER_VERSION
from tests.pipeline.shards.test_s3 import server  # noqa: F401, a fixture
from tests.preloaded import Programs

DATA = Path(__file__).parent / "data"
SOURCES = str(DATA / "sources")
STORED = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
STORE, RUN, PACKED = "schema-2-store", "schema-2", "schema-3"
VERSIONS = sorted(STORED.keys() - {STORE, PACKED})
# How many shards `label --update` makes anew: those of versions whose detectors have been given a new version
# since; without `--update`, `label` says so and leaves them. Where detectors change, a figure here goes from 0
# to 4, and that is all that may change.
OUT_OF_DATE = {"schema-1-bit-shuffle": 4, "schema-1": 4, "schema-2-early": 4, "schema-2": 4, STORE: 4}
# The version of renders (`RENDER_VERSION`) that made each. Where it rises nothing here changes: what is older is
# made anew, and that is what the test of it says. An archive made after that gets today's number.
RENDERED_BY = dict.fromkeys(VERSIONS, 1)
EXCLUDED = {"schema-2-early": 1, "schema-2": 1}  # frames ticked as bad
FRAME_COLUMNS = ("image", "clip", "frame_index", "time", "domain", "camera_K", "camera_pose")
TRAIN = (
    *("train", "labelled", "rendered", "--tasks", "edges", "depth", "normals", "--log-every", "1"),
    *("--optimizer", "adafactorbv", "--precision", "fp32", "--device", "cpu"),
    *("--loader.size", "32", "--loader.batch", "2"),
    *("--model.backbone", "test_efficientnet", "--model.width", "8"),
)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a version, what it left lying in the working directory."""
    unpack(request.param, tmp_path, monkeypatch)
    return str(request.param)


def unpack(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a version left, in a folder that becomes the working directory."""
    with tarfile.open(DATA / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    monkeypatch.chdir(folder)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """What a freelabels command that ends well prints, as JSON lines."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 0, lines
    return [json.loads(line) for line in lines]


def label(programs: Programs, version: str, out: str, *more: str) -> dict[str, Any]:
    """The summary of labelling the sources as that version did."""
    [size, _] = STORED[version]["inspect"]["labelled"]["attributes"]["size"]
    labels = {STORE: ("--labels", "edges"), PACKED: ("--labels", "edges,regions")}.get(version, ())
    options = ("--out", out, "--size", str(size), *labels, *more, "--workers", "0")
    # In a process of its own: what other tests have registered or replaced must not be seen here.
    done = programs.run("-m", "freelabels", "label", SOURCES, *options, "--json", cwd=Path.cwd())
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["summary"]
    return summary


def assert_whole(capsys: pytest.CaptureFixture[str], dataset: str, shards: int) -> None:
    summary = command(capsys, "verify", dataset)[-1]["summary"]
    assert summary["shards"] == shards and summary["problems"] == [], summary
    assert summary["residual"] is None or summary["residual"] < 0.01  # pixels


def without(figures: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in names}


def assert_figures(capsys: pytest.CaptureFixture[str], dataset: str, said: dict[str, Any]) -> None:
    """Inspection says all that the version of `said` said, and may say more."""
    [now] = command(capsys, "inspect", dataset)
    assert now == now | without(said, "fields")
    assert now["fields"].keys() == said["fields"].keys()
    for name, figures in said["fields"].items():
        found = now["fields"][name]
        assert found == found | without(figures, "confidence"), name
        # Versions that wrote schema 1 took the mean from a histogram of 16 bins, so to half a bin.
        assert found.get("confidence") == pytest.approx(figures.get("confidence"), abs=1 / 32), name


def digests(dataset: str) -> dict[str, dict[str, str]]:
    """sha256 of the values of every column, by shard and column."""
    found: dict[str, dict[str, str]] = {}
    opened = Dataset(dataset)
    for name in opened.shards():
        shard = opened.open(name)
        found[name] = {
            column: hashlib.sha256(np.ascontiguousarray(shard.read_rows(column)).tobytes()).hexdigest()
            for column in shard.fields
        }
        shard.close()
    return found


def shard_files(folder: str) -> dict[str, bytes]:
    """All files of the shards, and of their commits in an object store, by their path in the dataset's folder."""
    found = {path.relative_to(folder): path for path in Path(folder).rglob("*") if path.is_file()}
    inside = {
        name: path for name, path in found.items() if len(name.parts) > 1 and name.parts[0] != ".sources"
    }
    return {str(name): path.read_bytes() for name, path in inside.items()}


def test_every_schema_that_was_ever_written_is_here(tmp_path: Path) -> None:
    found = set()
    for version in STORED:
        with tarfile.open(DATA / f"{version}.tar.xz") as archive:
            file = archive.extractfile("./labelled/zarr.json")
            assert file is not None
            found.add(json.loads(file.read())["attributes"]["freelabels"]["schema"])
    assert found == set(range(1, SCHEMA + 1))


def test_it_is_whole(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_whole(capsys, "labelled", 4)
    assert_whole(capsys, "rendered", 1)


def test_inspect_says_what_it_said(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    for dataset, said in STORED[version]["inspect"].items():
        assert_figures(capsys, dataset, said)


def test_every_column_reads_as_it_was_written(version: str) -> None:
    for dataset, columns in STORED[version]["columns"].items():
        assert digests(dataset) == columns


@pytest.mark.slow
def test_labelled_again_it_is_left_alone_and_what_is_old_is_said(
    version: str, capsys: pytest.CaptureFixture[str], programs: Programs
) -> None:
    before = digests("labelled")
    summary = label(programs, version, "labelled")
    # Each shard is given the saliency that no detector made then, and those with flow the speed of what they show.
    # The foreground of photos is made anew: what it was is saliency now. The stereo shard, also given the depth
    # that its baseline tells, is read and made anew.
    assert (summary["shards"], summary["made"], summary["failed"]) == (4, 4, 0)
    assert bool(summary["older"]) == bool(OUT_OF_DATE[version])
    after = digests("labelled")
    for name, columns in before.items():
        if "stereo" in name:
            continue
        now = after[name.removesuffix(".0") + ".1"]
        new = {"saliency", "saliency_confidence"} | ({"speed"} if "flow" in columns else set())
        assert now.keys() - columns.keys() == new
        changed = {column.removesuffix("_confidence") for column in columns if now[column] != columns[column]}
        assert changed <= (set() if name.startswith("video") else {"foreground"})
    again = shard_files("labelled")
    assert label(programs, version, "labelled")["made"] == 0
    assert shard_files("labelled") == again


@pytest.mark.slow
def test_updated_it_is_made_anew_and_then_left_alone(
    version: str, capsys: pytest.CaptureFixture[str], programs: Programs
) -> None:
    before = shard_files("labelled")
    stored = STORED[version]["columns"]["labelled"]
    summary = label(programs, version, "labelled", "--update")
    assert (summary["shards"], summary["made"], summary["failed"]) == (4, OUT_OF_DATE[version], 0)
    assert summary["refused"] == 1
    if not OUT_OF_DATE[version]:
        assert shard_files("labelled") == before
        return
    # The same shards, one revision on: what was decoded is kept, bytes and all, beside labels made anew.
    now = digests("labelled")
    made = now.keys() - stored.keys()
    assert len(made) == OUT_OF_DATE[version] and all(name.endswith(".1") for name in made)
    assert now.keys() - made == stored.keys() - {name.removesuffix(".1") + ".0" for name in made}
    for name in now.keys() - made:
        assert now[name] == stored[name]
    for name in made:
        columns = now[name]
        kept = stored[name.removesuffix(".1") + ".0"]
        assert {column: columns[column] for column in FRAME_COLUMNS} == {c: kept[c] for c in FRAME_COLUMNS}
    assert_whole(capsys, "labelled", 4)
    assert label(programs, version, "labelled", "--update")["made"] == 0


@pytest.mark.slow
@pytest.mark.renders
def test_rendered_again_it_is_made_anew_once(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = shard_files("rendered")
    said = STORED[version]["inspect"]["rendered"]
    numbers = ("--clips", str(said["sources"]["render"]["clips"]), "--frames", "2")
    size = ("--size", str(said["attributes"]["size"][0]))
    again = ("render", "--out", "rendered", *numbers, *size, "--workers", "0")
    out_of_date = RENDERED_BY[version] < RENDER_VERSION
    summary = command(capsys, *again)[-1]["summary"]
    assert (summary["shards"], summary["made"]) == (1, int(out_of_date))
    assert (shard_files("rendered") == before) == (not out_of_date)
    assert_whole(capsys, "rendered", 1)
    assert command(capsys, *again)[-1]["summary"]["made"] == 0


def trained(*arguments: str) -> list[dict[str, Any]]:
    """The metrics of a run that ends well."""
    with pytest.raises(SystemExit) as end:
        main([*TRAIN, *arguments])
    assert end.value.code == 0
    folder = Path(arguments[arguments.index("--out") + 1])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "losses" in line]


@pytest.mark.slow
def test_it_is_trained_on(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = trained("--out", "new", "--steps", "2")
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["losses"].keys() == {"edges", "depth", "normals"}
    assert (Path("new") / "checkpoint.pt").is_file()
    captured = capsys.readouterr()
    said = captured.out + captured.err
    frames = EXCLUDED.get(version, 0)
    assert (f"{counted(frames, 'frame')} excluded" in said) if frames else ("excluded" not in said)


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(RUN, tmp_path, monkeypatch)
    lines = trained("--out", "run", "--steps", "4", "--resume")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line, losses in zip(lines, STORED[RUN]["losses"], strict=True):
        assert line["losses"] == pytest.approx(losses, rel=1e-3)  # other processors add up in another order


def test_a_stored_run_gives_its_backbone_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(RUN, tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as end:
        main(["export", "run", "--out", "backbone"])
    assert end.value.code == 0
    assert list(Path("backbone").glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_dataset_in_an_object_store_is_whole_and_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], programs: Programs
) -> None:
    unpack(STORE, tmp_path, monkeypatch)
    address = f"s3://bucket/{STORE}"
    store, objects = fsspec.filesystem("s3"), shard_files("labelled")
    files = [path for path in Path("labelled").rglob("*") if path.is_file()]
    store.pipe({f"{address}/{path.relative_to('labelled')}": path.read_bytes() for path in files})
    assert_whole(capsys, address, 4)
    assert_figures(capsys, address, STORED[STORE]["inspect"]["labelled"])
    assert digests(address) == STORED[STORE]["columns"]["labelled"]
    assert label(programs, STORE, address)["made"] == 0
    assert store.cat_ranges([f"{address}/{path}" for path in objects], 0, None) == [*objects.values()]


@pytest.mark.slow
def test_a_packed_dataset_is_whole_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], programs: Programs
) -> None:
    unpack(PACKED, tmp_path, monkeypatch)
    assert len(list(Path("labelled/shards").glob("*/*.pack"))) == 2 * 4  # each revision added labels
    assert_whole(capsys, "labelled", 4)
    assert_figures(capsys, "labelled", STORED[PACKED]["inspect"]["labelled"])
    assert digests("labelled") == STORED[PACKED]["columns"]["labelled"]
    before = shard_files("labelled")
    assert label(programs, PACKED, "labelled")["made"] == 0
    assert {name: data for name, data in shard_files("labelled").items() if name in before} == before

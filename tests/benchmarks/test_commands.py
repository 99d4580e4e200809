"""Every benchmark says what it measures and what it costs, shows its options, and runs to its end."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.pretexts.images import lines, systems
from benchmarks.tools.command import run_parts
from tests.preloaded import Programs

ROOT = Path(__file__).parents[2]
HOME = ROOT / "benchmarks"
BEGINS = 'if __name__ == "__main__":'
FILES = [path for path in HOME.glob("*.py") if BEGINS in path.read_text()]
NAMES = sorted([*(path.stem for path in FILES), *(path.parent.name for path in HOME.glob("*/__main__.py"))])

# The least that each can be asked for, and what it prints in the end; chaos has a test of its own.
SMALLEST = {
    "adversary": ("--names ridge --steps 2 --clips 16", "ridge"),
    "detection": ("--backbone test_resnet --size 32 --images 2 --steps 1 --batch 2", "AP50, 11 points"),
    "fuzz": ("--stills 4 --videos 1", ""),
    "gpu_features": (
        "--scale .0002 --batch 4 --backbone test_resnet --no-full --out {folder}",
        "| renders | free labels of renders | 1 |",
    ),
    "label": ("--size 64 --repeats 1 --workers 1", "through Ray:"),
    "label_model": ("--clips 1", "| motion | renders | ours |"),
    "label_model_normals": ("--clips 1", "| motorcycle, stereo | ours |"),
    "labels": ("--only depth,flow", "left out: flow (without --data"),
    "loader": ("--size 32 --batch 2 --batches 2 --workers 0", "waiting for data"),
    "noise": ("--seeds 1 --steps 2 --choices confidence", "of confidence over plain"),
    "page": ("--frames 200 --size 24", ""),
    "pretexts": (
        "--only rotation --megapixels .05 --size 32 --batch 4 --backbone test_resnet --photos 8 --scored 8 "
        "--out {folder}",
        "accuracy (chance)",
    ),
    "pretexts video": (
        "--only shuffle_learn --seconds 1 --clips 8 --size 32 --batch 4 --backbone test_resnet --out {folder}",
        "accuracy (chance)",
    ),
    "pretexts controls": (
        "--only arrow_of_time --seconds 1 --clips 8 --batch 4 --backbone test_resnet --out {folder}",
        "accuracy (chance)",
    ),
    "pretexts aims": (
        "--only flow_net --seconds 1 --clips 8 --batch 16 --backbone test_resnet --out {folder}",
        "of features side by side",
    ),
    "pretexts beside": (
        "--names dcgan --seeds 0 --steps 2 --clips 8 --size 32 --batch 4 --backbone test_resnet "
        "--set dcgan.rate=0.2",
        "dcgan",
    ),
    "realism": ("--count 8 --nets 1", "% right"),
    "render residual": ("--clips 1 --size 64", "worst p99:"),
    "render speed": ("--clips 1 --frames 1 --sizes 32", "labels and texture edges"),
    "render steady": ("--clips 4", "growth in the second half"),
    "render witness": ("--scenes 1 --size 64", "of instance ids differ"),
    "scaling driver": ("--tasks 10 --workers 1 --window 10", "one wait for 10 tasks"),
    "scaling label": ("--shards 20", "label 20 committed shards of videos"),
    "scaling loader": ("--windows 5000 20000 --ranks 4 --batch 4", "20,000 windows"),
    "scaling inspect": ("--shards 20", "card"),
    "scaling plan": ("--shards 20 --records 2", "index from nothing"),
    "scaling simulate": ("--shards 200 --workers 10", "200 shards of 60 s"),
    "scaling store": ("--batches 1 --latency 0 --size 32", "times as fast"),
    "scaling workers": ("--shards 1 --frames 4 --size 32 --counts 1", "1 → 1 workers"),
    "shards": ("--frames 8 --repeats 1 --reads 8 --peers None", "the arrays themselves are"),
    "tags": ("--photos 60 --steps 2 --wrong 0 --doubt 0.7", "held-out pictures"),
    "train": ("--backbone test_resnet --size 32 --batch 2 --steps 2", "samples/s"),
}

# Those that render, or plan renders.
RENDERS = {
    command for command in SMALLEST if command.startswith(("realism", "render", "label_model", "labels"))
}
RENDERS |= {"pretexts video", "pretexts controls", "pretexts aims"}
RENDERS |= {f"scaling {part}" for part in ("driver", "plan", "simulate", "workers")}


def text_of(name: str) -> str:
    """Of the module, or of the package's own file."""
    path = HOME / f"{name}.py"
    return (path if path.is_file() else HOME / name / "__init__.py").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_how_to_run_it_and_what_it_costs(name: str) -> None:
    said = ast.get_docstring(ast.parse(text_of(name))) or ""
    assert said.splitlines()[0].endswith((".", ";", ",", ":"))
    assert f"python -m benchmarks.{name}" in said
    cost = said.rpartition("\nCost: ")[2]
    assert cost != said and any(unit in cost for unit in ("second", "minute")), said


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_what_it_measures(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.tools.command.on_one_thread", lambda **_: None)  # no new process
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    module = f"benchmarks.{name}" if (HOME / f"{name}.py").is_file() else f"benchmarks.{name}.__main__"
    monkeypatch.delitem(sys.modules, module, raising=False)  # another test may have imported it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0
    first = (ast.get_docstring(ast.parse(text_of(name))) or "").splitlines()[0]
    assert first[:40] in capsys.readouterr().out


@pytest.mark.benchmark
@pytest.mark.slow
@pytest.mark.timeout(290)
@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=pytest.mark.renders) if c in RENDERS else c for c in SMALLEST]
)
def test_it_runs_to_its_end(command: str, programs: Programs, tmp_path: Path) -> None:
    options, last = SMALLEST[command]
    name, *part = command.split()
    done = programs.run("-m", f"benchmarks.{name}", *part, *options.format(folder=tmp_path).split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert last in done.stdout


def test_every_benchmark_is_tried() -> None:
    assert {command.split()[0] for command in SMALLEST} | {"chaos"} == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "ran"), [([], ["one", "two 3"]), (["two", "--number", "5"], ["two 5"])]
)
def test_without_arguments_all_parts_run_and_steps_only_when_named(
    arguments: list[str], ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def one() -> None:
        seen.append("one")

    def two(number: int = 3) -> None:
        seen.append(f"two {number}")

    def step() -> None:
        seen.append("step")

    monkeypatch.setattr(sys, "argv", ["parts", *arguments])
    run_parts("What they are.", {"one": one, "two": two}, {"step": step})
    assert seen == ran


def test_a_pretext_is_told_beside_its_trivial_answer_in_standard_errors() -> None:
    score = {"task": "counting", "domain": "all", "metric": "error", "trivial": "chance"}
    score |= {"score": 0.2, "constant": 0.3, "better": True, "error": 0.05}
    probed = [{"measure": "linear, ridge", "values": [0.5, None]}]
    record = {
        "row": "counting",
        "scores": [score],
        "tables": probed,
        "seconds": 3.0,
        "lines": {"counting": 75},
    }
    [line] = lines(record)
    assert line.split() == ["counting", "75", "0.200", "0.300", "2.0", "50.0", "3", "error", "(chance)"]
    [line] = lines(record | {"scores": [score | {"better": False, "score": 0.4}]})
    assert line.split()[4] == "-2.0"
    [line] = lines(record | {"scores": [score | {"beside": {"distinct of 64": 51.0}}]})
    assert line.endswith("error (chance); distinct of 64: 51")
    [line] = lines(record | {"row": "random", "scores": []})
    assert line.split() == ["random", "50.0", "3"]
    assert {"rotation", "jigsaw", "gan"} <= set(systems()) and not {"edges", "tags"} & set(systems())

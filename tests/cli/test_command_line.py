"""The command line: what it lists, what it says about a mistake, and how it ends."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import freelabels
from freelabels.cli.main import COMMANDS, EXAMPLES, command, main
from freelabels.cli.shell.parsing import options
from freelabels.train.recipes import RECIPES
from tests.preloaded import Programs
from tests.sources import write_photos

COMMAND = [sys.executable, "-m", "freelabels"]


def status(*arguments: object) -> int:
    """Exit status of `freelabels` with these arguments."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def plain(text: str) -> str:
    """Text without colours, frames and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def test_help_lists_every_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    said = plain(capsys.readouterr().out)
    assert all(f"• {name} {sentence} `{EXAMPLES[name]}`" in said for name, sentence in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_lines_that_the_commands_take(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, called = command(name), list[object]()

    @functools.wraps(real)
    def only_told(*told: object, **options: object) -> int:
        called.append(told)
        return 0

    monkeypatch.setattr("freelabels.cli.main.asked", lambda name, rest: (only_told, rest))
    [program, *line] = EXAMPLES[name].split()
    assert (program, line[0], status(*line)) == ("freelabels", name, 0)
    assert called


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_lists_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(name, "--help") == 0
    said = plain(capsys.readouterr().out)
    assert f"usage: freelabels {name}" in said
    about = (command(name).__doc__ or "").splitlines()[0]
    assert about in said
    if "--help-all" in said:  # groups are named, and listed on request
        assert {option.partition(".")[0] for option in options(command(name))} <= set(
            re.findall(r"--[\w-]+", said)
        )
        assert status(name, "--help-all") == 0
        said = plain(capsys.readouterr().out)
    assert all(option in said for option in options(command(name)))


def test_the_first_screen_of_train_names_groups_and_recipes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("train", "--help") == 0
    first = plain(capsys.readouterr().out)
    assert "--loader.batch" not in first and "--loader.*" in first
    assert status("train", "--help-all") == 0
    whole = plain(capsys.readouterr().out)
    assert all(f"{name}: {recipe.about}" in whole for name, recipe in RECIPES.items())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0
    assert capsys.readouterr().out == f"freelabels {freelabels.__version__}\n"


MISTAKES = {
    "": "name a command; there are: label, render, ",
    "lable photos": "there is no command 'lable': did you mean 'label'? there are: label, ",
    "--labels": "there is no command '--labels'",
    "label photos": "missing: --out; see freelabels label --help",
    "label photos --out o --labls edges": "there is no option --labls (did you mean '--labels'?); see freelabels",
    "label photos --labls edges": "there is no option --labls (did you mean '--labels'?)",
    "label photos --out o --sheed=3": "there is no option --sheed (did you mean '--seed'?)",
    "label photos --out o --seed many": "--seed takes INT, not 'many'; see freelabels label --help",
    "label photos --out o --seed=many": "--seed takes INT, not 'many'",
    "label photos --out o --clip_length x": "--clip-length takes INT, not 'x'",
    "label photos --out o --fps fast": "--fps takes None or FLOAT, not 'fast'",
    "label photos --out o --size": "--size takes STR, but nothing is given",
    "label photos --out o --camera 1 2": "--camera takes None or FLOAT FLOAT FLOAT FLOAT, not '1 2'",
    "render --out o --split tst": "--split can't be 'tst': did you mean 'test'? there are: all, train, test",
    "render --out o extra": "nothing is expected where 'extra' stands",
    "verify": "missing: dataset; see freelabels verify --help",
    "train a --out o --lodaer.batch 3": "there is no option --lodaer.batch (did you mean '--loader.batch'?)",
    "train a --out o --backbone resnet18": "there is no option --backbone (did you mean '--model.backbone'?)",
    "train a --out o --loader.augment.flip no": "--loader.augment.flip takes FLOAT, not 'no'",
    "train a --out o --recipe vidoe": "--recipe vidoe: did you mean 'video'",
    "train a --out o --recipe video --config b.toml": "begin from --recipe or from --config, not from both",
    "train --out o --resume --recipe video": "--resume goes on with the run's own options",
    "train a --out o --config nowhere.toml": "nowhere.toml is not the configuration of a run",
    "train --out o --resume": "o holds no run to go on with",
    "demo --size 3": "--size is 32 or more, not 3",
    "train --out o": "name the datasets to train on, or a run's file with --config",
    "probe run": "missing: --data",
}


@pytest.mark.parametrize(("line", "sentence"), MISTAKES.items())
def test_a_mistyped_line_costs_one_sentence(
    line: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(*line.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"freelabels: {sentence}") and said.err.count("\n") == 1 and not said.out
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("labelled")
    write_photos(root / "photos", 1)
    out = root / "out"
    assert (
        status(
            "label", root / "photos", "--out", out, "--size", "64", "--labels", "regions", "--workers", "0"
        )
        == 0
    )
    return str(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["--help", "--version", "render --help", "inspect DATASET", "inspect DATASET --json"]
)
def test_a_reader_that_hangs_up_ends_it_without_a_word(dataset: str, line: str) -> None:
    """As `head` does; here before the first byte, so that every write fails."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as closed:
        arguments = line.replace("DATASET", dataset).split()
        end = subprocess.run([*COMMAND, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (end.returncode, end.stderr) == (1, "")


@pytest.mark.parametrize("again", [False, True])
def test_a_program_that_is_interrupted_ends_without_taking_itself_apart(
    again: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray's threads crashed at times while Python did so, and the status was that of a crash."""
    told: list[object] = []

    def shutdown() -> None:
        told.append("Ray")
        if again:
            raise KeyboardInterrupt

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(freelabels, "verify", interrupted)
    monkeypatch.setattr(os, "_exit", told.append)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(shutdown=shutdown))
    monkeypatch.setattr(sys, "argv", ["freelabels", "verify", "somewhere"])
    with pytest.raises(SystemExit):
        main()
    assert told == ["Ray", 130] and "interrupted" in capsys.readouterr().err


def test_another_broken_pipe_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object, **__: object) -> int:
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr(freelabels, "verify", break_off)
    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        main(["verify", "somewhere"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_costs_one_sentence_and_what_is_done_stays(
    number: signal.Signals, tmp_path: Path, programs: Programs
) -> None:
    write_photos(tmp_path / "photos", 40)
    out = tmp_path / "out"
    line = ("label", tmp_path / "photos", "--out", out, "--shard-frames", "1", "--workers", "0")
    process = programs.start("-m", "freelabels", *line)
    while not (out.exists() and freelabels.Dataset(out).shards_if_any()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, wrote = process.communicate(timeout=250)
    assert process.returncode == 130 and not said and "Traceback" not in wrote
    assert wrote.splitlines()[-1].startswith("freelabels: interrupted; what is committed stays")
    assert 1 <= len(freelabels.Dataset(out).shards()) < 40
    assert freelabels.verify(out).problems == ()


def test_json_is_all_that_standard_output_gets(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("verify", dataset, "--json") == 0
    [*_, last] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert last["summary"]["shards"] == 1 and last["summary"]["problems"] == []


@pytest.mark.parametrize(
    "line",
    [
        "inspect {}",
        "verify {}",
        "card {}",
        "prune {}",
        "tasks {}",
        "train {} --out {}-run",
        "convert {} --to npy --out {}-npy",
        "compare {} {} --field edges",
    ],
)
def test_what_is_no_dataset_is_said_in_a_sentence(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(line.replace("{}", str(tmp_path / "nowhere")).split())
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"freelabels: {tmp_path / 'nowhere'} is not a Freelabels dataset")
    assert not list(tmp_path.iterdir())


def test_what_is_there_instead_of_a_dataset_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, what in (
        ("nowhere", "nor is there such a folder"),
        ("empty", "the folder is empty: label or render into it first"),
        ("file", "it is a file"),
    ):
        assert status("inspect", str(tmp_path / name)) == 2
        assert what in capsys.readouterr().err
    assert status("sources", str(tmp_path / "empty")) == 1
    assert "no photo or video was found" in capsys.readouterr().out
    below = tmp_path / "file" / "out"
    with pytest.raises(freelabels.UserError, match=r"can't be made \(Not a directory\); name another folder"):
        freelabels.Dataset.create(below, {})
    assert status("demo", "--out", str(below)) == 2
    assert "can't be made (Not a directory)" in capsys.readouterr().err

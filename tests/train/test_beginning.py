"""Where a run's options come from: recipes, files, the run itself; and the services that are told of it."""

import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import freelabels
from freelabels.cli.main import main
from freelabels.ground.errors import UserError
from freelabels.train.config import BalanceConfig, LoaderConfig, TrainConfig
from freelabels.train.recipes import RECIPES
from freelabels.train.run import checks, cluster, fit
from freelabels.train.run.config_file import write_config
from freelabels.train.run.logs import Log
from freelabels.train.run.trackers import TRACKERS
from freelabels.train.run.trainer import TrainSummary
from freelabels.train.tasks.tasks import tasks

OWN = TrainConfig(steps=7, loader=LoaderConfig(batch=3), balance=BalanceConfig("famo"), log=("wandb",))
Begun = list[tuple[Any, ...]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """What runs were begun with instead of being run: real, synthetic, out, config, resume."""
    found: Begun = []

    def only_told(*arguments: Any) -> TrainSummary:
        found.append(arguments[:5])
        return TrainSummary("run", 1, True, (), None, 0.0, 0.0)

    monkeypatch.setattr(fit.trainer, "fit", only_told)
    monkeypatch.setattr(fit, "by_domain", lambda datasets: (datasets, []))
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run" / "train.toml", OWN, {"real": ["a"], "synthetic": ["b"], "digest": "x"})
    return tmp_path / "run"


def train(*arguments: object) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, arguments)])
    assert not end.value.code


def test_what_a_run_wrote_begins_another(run: Path, begun: Begun) -> None:
    train("--out", "new", "--config", run / "train.toml", "--loader.size", 64)
    changed = replace(OWN, loader=replace(OWN.loader, size=64))
    assert begun == [(["a"], ["b"], "new", changed, False)]
    train("c", "--out", "new", f"--config={run / 'train.toml'}")
    assert begun[1] == (["c"], [], "new", OWN, False)


def test_a_run_goes_on_with_nothing_typed_again(run: Path, begun: Begun) -> None:
    train("--out", run, "--resume")
    train("--out", run, "--resume", "--steps", 9)
    freelabels.fit(out=run, resume=True)
    assert begun == [
        (["a"], ["b"], str(run), OWN, True),
        (["a"], ["b"], str(run), replace(OWN, steps=9), True),
        (["a"], ["b"], str(run), OWN, True),
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_configurations_of_things_there_are(
    name: str, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("a", "--out", "new", "--recipe", name, "--steps", 3)
    [(*_, config, _)] = begun
    assert config == replace(RECIPES[name].config, steps=3)
    assert set(config.tasks) <= set(tasks())
    for told in ("adversary", "balance"):
        assert getattr(config, told).name
    checks._check_options(config)


class Recorder(types.ModuleType):
    """A package that only remembers its calls."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__spec__ = types.SimpleNamespace()
        self.calls: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            if options.get("step") == 13:
                raise ConnectionError("the service is away")
            return self

        return call


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Recorder]]:
    found = {name: Recorder(name) for name in TRACKERS}
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield found


@pytest.mark.parametrize("name", TRACKERS)
def test_services_are_told_what_is_logged(
    name: str, services: dict[str, Recorder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(steps=20, log=(name,))
    checks._check_options(config)
    facts = {"losses": {"edges": 0.5}, "lr": 0.1, "samples_per_second": 3.0}
    with Log(tmp_path, config, 0, True) as log:
        log.numbers(2, facts)
        log.pictures(4, np.zeros((4, 4, 3), np.uint8))
        log.numbers(13, facts)  # here it fails
        log.numbers(14, facts)
    calls = services[name].calls
    [told] = [c for c in calls if c[2].get("step") == 2]
    assert told[1][0] == {"losses/edges": 0.5, "lr": 0.1, "samples_per_second": 3.0}
    assert any("20" in str(c) and "batch" in str(c) for c in calls), "the configuration"
    assert any(c[2].get("step") == 4 for c in calls), "the picture"
    assert not any(c[2].get("step") == 14 for c in calls)
    assert f"{name} is told nothing more (the service is away)" in capsys.readouterr().err
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3, "the run goes on"
    assert all(not other.calls for n, other in services.items() if n != name)


def test_a_service_that_is_not_installed_or_known_costs_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freelabels.train.run.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'freelabels\[mlflow\]'"):
        checks._check_options(TrainConfig(log=("mlflow",)))
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        checks._check_options(TrainConfig(log=("wandbb",)))


def test_figures_of_workers_are_said_by_the_driver(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "losses": {}, "samples_per_second": 1}\n')
    said = io.StringIO()
    with (
        cluster.followed(tmp_path, 9, Console(file=said, width=200)),
        (tmp_path / "metrics.jsonl").open("a") as f,
    ):
        f.write('{"step": 2, "losses": {"edges": 0.25}, "samples_per_second": 8.2}\n')
        f.write(
            '{"step": 2, "held_out": [{"task": "edges", "domain": "all", "score": 0.5, "constant": 0.1}]}\n'
        )
        f.flush()
    assert said.getvalue().splitlines() == [
        "step 2/9  edges 0.250  8 samples/s",
        "step 2/9  held out: edges 0.5 (0.1)",
    ]

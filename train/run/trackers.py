"""What a run tells to services that keep runs beside each other. None of their packages is imported unasked."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.config import TrainConfig

PROJECT = "freelabels"
PICTURE = "predictions"


class Tracker(Protocol):
    """A service, told of one run."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step by name, with slashes."""

    def picture(self, step: int, sheet: Array) -> None:
        """Labels beside predictions, uint8 (y, x, 3)."""

    def end(self) -> None:
        """Nothing more comes."""


class Wandb:
    """Weights & Biases; where and as whom is told by its own variables, ``WANDB_MODE=offline`` among them."""

    def __init__(self, folder: Path, config: TrainConfig):
        self._module: Any = import_module("wandb")
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[
            :16
        ]  # the same when it is gone on with
        self._run = self._module.init(
            project=PROJECT,
            name=folder.name,
            id=name,
            resume="allow",
            dir=str(folder),
            config=dataclasses.asdict(config),
        )

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, sheet: Array) -> None:
        """Labels beside predictions."""
        self._run.log({PICTURE: self._module.Image(sheet)}, step=step)

    def end(self) -> None:
        """Nothing more comes."""
        self._run.finish()


class Mlflow:
    """MLflow; where is told by ``MLFLOW_TRACKING_URI``."""

    def __init__(self, folder: Path, config: TrainConfig):
        self._module: Any = import_module("mlflow")
        self._module.set_experiment(PROJECT)
        self._module.start_run(run_name=folder.name)
        self._module.log_params(dict(flat(dataclasses.asdict(config))))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step."""
        self._module.log_metrics(dict(values), step=step)

    def picture(self, step: int, sheet: Array) -> None:
        """Labels beside predictions."""
        self._module.log_image(sheet, key=PICTURE, step=step)

    def end(self) -> None:
        """Nothing more comes."""
        self._module.end_run()


class Trackio:
    """Trackio, which keeps runs on this machine, or in a space if ``TRACKIO_SPACE_ID`` names one."""

    def __init__(self, folder: Path, config: TrainConfig):
        self._module: Any = import_module("trackio")
        self._module.init(project=PROJECT, name=folder.name, config=dataclasses.asdict(config))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step."""
        self._module.log(dict(values), step=step)

    def picture(self, step: int, sheet: Array) -> None:
        """Labels beside predictions."""
        self._module.log({PICTURE: self._module.Image(sheet)}, step=step)

    def end(self) -> None:
        """Nothing more comes."""
        self._module.finish()


TRACKERS: Mapping[str, Callable[[Path, TrainConfig], Tracker]] = {
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for one that isn't known or isn't installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--log {name}: {nearest(name, TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(
                f"--log {name} needs a package that is not installed: pip install 'freelabels[{name}]'"
            )


class Trackers:
    """Several at once. What one of them raises is said, and it is told nothing more: the run goes on."""

    def __init__(self, names: Sequence[str], folder: Path, config: TrainConfig, say: Callable[[str], None]):
        self._say, self._live = say, dict[str, Tracker]()
        for name in names:
            self._tried(name, partial(self._begin, name, folder, config))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of a step."""
        for name, tracker in [*self._live.items()]:
            self._tried(name, partial(tracker.numbers, step, values))

    def picture(self, step: int, sheet: Array) -> None:
        """Labels beside predictions."""
        for name, tracker in [*self._live.items()]:
            self._tried(name, partial(tracker.picture, step, sheet))

    def end(self) -> None:
        """Nothing more comes."""
        for name, tracker in [*self._live.items()]:
            self._tried(name, tracker.end)

    def _begin(self, name: str, folder: Path, config: TrainConfig) -> None:
        self._live[name] = TRACKERS[name](folder, config)

    def _tried(self, name: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # each has kinds of its own
            self._live.pop(name, None)
            self._say(f"{name} is told nothing more ({' '.join(str(error).split()) or type(error).__name__})")


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(name, value) of nested figures or options, names joined by slashes."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        path = f"{prefix}/{name}" if prefix else name
        found += flat(value, path) if isinstance(value, Mapping) else [(path, value)]
    return found

"""The configuration of a run as a file in its folder, and in which option two of them differ."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import tomli_w

from freelabels.ground.errors import UserError
from freelabels.train.config import TrainConfig

CONFIG = "train.toml"
SCALARS: Mapping[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (float, int), str: (str,)}


def write_config(path: Path, config: TrainConfig, data: Mapping[str, Any]) -> None:
    """A configuration, its nested ones as tables, and what it was run on, as TOML."""
    path.write_text(tomli_w.dumps({**dataclasses.asdict(config), "data": dict(data)}))


def read_config(path: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration in a file and what it was run on. Raises UserError if it can't be read."""
    try:
        document = tomllib.loads(path.read_text())
        data = document.pop("data", {})
        config: TrainConfig = _built(TrainConfig, document)
        return config, data
    except OSError as error:
        raise UserError(f"{path} is not the configuration of a run: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a run: {error}") from error


def _built(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    made = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"there is no option {name!r}")
        if dataclasses.is_dataclass(hints[name]):
            value = _built(hints[name], value)
        elif hints[name] in SCALARS and type(value) not in SCALARS[hints[name]]:
            raise ValueError(f"{name} is {hints[name].__name__}, not {value!r}")
        made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)


def difference(old: Any, new: Any, free: Collection[str] = (), path: str = "") -> str:
    """The first option in which two configurations of one kind differ, as a clause; empty if none.

    free: options in which they may, with dots where they are nested.
    """
    for item in dataclasses.fields(old):
        a, b, name = getattr(old, item.name), getattr(new, item.name), path + item.name
        if dataclasses.is_dataclass(a):
            if clause := difference(a, b, free, f"{name}."):
                return clause
        elif a != b and name not in free:
            return f"{name} was {a!r} and is now {b!r}"
    return ""

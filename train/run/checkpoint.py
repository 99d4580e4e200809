"""Files of a run that are whole or not there: checkpoints, and the configuration."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from freelabels.ground.errors import UserError

CHECKPOINT = "checkpoint.pt"
CONFIG = "train.toml"
Config = TypeVar("Config")


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: to another name, to the disk, read back, then renamed over the old one.

    Raises UserError, and leaves the old one as it is, if a tensor isn't finite or the disk is full.
    """
    broken = next((name for name, t in _tensors("", state) if not bool(torch.isfinite(t).all())), None)
    if broken is not None:
        raise UserError(f"{path} is left as it was: {broken} has values that are not finite")
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        torch.load(scratch, map_location="cpu", weights_only=True, mmap=True)
        scratch.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        old = "the one before is untouched" if path.exists() else "there is none before it"
        raise UserError(f"the checkpoint {path} can't be written ({error}); {old}") from error
    finally:
        scratch.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}; train without --resume first")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise UserError(f"{path} is damaged and can't be read: {error}") from error
    return state


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's random numbers."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers of a state."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _tensors(name: str, value: Any) -> Any:
    """All floating tensors in nested containers, with dotted names."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from _tensors(f"{name}.{key}", item)


def write_config(path: Path, config: Any, data: Mapping[str, Any]) -> None:
    """A configuration dataclass, its nested ones as tables, and what it was run on, as TOML."""
    tables: dict[str, dict[str, Any]] = {"data": dict(data)}
    _collect(tables, "", config)
    lines = []
    for name, values in sorted(tables.items()):
        lines += ([f"[{name}]"] if name else []) + [f"{k} = {_toml(v)}" for k, v in values.items()] + [""]
    path.write_text("\n".join(lines))


def _collect(tables: dict[str, dict[str, Any]], name: str, config: Any) -> None:
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            _collect(tables, f"{name}.{item.name}" if name else item.name, value)
        else:
            tables.setdefault(name, {})[item.name] = value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\' else c for c in value)
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return repr(value)


def read_config(path: Path, kind: type[Config]) -> tuple[Config, dict[str, Any]]:
    """The configuration in a file and what it was run on. Raises UserError if it can't be read."""
    try:
        document = tomllib.loads(path.read_text())
        data = document.pop("data", {})
        return _build(kind, document), data
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a run: {error}") from error


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    made = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"there is no option {name!r}")
        if dataclasses.is_dataclass(hints[name]):
            value = _build(hints[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)


def difference(old: Any, new: Any, path: str = "") -> str:
    """The first option in which two configurations of one kind differ, as a clause; empty if none."""
    for item in dataclasses.fields(old):
        a, b = getattr(old, item.name), getattr(new, item.name)
        if dataclasses.is_dataclass(a):
            if clause := difference(a, b, f"{path}{item.name}."):
                return clause
        elif a != b:
            return f"{path}{item.name} was {a!r} and is now {b!r}"
    return ""

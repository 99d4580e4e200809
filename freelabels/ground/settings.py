"""NAME.PARAMETER=VALUE settings of detectors and tasks, as `--set` takes them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from freelabels.ground.errors import UserError


@dataclass(frozen=True)
class Setting:
    """A parameter of something by name, and the text of its value; text: all of it, as it was given."""

    name: str
    parameter: str
    value: str
    text: str

    def like(self, default: Any) -> Any:
        """The value in the default's type. Raises UserError if it has another."""
        try:
            value = ast.literal_eval(self.value)
        except (ValueError, SyntaxError):
            value = self.value
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise UserError(f"--set {self.text}: want {type(default).__name__}, such as {default!r}")
        return value


def parsed(text: str) -> Setting:
    """A setting as it was typed. Raises UserError."""
    target, equals, value = text.partition("=")
    name, dot, parameter = target.partition(".")
    if not (equals and dot):
        raise UserError(f"--set is NAME.PARAMETER=VALUE, not {text!r}")
    return Setting(name, parameter, value, text)

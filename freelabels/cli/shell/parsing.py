"""A command line → a call of the command; a mistake in it → one sentence, before anything is run."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import tyro

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import closest, nearest

# Only here does tyro say what is wrong as data. The module isn't public, but the alternative is to scrape the box
# that tyro prints; where another version of tyro knows no such events, that box is what the user sees.
events: Any = getattr(tyro, "_errors", None)


def called(command: Callable[..., int], arguments: Sequence[str], program: str) -> int:
    """The status that `command` returns for the arguments of its command line.

    Help is printed and ends the process as usual. Raises UserError for a mistyped command line.
    """

    def complain(event: Any) -> None:
        sentence = ""
        with suppress(AttributeError):
            sentence = _sentence(event, command, arguments)
        if sentence:
            raise UserError(f"{sentence}; see {program} --help")

    with events.on_parse_error(complain) if hasattr(events, "on_parse_error") else nullcontext():
        return tyro.cli(command, prog=program, args=arguments)


def given(option: str, arguments: Sequence[str]) -> str:
    """The one word behind an option of a command line; "" if there is none."""
    found = ""
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            found = value if equals else next(iter(arguments[place + 1 : place + 2]), "")
    return found


def with_defaults(command: Callable[..., int], about: str = "", **defaults: Any) -> Callable[..., int]:
    """A command with other defaults of its options, and with more said in its help, before its arguments."""
    known: Any = command
    made = types.FunctionType(
        known.__code__, known.__globals__, known.__name__, known.__defaults__, known.__closure__
    )
    made.__kwdefaults__ = {**(known.__kwdefaults__ or {}), **defaults}
    made.__annotations__ = {**typing.get_type_hints(command, include_extras=True)}
    first, mark, rest = (inspect.getdoc(command) or "").partition("\n\nArgs:")
    made.__doc__ = f"{first}{about}{mark}{rest}"
    return made


def _sentence(event: Any, command: Callable[..., int], arguments: Sequence[str]) -> str:
    """What one of tyro's events says is wrong; "" for one that isn't known."""
    match event:
        case events.MissingArgs(unrecognized_tokens=[]):
            return f"missing: {', '.join(missing.arg.display_name() for missing in event.missing_arguments)}"
        case events.MissingArgs(unrecognized_tokens=unknown) | events.UnrecognizedArgs(tokens=unknown):
            option = next((token.partition("=")[0] for token in unknown if token.startswith("-")), None)
            if option is None:
                return f"nothing is expected where {unknown[0]!r} stands"
            meant = closest(option, options(command))
            return f"there is no option {option}" + (f" ({meant})" if meant else "")
        case events.InvalidChoice(argument=argument, value=value, choices=choices):
            return f"{argument.display_name()} can't be {value!r}: {nearest(value, choices)}"
        case events.BadValue(argument=argument) | events.InstantiationFailure(argument=argument) if argument:
            name = argument.display_name()
            wanted = re.sub(r"[{}]", "", argument.lowered.metavar).replace("|", " or ")
            return f"{name} takes {wanted}, {_given(name, arguments)}"
        case events.InstantiationFailure(message=message):
            return str(message).splitlines()[0]
    return ""


def _given(option: str, arguments: Sequence[str]) -> str:
    """A clause that says what stands behind an option on the command line."""
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            behind = itertools.takewhile(lambda word: not word.startswith("--"), arguments[place + 1 :])
            given = value if equals else " ".join(behind)
            return f"not {given!r}" if given else "but nothing is given"
    return "not what is given"


def options(command: Callable[..., int]) -> Iterator[str]:
    """The options of a command as they are typed; configurations within a configuration give theirs a prefix."""
    hints = typing.get_type_hints(command)
    for name, parameter in inspect.signature(command).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            flat = dataclasses.is_dataclass(hints[name])
            yield from _fields(hints[name], "") if flat else [_typed(name)]
    yield "--help"


def _fields(config: Any, prefix: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(config).items():
        nested = dataclasses.is_dataclass(hint)
        yield from _fields(hint, f"{prefix}{name}.") if nested else [_typed(prefix + name)]


def _typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"

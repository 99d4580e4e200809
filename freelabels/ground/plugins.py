"""What other installed packages add to a registry: entry points, loaded alike for detectors, fields and tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from freelabels.ground.errors import UserError


class Named(Protocol):
    """Anything a registry can hold."""

    @property
    def name(self) -> str:
        """What it is found by."""


Thing = TypeVar("Thing", bound=Named)


def plugins(group: str) -> Iterator[tuple[str, Any]]:
    """Where each plug-in of an entry-point group is defined, and what it is.

    Raises UserError, naming the plug-in, for one that can't be imported.
    """
    for entry in entry_points(group=group):
        try:
            yield entry.value, entry.load()
        except Exception as error:  # a stranger's module may raise anything
            raise UserError(
                f"the plug-in {entry.value} ({group}) can't be loaded: {error}; mend or uninstall it"
            ) from error


def with_plugins(built_in: Iterable[Thing], group: str) -> dict[str, Thing]:
    """Built-in things and the plug-ins of an entry-point group, by name.

    Raises UserError, naming the plug-in, for a name that is taken already.
    """
    known = {one.name: one for one in built_in}
    for where, one in plugins(group):
        if one.name in known:
            raise UserError(f"the plug-in {where} ({group}) defines {one.name!r}, which exists already")
        known[one.name] = one
    return known

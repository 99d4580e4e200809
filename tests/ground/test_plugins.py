"""Plug-ins: they join a registry by name, and one that can't join is named."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from freelabels.ground import plugins
from freelabels.ground.errors import UserError


@dataclass(frozen=True)
class Thing:
    name: str


OFFERED = Thing("offered")


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Let installed packages seem to offer objects, MODULE:NAME, in every group."""
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [EntryPoint("any", value, group) for value in values]
    )


def test_plugins_stand_beside_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:OFFERED")
    known = plugins.with_plugins([Thing("own")], "freelabels.things")
    assert known == {"own": Thing("own"), "offered": OFFERED}


def test_a_taken_name_and_a_module_that_cannot_be_imported_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{__name__}:OFFERED")
    with pytest.raises(UserError, match=r"plug-in .*:OFFERED .* 'offered', which exists already"):
        plugins.with_plugins([Thing("offered")], "freelabels.things")
    offer(monkeypatch, "no_such_package:Thing")
    with pytest.raises(UserError, match=r"plug-in no_such_package:Thing .* can't be loaded"):
        plugins.with_plugins([], "freelabels.things")

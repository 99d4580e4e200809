"""Detectors are chosen by what a source gives, ordered by what they need, and named in what they make."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from freelabels.generators.contract import detector as module
from freelabels.generators.contract.clip import CONSECUTIVE, SENSOR_DEPTH, STEREO, Clip
from freelabels.generators.contract.detector import inputs, plan, provenance, register


def make(
    name: str, makes: str, needs: frozenset[str] = frozenset(), uses: frozenset[str] = frozenset()
) -> type:
    @dataclass(frozen=True)
    class Made:
        name: ClassVar[str]
        version: ClassVar[int] = 1
        makes: ClassVar[tuple[str, ...]]
        needs: ClassVar[frozenset[str]]
        strength: float = 1.0

        def __call__(self, clip: Clip) -> dict[str, np.ndarray]:
            return {}

    Made.name, Made.needs, Made.makes = name, needs, (makes, f"{makes}_confidence")
    Made.uses = uses
    Made.__qualname__ = name
    return register(Made)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_REGISTRY", {})
    monkeypatch.setattr(module, "MODULES", ())
    module.detectors.cache_clear()
    yield
    module.detectors.cache_clear()


def names(plan: module.Plan) -> list[str]:
    return [d.name for d in plan.detectors]


def test_inputs_come_before_what_needs_them() -> None:
    make("geometry", "disparity", frozenset({"flow", CONSECUTIVE}))
    make("dis", "flow", frozenset({CONSECUTIVE}))
    assert names(plan(["disparity"], frozenset({CONSECUTIVE}), {})) == ["dis", "geometry"]


def test_the_first_whose_needs_are_met_is_used() -> None:
    make("sensor", "disparity", frozenset({SENSOR_DEPTH}))
    make("matching", "disparity", frozenset({STEREO}))
    assert names(plan(["disparity"], frozenset({STEREO}), {})) == ["matching"]
    assert names(plan(["disparity"], frozenset({STEREO, SENSOR_DEPTH}), {})) == ["sensor"]


def test_what_a_source_cannot_give_is_said() -> None:
    make("dis", "flow", frozenset({CONSECUTIVE}))
    make("moving", "motion", frozenset({"flow"}))
    make("canny", "edges")
    chosen = plan(["edges", "motion"], frozenset(), {})
    assert names(chosen) == ["canny"]
    assert chosen.skipped == {"motion": "needs flow"}


def test_optional_inputs_are_used_only_where_they_are_made() -> None:
    make("canny", "edges", uses=frozenset({"flow"}))
    make("dis", "flow", frozenset({CONSECUTIVE}))
    assert names(plan(["edges", "flow"], frozenset({CONSECUTIVE}), {})) == ["dis", "canny"]
    assert names(plan(["edges", "flow"], frozenset(), {})) == ["canny"]
    both = plan(["edges"], frozenset({CONSECUTIVE}), {})
    assert names(both) == ["canny"]
    assert inputs(both.detectors[0], ["flow", "image"]) == ["flow"]


def test_a_circle_is_no_way_to_make_a_label() -> None:
    make("chicken", "edges", frozenset({"regions"}))
    make("egg", "regions", frozenset({"edges"}))
    assert names(plan(["edges"], frozenset(), {})) == []


def test_an_unknown_label_names_the_nearest() -> None:
    make("canny", "edges")
    with pytest.raises(ValueError, match="did you mean 'edges'"):
        plan(["edgs"], frozenset(), {})


def test_configured_detectors_replace_the_defaults_and_tell_their_parameters() -> None:
    canny = make("canny", "edges")
    [chosen] = plan(["edges"], frozenset(), {"canny": canny(strength=2.0)}).detectors
    assert provenance(chosen) == {
        "generator": "canny",
        "version": 1,
        "parameters": {"strength": 2.0},
        "calibration": None,
    }

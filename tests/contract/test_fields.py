"""The fields keep the contract, and its test finds those that don't."""

import subprocess
import sys
from dataclasses import replace

import pytest

from freelabels.generators.contract.fields import BUILT_IN, Field, Kind, field, fields
from freelabels.testing import ContractBroken, check_field

DEPTH = replace(field("depth"), name="thickness")
NORMALS = replace(field("normals"), name="tangents")
PARTS = replace(field("part"), name="pieces")


@pytest.mark.parametrize("name", list(fields()))
def test_a_built_in_field(name: str) -> None:
    check_field(field(name))


@pytest.mark.parametrize("new", [DEPTH, NORMALS, PARTS], ids=lambda new: new.name)
def test_a_field_of_ones_own(new: Field) -> None:
    check_field(new)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (replace(DEPTH, name="how thick"), "no plain word"),
        (replace(DEPTH, name="depth_confidence"), "needs no field of its own"),
        (replace(DEPTH, name="edges"), "the name of another field"),
        (replace(DEPTH, meaning=""), "does not say what it means"),
        (replace(DEPTH, sizes=(None,)), "has 2 axes and 1 sizes"),
        (replace(DEPTH, axes=("frame", "x")), "frame stands before them"),
        (replace(DEPTH, axes=("x", "y")), "needs the axes ('y', 'x') first"),
        (replace(DEPTH, sizes=(64, 64)), "a map is as large as the frame"),
        (replace(DEPTH, dtype="float17"), "numpy does not know"),
        (replace(DEPTH, dtype="uint16"), "is of kind metric, which needs floating-point numbers"),
        (replace(DEPTH, invalid=0), "is of kind metric, whose invalid value is NaN, not 0"),
        (replace(NORMALS, invalid=float("nan")), "is of kind direction, whose invalid value is 0, not nan"),
        (replace(DEPTH, kind=Kind.DIRECTION, invalid=0), "needs an axis of channels"),
        (replace(NORMALS, kind=Kind.RELATIVE, invalid=float("nan")), "has one value a pixel"),
        (replace(PARTS, dtype="int16"), "is of kind identity, which needs unsigned integers"),
        (replace(PARTS, kind=Kind.PROBABILITY), "is of kind probability, which needs uint8"),
        (replace(PARTS, names=("none", "wheel")), "has no table of names"),
        (replace(PARTS, kind=Kind.CATEGORY, dtype="uint8", invalid=300), "can't hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_it_is_told_in_a_sentence(broken: Field, sentence: str) -> None:
    with pytest.raises(ContractBroken, match=f"^the field {broken.name!r} ") as raised:
        check_field(broken)
    assert sentence in str(raised.value)


def test_the_contract_tests_import_no_heavy_library() -> None:
    heavy = "{'torch', 'ray', 'zarr', 'pybullet', 'pytest'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, freelabels.testing; print({heavy} or 'none')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "none"


def test_no_field_has_the_name_of_an_axis() -> None:
    """Of such a field xarray makes a coordinate, so that it is missing among the data."""
    axes = {"frame", *(axis for one in BUILT_IN for axis in one.axes)}
    assert not axes & {one.name for one in BUILT_IN}

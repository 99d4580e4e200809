"""Every public name says what it is; those that take arrays also say their shapes, and what they refuse."""

import inspect

import pytest

import freelabels
import freelabels.testing

NAMES = [(freelabels, name) for name in freelabels.__all__ if not name.startswith("__")]
NAMES += [(freelabels.testing, name) for name in freelabels.testing.__all__]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda each: getattr(each, "__name__", each))
def test_a_public_name_has_a_docstring(module: object, name: str) -> None:
    thing = getattr(module, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # an alias of a type
    text = inspect.getdoc(thing) or ""
    assert "." in text
    assert not text.startswith(f"{name}("), "the docstring that dataclasses make themselves"
    if inspect.isfunction(thing) and "Array" in str(inspect.signature(thing)):
        assert "(" in text, "the shapes of its arrays"

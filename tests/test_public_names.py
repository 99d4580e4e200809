"""Every public name says what it is; what takes arrays also says their shapes, and what refuses says with what."""

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

import freelabels
import freelabels.testing
from freelabels.ground import errors
from freelabels.pipeline.shards.dataset import NotADataset

FACES = (freelabels, freelabels.testing)
ERRORS = {**vars(builtins), **vars(errors), "NotADataset": NotADataset}
ERRORS |= {"ContractBroken": freelabels.testing.ContractBroken}
ERRORS = {
    name: each for name, each in ERRORS.items() if isinstance(each, type) and issubclass(each, Exception)
}
SHAPE = r"\((?:\w+|…)(?:, [\w…]+)*,?\)|\blike \w+|\b(?:any|that|same) shape|`Field`"
REFUSE_NOTHING = {"as_bytes"}  # functions that take whatever their types allow


@dataclass(frozen=True)
class Said:
    """A public function, class, method or property: what is said of it, and what its code takes and raises."""

    name: str
    text: str
    code: tuple[Any, ...]  # functions whose code it is
    types: dict[str, str]  # annotation by parameter or attribute; "return"
    function: bool

    @property
    def refused(self) -> set[str]:
        """Errors of the sentences that begin with "Raises"."""
        sentences = re.findall(r"\b[Rr]aises\b(.*?)(?=\.(?:\s|$))", f"{self.text}\n", re.S)
        return {word for word in re.findall(r"\w+", " ".join(sentences)) if word in ERRORS}

    @cached_property
    def raised(self) -> set[str]:
        """Errors that its own lines raise."""
        found: set[str] = set()
        for function in self.code:
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    found.add(ast.unparse(node.exc.func))
        return {name for name in found if name[0].isupper()}  # others are functions that make one

    def clause(self, argument: str) -> str:
        """What stands behind `argument: `, to the next argument; of one that is named nowhere, all."""
        text = " ".join(self.text.split())
        found = re.search(rf"(?<!\w)`?{argument}`?(?:, \w+)*: (.*?)(?=[.;)] \w+: |$)", text)
        return found[1] if found else text


def public() -> Iterator[Said]:
    for face in FACES:
        for name in face.__all__:
            thing = getattr(face, name)
            if inspect.isfunction(thing):
                yield of_function(name, thing)
            elif inspect.isclass(thing):
                yield of_class(name, thing)
                yield from members(name, thing)


def of_function(name: str, function: Any) -> Said:
    types = {key: str(value) for key, value in function.__annotations__.items()}
    return Said(name, inspect.getdoc(function) or "", (function,), types, True)


def of_class(name: str, cls: type) -> Said:
    made = [vars(cls)[each] for each in ("__init__", "__post_init__") if each in vars(cls)]
    made = [each for each in made if inspect.isfunction(each) and each.__code__.co_filename != "<string>"]
    types = {key: str(value) for key, value in vars(cls).get("__annotations__", {}).items()}
    texts = [vars(cls)["__doc__"], *(function.__doc__ for function in made)]  # not of a class it comes from
    return Said(
        name, "\n\n".join(inspect.cleandoc(text) for text in texts if text), tuple(made), types, False
    )


def members(name: str, cls: type) -> Iterator[Said]:
    for key, member in vars(cls).items():
        function = getattr(member, "fget", None) or getattr(member, "func", None)
        function = function or getattr(member, "__func__", None) or member
        if not key.startswith("_") and inspect.isfunction(function):
            yield of_function(f"{name}.{key}", function)


EVERY = list(public())
each = pytest.mark.parametrize("said", EVERY, ids=lambda said: said.name)


@each
def test_a_public_name_has_a_docstring_of_its_own(said: Said) -> None:
    assert re.match(r"[A-Z`(].*\S", said.text), "a sentence"
    assert "." in said.text
    assert not said.text.startswith(f"{said.name}("), "the docstring that dataclasses make themselves"


@each
def test_what_takes_or_gives_arrays_says_their_shapes(said: Said) -> None:
    arrays = [argument for argument, type_ in said.types.items() if re.search(r"Array|Tensor", type_)]
    silent = [argument for argument in arrays if not re.search(SHAPE, said.clause(argument))]
    assert silent == []


@each
def test_what_refuses_says_with_what(said: Said) -> None:
    for error in said.raised:
        above = {cls.__name__ for cls in ERRORS[error].__mro__} - {"Exception", "BaseException", "object"}
        assert said.refused & above, f"{error} is raised"
    if said.function and "." not in said.name and said.name not in REFUSE_NOTHING:
        assert said.refused, "what it raises"

"""Expressions over what is known of a clip, such as ``depth.coverage > .5 and kind == "video"``.

The language is a few operators of Python's, read by Python's parser and worked out here, node by node: nothing of
Python is run. What is not known of a clip makes each comparison with it false.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from freelabels.generators.contract.fields import fields, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest

# name → what it is, of every clip
FACTS = {
    "kind": "photo, video, stereo, rgbd, sequence or render",
    "frames": "how many",
    "source": "path or address",
    "key": "the clip's name in records",
    "tags": "the words that came with it, in one text",
    "split": 'train, val or test; "" without splits',
    "brightness": "mean of the image, 0 to 1",
    "contrast": "standard deviation of the image, 0 to 1",
}
# name → what it is, of every label of a clip, as LABEL.NAME
FIGURES = {
    "coverage": "share of the pixels that hold a label; 0 without one",
    "confidence": "mean, 0 to 1",
    "mean": "mean of the values; of flow their length",
    "low": "first percentile of the values",
    "high": "99th percentile of the values",
    "ids": "how many different ones",
    "classes": "names of the classes that are seen",
}
LONGEST = 2000  # characters
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
COUNT: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Expression:
    """A condition on a clip, read and checked: all it names is known."""

    text: str
    tree: ast.expr

    @staticmethod
    def parse(text: str) -> Expression:
        """Raises UserError for what is no such condition."""
        try:
            if len(text) > LONGEST:
                raise ValueError(f"is longer than {LONGEST} characters")
            found = Expression(text, ast.parse(text.strip(), mode="eval").body)
            found._check(found.tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = "can't be read" if not isinstance(error, ValueError) else str(error)
            how = 'write such as: depth.coverage > .5 and kind == "video"'
            raise UserError(f"--where {text[:80]!r}: {reason}; {how}") from error
        return found

    @property
    def names(self) -> frozenset[str]:
        """Facts and labels that it asks for."""
        return frozenset(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether it is true of a clip. facts: by name, of labels by name and figure; None: not known.

        Raises UserError where values of different types are compared.
        """
        try:
            return bool(self._value(self.tree, facts))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise UserError(f"--where {self.text!r}: {error}") from error

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=part):
                parts = [part]
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
                parts = [left, right]
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(op) in COMPARE for op in ops
            ):
                parts = [left, *others]
            case ast.Constant(value=bool() | int() | float() | str()):
                parts = []
            case ast.Name(id=name):
                if known_field(name) is not None:
                    raise ValueError(f"{name} has {', '.join(f'{name}.{figure}' for figure in FIGURES)}")
                if name not in FACTS:
                    raise ValueError(
                        f"nothing is called {name!r}: {nearest(name, FACTS)}, or LABEL.coverage, or text in quotes"
                    )
                parts = []
            case ast.Attribute(value=ast.Name(id=name), attr=figure):
                if known_field(name) is None:
                    raise ValueError(f"there is no label {name!r}: {nearest(name, list(fields()))}")
                if figure not in FIGURES:
                    raise ValueError(f"{name} has no {figure!r}: {nearest(figure, FIGURES)}")
                parts = []
            case _:
                raise ValueError(f"{ast.unparse(node)!r} is not part of the language")
        for part in parts:
            self._check(part)

    def _value(self, node: ast.expr, facts: Mapping[str, Any]) -> Any:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, facts) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._value(part, facts) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not self._value(part, facts)
            case ast.UnaryOp(operand=part):
                value = self._value(part, facts)
                return None if value is None else -value
            case ast.BinOp(left=left, op=op, right=right):
                a, b = _number(self._value(left, facts)), _number(self._value(right, facts))
                return None if a is None or b is None else COUNT[type(op)](a, b)
            case ast.Compare(left=left, ops=ops, comparators=others):
                a = self._value(left, facts)
                for compared, other in zip(ops, others, strict=True):
                    b = self._value(other, facts)
                    if a is None or b is None or not COMPARE[type(compared)](a, b):
                        return False
                    a = b
                return True
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return [self._value(part, facts) for part in parts]
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return facts.get(name)
            case ast.Attribute(value=ast.Name(id=name), attr=figure):
                return facts.get(name, {}).get(figure)
        raise AssertionError(ast.dump(node))  # _check lets nothing else through


def _number(value: Any) -> float | int | None:
    """A value to count with. Raises TypeError for another kind."""
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value

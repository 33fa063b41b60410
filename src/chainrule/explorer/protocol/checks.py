"""Checks: JSON against the annotations of a class, and those annotations as JSON Schema.

The annotations are plain Python: numbers, strings, lists, `Literal`, unions, dataclasses and
`TypedDict`, with `Limits` in `Annotated`. All hosts check messages with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
_WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a string"}


@dataclass(frozen=True)
class Limits:
    """The limits of a number, or of the length of a string or list."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    shortest: int | None = None
    longest: int | None = None

    def check(self, value: Any, place: str) -> None:
        """Raise ValueError for a value outside the limits."""
        if isinstance(value, str | list):
            self._check_length(value, place)
        elif self.least is not None and value < self.least:
            raise ValueError(f"{place} is {_shown(value)}; expected {self.least:g} or more")
        elif self.above is not None and value <= self.above:
            raise ValueError(f"{place} is {_shown(value)}; expected more than {self.above:g}")
        elif self.most is not None and value > self.most:
            raise ValueError(f"{place} is {_shown(value)}; expected at most {self.most:,.12g}")

    def _check_length(self, value: str | list[Any], place: str) -> None:
        what = "characters" if isinstance(value, str) else "entries"
        if self.longest is not None and len(value) > self.longest:
            raise ValueError(
                f"{place} has {len(value):,} {what}; expected at most {self.longest:,}"
            )
        if self.shortest is not None and len(value) < self.shortest:
            raise ValueError(f"{place} has {len(value)} {what}; expected at least {self.shortest}")

    def schema(self, kind: str) -> dict[str, Any]:
        """Return the limits in the terms of JSON Schema, for values of that type."""
        length = {"string": "Length", "array": "Items"}.get(kind, "")
        named = {
            "minimum": self.least,
            "exclusiveMinimum": self.above,
            "maximum": self.most,
            f"min{length}": self.shortest,
            f"max{length}": self.longest,
        }
        return {name: limit for name, limit in named.items() if limit is not None}


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def make(cls: type[Any], given: Mapping[str, object]) -> Any:
    """Return an object of a dataclass from JSON; raise ValueError naming a bad field."""
    kind: Any = cls
    hints = _hints(kind)
    known = {field.name: field for field in fields(cls)}
    for name in given:
        if name not in known:
            expected = f"expected {', '.join(known)}" if known else "this kind has no fields"
            raise ValueError(f"{name} is not a field; {expected}")
    for name, field in known.items():
        if name not in given and field.default is MISSING:
            raise ValueError(f"the field {name} is missing")
    return cls(**{name: check(hints[name], value, name) for name, value in given.items()})


def check(hint: Any, value: Any, place: str) -> Any:
    """Return the value in the type of the annotation (3.0 as 3), or raise ValueError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        checked = check(arguments[0], value, place)
        arguments[1].check(checked, place)
        return checked
    if origin in (Union, UnionType):  # always of one type and None
        if value is None:
            return None
        return check(next(a for a in arguments if a is not NoneType), value, place)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{place} is {_shown(value)}; expected one of {', '.join(arguments)}")
        return value
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{place} is {_shown(value)}; expected a list")
        return [check(arguments[0], item, f"{place}.{i}") for i, item in enumerate(value)]
    return _scalar(hint, value, place)


def _scalar(hint: type[Any], value: Any, place: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        try:
            fits = math.isfinite(value)
        except OverflowError:  # an integer beyond the largest float
            fits = False
        value = float(value) if fits else value
    elif hint is int and number:
        fits = isinstance(value, int) or value.is_integer()
        value = int(value) if fits else value
    else:
        fits = type(value) is hint
    if not fits:
        raise ValueError(f"{place} is {_shown(value)}; expected {_WORDS[hint]}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def schema(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = schema(arguments[0])
        return inner | arguments[1].schema(inner["type"])
    if origin is NotRequired:
        return schema(arguments[0])
    if origin in (Union, UnionType):
        return {"anyOf": [schema(argument) for argument in arguments]}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(arguments[1])}
    if is_dataclass(hint):
        required = [field.name for field in fields(hint) if field.default is MISSING]
        return _object(hint, required)
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        return _object(hint, [n for n, h in hints.items() if get_origin(h) is not NotRequired])
    return {} if hint is Any else {"type": _TYPES[hint]}


def _object(cls: Any, required: list[str]) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        "type": "object",
        "title": cls.__name__,
        "description": (cls.__doc__ or "").strip(),
        "properties": {name: schema(hint) for name, hint in hints.items()},
        "required": required,
        "additionalProperties": False,
    }

"""Fields: the TOML of a lesson, read field by field, with errors that name the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

_SHOWN = 60  # characters of a wrong value in an error


@dataclass(frozen=True)
class Source:
    """Lines of a lesson that are TOML, and where they stand in its file."""

    name: str
    lines: tuple[str, ...]
    first: int  # the number of the first line in the file

    def table(self) -> dict[str, Any]:
        """Return the TOML as a table; raise ValueError naming the line."""
        try:
            return tomllib.loads("\n".join(self.lines))
        except tomllib.TOMLDecodeError as error:
            text = str(error)
            at = re.search(r" \(at line (\d+), column \d+\)$", text)
            line = self.first + (int(at[1]) - 1 if at else max(len(self.lines) - 1, 0))
            reason = text[: at.start()] if at else re.sub(r" \(at .*\)$", "", text)
            raise ValueError(f"{self.name}, line {line} is not TOML: {reason}") from None

    def line_of(self, path: str) -> int:
        """Return the number of the line that sets a field, or of the first one."""
        *tables, key = re.sub(r"\[\d+\]", "", path).split(".")
        at = 0
        for table in tables:
            head = re.compile(rf"\s*(\[+\s*{re.escape(table)}\s*\]+|{re.escape(table)}\s*=)")
            at = next((i for i in range(at, len(self.lines)) if head.match(self.lines[i])), at)
        name = re.escape(key)
        field = re.compile(rf"(.*[{{,])?\s*{name}\s*=|\s*\[+\s*{name}\s*\]")
        found = (i for i in range(at, len(self.lines)) if field.match(self.lines[i]))
        return self.first + next(found, at)


class Fields:
    """A table of a lesson, whose fields are taken one after the other."""

    def __init__(self, source: Source, table: dict[str, Any], path: str = "") -> None:
        self.source, self._table, self._path = source, table, path
        self._known: list[str] = []

    def fail(self, key: str, reason: str) -> NoReturn:
        """Raise ValueError about a field: its file, line and name, and the reason."""
        path = f"{self._path}.{key}".strip(".")
        place = f"{self.source.name}, line {self.source.line_of(path)}"
        raise ValueError(f"{place}: {path} {reason}")

    def _take(self, key: str, kinds: type | tuple[type, ...], expected: str, default: Any) -> Any:
        self._known.append(key)
        if key not in self._table:
            if default is ...:
                place = f"{self.source.name}, line {self.source.line_of(self._path or key)}"
                where = f"{self._path}.{key}".strip(".")
                raise ValueError(f"{place}: the field {where} is missing; expected {expected}")
            return default
        value = self._table[key]
        is_bool = isinstance(value, bool)
        if not isinstance(value, kinds) or (is_bool and kinds is not bool):
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def text(self, key: str, longest: int, default: Any = ...) -> str:
        """Return a text of one line."""
        expected = f"a text of 1 to {longest} characters in one line"
        value: str = self._take(key, str, expected, default)
        if key in self._table and not (0 < len(value) <= longest and value.isprintable()):
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def texts(self, key: str, longest: int, most: int, default: Any = ...) -> list[str]:
        """Return a list of texts."""
        expected = f"a list of at most {most} texts of 1 to {longest} characters"
        value: list[str] = self._take(key, list, expected, default)
        for item in value if len(value) <= most else [None]:
            if not (isinstance(item, str) and 0 < len(item) <= longest and item.isprintable()):
                self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def number(self, key: str, least: float, most: float, default: Any = ...) -> float:
        """Return a finite number."""
        expected = f"a number from {least:g} to {most:g}"
        value = self._take(key, (int, float), expected, default)
        if not least <= value <= most:
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return float(value)

    def integer(self, key: str, least: int, most: int, default: Any = ...) -> int:
        """Return a whole number."""
        expected = f"a whole number from {least} to {most}"
        value: int = self._take(key, int, expected, default)
        if not least <= value <= most:
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def boolean(self, key: str, default: Any = ...) -> bool:
        """Return true or false."""
        value: bool = self._take(key, bool, "true or false", default)
        return value

    def choice(self, key: str, known: Sequence[str], default: Any = ...) -> str:
        """Return one of some names."""
        expected = f"one of {', '.join(known)}"
        value: str = self._take(key, str, expected, default)
        if key in self._table and value not in known:
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def array(self, key: str, most: int, default: Any = ...) -> Any:
        """Return nested lists of numbers, of at most so many, as they are written."""
        expected = f"a list of at most {most:,} finite numbers, or of lists of them"
        value = self._take(key, list, expected, default)
        flat = list(_flat(value)) if key in self._table else []
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in flat)
        if not numbers or len(flat) > most or not np.isfinite(np.array(flat, dtype=float)).all():
            self.fail(key, f"is {shown(value)}; expected {expected}")
        return value

    def table(self, key: str, default: Any = ...) -> Fields:
        """Return a table inside this one."""
        value = self._take(key, dict, f"a table [{key}]", default)
        return Fields(self.source, value, f"{self._path}.{key}".strip("."))

    def tables(self, key: str, most: int) -> list[Fields]:
        """Return a list of tables, which may be missing."""
        value = self._take(key, list, f"tables [[{key}]]", [])
        if len(value) > most or not all(isinstance(item, dict) for item in value):
            self.fail(key, f"is {shown(value)}; expected at most {most} tables [[{key}]]")
        path = f"{self._path}.{key}".strip(".")
        return [Fields(self.source, item, f"{path}[{i}]") for i, item in enumerate(value)]

    def has(self, key: str) -> bool:
        """Return whether a field is there."""
        return key in self._table

    def rest(self) -> dict[str, Any]:
        """Return all fields as they are, for a reader that checks them itself."""
        return self._table

    def done(self) -> None:
        """Raise ValueError for a field that was not taken."""
        for key in self._table:
            if key not in self._known:
                self.fail(key, f"is not a field; expected {', '.join(self._known)}")


def _flat(value: object) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def shown(value: object) -> str:
    """Return a wrong value for an error, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."

"""JSON Lines: a JSON object in each line, its keys the columns; every value is read as text."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.tables.source import BATCH, Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa


class JsonLines(Source):
    """A JSON Lines file. Its columns are the keys of all lines, in the order of their coming."""

    def __init__(self, file: str, name: str | None = None) -> None:
        super().__init__(file, name)
        found: dict[str, None] = {}
        for _, row in self._rows():
            if row.keys() - found.keys():
                found.update(dict.fromkeys(row))
        self.names = list(found)

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, by its line and key; see `Source`."""
        for i, (line, _) in enumerate(self._rows()):
            if i == row:
                return f"{self.path}, line {line}, key {column!r}"
        return f"{self.path}, row {row}, key {column!r}"

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        held: list[list[str | None]] = []
        for line, row in self._rows():
            held.append([self._text(row.get(name), line, name) for name in columns])
            if len(held) == BATCH:
                yield _batch(held, columns)
                held = []
        if held:
            yield _batch(held, columns)

    def _text(self, value: Any, line: int, name: str) -> str | None:
        if isinstance(value, dict | list):
            raise TableError(
                f"{self.path}, line {line}, key {name!r}: the value is "
                f"{'an object' if isinstance(value, dict) else 'a list'}; expected text, a number, "
                "true, false or null. Give its parts keys of their own."
            )
        return None if value is None else str(value)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each object with the number of its line, from 1."""
        with open(self._file, "rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if not raw.strip():
                    continue
                yield number, self._object(raw, number)

    def _object(self, raw: bytes, number: int) -> dict[str, Any]:
        expected = 'expected a JSON object in each line, such as {"area": 80}'
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise TableError(f"{self.path}, line {number} is not text in UTF-8") from None
        try:
            # numbers keep the digits of the file
            row = json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=_without_twice)
        except RecursionError:
            row = None
        except ValueError as error:
            raise TableError(f"{self.path}, line {number}: {error}; {expected}") from None
        if not isinstance(row, dict):
            raise TableError(f"{self.path}, line {number} is not an object; {expected}")
        return row


def is_json_lines(start: bytes) -> bool:
    """Return whether the first line of a file is a JSON object."""
    try:
        return isinstance(json.loads(start.removeprefix(codecs.BOM_UTF8)), dict)
    except (ValueError, RecursionError):
        return False


def _without_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return row


def _batch(rows: list[list[str | None]], columns: Sequence[str]) -> pa.RecordBatch:
    import pyarrow as pa

    each = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, pa.string()) for column in each], names=list(columns)
    )

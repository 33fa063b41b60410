"""CSV and TSV files, read by PyArrow; Python's own reader locates what is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chainrule.tables.source import Reading, Source, TableError, counted

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 1 << 22  # bytes that PyArrow parses in one go; a row has to fit
_DELIMITERS = (",", "\t", ";", "|")
_LOOKED_AT = 50  # lines, to find the delimiter


class TextSource(Source):
    """A CSV or TSV file: a line of names, then one row per line; every cell is read as text."""

    def __init__(self, path: str, reading: Reading) -> None:
        super().__init__(path)
        try:
            "".encode(reading.encoding)
        except (LookupError, ValueError):  # unknown, or not of text, such as hex
            raise TableError(
                f"unknown encoding {reading.encoding!r}; expected one such as utf-8, latin-1 or "
                "utf-16"
            ) from None
        self._encoding = "utf-8-sig" if _is_utf_8(reading.encoding) else reading.encoding
        self._decimal_comma = reading.decimal == ","
        with self._text() as file:
            head = self._first_lines(file)
        with self._text() as file, _long_fields():
            self.delimiter = reading.delimiter or _delimiter(head)
            records = csv.reader(file, delimiter=self.delimiter)
            first = next(cells for cells in records if not _is_blank(cells))
            self._head_lines = records.line_num
        header = self._is_header(first) if reading.header is None else reading.header
        if not header:
            self._head_lines = 0
        self._has_header = header
        self.names = [
            (name.strip() if header else "") or f"column_{i}"
            for i, name in enumerate(first, start=1)
        ]
        if header and not first[0].strip():
            self.unnamed = self.names[0]

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, by its line; see `Source`."""
        line = next((line for line, _ in itertools.islice(self._rows(), row, None)), None)
        where = f"row {row}" if line is None else f"line {line}"
        return f"{self.path}, {where}, column {self.names.index(column) + 1} ({column})"

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        read = arrow_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, skip_rows=self._head_lines,
            column_names=self.names,
            encoding="utf8" if self._encoding == "utf-8-sig" else self._encoding,
        )  # fmt: skip
        parse = arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True)
        convert = arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in self.names}, include_columns=list(columns),
            strings_can_be_null=False, check_utf8=True,
        )  # fmt: skip
        try:
            batch = None
            with arrow_csv.open_csv(self.path, read, parse, convert) as reader:
                for batch in reader:
                    yield _with_points(batch) if self._decimal_comma else batch
            if batch is not None and any("\n" in column[-1].as_py() for column in batch):
                self._check_end()
        except (pa.ArrowException, UnicodeError) as error:
            self._check_state()
            self._find_fault()
            detail = " ".join(str(error).split())
            if "Empty CSV file" in detail:
                return  # a header without rows; whoever reads the rows reports it
            if "straddling" in detail:
                detail = f"a line is longer than {_BLOCK >> 20} MB, or a quote is never closed"
            detail = detail if len(detail) < 200 else f"{detail[:200]}..."
            raise TableError(f"{self.path} cannot be read as a table: {detail}") from None

    # --- finding the place of a fault ------------------------------------------------------------

    def _find_fault(self) -> None:
        """Raise TableError for the first line that is not text, or has too many or few columns."""
        width = len(self.names)
        for line, cells in self._rows():
            if len(cells) != width and _is_blank(cells):
                raise TableError(
                    f"{self.path}, line {line}: only blanks; expected {counted(width, 'column')}. "
                    "Delete the line, or empty it."
                )
            if len(cells) != width:
                where = "the header" if self._has_header else "the first line"
                raise TableError(
                    f"{self.path}, line {line}: found {counted(len(cells), 'column')}; expected "
                    f"{width}, as in {where}"
                )

    def _check_end(self) -> None:
        """Raise TableError if the file ends inside a quoted cell."""
        line = 0
        try:
            for line, _ in self._rows(strict=True):  # noqa: B007 - the last one counts
                pass
        except TableError as error:
            if "unexpected end of data" not in str(error):
                return  # quotes inside cells, which only strict readers refuse
            raise TableError(
                f"{self.path}: a quote opened after line {line} is never closed. Close it."
            ) from None

    def _rows(self, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield each row after the header with the line on which it begins, from 1."""
        with self._text() as file, _long_fields():
            lines = _Decoded(file, self.path, self._encoding)
            records = csv.reader(lines, delimiter=self.delimiter, strict=strict)
            last = 0
            try:
                for cells in records:
                    line, last = last + 1, records.line_num
                    if last <= self._head_lines or not cells:
                        continue
                    yield line, cells
            except csv.Error as error:
                raise TableError(f"{self.path}, line {records.line_num}: {error}") from None

    def _text(self) -> io.TextIOWrapper:
        return open(self.path, encoding=self._encoding, newline="")

    def _first_lines(self, file: io.TextIOWrapper) -> list[str]:
        lines: list[str] = []
        for line in _Decoded(file, self.path, self._encoding):
            lines.append(line)
            if "\0" in line:
                raise TableError(
                    f"{self.path}, line {len(lines)} is not text; expected CSV, TSV, Parquet or "
                    "Arrow. If it is text in another encoding, name that, such as --encoding "
                    "utf-16."
                )
            if len(lines) >= _LOOKED_AT and any(map(str.strip, lines)):
                break
        if not any(map(str.strip, lines)):
            raise TableError(f"{self.path} is empty; expected a header and rows")
        return lines

    def _is_header(self, cells: Sequence[str]) -> bool:
        """Return whether a line holds names, and raise TableError if it could be either.

        A wrong guess would lose a row. Numbers are names only if they number the columns, as in a
        dataframe without names.
        """
        numbers = [(i, cell.strip()) for i, cell in enumerate(cells) if _is_number(cell)]
        if all(cell == str(i) for i, cell in numbers) and (not numbers or len(cells) > 4):
            return True
        shown = ", ".join(cells[:5]) + (", ..." if len(cells) > 5 else "")
        raise TableError(
            f"{self.path} seems to have no header: its first line is {shown}, and {numbers[0][1]} "
            "looks like a value. Add --no-header if this line holds values (the columns are then "
            "named column_1, column_2, ...), or --header if it holds names."
        )


@contextmanager
def _long_fields() -> Iterator[None]:
    """Make Python's reader accept cells of any length, as PyArrow does."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Decoded:
    """The lines of a file; an error names the first one that is not text in its encoding."""

    def __init__(self, file: io.TextIOWrapper, path: str, encoding: str) -> None:
        self._file, self._path, self._encoding = file, path, encoding

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._file
        except (UnicodeDecodeError, UnicodeError):
            raise self._error() from None

    def _error(self) -> TableError:
        encoding = self._encoding.removesuffix("-sig")
        with open(self._path, "rb") as file:
            start = file.read(2)
            if start in (b"\xff\xfe", b"\xfe\xff") and _is_utf_8(encoding):
                return TableError(
                    f"{self._path} is not text in {encoding.upper()}; it looks like UTF-16. Add "
                    "--encoding utf-16."
                )
            file.seek(0)
            by_line = "\n".encode(encoding) == b"\n"  # not in UTF-16
            for number, raw in enumerate(file if by_line else (), start=1):
                try:
                    raw.decode(encoding)
                except UnicodeDecodeError as error:
                    near = raw[max(0, error.start - 10) : error.start + 10]
                    shown = near.decode("latin-1").strip()
                    return TableError(
                        f"{self._path}, line {number} is not text in {encoding.upper()} (byte "
                        f"0x{raw[error.start]:02x} near {shown!r}). Name its encoding, such as "
                        "--encoding latin-1."
                    )
        return TableError(
            f"{self._path} is not text in {encoding.upper()}. Name its encoding with --encoding."
        )


def _with_points(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with decimal points for commas in cells such as 2,5."""
    import pyarrow as pa
    import pyarrow.compute as pc

    form, point = r"^(\s*[+-]?\d*),(\d+([eE][+-]?\d+)?\s*)$", r"\1.\2"
    changed = [pc.replace_substring_regex(column, form, point) for column in batch]
    return pa.RecordBatch.from_arrays(changed, names=batch.schema.names)


def _is_utf_8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def _is_blank(cells: Sequence[str]) -> bool:
    return len(cells) < 2 and not "".join(cells).strip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower() not in ("nan", "inf", "infinity")


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that splits lines into equally many columns, and the first into most."""

    def fits(mark: str) -> tuple[bool, int]:
        rows = [len(cells) for cells in csv.reader(lines, delimiter=mark) if not _is_blank(cells)]
        alike = len(rows) > 1 and len(set(rows[:-1] or rows)) == 1  # the last may be cut
        return alike and rows[0] > 1, rows[0]

    return max(_DELIMITERS, key=fits)

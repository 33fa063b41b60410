"""The target: whether it holds classes or a number, and its cells as a network learns them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.tables import cells
from chainrule.tables.cells import CellError
from chainrule.tables.notation import TIME, Notations, is_symbolic
from chainrule.tables.profile import NUMBERS_FROM, quoted
from chainrule.tables.schema import LARGEST, Labels, Schema, Target, Task
from chainrule.tables.source import NothingToLearnError, Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CLASSES = 1000
_FEW_NUMBERS = 20  # whole numbers with this many values or fewer are classes


def understand(
    source: Source,
    name: str,
    column: pa.Array,
    task: Task | None,
    none: Mapping[str, int] | None = None,
) -> tuple[Target, NDArray[Any]]:
    """Return the target and its values: classes (n,) with -1, or numbers with NaN, where missing.

    If ``task`` is None, texts are classes; whole numbers are classes if they take 2 values, or up
    to 20 and no more than the square root of the rows; other numbers are a quantity.
    ``none`` counts the texts that were taken for no value. Raises TableError if there is nothing to
    learn: no value, the same value in every row, or a different class in each.
    """
    numbers, form = _as_numbers(column), ""
    written = Notations()
    if numbers is None:
        written.see(column, 0)
        form = written.form or ""
        if form and form != TIME:
            numbers = cells.numbers(column, (), form)
    elif task != "regress" and _has_codes(column):
        return _classes(name, column, None, none)
    if numbers is None:
        if task != "classify":
            _check_texts(source, name, column, written)
        words = cells.with_commas(column.drop_null().unique().to_pylist())
        if words is not None and task != "classify":
            raise TableError(
                f"{source.path}: the target {name!r} holds {words}, or keep them as classes "
                "(--task classify)."
            )
        if task == "regress":
            row, text = _first_text(column)
            raise TableError(
                f"{source.place(row, name)}: {text!r} is not a number; --task regress needs numbers"
            )
        if task is None and cells.count_numbers(column) >= NUMBERS_FROM * _present(column):
            raise _mistake(source, name, column)
        return _classes(name, column, numbers, none)
    present = numbers[~np.isnan(numbers)]
    if not len(present):
        raise NothingToLearnError(
            f"the target {name!r} has no value in any row{taken_for_none(none)}. Name another "
            "column with --target."
        )
    distinct = np.unique(present)
    if len(distinct) == 1:
        raise _constant(name, _written(float(distinct[0])), none)
    if task is None:
        few = len(distinct) <= 2 or len(distinct) <= min(_FEW_NUMBERS, math.isqrt(len(present)))
        task = "classify" if few and (distinct == np.floor(distinct)).all() else "regress"
    if task == "classify":
        return _classes(name, column, None if form else numbers, none)
    large = np.abs(numbers) > LARGEST
    if large.any():
        row = int(np.argmax(large))
        raise TableError(
            f"{source.place(row, name)}: {numbers[row]:.6g} is too large for a target; expected "
            f"numbers from {-LARGEST:g} to {LARGEST:g}"
        )
    kind: Labels = "integer" if _are_whole(distinct) else "number"
    return Target(
        name, "regress", kind, form=form
    ), numbers  # its mean and scale come with the split


def _has_codes(column: pa.Array) -> bool:
    """Return whether texts are digits, of which some begin with 0, as codes do."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return False
    digits, zeros = (pc.match_substring_regex(column, form) for form in (r"^\d+$", r"^0\d+$"))
    return bool(pc.all(digits).as_py() and pc.any(zeros).as_py())


def _check_texts(source: Source, name: str, column: pa.Array, written: Notations) -> None:
    """Raise TableError for a target that probably holds numbers, but cannot be read as such."""
    words = written.doubt
    if words is not None:
        few = len(column.drop_null().unique()) <= _FEW_NUMBERS
        words = None if few and not is_symbolic(written) else words
    if written.form == TIME:
        words = "times of day. Write them as numbers, such as minutes"
    if words is not None:
        raise TableError(
            f"{source.path}: the target {name!r} holds {words}, or keep them as classes (--task "
            "classify)."
        )


def _classes(
    name: str,
    column: pa.Array,
    numbers: NDArray[np.float64] | None,
    none: Mapping[str, int] | None,
) -> tuple[Target, NDArray[np.int64]]:
    """Return the classes in order, and the class of each row."""
    kind: Labels
    if numbers is not None:
        here = ~np.isnan(numbers)
        found, inverse = np.unique(numbers[here], return_inverse=True)
        labels = tuple(map(_written, found.tolist()))
        kind = "integer" if _are_whole(found) else "number"
    else:
        here = np.asarray(column.is_valid().to_numpy(zero_copy_only=False))
        coded = column.drop_null().dictionary_encode()
        words = coded.dictionary.to_pylist()
        labels = tuple(sorted(words))
        rank = {word: i for i, word in enumerate(labels)}
        ranks = np.array([rank[word] for word in words], dtype=np.int64)
        inverse = ranks[coded.indices.to_numpy(zero_copy_only=False)]
        kind = "text"
    if len(labels) == 1:
        raise _constant(name, labels[0], none)
    counts = np.bincount(inverse)
    advice = "" if numbers is None else ". If it is a quantity, add --task regress."
    if counts.max() == 1:
        raise NothingToLearnError(
            f"the target {name!r} has a different class in each of its {len(inverse):,} rows; "
            f"expected several rows of a class{advice}"
        )
    if len(labels) > _MOST_CLASSES:
        raise TableError(
            f"the target {name!r} has {len(labels):,} classes; expected at most {_MOST_CLASSES:,}"
            f"{advice}"
        )
    y = np.full(len(here), -1, dtype=np.int64)
    y[here] = inverse
    return Target(name, "classify", kind, labels), y


def _mistake(source: Source, name: str, column: pa.Array) -> TableError:
    """Return the error for the first text of a target whose other cells are numbers."""
    row, text = _first_text(column)
    share = f"{cells.count_numbers(column):,} of {_present(column):,}"
    return TableError(
        f"{source.place(row, name)}: {text!r} is not a finite number, but {share} targets are. "
        f"Correct it, or say what it is: --missing {quoted(text)} (no value) or --task classify "
        "(all targets are classes)."
    )


def _present(column: pa.Array) -> int:
    return len(column) - int(column.null_count)


def check_counts(source: Source, name: str, y: NDArray[Any]) -> None:
    """Raise TableError unless the target can be a count: nowhere below 0."""
    if (below := y < 0).any():
        row = int(below.argmax())
        raise TableError(
            f"{source.place(row, name)}: the target is {y[row]:.6g}; --loss poisson needs counts, "
            "0 or more"
        )


def encode(
    target: Target, column: Any, missing: tuple[str, ...], others: Counter[str] | None = None
) -> NDArray[Any]:
    """Return cells of new data as `understand` does.

    Raises CellError for a cell that is not a class of the model, or not a number. With ``others``,
    such cells are counted there instead, and treated as missing.
    """
    texts: list[str | None]
    if target.kind == "text" and target.task == "classify":
        texts = cells.texts(column, missing).to_pylist()
    else:
        if others is None:
            numbers = cells.numbers(column, missing, target.form)
        else:
            numbers, wrong = cells.numbers_or_none(column, missing, target.form)
            others.update(wrong)
        if target.task == "regress":
            return numbers
        texts = [None if math.isnan(value) else _written(value) for value in numbers.tolist()]
    known = {label: i for i, label in enumerate(target.classes)}
    y = np.full(len(texts), -1, dtype=np.int64)
    for row, text in enumerate(texts):
        if text is None:
            continue
        if text in known:
            y[row] = known[text]
        elif others is None:
            raise CellError(row, text)
        else:
            others[text] += 1
    return y


def encode_all(
    target: Target, batch: pa.Table, source: Source, start: int, missing: tuple[str, ...]
) -> NDArray[Any]:
    """Return the targets of a batch that begins at row ``start``; each row has to have one.

    Raises TableError, with the place, for one that is missing or does not fit.
    """
    try:
        y = encode(target, batch.column(target.name), missing)
        bad = y < 0 if target.task == "classify" else np.isnan(y)
        if bad.any():
            raise CellError(int(np.argmax(bad)), "")
    except CellError as error:
        place = source.place(start + error.row, target.name)
        words = "the target is missing; fill it in, or delete the row"
        words = no_class(target, error.text) if error.text else words
        raise TableError(f"{place}: {words}") from None
    return y


def standardised(schema: Schema, y: NDArray[Any]) -> NDArray[Any]:
    """Return classes as they are, or numbers of one or more targets as the network takes them."""
    if schema.target.task == "classify":
        return y
    mean, scale = np.array([(target.mean, target.scale) for target in schema.targets]).T
    return np.asarray((y.reshape(len(y), len(schema.targets)) - mean) / scale, dtype=np.float32)


def no_class(target: Target, text: str) -> str:
    """Return what is wrong with a text that is not a class of the target, or not a number."""
    if target.task == "regress":
        return f"{text!r} is not a number"
    return f"{text!r} is not a class of the model; expected one of {listed(target.classes)}"


def _as_numbers(column: pa.Array) -> NDArray[np.float64] | None:
    import pyarrow as pa

    if pa.types.is_null(column.type) or column.null_count == len(column):
        return np.full(len(column), np.nan)
    try:
        return cells.numbers(column, ())
    except CellError:
        return None


def _first_text(column: pa.Array) -> tuple[int, str]:
    try:
        cells.numbers(column, ())
    except CellError as error:
        return error.row, error.text
    raise AssertionError("every cell is a number")


def _are_whole(values: NDArray[np.float64]) -> bool:
    return bool((values == np.floor(values)).all() and np.abs(values).max() < 2**53)


def _written(value: float) -> str:
    return str(int(value)) if value == math.floor(value) and abs(value) < 2**53 else repr(value)


def _constant(name: str, value: str, none: Mapping[str, int] | None) -> NothingToLearnError:
    every = "every row that has one" if none else "every row"
    return NothingToLearnError(
        f"the target {name!r} is {value} in {every}{taken_for_none(none)}, so there is nothing to "
        "learn. Name another column with --target."
    )


def taken_for_none(none: Mapping[str, int] | None) -> str:
    """Return which texts of a target were taken for no value, and how to keep them, or nothing."""
    if not none:
        return ""
    common = sorted(none.items(), key=lambda each: -each[1])[:5]
    shown = ", ".join(f"{text!r} {count:,}" for text, count in common)
    return f" (taken for no value: {shown}; if they are classes, keep them with --missing '')"


def labels_of(schema: Schema, label: str) -> list[str]:
    """Return the value of each target in a text such as 3.2,5."""
    said = label.split(",")
    if len(said) != len(schema.targets):
        names = [target.name for target in schema.targets]
        raise TableError(
            f"--label is {label!r}; expected a number for each of {listed(names)}, in this order, "
            "with commas between them"
        )
    return said

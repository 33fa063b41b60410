"""What findings about data say, in the same words for networks of any library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.diagnose.finding import Finding, some, times

Row = Callable[[int], Any]


def unscaled_input(where: str, columns: Sequence[tuple[int, float]], of: int) -> Finding:
    """Return the finding that columns are far from standardised."""
    largest, size = max(columns, key=lambda each: each[1])
    many = len(columns) > 1
    return Finding(
        "unscaled-input", "warning", where,
        f"{times(len(columns), 'column')} of {of} of {where} {'are' if many else 'is'} far from "
        f"standardised: {some(j for j, _ in columns)}. The root mean square of column {largest} is "
        f"{size:.4g}; a standardised column has 1.",
        f"a of layer 0 in ∂C/∂w = δ a: the gradients of its weights are {size:.4g} times those of "
        "a standardised column, and no learning rate fits both.",
        "Standardise the columns with the mean and deviation of the training rows.",
        {"column": largest, "size": size}, units=tuple(j for j, _ in columns),
    )  # fmt: skip


def constant_output(where: str, value: str, n: int, factor: str) -> Finding:
    """Return the finding that all samples have the same output."""
    return Finding(
        "constant-output", "error", where,
        f"The output is the same for all {times(n, 'sample')}, {value}, although their inputs "
        "differ.",
        factor,
        "Look for dead units, for weights of 0, and for an input that does not reach the output.",
        {"samples": n},
    )  # fmt: skip


def _rows(found: Sequence[tuple[Any, ...]], row: Row) -> str:
    return f"{'row' if len(found) == 1 else 'rows'} {some(row(each[0]) for each in found)}"


def suspect_classes(
    found: Sequence[tuple[int, int, float, float]], labels: Any, row: Row
) -> Finding:
    """Return the finding that a good model contradicts some classes."""
    i, best, p, given = found[0]
    return Finding(
        "suspect-labels", "warning", "target",
        f"The model contradicts {times(len(found), 'label')} with confidence, while it is right on "
        f"most others: {_rows(found, row)}. Row {row(i)} has class "
        f"{int(labels[i])}, to which the model gives {given:.2g}, and {p:.3g} to class {best}.",
        "∂C/∂z = a − y: it is near 1 for these samples, so they pull as hard as many right ones.",
        "Look at these rows. Correct the label, or keep it if the sample is hard.",
        {"row": row(i), "label": int(labels[i]), "predicted": best, "probability": p},
        rows=tuple(row(each[0]) for each in found),
    )  # fmt: skip


def suspect_numbers(found: Sequence[tuple[int, float, float]], row: Row) -> Finding:
    """Return the finding that some targets are far from a good fit."""
    i, output, target = found[0]
    return Finding(
        "suspect-labels", "warning", "target",
        f"{times(len(found), 'target')} {'is' if len(found) == 1 else 'are'} far from a fit that "
        f"is good otherwise: {_rows(found, row)}. Row {row(i)} has "
        f"{target:.6g}, the model {output:.6g}.",
        "∂C/∂a, which grows with the distance: these samples pull harder than all others.",
        "Look at these rows: a unit, a decimal mark, a swapped column. A loss such as Huber pulls "
        "less.",
        {"row": row(i), "target": target, "output": output},
        rows=tuple(row(each[0]) for each in found),
    )  # fmt: skip

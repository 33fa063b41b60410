"""Naming: explanations that speak of columns, and targets that are named by them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from chainrule.explain.names import Names
from chainrule.explain.symbols import quantity
from chainrule.formulas import Div, Expr, Neg, Num, add
from chainrule.tabular.preprocessing import numeric_parts
from chainrule.tabular.profile import guess, listed
from chainrule.tabular.schema import DATE_PARTS, Schema
from chainrule.tabular.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED = re.compile(r"(x|w\[1\]\[\d+,|[bza]\[(?P<layer>\d+)\])\[?(?P<name>[^\]]*)\]")


def names(schema: Schema, source: Source, batch: pa.Table, start: int) -> Names:
    """Give the names of inputs and outputs, and how those of the first row come from its cells."""
    origins: dict[Expr, Expr] = {}
    unit = 0
    for column in schema.numeric:
        first = batch.slice(0, 1)
        values = numeric_parts(first, source, start, column, schema.missing)
        every = ("value",) if column.kind == "number" else DATE_PARTS
        for part, mean, scale in zip(column.parts, column.mean, column.scale, strict=True):
            value = float(values[every.index(part)][0])
            if not np.isnan(value):
                origins[quantity("a", 0, unit)] = _standardised(value, mean, scale)
            unit += 1
    target = schema.target
    if target.task == "regress":
        outputs = [f"{target.name} as predicted, standardised"]
        targets = [f"{target.name}, standardised"]
    else:
        outputs = [f"probability of {name}" for name in schema.outputs]
        targets = [f"1 for {name}, else 0" for name in schema.outputs]
    return Names(schema.inputs, outputs, targets, origins)


def _standardised(value: float, mean: float, scale: float) -> Expr:
    """(value - mean) / scale."""
    return Div(add(Num(value), Neg(Num(mean))), Num(scale))


def by_index(target: str, schema: Schema, last: int) -> str:
    """Give a target whose unit is named by a column, x[age] or w[1][2,colour=red], by its index.

    In the last layer a unit may be named by its class. Raises ValueError for an unknown name.
    """
    match = _NAMED.fullmatch(target.strip())
    if match is None or re.fullmatch(r"\s*-?\d+\s*", match["name"]):
        return target
    name = match["name"].strip()
    if match["layer"] is None:
        known = schema.inputs
        short = [known_name.removesuffix(", standardised") for known_name in known]
    elif int(match["layer"]) == last and schema.target.task == "classify":
        known, short = schema.outputs, list(schema.target.classes)
    else:
        return target
    for choices in (short, known):
        if name in choices:
            start = target[: match.start("name")]
            return f"{start}{choices.index(name)}]"
    raise ValueError(
        f"{target}: there is no {name!r}{guess(name, short)}; there are {listed(short)}"
    )

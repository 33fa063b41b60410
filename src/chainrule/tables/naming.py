"""Naming: explanations in terms of columns, and targets that columns name."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from chainrule.equations.formulas import Call, Div, Expr, Neg, Num, Pow, add
from chainrule.explain import names as names_room
from chainrule.explain.names import Names
from chainrule.explain.symbols import quantity
from chainrule.tables.preprocessing import numeric_parts
from chainrule.tables.schema import DATE_PARTS, SCALED, STANDARDISED, Schema, levels
from chainrule.tables.source import Source

if TYPE_CHECKING:
    import pyarrow as pa


def names(schema: Schema, source: Source, batch: pa.Table, start: int) -> Names:
    """Return the names of inputs and outputs, and how the first row's cells become inputs."""
    origins: dict[Expr, Expr] = {}
    unit = 0
    bases: list[float] = []
    for column in schema.numeric:
        first = batch.slice(0, 1)
        values = numeric_parts(first, source, start, column, schema.missing)
        every = ("value",) if column.kind == "number" else DATE_PARTS
        for part, mean, scale in zip(column.parts, column.mean, column.scale, strict=True):
            value = float(values[every.index(part)][0])
            if not np.isnan(value):
                origin = _standardised(value, mean, scale)
                clip = column.clip if column.squeezed(part) else 0.0
                origins[quantity("a", 0, unit)] = _squeezed(origin, clip) if clip else origin
            unit += 1
        bases.append(float(values[0][0]))
    unit += sum(column.missing for column in schema.numeric)
    unit += sum(len(levels(column)) for column in schema.categorical)
    for column, base in zip(schema.numeric, bases, strict=True):
        for low, high in itertools.pairwise(column.bins):
            if low < base < high:  # elsewhere it is 0 or 1
                origins[quantity("a", 0, unit)] = _standardised(base, low, high - low)
            unit += 1
    target = schema.target
    if target.task == "regress":
        outputs = [f"predicted {each.name}{STANDARDISED}" for each in schema.targets]
        targets = [f"{each.name}{STANDARDISED}" for each in schema.targets]
    else:
        outputs = [f"probability of {name}" for name in schema.outputs]
        targets = [f"1 for {name}, else 0" for name in schema.outputs]
    return Names(schema.inputs, outputs, targets, origins)


def _standardised(value: float, mean: float, scale: float) -> Expr:
    """(value - mean) / scale."""
    return Div(add(Num(value), Neg(Num(mean))), Num(scale))


def _squeezed(z: Expr, clip: float) -> Expr:
    """z / √(1 + (z/clip)²)."""
    return Div(z, Call("sqrt", (add(Num(1), Pow(Div(z, Num(clip)), Num(2))),)))


def by_index(target: str, schema: Schema, last: int) -> str:
    """Return a target with the index of an input for its column: x[age], w[1][2,colour=red].

    A unit of the last layer may be named by its class. Raises ValueError for an unknown name.
    """
    short = [name.removesuffix(STANDARDISED).removesuffix(SCALED) for name in schema.inputs]
    outputs = [schema.target.classes, schema.outputs] if schema.target.task == "classify" else []
    if schema.more:
        outputs = [tuple(each.name for each in schema.targets), schema.outputs]
    return names_room.by_index(target, last, [short, schema.inputs], outputs)

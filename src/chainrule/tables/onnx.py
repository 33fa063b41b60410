"""The model of a table as one graph of ONNX: preprocessing, network, labels."""

from __future__ import annotations

import itertools
import math
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.foreign.onnx import write as graphs
from chainrule.foreign.onnx.graph import Graph, Value
from chainrule.tables.schema import DATE_PARTS, Column, levels

if TYPE_CHECKING:
    from chainrule.tables.model import TableModel

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DAY, _YEAR = 86400.0, 365.2425


def to_onnx(model: TableModel, path: str | os.PathLike[str]) -> None:
    """Write the model of a table as a graph with an input for each column, (n, 1).

    A number is a double, NaN where it is missing; a date the same, in seconds since 1970; a
    category a text as the model has it, empty where it is missing. The outputs are "label" and
    "probabilities" for classes, "variable" for a number, in the units of the target, (n, targets).

    Raises ImportError without the package onnx, OSError if the file cannot be written, ValueError
    if a column is named as an output is.
    """
    graphs.onnx()
    from onnx import TensorProto, helper

    schema, net = model.schema, model.network
    graph = Graph("float64")
    texts, doubles = TensorProto.STRING, TensorProto.DOUBLE
    inputs = [
        helper.make_tensor_value_info(c.name, texts if c.kind == "category" else doubles, ["n", 1])
        for c in schema.columns
    ]
    values: list[Value] = []
    marks: list[Value] = []
    pieces: list[Value] = []
    for column in schema.numeric:
        x = _without(graph, Value(graph, column.name), column, schema.missing)
        parts = [x] if column.kind == "number" else _dates(graph, x)
        every = ("value",) if column.kind == "number" else DATE_PARTS
        for part, mean, scale in zip(column.parts, column.mean, column.scale, strict=True):
            z = (parts[every.index(part)] - mean) / scale
            if column.squeezed(part):
                z = z / graph.node("Sqrt", (z / column.clip) * (z / column.clip) + 1.0)
            values.append(graph.node("Where", graph.node("IsNaN", z), 0.0, z))
        if column.missing:
            marks.append(_as(graph, graph.node("IsNaN", x), TensorProto.DOUBLE))
        pieces += _pieces(graph, parts[0], column)
    categories = [_one_hot(graph, column, schema.missing) for column in schema.categorical]
    X = _as(
        graph,
        graph.node("Concat", *values, *marks, *categories, *pieces, axis=1),
        TensorProto.FLOAT,
    )
    inner = graph.other(net.dtype.name)
    x = X if net.dtype == np.float32 else _as(inner, X, inner.kind)
    a = graphs.layers(inner, net, x)
    for i, other in enumerate(model.others, start=1):
        a = a + graphs.layers(inner, other, x, f"/{i}")
    if model.others:
        a = a / float(len(model.networks))
    target, outputs = schema.target, []
    if target.task == "regress":
        wide = _as(graph, a, TensorProto.DOUBLE)
        per_unit: Any = target.scale
        offset: Any = target.mean
        if schema.more:
            pairs = np.array([(each.scale, each.mean) for each in schema.targets])
            per_unit, offset = graph.constant(pairs[:, 0]), graph.constant(pairs[:, 1])
        graph.node("Add", wide * per_unit, offset, to=graphs.RESULT)
        outputs.append((graphs.RESULT, TensorProto.DOUBLE, ["n", len(schema.targets)]))
    else:
        index = graph.node(
            "Reshape", graphs.classes(inner, a, net.sizes[-1]), graph.whole([-1]),
            to="label" if target.kind == "integer" and _counted(target.classes) else "",
        )  # fmt: skip
        kind = _labels(graph, index, target)
        graph.node("Identity", a, to=graphs.PROBABILITIES)
        outputs.append(("label", kind, ["n"]))
        outputs.append((graphs.PROBABILITIES, inner.kind, ["n", net.sizes[-1]]))
    made = {name for node in graph.nodes for name in node.output}
    made |= {constant.name for constant in graph.constants}
    if taken := [column.name for column in schema.columns if column.name in made]:
        raise ValueError(
            f"column {taken[0]!r} has the name of another part of the graph. Rename it in the "
            "table, and train again."
        )
    graphs.write(path, graph, inputs, [helper.make_tensor_value_info(*o) for o in outputs], net)


def _pieces(graph: Graph, x: Value, column: Column) -> list[Value]:
    """Return the inputs of the pieces of a number, (n, pieces), or nothing."""
    if not column.bins:
        return []
    low = graph.constant(np.array([column.bins[:-1]]))
    steps = graph.constant(np.array([[b - a for a, b in itertools.pairwise(column.bins)]]))
    places = (x - low) / steps
    bounded = graph.node("Min", graph.node("Max", places, 0.0), 1.0)
    return [graph.node("Where", graph.node("IsNaN", places), 0.0, bounded)]


def _as(graph: Graph, x: Value, kind: int) -> Value:
    return graph.node("Cast", x, to_=kind)


def _without(graph: Graph, x: Value, column: Column, missing: tuple[str, ...]) -> Value:
    """Return NaN for the numbers that stand for no value."""
    none = [float(text) for text in missing if _NUMBER.fullmatch(text)]
    for number in none if column.kind == "number" else []:
        x = graph.node("Where", graph.node("Equal", x, number), math.nan, x)
    return x


def _dates(graph: Graph, seconds: Value) -> list[Value]:
    """Return the `DATE_PARTS` of seconds since 1970."""

    def floor(x: Value) -> Value:
        return graph.node("Floor", x)

    days = seconds / _DAY
    whole = floor(days)
    # The day of the year, counted in eras of 400 years that begin on 1 March (Hinnant, 2013).
    of_era = (whole + 719468.0) - 146097.0 * floor((whole + 719468.0) / 146097.0)
    leaps = floor(of_era / 1460.0) - floor(of_era / 36524.0) + floor(of_era / 146096.0)
    year = floor((of_era - leaps) / 365.0)
    since_march = of_era - (365.0 * year + floor(year / 4.0) - floor(year / 100.0))

    def divides(n: float) -> Value:
        return graph.node("Where", graph.node("Equal", n * floor(year / n), year), 1.0, 0.0)

    leap = divides(4.0) - divides(100.0) + divides(400.0)
    of_year = graph.node(
        "Where", since_march >= 306.0, since_march - 306.0, since_march + 59.0 + leap
    )
    week = (whole + 3.0) / 7.0
    parts = [days]
    for turn in (of_year / _YEAR, week - floor(week), days - whole):
        angle = turn * (2 * math.pi)
        # Older versions of onnxruntime have no cosine in double.
        parts += [graph.node("Sin", angle), graph.node("Sin", angle + math.pi / 2)]
    return parts


def _one_hot(graph: Graph, column: Column, missing: tuple[str, ...]) -> Value:
    """Return the inputs of a category, (n, levels)."""
    from onnx import TensorProto

    k = len(column.categories)
    other = k if column.rare else -1  # no input is 1
    keys = {name: i for i, name in enumerate(column.categories)}
    for truth in ("True", "False"):
        if truth in keys:
            keys |= {truth.lower(): keys[truth], truth.upper(): keys[truth]}
    none = k + column.rare if column.missing else other
    keys |= dict.fromkeys(["", *missing], none)
    column_of = Value(graph, column.name)
    names, places = list(keys), list(keys.values())
    index = _encoded(
        graph, column_of, keys_strings=names, values_int64s=places, default_int64=other
    )
    found = graph.node("Equal", index, graph.whole([list(range(len(levels(column))))]))
    return _as(graph, found, TensorProto.DOUBLE)


def _encoded(graph: Graph, x: Value, to: str = "", **attributes: Any) -> Value:
    graph.ml = True
    made = graph.node("LabelEncoder", x, to=to, **attributes)
    graph.nodes[-1].domain = "ai.onnx.ml"
    return made


def _counted(classes: tuple[str, ...]) -> bool:
    """Return whether classes are 0, 1, 2, ... as the network counts them."""
    return classes == tuple(map(str, range(len(classes))))


def _labels(graph: Graph, index: Value, target: Any) -> int:
    """Add the labels of the classes, with the type of the target; return what ONNX calls it."""
    from onnx import TensorProto

    if index.name == "label":
        return int(TensorProto.INT64)
    keys = list(range(len(target.classes)))
    if target.kind == "text":
        _encoded(graph, index, "label", keys_int64s=keys, values_strings=list(target.classes))
        return int(TensorProto.STRING)
    names = np.array([float(name) for name in target.classes])
    labels = graph.node("Gather", graph.constant(names), index)
    kind = TensorProto.INT64 if target.kind == "integer" else TensorProto.DOUBLE
    graph.node("Cast", labels, to="label", to_=kind)
    return int(kind)

"""A graph under construction: nodes whose results take Python's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np


class Graph:
    """The nodes and constants of a graph; ``dtype`` is that of all numbers."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.ml = False  # whether nodes of the domain ai.onnx.ml are in it

    @property
    def kind(self) -> int:
        """The number that ONNX gives the dtype."""
        from onnx import TensorProto

        return int(TensorProto.FLOAT if self.dtype == "float32" else TensorProto.DOUBLE)

    def other(self, dtype: str) -> Graph:
        """Return the same graph for numbers of another dtype."""
        graph = Graph(dtype)
        graph.nodes, graph.constants, graph.ml = self.nodes, self.constants, self.ml
        return graph

    def whole(self, values: Any) -> Value:
        """Add a constant of whole numbers."""
        from onnx import numpy_helper

        name = f"/c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return Value(self, name)

    def constant(self, values: Any, name: str = "") -> Value:
        """Add a constant."""
        from onnx import numpy_helper

        name = name or f"/c{len(self.constants)}"
        array = np.ascontiguousarray(values, dtype=self.dtype)
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return Value(self, name)

    def node(self, kind: str, *inputs: Any, to: str = "", **attributes: Any) -> Value:
        """Add a node; numbers among its inputs become constants."""
        from onnx import helper

        given = [x if isinstance(x, Value) else self.constant(x) for x in inputs]
        to = to or f"/{kind.lower()}_{len(self.nodes)}"
        node = helper.make_node(
            kind, [x.name for x in given], [to], name=f"{kind}_{len(self.nodes)}"
        )
        node.attribute.extend(
            helper.make_attribute(k.rstrip("_"), v) for k, v in attributes.items()
        )
        self.nodes.append(node)
        return Value(self, to)


class Value:
    """The result of a node."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Any) -> Value:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.node("Mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.graph.node("Div", other, self)

    def __pow__(self, other: Any) -> Value:
        return self.graph.node("Pow", self, other)

    def __rpow__(self, other: Any) -> Value:
        return self.graph.node("Pow", other, self)

    def __neg__(self) -> Value:
        return self.graph.node("Neg", self)

    def __gt__(self, other: Any) -> Value:
        return self.graph.node("Greater", self, other)

    def __lt__(self, other: Any) -> Value:
        return self.graph.node("Less", self, other)

    def __ge__(self, other: Any) -> Value:
        return self.graph.node("GreaterOrEqual", self, other)

    def __le__(self, other: Any) -> Value:
        return self.graph.node("LessOrEqual", self, other)

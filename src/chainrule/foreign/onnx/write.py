"""Network.to_onnx: write a network as a graph of ONNX."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from chainrule._version import __version__
from chainrule.equations.activations import Activation
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import evaluate, parse
from chainrule.foreign.onnx.graph import Graph, Value
from chainrule.storage.atomic import write_atomically

_OPSET, _ML, _IR = 17, 3, 8  # of 2022: what runtimes know
RESULT, PROBABILITIES = "variable", "probabilities"
_CLASSES = ("cross_entropy", "binary_cross_entropy")


def onnx() -> Any:
    """Import the package onnx; raise ImportError with what to install."""
    try:
        import onnx as package
    except ImportError:
        raise ImportError(
            "the package onnx is missing; install it with pip install 'chainrule[onnx]'"
        ) from None
    return package


def to_onnx(net: FeedForward, path: str | os.PathLike[str]) -> None:
    """Write a network as a model of ONNX; see `chainrule.Network.to_onnx`."""
    onnx()
    from onnx import TensorProto, helper

    graph = Graph(net.dtype.name)
    a = layers(graph, net, Value(graph, "X"))
    outputs = [(RESULT, graph.kind, ["n", net.sizes[-1]])]
    if net.loss.name in _CLASSES:
        outputs = [("label", TensorProto.INT64, ["n"]), (PROBABILITIES, *outputs[0][1:])]
        graph.node("Reshape", classes(graph, a, net.sizes[-1]), graph.whole([-1]), to="label")
    graph.node("Identity", a, to=outputs[-1][0])
    inputs = [helper.make_tensor_value_info("X", graph.kind, ["n", net.sizes[0]])]
    write(path, graph, inputs, [helper.make_tensor_value_info(*o) for o in outputs], net)


def layers(graph: Graph, net: FeedForward, a: Value, mark: str = "") -> Value:
    """Add the layers of a network to a graph; raise ValueError if that cannot hold them.

    ``mark`` follows the names of its layers where a graph has several networks.
    """
    net.check_parameters()
    if net.parameters.nbytes >= 2**31 - 2**20:
        raise ValueError(
            f"the parameters take {net.parameters.nbytes:,} bytes; a model of ONNX has less than "
            "2 GB"
        )
    for l, layer in enumerate(net.layers[1:], start=1):
        inputs = [a, graph.constant(layer.W, f"W{l}{mark}")]
        inputs += [] if layer.b is None else [graph.constant(layer.b, f"b{l}{mark}")]
        z = graph.node("Gemm", *inputs, to=f"z{l}{mark}", transB=1)
        a = activation(graph, layer.activation, z)
    return a


def classes(graph: Graph, a: Value, units: int) -> Value:
    """Add the index of the class of each sample, (n, 1)."""
    from onnx import TensorProto

    if units > 1:
        return graph.node("ArgMax", a, axis=1, keepdims=1)
    return graph.node("Cast", graph.node("GreaterOrEqual", a, 0.5), to_=TensorProto.INT64)


def write(
    path: str | os.PathLike[str], graph: Graph, inputs: list[Any], outputs: list[Any],
    net: FeedForward,
) -> None:  # fmt: skip
    """Check a graph and write it as a file."""
    from onnx import checker, helper

    made = helper.make_graph(graph.nodes, "chainrule", inputs, outputs, graph.constants)
    sets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML)]
    model = helper.make_model(
        made, opset_imports=sets if graph.ml else sets[:1], ir_version=_IR,
        producer_name="chainrule", producer_version=__version__,
    )  # fmt: skip
    helper.set_model_props(model, {"loss": net.loss.name})
    checker.check_model(model, full_check=True)
    write_atomically(path, model.SerializeToString())


def activation(graph: Graph, g: Activation, z: Value) -> Value:
    """Add an activation to a graph."""
    if type(g).__module__.startswith("chainrule.equations"):
        return _BUILT_IN[g.name](graph, z)
    tree = parse(g.formula)[0]
    made = evaluate(tree, {"z": z}, _functions(graph))
    return made if isinstance(made, Value) else z * 0.0 + made  # a constant


def _sigmoid(graph: Graph, z: Value) -> Value:
    if graph.dtype == "float32":
        return graph.node("Sigmoid", z)
    e = graph.node("Exp", -graph.node("Abs", z))
    return graph.node("Where", z < 0.0, e, 1.0) / (e + 1.0)


def _elu(graph: Graph, z: Value) -> Value:
    if graph.dtype == "float32":
        return graph.node("Elu", z, alpha=1.0)
    below = graph.node("Tanh", graph.node("Min", z, 0.0) * 0.5)  # e^z - 1 = 2 t / (1 - t)
    return graph.node("Where", z > 0.0, z, 2.0 * below / (1.0 - below))


def _gelu(graph: Graph, z: Value) -> Value:
    return 0.5 * z * _erf(graph, z * math.sqrt(0.5), 1.0)


def _erf(graph: Graph, x: Value, plus: float) -> Value:
    """Return erf x + ``plus``; runtimes have it in float32 alone."""
    if graph.dtype == "float32":
        return graph.node("Erf", x) + plus
    from onnx import TensorProto

    single = graph.node("Cast", x, to_=TensorProto.FLOAT)
    return graph.node("Cast", graph.node("Erf", single), to_=TensorProto.DOUBLE) + plus


def _softplus(graph: Graph, z: Value) -> Value:
    rest = graph.node("Exp", -graph.node("Abs", z))
    return graph.node("Max", z, 0.0) + graph.node("Log", rest + 1.0)


_BUILT_IN: dict[str, Callable[[Graph, Value], Value]] = {
    "identity": lambda graph, z: z,
    "sigmoid": _sigmoid,
    "tanh": lambda graph, z: graph.node("Tanh", z),
    "relu": lambda graph, z: graph.node("Relu", z),
    "leaky_relu": lambda graph, z: (
        graph.node("LeakyRelu", z, alpha=0.01) if graph.dtype == "float32"
        else graph.node("Where", z > 0.0, z, z / 100.0)
    ),
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda graph, z: z * _sigmoid(graph, z),
    "softplus": _softplus,
    "step": lambda graph, z: graph.node("Where", z > 0.0, 1.0, 0.0),
    "softmax": lambda graph, z: graph.node("Softmax", z, axis=-1),
}  # fmt: skip


def _functions(graph: Graph) -> dict[str, Callable[..., Any]]:
    """Return the functions of formulas as nodes."""
    names = {
        "exp": "Exp", "ln": "Log", "sqrt": "Sqrt", "abs": "Abs", "sign": "Sign", "sin": "Sin",
        "tanh": "Tanh", "sinh": "Sinh", "cosh": "Cosh", "atan": "Atan",
    }  # fmt: skip

    def of(kind: str) -> Callable[..., Value]:
        return lambda *inputs: graph.node(kind, *inputs)

    made: dict[str, Callable[..., Any]] = {name: of(kind) for name, kind in names.items()}
    # Older versions of onnxruntime have no cosine in double.
    made["cos"] = lambda x: graph.node("Sin", x + math.pi / 2)
    made |= {"max": of("Max"), "min": of("Min"), "where": of("Where")}
    made["sigma"] = lambda z: _sigmoid(graph, z)
    made["Phi"] = lambda z: 0.5 * _erf(graph, z * math.sqrt(0.5), 1.0)
    made["phi"] = lambda z: graph.node("Exp", -0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return made

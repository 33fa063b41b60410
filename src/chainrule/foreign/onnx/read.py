"""from_onnx: read a network from a graph that is one: layers of weights, each with an activation.

The graph is followed from its input. What a node makes is known as a `Chain`: the layers before it,
the weights and bias of the current one, and what has been done to z since, as its values on a
grid. So an activation is recognised by what it computes, however many nodes it takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.activations import ACTIVATIONS, Softmax
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import LOSSES
from chainrule.foreign.onnx.write import onnx

Array = NDArray[Any]
AnyNetwork = TypeVar("AnyNetwork", bound=FeedForward)
_GRID = np.concatenate([np.linspace(-6, 6, 121), np.linspace(-0.09, 0.09, 19)])
_CLOSE = 2e-6  # constants of a graph may be rounded to float32
_OUTPUTS = ("probabilities", "output_probability", "variable")  # of ours and of skl2onnx


@dataclass(frozen=True)
class Layer:
    """The weights (units_l, units_{l-1}), the biases and the activation of a layer."""

    W: Array
    b: Array
    activation: str


@dataclass(frozen=True)
class Chain:
    """What a node computes, if that is part of a network; ``W`` is None before any weight."""

    units: int
    layers: tuple[Layer, ...] = ()
    W: Array | None = None
    b: Array | None = None
    values: Any = field(default_factory=lambda: _GRID)  # of a function of z, on the grid
    scales: tuple[float, ...] = (1.0,)

    def same_z(self, other: Chain) -> bool:
        """Return whether both are functions of the same pre-activation."""
        return self.layers is other.layers and self.W is other.W and self.b is other.b

    @property
    def unchanged(self) -> bool:
        """Whether nothing has been done to z."""
        return self.values is _GRID


class _UnknownError(ValueError):
    """A node is not part of a network of fully connected layers."""


def from_onnx(path: str | os.PathLike[str], kind: type[AnyNetwork]) -> AnyNetwork:
    """Return a network of a class from a model of ONNX; see `chainrule.from_onnx`."""
    package = onnx()
    from onnx import numpy_helper

    try:
        model = package.load(path)
        package.checker.check_model(model)
    except OSError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{os.fspath(path)} is not a valid model of ONNX: {first}") from None
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    given = [item for item in graph.input if item.name not in constants]
    if len(given) != 1:
        raise ValueError(
            f"{os.fspath(path)} has the inputs {', '.join(i.name for i in given) or 'none'}; "
            "expected one, (n, units)"
        )
    shape = given[0].type.tensor_type.shape.dim
    if len(shape) != 2 or shape[1].dim_value < 1:
        raise ValueError(
            f"{os.fspath(path)}: input {given[0].name} has the shape "
            f"({', '.join(d.dim_param or str(d.dim_value) for d in shape)}); expected (n, units) "
            "with a fixed number of units"
        )
    made: dict[str, Any] = {**constants, given[0].name: Chain(shape[1].dim_value)}
    faults: dict[str, list[str]] = {}  # by the name of what a node makes
    for node in graph.node:
        _follow(node, made, faults)
    found = _output(graph, made)
    if found is None:
        wanted = [faults[o.name] for o in graph.output if o.name in faults]
        words = "; ".join(dict.fromkeys(line for lines in wanted for line in lines))
        raise ValueError(
            f"{os.fspath(path)} is not a network of fully connected layers: "
            f"{words or 'its output does not depend on its input'}"
        )
    try:
        layers, rest = _closed(found)
    except _UnknownError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    if rest is not None:
        layers = (*layers, Layer(*rest, "identity"))
    return _network(layers, model, constants, kind)


def _follow(node: Any, made: dict[str, Any], faults: dict[str, list[str]]) -> None:
    """Add what a node makes, or why that is not part of a network."""
    from onnx import helper

    named = f"{node.op_type} {node.name or node.output[0]!r}"
    before = [line for name in node.input for line in faults.get(name, [])]
    if before:
        faults.update(dict.fromkeys(node.output, before))
        return
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = [made.get(name) for name in node.input]
    try:
        made[node.output[0]] = _node(node.op_type, inputs, attributes)
    except _UnknownError as error:
        for name in node.output:
            faults[name] = [f"{named}: {error}"]


def _node(kind: str, inputs: list[Any], given: dict[str, Any]) -> Any:
    if kind == "Constant":
        from onnx import numpy_helper

        value = next(iter(given.values()))
        return numpy_helper.to_array(value) if hasattr(value, "raw_data") else np.asarray(value)
    if kind in ("Identity", "Dropout", "Cast", "CastLike", "ZipMap"):  # the last names classes
        return inputs[0]
    chains = [x for x in inputs if isinstance(x, Chain)]
    if not chains:
        raise _UnknownError("a constant is computed; fold constants before the export")
    if kind in ("Gemm", "MatMul"):
        return _product(kind, inputs, given)
    if kind in ("Flatten", "Reshape"):
        if kind == "Flatten" and given.get("axis", 1) == 1:
            return inputs[0]
        if kind == "Reshape" and list(inputs[1]) in ([-1, inputs[0].units], [0, inputs[0].units]):
            return inputs[0]
        raise _UnknownError("changes the shape")
    if kind == "BatchNormalization":
        x, scale, shift, mean, variance = inputs
        factor = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
        return _scaled(x, factor, shift - mean * factor)
    if kind == "Scaler":  # of skl2onnx
        factor = np.asarray(given["scale"], dtype=np.float64)
        return _scaled(inputs[0], factor, -np.asarray(given["offset"]) * factor)
    if kind in ("Softmax", "LogSoftmax"):
        if kind == "LogSoftmax" or given.get("axis", -1) not in (1, -1):
            raise _UnknownError("not a softmax over the units")
        layers, rest = _closed(inputs[0], to=Softmax.name)
        if rest is not None:
            raise _UnknownError("a softmax of a scaled activation")
        return Chain(inputs[0].units, layers)
    if kind == "Concat":  # skl2onnx gives two classes of one output: 1 - p and p
        two = len(chains) == 2 and chains[0].same_z(chains[1]) and chains[1].units == 1
        if two and np.allclose(chains[0].values, 1 - chains[1].values, atol=_CLOSE):
            return chains[1]
        raise _UnknownError("joins several tensors")
    if kind in _ELEMENTWISE or kind == "Where":
        return _elementwise(kind, inputs, given)
    raise _UnknownError("not an operation of fully connected layers")


def _product(kind: str, inputs: list[Any], given: dict[str, Any]) -> Chain:
    """Return the chain behind weights."""
    x, M = inputs[:2]
    if not isinstance(x, Chain) or not isinstance(M, np.ndarray) or M.ndim != 2:
        raise _UnknownError("not the product of inputs and constant weights")
    if given.get("transA"):
        raise _UnknownError("transposes its input")
    W = M if given.get("transB") else M.T
    if W.shape[1] != x.units:
        raise _UnknownError(f"has weights for {W.shape[1]} inputs, but gets {x.units}")
    W = W.astype(np.float64) * given.get("alpha", 1.0)
    b = np.zeros(len(W))
    if kind == "Gemm" and len(inputs) > 2:
        if not isinstance(inputs[2], np.ndarray):
            raise _UnknownError("its bias is not constant")
        b = b + inputs[2].reshape(-1) * given.get("beta", 1.0)
    return _affine(x, W, b)


def _affine(x: Chain, W: Array, b: Array) -> Chain:
    """Return W x + b; what x is linear in is multiplied into W."""
    if x.W is None and x.unchanged:
        return Chain(len(W), x.layers, W, b)
    if x.unchanged and x.W is not None:
        return Chain(len(W), x.layers, W @ x.W, b + W @ x.b)
    layers, rest = _closed(x)
    if rest is not None:
        W, b = W @ rest[0], b + W @ rest[1]
    return Chain(len(W), layers, W, b)


def _scaled(x: Any, factor: Any, shift: Any) -> Chain:
    """Return the chain behind a factor and a shift for each unit."""
    if not isinstance(x, Chain):
        raise _UnknownError("its first input is constant")
    try:
        factor = np.broadcast_to(np.asarray(factor, dtype=np.float64), (1, x.units)).reshape(-1)
        shift = np.broadcast_to(np.asarray(shift, dtype=np.float64), (1, x.units)).reshape(-1)
    except ValueError:
        raise _UnknownError("a constant does not have one number for each unit") from None
    return _affine(x, np.diag(factor), shift)


def _elementwise(kind: str, inputs: list[Any], given: dict[str, Any]) -> Chain:
    """Return the chain behind an operation on each number."""
    chains = [x for x in inputs if isinstance(x, Chain)]
    first = chains[0]
    if any(not first.same_z(other) for other in chains):
        raise _UnknownError("combines two branches of the graph")
    numbers = [x for x in inputs if x is not None and not isinstance(x, Chain)]
    single = all(np.size(x) == 1 for x in numbers)
    linear = len(inputs) == 2 and len(numbers) == 1 and kind in ("Add", "Sub", "Mul", "Div")
    if linear and (not single or (kind in ("Add", "Sub") and first.unchanged)):
        c, behind = np.asarray(numbers[0], dtype=np.float64), inputs[0] is not first
        if kind == "Div" and behind:
            raise _UnknownError("divides by activations")
        sign = np.asarray(-1.0 if kind == "Sub" and behind else 1.0)
        factor = {"Mul": c, "Div": 1 / c if kind == "Div" else c}.get(kind, sign)
        shift = {"Add": c, "Sub": c if behind else -c}.get(kind, np.zeros(1))
        return _scaled(first, factor, shift)
    if not single:
        raise _UnknownError("a constant does not act on z alone")
    given = {name: value for name, value in given.items() if name in ("alpha", "approximate")}
    values = [x.values if isinstance(x, Chain) else float(np.reshape(x, -1)[0])
              for x in inputs if x is not None]  # fmt: skip
    scales = first.scales
    if kind in ("Mul", "Div") and first.unchanged and len(numbers) == 1:
        by = float(np.reshape(numbers[0], -1)[0])
        scales = (*scales, by if kind == "Mul" else 1 / by)
    with np.errstate(all="ignore"):
        made = np.where(*values) if kind == "Where" else _ELEMENTWISE[kind](*values, **given)
    return replace(first, values=made, scales=scales)


def _closed(x: Chain, to: str = "") -> tuple[tuple[Layer, ...], tuple[Array, Array] | None]:
    """Return the layers up to x, and the W and b of what is linear behind the last activation.

    With ``to``, the activation is that one, which is applied to all that is in x.
    """
    if to and not x.unchanged:
        x = _affine(x, np.eye(x.units), np.zeros(x.units))
    if x.W is None and x.unchanged and not to:
        return x.layers, None
    W = np.eye(x.units) if x.W is None else x.W
    b = np.zeros(x.units) if x.b is None else x.b
    if to or x.unchanged:
        return (*x.layers, Layer(W, b, to or "identity")), None
    for scale in x.scales:
        for g in ACTIVATIONS.values():
            if isinstance(g, Softmax):
                continue
            a = g.value(_GRID * scale)
            A = np.column_stack([a, np.ones_like(a)])
            (factor, shift), *_ = np.linalg.lstsq(A, x.values, rcond=None)
            if not np.allclose(A @ [factor, shift], x.values, rtol=_CLOSE, atol=_CLOSE):
                continue
            layers = (*x.layers, Layer(W * scale, b * scale, g.name))
            if abs(factor - 1) < _CLOSE and abs(shift) < _CLOSE:
                return layers, None
            rest = np.eye(x.units) * factor, np.full(x.units, shift)
            if g.name == "identity":  # linear in z
                return (*x.layers, Layer(factor * W, factor * b + shift, g.name)), None
            return layers, rest
    known = ", ".join(ACTIVATIONS)
    raise _UnknownError(f"the activation behind {x.units} units is none of {known}")


def _leaky(z: Any, alpha: float = 0.01) -> Any:
    return np.where(z < 0, alpha * z, z)


def _elu(z: Any, alpha: float = 1.0) -> Any:
    return np.where(z < 0, alpha * np.expm1(np.minimum(z, 0)), z)


def _erf(x: Any) -> Any:
    from chainrule.equations import normal

    return 2 * normal.cdf(np.asarray(x) * np.sqrt(2)) - 1


def _gelu(z: Any, approximate: bytes = b"none") -> Any:
    if approximate != b"none":
        return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    return ACTIVATIONS["gelu"].value(z)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Relu": ACTIVATIONS["relu"].value, "Sigmoid": ACTIVATIONS["sigmoid"].value, "Tanh": np.tanh,
    "LeakyRelu": _leaky, "Elu": _elu, "Softplus": ACTIVATIONS["softplus"].value, "Gelu": _gelu,
    "Erf": _erf, "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Neg": np.negative, "Abs": np.abs, "Exp": np.exp, "Log": np.log, "Max": np.maximum,
    "Min": np.minimum, "Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal, "Pow": np.power, "Sqrt": np.sqrt,
}  # fmt: skip


def _output(graph: Any, made: dict[str, Any]) -> Chain | None:
    """Return the chain of the output: the one with a known name, else the first."""
    names = [o.name for o in graph.output]
    for name in sorted(names, key=lambda name: name not in _OUTPUTS):
        if isinstance(made.get(name), Chain):
            chain: Chain = made[name]
            return chain
    return None


def _network(
    layers: tuple[Layer, ...], model: Any, constants: dict[str, Array], kind: type[AnyNetwork]
) -> AnyNetwork:
    if not layers:
        raise ValueError("the graph has no weights; expected a layer or more")
    names = [layer.activation for layer in layers]
    stated = {item.key: item.value for item in model.metadata_props}.get("loss", "")
    of_output = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}
    loss = stated if stated in LOSSES else of_output.get(names[-1], "half_squared_error")
    wide = any(array.dtype == np.float64 for array in constants.values())
    return kind(
        [layers[0].W.shape[1], *(len(layer.b) for layer in layers)],
        hidden=names[:-1], output=names[-1], loss=loss,
        dtype="float64" if wide else "float32", seed=0,
        W=[layer.W for layer in layers], b=[layer.b for layer in layers],
    )  # fmt: skip

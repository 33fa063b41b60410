"""Converting: a Keras model of Dense layers as a network, and a network as a model.

Keras multiplies by a kernel of shape (inputs, outputs), which is Wᵀ. Batch normalisation, as it
predicts, is γ (x - μ) / √(σ² + ε) + β: a scale and a shift of each unit, which are folded into the
weights and biases of the Dense layer before it or after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from chainrule.equations.feedforward import FeedForward
from chainrule.foreign.keras.losses import loss_of

N = TypeVar("N", bound=FeedForward)
Array = NDArray[Any]
layers = keras.layers

# Keras's functions by our names; its own defaults are exact gelu and elu with alpha 1.
_FUNCTIONS = {
    "linear": "identity", "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "elu": "elu",
    "gelu": "gelu", "silu": "silu", "softplus": "softplus", "softmax": "softmax",
}  # fmt: skip
_THEIRS = {ours: theirs for theirs, ours in _FUNCTIONS.items()}


@dataclass
class _Dense:
    """A Dense layer with what has been folded into it."""

    name: str
    W: Array
    b: Array | None
    activation: str = ""
    dropout: float = 0.0


@dataclass
class _Parts:
    """What a model is made of, and what speaks against it."""

    dense: list[_Dense] = field(default_factory=list)
    before: tuple[Array, Array] | None = None  # the scale and shift of inputs of the next Dense
    faults: list[str] = field(default_factory=list)
    dtypes: set[str] = field(default_factory=set)


def network(model: Any, loss: Any, make: Callable[..., N]) -> N:
    """Return a network with the parameters of a model, or of a file in Keras's format.

    ``make`` is the class of networks; ``loss`` a loss of Keras, a name, a `Loss` or None.
    """
    if isinstance(model, str | os.PathLike):
        model = _loaded(os.fspath(model))
    if not isinstance(model, keras.Sequential | keras.Model):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a Sequential or functional model of "
            "Keras 3, or the path of a .keras file"
        )
    found = _parts(model)
    output = found.dense[-1].activation or "identity"
    output, chosen = loss_of(model, loss, output, len(found.dense[-1].W))
    biases = found.dense[0].b is not None
    return make(
        [found.dense[0].W.shape[1], *(len(one.W) for one in found.dense)],
        hidden=[one.activation or "identity" for one in found.dense[:-1]],
        output=output,
        loss=chosen,
        biases=biases,
        dtype=found.dtypes.pop(),
        seed=0,
        W=[one.W for one in found.dense],
        b=[one.b for one in found.dense] if biases else None,
        dropout=[one.dropout for one in found.dense[:-1]],
    )


def _loaded(path: str) -> Any:
    if not path.endswith(".keras"):
        raise ValueError(f"{path} is not a .keras file; save the model as one, model.save(PATH)")
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise ValueError(f"{path} is damaged or was not written by Keras 3; save it again")
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras has no class for what is wrong with a file
        detail = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read by Keras: {detail}") from None


def _parts(model: Any) -> _Parts:
    """Return the parts of a model; raise ValueError with all that cannot be converted."""
    found = _Parts()
    for layer in _flat(model, found.faults):
        _take(found, layer)
    if found.before is not None:
        found.faults.append("no Dense layer follows the last BatchNormalization")
    if not found.dense and not found.faults:
        found.faults.append("there is no Dense layer")
    biases = [one.b is not None for one in found.dense]
    if len(set(biases)) > 1:
        with_, without = (found.dense[biases.index(wanted)].name for wanted in (True, False))
        found.faults.append(f"{with_} has a bias and {without} has none; all or no layers need one")
    if found.dense and found.dense[-1].dropout:
        found.faults.append(f"a Dropout follows the last Dense layer, {found.dense[-1].name}")
    if len(found.dtypes) > 1:
        found.faults.append(f"its layers have the dtypes {' and '.join(sorted(found.dtypes))}")
    if found.faults:
        raise ValueError(
            "the model cannot become a network of fully connected layers: "
            + "; ".join(found.faults)
        )
    return found


def _flat(model: Any, faults: list[str]) -> Iterator[Any]:
    """Yield the layers in the order in which a sample passes them."""
    if isinstance(model, keras.Sequential):
        chain = list(model.layers)
    elif hasattr(model, "operations") and hasattr(model, "input"):
        chain = _chain(model, faults)
    else:
        faults.append(
            f"{model.name} ({type(model).__name__}) is a subclass of Model, whose call is code; "
            "expected a Sequential or functional model"
        )
        return
    for layer in chain:
        if isinstance(layer, keras.Model):
            yield from _flat(layer, faults)
        else:
            yield layer


def _chain(model: Any, faults: list[str]) -> list[Any]:
    """Return the layers of a functional model whose layers follow each other."""
    config = model.get_config()
    ends = [config[key] for key in ("input_layers", "output_layers")]
    names = [[end] if isinstance(end[0], str) else list(end) for end in ends]
    if any(len(of_kind) != 1 for of_kind in names):
        faults.append(f"{model.name} has {len(names[0])} inputs and {len(names[1])} outputs")
        return []
    follows: dict[str, list[str]] = {}
    for described in config["layers"]:
        sources = list(_sources(described["inbound_nodes"]))
        if len(sources) > 1:
            faults.append(
                f"{described['name']} ({described['class_name']}) takes the outputs of "
                f"{' and '.join(sources)}; expected one layer after the other"
            )
        for source in sources:
            follows.setdefault(source, []).append(described["name"])
    faults += [
        f"the output of {name} goes to {' and '.join(after)}; expected one layer after the other"
        for name, after in follows.items()
        if len(after) > 1
    ]
    if faults:
        return []
    name, chain = names[0][0][0], []
    while True:
        chain.append(model.get_layer(name))
        if name == names[1][0][0]:
            return chain
        name = follows[name][0]


def _sources(node: Any) -> Iterator[str]:
    """Yield the names of the layers whose outputs a description of calls mentions."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"][0]
        else:
            for value in node.values():
                yield from _sources(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _sources(value)


def _take(found: _Parts, layer: Any) -> None:
    """Add a layer to the parts, or what speaks against it to the faults."""
    kind = type(layer)
    fault = ""
    first = not found.dense and found.before is None
    if kind is layers.InputLayer or (kind is layers.Flatten and first):
        pass
    elif kind is layers.Dense:
        fault = _dense(found, layer)
    elif kind is layers.BatchNormalization:
        fault = _normalised(found, layer)
    elif kind is layers.Dropout:
        if not found.dense or found.dense[-1].dropout or found.before is not None:
            fault = "does not follow a hidden layer"
        else:
            found.dense[-1].dropout = float(layer.rate)
    else:
        fault = _activated(found, _activation(layer))
    if fault:
        found.faults.append(f"{layer.name} ({kind.__name__}) {fault}")


def _dense(found: _Parts, layer: Any) -> str:
    if not layer.built:
        return "has no weights yet; build the model, or call it once"
    if layer.compute_dtype not in ("float32", "float64"):
        return f"computes in {layer.compute_dtype}; expected float32 or float64"
    if len(shape := _input_shape(layer)) > 2:
        return f"takes inputs of shape {shape}; expected (n, units)"
    function = _function(layer.activation)
    if not function:
        return f"has the activation {_called(layer.activation)}, which chainrule lacks"
    W = np.asarray(keras.ops.convert_to_numpy(layer.kernel)).T.copy()
    b = keras.ops.convert_to_numpy(layer.bias).copy() if layer.use_bias else None
    if found.before is not None:
        scale, shift = found.before
        b = (0 if b is None else b) + W @ shift
        W, found.before = W * scale, None
    found.dense.append(_Dense(layer.name, W, b, "" if function == "identity" else function))
    found.dtypes.add(layer.compute_dtype)
    return ""


def _input_shape(layer: Any) -> tuple[Any, ...]:
    """Return the shape of a layer's inputs, () where several models use it."""
    try:
        return tuple(layer.input.shape)
    except (AttributeError, ValueError):
        return ()


def _normalised(found: _Parts, layer: Any) -> str:
    if layer.axis not in (-1, 1):
        return f"normalises axis {layer.axis}; expected the last"
    if found.before is not None:
        return "follows another BatchNormalization"
    mean, variance = (
        keras.ops.convert_to_numpy(array) for array in (layer.moving_mean, layer.moving_variance)
    )
    scale = 1 / np.sqrt(variance + np.asarray(layer.epsilon, variance.dtype))
    if layer.scale:
        scale = scale * keras.ops.convert_to_numpy(layer.gamma)
    shift = -mean * scale
    if layer.center:
        shift = shift + keras.ops.convert_to_numpy(layer.beta)
    if found.dense and not found.dense[-1].activation and not found.dense[-1].dropout:
        last = found.dense[-1]
        last.b = shift + (0 if last.b is None else last.b * scale)
        last.W = last.W * scale[:, None]
    else:
        found.before = scale, shift
    return ""


def _activated(found: _Parts, name: str) -> str:
    if not name:
        return "is neither a Dense layer nor an activation that chainrule has"
    if name == "identity":
        return ""
    if not found.dense:
        return "stands before the first Dense layer"
    if found.before is not None:
        return "follows a BatchNormalization that follows an activation"
    last = found.dense[-1]
    if last.activation:
        return f"follows another activation ({last.activation})"
    if last.dropout:
        return "follows a Dropout; expected it before"
    last.activation = name
    return ""


def _activation(layer: Any) -> str:
    """Return the name of the activation that a layer is, or ""."""
    kind = type(layer)
    if kind is layers.Activation:
        return _function(layer.activation)
    if kind is layers.ReLU and layer.max_value is None and layer.threshold == 0:
        slope = float(layer.negative_slope)
        return "relu" if slope == 0 else "leaky_relu" if _is_hundredth(slope) else ""
    if kind is layers.LeakyReLU and _is_hundredth(float(layer.negative_slope)):
        return "leaky_relu"
    if kind is layers.ELU and layer.alpha == 1:
        return "elu"
    return "softmax" if kind is layers.Softmax and layer.axis in (-1, 1) else ""


def _is_hundredth(slope: float) -> bool:
    return abs(slope - 0.01) < 1e-9  # Keras may keep it in float32


def _function(function: Any) -> str:
    name = keras.activations.serialize(function)
    known = isinstance(name, str) and keras.activations.get(name) is function
    return _FUNCTIONS.get(name, "") if known else ""


def _called(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def model(net: FeedForward) -> Any:
    """Return a Sequential with the parameters of a network."""
    dtype = net.dtype.name
    made: list[Any] = [layers.Input((net.sizes[0],), dtype=dtype)]
    for l, layer in enumerate(net.weighted_layers, start=1):
        name = layer.activation.name
        function = _THEIRS.get(name, "linear" if name == "leaky_relu" else "")
        if not function:
            raise ValueError(
                f"layer {l} has the activation {name!r}, for which Keras has no layer; expected "
                "one that ships with chainrule, other than step"
            )
        made.append(
            layers.Dense(
                len(layer.W), activation=function, use_bias=layer.b is not None, dtype=dtype
            )
        )
        if name == "leaky_relu":
            made.append(layers.LeakyReLU(negative_slope=0.01, dtype=dtype))
        if layer.dropout:
            made.append(layers.Dropout(layer.dropout, dtype=dtype))
    sequential = keras.Sequential(made)
    sequential.dtype_policy = keras.DTypePolicy(dtype)  # to which it casts inputs
    dense = (one for one in sequential.layers if isinstance(one, layers.Dense))
    for one, layer in zip(dense, net.weighted_layers, strict=True):
        one.set_weights([layer.W.T] if layer.b is None else [layer.W.T, layer.b])
    return sequential

"""Sharing: a small network as text for a URL, and as Python code."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Set
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.equations import data
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import LOSSES
from chainrule.explorer.protocol import checks, requests
from chainrule.storage.container import from_json
from chainrule.teach import datasets, inputs
from chainrule.teach.datasets import Dataset

VERSION = 2  # of the format; 1 holds data as they come, which older explorers read, too
MOST = 600  # parameters, or numbers of samples, that fit into a URL
_LONGEST = 256 * 2**10  # bytes of a state, unpacked
_COMMON = frozenset({"v", "net", "set", "at"})
_KNOWN_DATA, _OWN_DATA = frozenset({"data"}), frozenset({"X", "y", "classes", "name"})
_NETWORK = frozenset({"sizes", "hidden", "output", "loss", "biases", "dtype", "l2", "seed", "p"})


def pack(state: dict[str, Any]) -> str:
    """Return plain data as text of letters, digits, - and _."""
    raw = json.dumps(state, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(raw, 9)).decode().rstrip("=")


def unpack(text: str) -> dict[str, Any]:
    """Return the data of such a text; raise ValueError for any other.

    The checksum that zlib puts at the end covers every letter.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(packed).decode().rstrip("=") != text:
            raise ValueError("its last letter is wrong")
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, _LONGEST)
        if not unpacker.eof:
            raise ValueError("it is too long or incomplete")
        if unpacker.unused_data:
            raise ValueError("it goes on after its end")
        state = from_json(raw.decode(), "it")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise _refusal(str(error)) from None
    if not isinstance(state, dict):
        raise _refusal("it is not an object")
    _check_version(state.get("v"))
    shaped = frozenset({"shape"} if state["v"] > 1 else ())
    _check_keys(state, _COMMON | shaped | (_KNOWN_DATA if "data" in state else _OWN_DATA))
    return state


def _check_version(version: object) -> None:
    if type(version) is not int or version < 1:
        raise _refusal("it has no version")
    if version > VERSION:
        raise ValueError(
            f"A newer explorer wrote this link, in format {version}; this one reads format "
            f"{VERSION}. Update chainrule."
        )


def _check_keys(state: Mapping[str, Any], known: Set[str]) -> None:
    """Raise ValueError for a missing or unknown key."""
    if missing := sorted(known - state.keys()):
        raise _refusal(f"it lacks {missing[0]!r}")
    if extra := sorted(state.keys() - known):
        raise _refusal(f"it has the unknown key {extra[0]!r}")


def _refusal(reason: str) -> ValueError:
    return ValueError(
        f"This is not a link of the explorer: {reason}. Copy the whole link, or share it again."
    )


def why_not(network: FeedForward, d: Dataset) -> str:
    """Return why a network and its data cannot be shared as a link, or ""."""
    if own := custom(network):
        return f"A link cannot hold the custom function {own[0]!r}."
    if any(layer.dropout for layer in network.weighted_layers):
        return "A link cannot hold a network with dropout."
    if network.parameters.size > MOST:
        return f"A link holds networks of at most {MOST} parameters."
    if len(network.weighted_layers) > requests.MAX_LAYERS:
        return f"A link holds networks of at most {requests.MAX_LAYERS} layers."
    n = len(d.X) if d.held is None else len(d.X) + len(d.X_val)
    if d.name not in datasets.names() and n * (d.given + d.y.shape[1]) > MOST:
        return f"A link holds a data set of the explorer, or samples of at most {MOST} numbers."
    return ""


def network_state(network: FeedForward) -> dict[str, Any]:
    """Return a network as plain data, with every bit of its parameters."""
    return {**structure(network), "p": [float(v) for v in network.parameters]}


def structure(network: FeedForward) -> dict[str, Any]:
    """Return what makes such a network, as plain data; without dropout."""
    return {
        "sizes": list(network.sizes),
        "hidden": [layer.activation.name for layer in network.weighted_layers[:-1]],
        "output": network.weighted_layers[-1].activation.name,
        "loss": network.loss.name,
        "biases": network.biases,
        "dtype": str(network.dtype),
        "l2": network.l2,
        "seed": network.seed,
    }


def network_from(
    state: object, most: int, kind: type[FeedForward] = FeedForward, engine: str = "auto"
) -> FeedForward:
    """Return the network of a state; raise ValueError or TypeError for a bad one."""
    if not isinstance(state, dict):
        raise _refusal("its network is not an object")
    _check_keys(state, _NETWORK)
    sizes = state["sizes"]
    if not isinstance(sizes, list) or not all(map(_is_size, sizes)):
        raise _refusal("its sizes are wrong")
    too_deep = len(sizes) - 1 > requests.MAX_LAYERS
    if len(sizes) < 2 or too_deep or sum(a * b for a, b in pairwise(sizes)) > most:
        raise _refusal("its network is too small or too large")
    given = {key: value for key, value in state.items() if key != "p"}
    network = kind(**given, engine=engine)
    values = state["p"]
    if not isinstance(values, list) or len(values) != network.parameters.size:
        raise _refusal("its parameters do not fit the network")
    parameters = np.array(values, dtype=np.float64)
    if not np.isfinite(parameters).all():
        raise _refusal("a parameter is not finite")
    network.parameters[...] = parameters
    return network


def python(network: FeedForward, dataset: Dataset, rule: str, batch_size: int, focus: int) -> str:
    """Return Python code that makes this network, with its parameters if they are few."""
    hidden = [layer.activation.name for layer in network.weighted_layers[:-1]]
    output = network.weighted_layers[-1].activation.name
    options = f"biases={network.biases}, dtype={str(network.dtype)!r}, l2={network.l2!r}"
    rates = [layer.dropout for layer in network.weighted_layers[:-1]]
    if any(rates):
        options += f", dropout={rates!r}"
    lines = [
        "import chainrule as cr",
        "",
        *(f"# {name!r} is a custom function: pass the object." for name in custom(network)),
        "net = cr.Network(",
        f"    {list(network.sizes)}, hidden={hidden!r},",
        f"    output={output!r}, loss={network.loss.name!r},",
        f"    {options}, seed={network.seed},",
        ")",
    ]
    if network.parameters.size <= MOST:
        for l, layer in enumerate(network.weighted_layers, start=1):
            lines.append(f"net.layers[{l}].W[...] = {_literal(layer.W)}")
            if layer.b is not None:
                lines.append(f"net.layers[{l}].b[...] = {_literal(layer.b)}")
    else:
        lines.append(
            "# It has the initial weights of its seed. Save the model to keep trained weights."
        )
    if dataset.scaled:
        lines.append(
            "# Scale each input to mean 0 and standard deviation 1 over the training samples."
        )
    for i, name in enumerate(dataset.derived):
        lines.append(f"# Input {dataset.given + i} is {inputs.words(name, 0)}.")
    if dataset.X.size <= 100:
        lines += [f"X = {_literal(dataset.X)}", f"y = {_literal(dataset.y)}"]
    else:
        x, y = dataset.X[focus : focus + 1], dataset.y[focus : focus + 1]
        lines += [f"# Sample {focus} of {dataset.name}; put your data here."]
        lines += [f"X = {_literal(x)}", f"y = {_literal(y)}"]
    lines += [
        "",
        'print(net.explain("w[1][0,0]", X, y))',
        f"net.fit(X, y, optimizer=cr.{rule}, batch_size={batch_size}, epochs=100)",
        "",
    ]
    return "\n".join(lines)


def custom(network: FeedForward) -> list[str]:
    """Return the names of the activations and the loss that are not the library's."""
    found = [
        layer.activation.name
        for layer in network.weighted_layers
        if type(layer.activation) is not type(ACTIVATIONS.get(layer.activation.name))
    ]
    if type(network.loss) is not type(LOSSES.get(network.loss.name)):
        found.append(network.loss.name)
    return list(dict.fromkeys(found))


def _is_size(units: object) -> bool:
    return type(units) is int and 0 < units <= requests.MAX_UNITS


def _literal(array: Any) -> str:
    return repr(np.asarray(array, dtype=np.float64).tolist())


def state_of(
    network: FeedForward, d: Dataset, settings: dict[str, Any], sample: int
) -> dict[str, Any]:
    """Return the state of a link: network, settings, current sample, and data or their name."""
    state = {"v": 1, "net": network_state(network), "set": settings, "at": sample}
    known = d.name in datasets.names()
    shape = {
        "derived": list(d.derived), "held": d.held, "noise": d.noise, "seed": d.seed,
        "outputs": 2 if d.classes == 2 and d.y.shape[1] == 2 else None,
    }  # fmt: skip
    if known and _is_original(d, shape):
        if shape != _AS_MADE:
            state |= {"v": 2, "shape": shape}
        return {**state, "data": d.name}
    X, y, held = d.X, d.y, None
    if known:  # an edited one: only the current sample matters
        X, y, state["at"] = X[sample : sample + 1], y[sample : sample + 1], 0
    elif d.held is not None:
        (X, y), held = datasets.whole(d), d.held
    if d.derived or held is not None:
        shape = {**_AS_MADE, "derived": list(d.derived), "held": held}
        state |= {"v": 2, "shape": shape}
    return {
        **state, "X": X[:, : d.given].tolist(), "y": y.tolist(), "classes": d.classes,
        "name": d.name,
    }  # fmt: skip


def _is_original(d: Dataset, shape: dict[str, Any]) -> bool:
    made = _made(d.name, shape)
    return np.array_equal(made.X, d.X) and np.array_equal(made.y, d.y)


# What older explorers take the data for.
_AS_MADE: dict[str, Any] = {
    "derived": [], "held": None, "noise": Dataset.noise, "seed": 0, "outputs": None,
}  # fmt: skip


def _made(name: str, shape: dict[str, Any]) -> Dataset:
    """Return a data set of the explorer in a shape."""
    d = datasets.make(name, shape["noise"], shape["seed"])
    if shape["held"] is not None:
        d = datasets.hold_out(d, shape["held"])
    if shape["outputs"] is not None:
        d = datasets.with_outputs(d, shape["outputs"])
    return inputs.derive(d, shape["derived"])


def _shape_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return how the data of a state are shaped, checked."""
    shape = state.get("shape", _AS_MADE)
    if not isinstance(shape, dict):
        raise _refusal("its shape is not an object")
    _check_keys(shape, _AS_MADE.keys())
    given: list[tuple[Any, dict[str, Any]]] = [
        (requests.Inputs, {"derived": shape["derived"]}),
        (requests.Data, {"noise": shape["noise"], "seed": shape["seed"], "name": "xor"}),
    ]
    if shape["held"] is not None:
        given.append((requests.Split, {"share": shape["held"]}))
    if shape["outputs"] is not None:
        given.append((requests.Outputs, {"units": shape["outputs"]}))
    try:
        for cls, fields in given:
            checks.make(cls, fields)
    except ValueError as error:
        raise _refusal(str(error)) from None
    return shape


def dataset_of(state: dict[str, Any], network: FeedForward) -> Dataset:
    """Return the data of a state; raise ValueError if they do not fit its network."""
    shape = _shape_of(state)
    derived = shape["derived"]
    if "data" in state:
        dataset = _made(state["data"], shape)
        data.samples(dataset.X, dataset.y, network.sizes, network.loss, None)
        return dataset
    label = state["name"]
    label = label[: requests.MAX_NAME] if isinstance(label, str) else "data"
    X = state["X"]
    if derived:
        if network.sizes[0] != 2 + len(derived):
            raise _refusal("its inputs do not fit the network")
        X = inputs.expand(data.inputs(X, 2), derived)
    dataset = datasets.for_network(network, X, state["y"], None, label)
    dataset = replace(dataset, derived=tuple(derived))
    if shape["held"] is not None:
        dataset = datasets.hold_out(dataset, shape["held"])
    return dataset


def settings_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a state, each still unchecked."""
    given = state["set"]
    if not isinstance(given, dict):
        raise _refusal("its settings are not an object")
    return given

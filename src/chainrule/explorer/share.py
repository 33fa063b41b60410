"""Sharing: a small network as a text for a URL, and as Python code."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Set
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward
from chainrule.explorer import subject
from chainrule.storage.container import from_json
from chainrule.teach import datasets
from chainrule.teach.datasets import Dataset

VERSION = 1  # raised when an explorer that knows only the one before would misread a state
MOST = 600  # parameters that fit into a URL
_LONGEST = 256 * 2**10  # bytes of a state, unpacked
_COMMON = frozenset({"v", "net", "set", "at"})
_KNOWN_DATA, _OWN_DATA = frozenset({"data"}), frozenset({"X", "y", "classes", "name"})
_NETWORK = frozenset({"sizes", "hidden", "output", "loss", "biases", "dtype", "l2", "seed", "p"})


def pack(state: dict[str, Any]) -> str:
    """Return plain data as a text of letters, digits, - and _."""
    raw = json.dumps(state, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(raw, 9)).decode().rstrip("=")


def unpack(text: str) -> dict[str, Any]:
    """Return the data of such a text; ValueError for any other.

    Every letter counts into the checksum that zlib puts at the end.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(packed).decode().rstrip("=") != text:
            raise ValueError("its last letter is not one that was written")
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, _LONGEST)
        if not unpacker.eof:
            raise ValueError("it is too long, or cut off")
        if unpacker.unused_data:
            raise ValueError("something follows its end")
        state = from_json(raw.decode(), "it")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ValueError(f"this is no state of the explorer: {error}") from None
    if not isinstance(state, dict):
        raise ValueError("this is no state of the explorer")
    _check_version(state.get("v"))
    _check_keys(state, _COMMON | (_KNOWN_DATA if "data" in state else _OWN_DATA))
    return state


def _check_version(version: object) -> None:
    if type(version) is not int or version < 1:
        raise ValueError("this is no state of the explorer: it has no version")
    if version > VERSION:
        raise ValueError(
            f"this state was written by a newer explorer, in format {version}; this one reads "
            f"format {VERSION}: update chainrule"
        )


def _check_keys(state: Mapping[str, Any], known: Set[str]) -> None:
    """Raise ValueError where a key is missing, or is not known."""
    if missing := sorted(known - state.keys()):
        raise ValueError(f"this is no state of the explorer: it lacks {missing[0]!r}")
    if extra := sorted(state.keys() - known):
        raise ValueError(f"this is no state of the explorer: it has {extra[0]!r}")


def network_state(network: FeedForward) -> dict[str, Any]:
    """Return a network as plain data, every parameter to its last bit."""
    return {
        "sizes": list(network.sizes),
        "hidden": [layer.activation.name for layer in network.weighted_layers[:-1]],
        "output": network.weighted_layers[-1].activation.name,
        "loss": network.loss.name,
        "biases": network.biases,
        "dtype": str(network.dtype),
        "l2": network.l2,
        "seed": network.seed,
        "p": [float(v) for v in network.parameters],
    }


def network_from(state: object, most: int, kind: type[FeedForward] = FeedForward) -> FeedForward:
    """Return the network of a state; ValueError or TypeError for what is none."""
    if not isinstance(state, dict):
        raise ValueError("this is no state of the explorer: net")
    _check_keys(state, _NETWORK)
    sizes = state["sizes"]
    if not isinstance(sizes, list) or not all(type(u) is int and 0 < u <= 1024 for u in sizes):
        raise ValueError("this is no state of the explorer: sizes")
    if not 2 <= len(sizes) <= 16 or sum(a * b for a, b in pairwise(sizes)) > most:
        raise ValueError("this is no state of the explorer: the network is too large")
    network = kind(**{key: value for key, value in state.items() if key != "p"})
    values = state["p"]
    if not isinstance(values, list) or len(values) != network.parameters.size:
        raise ValueError("this is no state of the explorer: the parameters do not fit")
    parameters = np.array(values, dtype=np.float64)
    if not np.isfinite(parameters).all():
        raise ValueError("this is no state of the explorer: a parameter is not finite")
    network.parameters[...] = parameters
    return network


def python(network: FeedForward, dataset: Dataset, rule: str, batch_size: int, focus: int) -> str:
    """Return code that makes this network, with its parameters where they are few."""
    hidden = [layer.activation.name for layer in network.weighted_layers[:-1]]
    output = network.weighted_layers[-1].activation.name
    options = f"biases={network.biases}, dtype={str(network.dtype)!r}, l2={network.l2!r}"
    lines = [
        "import chainrule as cr",
        "",
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
        lines.append("# its weights are those of the seed; after training, save the model instead")
    if dataset.scaled:
        lines.append("# each input is scaled to mean 0 and deviation 1 over the training samples")
    if dataset.X.size <= 100:
        lines += [f"X = {_literal(dataset.X)}", f"y = {_literal(dataset.y)}"]
    else:
        x, y = dataset.X[focus : focus + 1], dataset.y[focus : focus + 1]
        lines += [f"# sample {focus} of {dataset.name}; put your data here"]
        lines += [f"X = {_literal(x)}", f"y = {_literal(y)}"]
    lines += [
        "",
        'print(net.explain("w[1][0,0]", X, y))',
        f"net.fit(X, y, optimizer=cr.{rule}, batch_size={batch_size}, epochs=100)",
        "",
    ]
    return "\n".join(lines)


def _literal(array: Any) -> str:
    return repr(np.asarray(array, dtype=np.float64).tolist())


def state_of(
    network: FeedForward, d: Dataset, settings: dict[str, Any], sample: int
) -> dict[str, Any]:
    """Return what a link says: network, settings, the sample at hand, and data or their name."""
    state = {"v": VERSION, "net": network_state(network), "set": settings, "at": sample}
    known = d.name in datasets.names()
    if known and _is_original(d):
        return {**state, "data": d.name}
    rows = slice(0, max(MOST // (d.X.shape[1] + d.y.shape[1]), 1))
    if known:  # an edited one: the sample at hand is what matters
        rows = slice(sample, sample + 1)
        state["at"] = 0
    return {
        **state, "X": d.X[rows].tolist(), "y": d.y[rows].tolist(), "classes": d.classes,
        "name": d.name,
    }  # fmt: skip


def _is_original(d: Dataset) -> bool:
    made = datasets.make(d.name)
    return np.array_equal(made.X, d.X) and np.array_equal(made.y, d.y)


def dataset_of(state: dict[str, Any], network: FeedForward) -> Dataset:
    """Return the data of a state, checked for its network."""
    if "data" in state:
        dataset = datasets.make(state["data"])
        data.samples(dataset.X, dataset.y, network.sizes, network.loss, None)
        return dataset
    label = state["name"]
    label = label[:40] if isinstance(label, str) else "data"
    return subject.as_dataset(network, state["X"], state["y"], None, label)


def settings_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a state, which are still to be checked one by one."""
    given = state["set"]
    if not isinstance(given, dict):
        raise ValueError("this is no state of the explorer: set")
    return given

"""Model files: a network as a safetensors file, without pickle and without code.

The tensors are ``layers.1.W``, ``layers.1.b`` and so on, in the network's dtype. The entry
``chainrule`` of the header's metadata is JSON: the version of this format and everything else that
makes the network. An activation or loss of a user's own is stored by name and formula only;
`load` wants the object itself. Its last key is a SHA-256 digest of all that stands before it and of
the tensors, which tells damage; nothing comes after it.

A checkpoint (`chainrule.training.checkpoints`) is a model file with more in it: the description
has a key ``checkpoint``, and the names of its tensors begin with ``checkpoint.``. The model of
a table (`chainrule.tables.model`) has a key ``table``; if it has several networks, the parameters
of the others are tensors whose names begin with ``table.``.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import activations, losses
from chainrule.equations.activations import Activation
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import Loss
from chainrule.storage.atomic import write_atomically
from chainrule.storage.container import (
    LONGEST_HEADER,
    OpenFile,
    as_json,
    from_json,
    opened,
    serialize,
)

Array = NDArray[Any]
N = TypeVar("N", bound=FeedForward)
VERSION = 1  # raised when a program that knows only the one before would misread the file

CHECKPOINT, TABLE = "checkpoint", "table"

_ENTRY = "chainrule"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "sizes": list,
    "activations": list,
    "loss": (str, dict),
    "biases": bool,
    "dtype": str,
    "seed": int,
    "dropout": list,
    "l2": (int, float),
}
_OPTIONAL: dict[str, type] = {CHECKPOINT: dict, TABLE: dict, "digest": str}
_SIGNED = re.compile(r'(.*),"digest":"[0-9a-f]{64}"\}', re.DOTALL)
_LONGEST = 1 << 22  # characters of JSON; a table of 10,000 columns of numbers fits
_ROOM = 1 << 17  # of these, for the network itself
_MOST_UNITS = 1 << 40
_DTYPES = {"F32": "float32", "F64": "float64"}

# --- saving ---------------------------------------------------------------------------------------


def save(network: FeedForward, path: str | os.PathLike[str]) -> None:
    """Write the network to a safetensors file.

    The write is atomic: whatever happens, the file is the old one or the new one.

    Args:
        path: The file to write. One that exists is replaced.

    Raises:
        OSError: The file cannot be written, for example because the folder does not exist or the
            disk is full. The old file, if any, stays as it was.
        ValueError: A parameter is NaN or infinite, or ``path`` exists and is not a regular file.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> cr.Network([2, 3, 1], seed=0).save(path)
        >>> cr.load(path).sizes
        (2, 3, 1)
    """
    network.check_parameters()
    write_atomically(path, content(network, network.parameters))


def content(
    network: FeedForward,
    parameters: Array,
    more: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Array] | None = None,
) -> bytes:
    """Return the bytes of the file of a network with these parameters.

    ``more`` goes into its description, and ``tensors`` beside its own, their names beginning with
    the key in ``more`` that they belong to.
    """
    text = as_json(describe(network) | dict(more or {}))
    if len(text) > _LONGEST:
        raise ValueError(
            f"the description of this network of {len(network.sizes):,} layers has {len(text):,} "
            f"characters, too many for a model file"
        )
    named = dict(tensors or {})
    for l, (W, b) in enumerate(network.views_of(parameters), start=1):
        named[f"layers.{l}.W"] = W
        if b is not None:
            named[f"layers.{l}.b"] = b
    body = text.removesuffix("}")
    digest = _digest(body, sorted(named.items()))
    return serialize(named, {_ENTRY: f'{body},"digest":"{digest}"}}'})


def fits(more: Mapping[str, Any]) -> bool:
    """Return whether a model file has room for this in the description of a network."""
    text = as_json(more)
    return len(text) < _LONGEST - _ROOM and len(as_json(text).encode()) < LONGEST_HEADER - _ROOM


def _digest(body: str, tensors: Iterable[tuple[str, Array]]) -> str:
    import hashlib  # for files alone

    digest = hashlib.sha256(body.encode("utf-8", "surrogatepass"))
    for name, array in tensors:
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def describe(network: FeedForward) -> dict[str, Any]:
    """Return everything that makes a network but its parameters, as a model file states it."""
    functions = [layer.activation for layer in network.weighted_layers]
    formulas: dict[str, str] = {}
    for g in functions:
        if formulas.setdefault(g.name, g.formula) != g.formula:
            raise ValueError(
                f"two activations are called {g.name!r}, with formulas {formulas[g.name]!r} and "
                f"{g.formula!r}; a model file tells them apart by name"
            )
    return {
        "version": VERSION,
        "sizes": list(network.sizes),
        "activations": [_name(g, activations.ACTIVATIONS) for g in functions],
        "loss": _name(network.loss, losses.LOSSES),
        "biases": network.biases,
        "dtype": network.dtype.name,
        "seed": network.seed,
        "dropout": [layer.dropout for layer in network.layers[1:-1]],
        "l2": network.l2,
    }


def _name(function: Activation | Loss, known: Mapping[str, object]) -> str | dict[str, str]:
    if type(function) is type(known.get(function.name)):
        return function.name
    return {"own": function.name, "formula": function.formula}


# --- loading --------------------------------------------------------------------------------------


@overload
def load(path: str | os.PathLike[str], custom: Sequence[Activation | Loss] = ()) -> FeedForward: ...


@overload
def load(path: str | os.PathLike[str], custom: Sequence[Activation | Loss], kind: type[N]) -> N: ...


def load(
    path: str | os.PathLike[str],
    custom: Sequence[Activation | Loss] = (),
    kind: type[FeedForward] = FeedForward,
) -> FeedForward:
    """Read a network from a file that `save` wrote.

    ``custom`` are the activations and losses of your own that the network uses; they are found by
    name. Nothing is built before all of the file is known to fit together.

    Raises ValueError where the file is foreign, damaged, cut short, or from a newer version, or
    where an activation or loss is missing; OSError where it can't be read.
    """
    own = _own(custom)
    with opened(path) as file:
        about, _ = check(file)
        if more := sum(name.startswith(f"{TABLE}.") for name in file.keys()):  # noqa: SIM118
            raise ValueError(
                f"it is the model of a table with {more + 1} networks; chainrule.load reads one. "
                "Read it with chainrule.load_table"
            )
        return build(file, about, own, kind)


def _own(custom: Sequence[Activation | Loss]) -> dict[tuple[type, str], Activation | Loss]:
    own: dict[tuple[type, str], Activation | Loss] = {}
    for function in custom:
        if isinstance(function, Activation):
            own[Activation, function.name] = activations.get(function)
        elif isinstance(function, Loss):
            own[Loss, function.name] = losses.get(function)
        else:
            raise TypeError(
                f"custom holds {function!r}; expected objects of your Activation and Loss classes"
            )
    return own


def build(
    file: OpenFile,
    about: Mapping[str, Any],
    own: Mapping[tuple[type, str], Activation | Loss],
    kind: type[N],
) -> N:
    """Return the network of a file that has been checked; ``about`` is what `check` returned."""
    functions = [_function(entry, Activation, own) for entry in about["activations"]]
    loss = _function(about["loss"], Loss, own)
    network = kind(
        about["sizes"], hidden=functions[:-1], output=functions[-1], loss=loss,
        biases=about["biases"], dtype=about["dtype"], seed=about["seed"], init="zeros",
        dropout=about["dropout"], l2=about["l2"],
    )  # fmt: skip
    for l, layer in enumerate(network.weighted_layers, start=1):
        layer.W[...] = file.get_tensor(f"layers.{l}.W")
        if layer.b is not None:
            layer.b[...] = file.get_tensor(f"layers.{l}.b")
    network.check_parameters()
    return network


def check(file: OpenFile) -> tuple[dict[str, Any], list[str]]:
    """Return the description of a network and the names of its tensors, once all fits together.

    The shapes that it states are compared with those that the file really holds, so that no size
    can ask for more memory than the file has.
    """
    text = (file.metadata() or {}).get(_ENTRY)
    about = _read_description(text)
    sizes = about["sizes"]
    if len(sizes) < 2 or any(
        type(units) is not int or not 1 <= units < _MOST_UNITS for units in sizes
    ):
        raise ValueError("its sizes are not whole numbers from 1, for an input and a layer or more")
    if len(about["activations"]) != len(sizes) - 1 or len(about["dropout"]) != len(sizes) - 2:
        raise ValueError("its activations or dropout rates do not fit its layers")
    shapes = _expected_shapes(sizes, about["biases"])
    names = set(file.keys())
    room = tuple(f"{key}." for key in (CHECKPOINT, TABLE) if key in about)
    more = {name for name in names if name.startswith(room)}
    _check_tensors(file, names - more, shapes, about["dtype"])
    if "digest" in about and text is not None:
        signed = _SIGNED.fullmatch(text)
        if signed is None:
            raise ValueError("it is damaged: its digest is not what its description ends with")
        tensors = ((name, file.get_tensor(name)) for name in sorted(names))
        if _digest(signed[1], tensors) != about["digest"]:
            raise ValueError("it is damaged: its contents are not those that were written")
    return about, list(shapes)


def _read_description(text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError(
            f"it is a safetensors file, but not one of chainrule's: its header has no {_ENTRY!r}"
        )
    if len(text) > _LONGEST:
        raise ValueError(f"its description is too long: {len(text):,} characters")
    about = from_json(text, "its description")
    if not isinstance(about, dict) or type(about.get("version")) is not int or about["version"] < 1:
        raise ValueError("its description has no version")
    if about["version"] > VERSION:
        raise ValueError(
            f"written by a newer chainrule, in format {about['version']}; this one reads format "
            f"{VERSION}: update chainrule"
        )
    if missing := [key for key in _KEYS if key not in about]:
        raise ValueError(f"its description lacks {missing[0]!r}")
    known = _KEYS | {key: kind for key, kind in _OPTIONAL.items() if key in about}
    if extra := [key for key in about if key not in known]:
        raise ValueError(f"its description has {extra[0]!r}, which format {VERSION} does not know")
    for key, kind in known.items():
        if not isinstance(about[key], kind) or (kind is not bool and isinstance(about[key], bool)):
            raise ValueError(f"its {key} is {about[key]!r}, which is of the wrong kind")
    return about


def _function(entry: Any, kind: type, own: Mapping[tuple[type, str], Activation | Loss]) -> Any:
    """Return the activation or loss that an entry of the description names."""
    get = activations.get if kind is Activation else losses.get
    if isinstance(entry, str):
        return get(entry)
    word = kind.__name__.lower()
    if not (isinstance(entry, dict) and entry.keys() == {"own", "formula"}):
        raise ValueError(f"its {word} {entry!r} is of the wrong kind")
    name, formula = entry["own"], entry["formula"]
    if not isinstance(name, str) or (kind, name) not in own:
        raise ValueError(
            f"it uses the {word} {name!r}, which is not chainrule's own. Pass it: "
            f"load(path, custom=[...])"
        )
    function = own[kind, name]
    if function.formula != formula:
        raise ValueError(
            f"its {word} {name!r} has the formula {formula!r}; the one that was passed has "
            f"{function.formula!r}"
        )
    return function


def _expected_shapes(sizes: list[int], biases: bool) -> dict[str, list[int]]:
    shapes = {}
    for l, (fan_in, units) in enumerate(itertools.pairwise(sizes), start=1):
        shapes[f"layers.{l}.W"] = [units, fan_in]
        if biases:
            shapes[f"layers.{l}.b"] = [units]
    return shapes


def _check_tensors(
    file: OpenFile, names: set[str], shapes: dict[str, list[int]], dtype: str
) -> None:
    if missing := [name for name in shapes if name not in names]:
        raise ValueError(f"it lacks the tensor {missing[0]!r}")
    if extra := sorted(names - shapes.keys()):
        raise ValueError(f"it has a tensor {extra[0]!r}, which its network has no place for")
    for name, shape in shapes.items():
        tensor = file.get_slice(name)
        if tensor.get_shape() != shape:
            raise ValueError(f"tensor {name!r} has shape {tensor.get_shape()}; expected {shape}")
        if _DTYPES.get(tensor.get_dtype()) != dtype:
            raise ValueError(f"tensor {name!r} has dtype {tensor.get_dtype()}; expected {dtype}")

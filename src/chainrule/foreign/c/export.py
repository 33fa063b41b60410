"""Network.to_c: write a network as a file of C and its header."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from chainrule.equations.feedforward import FeedForward
from chainrule.foreign.c import quantize as int8
from chainrule.foreign.c.source import MARK, Around, Settings, header, source
from chainrule.storage.atomic import write_atomically

AnyNetwork = TypeVar("AnyNetwork", bound=FeedForward)


def to_c(
    net: AnyNetwork,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    dtype: str | None = None,
    arithmetic: str | None = None,
    quantize: str | None = None,
    main: bool = False,
    around: Callable[[Settings], Around] = lambda _: Around(),
) -> AnyNetwork:
    """Write a network as C99; see `chainrule.Network.to_c`.

    ``around`` returns what stands in the file beside the network.
    """
    path = os.fspath(path)
    if not path.endswith(".c"):
        raise ValueError(f"path is {path!r}; expected the name of a file that ends in .c")
    dtype = _type(dtype, "dtype", net.dtype.name)
    arithmetic = _type(arithmetic, "arithmetic", dtype)
    if dtype == "float64" and arithmetic == "float32":
        raise ValueError("arithmetic is float32, dtype is float64; expected float64 for both")
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize is {quantize!r}; expected 'int8' or None")
    of_header = os.path.basename(path)[:-2] + ".h"
    settings = Settings(_identifier(name, path), of_header, dtype, arithmetic, bool(main))
    net.check_parameters()
    rounded = _rounded(net, dtype)
    weights = None if quantize is None else int8.quantize(rounded, dtype)
    if weights is not None:
        for layer, (q, s) in zip(rounded.weighted_layers, weights.layers, strict=True):
            layer.W[...] = q * s.astype(np.float64)[:, None]
    more = around(settings)
    files = {
        path[:-2] + ".h": header(rounded, settings, more),
        path: source(rounded, settings, weights, more),
    }
    for file in files:
        check_replaceable(file)
    for file, text in files.items():
        write_atomically(file, text.encode())
    return rounded


def check_replaceable(path: str) -> None:
    """Raise ValueError if a file exists that chainrule did not write."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(MARK))
    except FileNotFoundError:
        return
    if start != MARK.encode():
        raise ValueError(
            f"{path} exists and was not written by chainrule. Choose another path, or delete it."
        )


def _type(given: Any, what: str, unsaid: str) -> str:
    if given is None:
        return unsaid
    if given not in ("float32", "float64"):
        error = ValueError if isinstance(given, str) else TypeError
        raise error(f"{what} is {given!r}; expected 'float32' or 'float64'")
    return str(given)


def _identifier(name: Any, path: str) -> str:
    """Return what names begin with; raise ValueError unless C takes it as an identifier."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name is {name!r}; expected a text")
    given = os.path.basename(path)[:-2] if name is None else name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", given, re.ASCII):
        of = f"{path} names the functions {given!r}" if name is None else f"name is {given!r}"
        raise ValueError(
            f"{of}; expected letters, digits and _, with a letter first, as C has them. "
            + ("Pass name, or choose another path." if name is None else "Choose another name.")
        )
    return given


def _rounded(net: AnyNetwork, dtype: str) -> AnyNetwork:
    """Return a copy with parameters that the type has."""
    rounded = net.copy()
    with np.errstate(over="ignore"):
        values = net.parameters.astype(dtype)
    if not np.isfinite(values).all():
        l, what = next(
            (l, what)
            for l, layer in enumerate(net.layers[1:], start=1)
            for what, array in (("W", layer.W), ("b", layer.b))
            if array is not None and np.abs(array).max() > float(np.finfo(dtype).max)
        )
        raise ValueError(
            f"layers[{l}].{what} has a number that {dtype} does not have; expected dtype='float64'"
        )
    rounded.parameters[...] = values
    return rounded

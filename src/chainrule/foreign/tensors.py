"""Weights and biases in a safetensors file of another program, found by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from chainrule.equations.arrays import check_finite
from chainrule.equations.checks import listed
from chainrule.storage.container import OpenFile, opened

Array = NDArray[Any]
_KINDS = ("F16", "F32", "F64")


def read(
    path: str | os.PathLike[str], names: Sequence[str | tuple[str, str]], transposed: bool
) -> tuple[list[Array], list[Array]]:
    """Return the weights, (units_l, units_{l-1}), and the biases of layers, none if there are none.

    Raises TypeError for what is not a name, ValueError for what does not fit, OSError if the file
    cannot be read.
    """
    pairs = _pairs(names)
    with opened(path, "a safetensors file") as file:
        faults = _faults(file, pairs, transposed)
        if faults:
            raise ValueError("; ".join(faults))
        W = [file.get_tensor(weight) for weight, _ in pairs]
        b = [file.get_tensor(bias) for _, bias in pairs if bias is not None]
        for (weight, bias), array in zip(pairs, W, strict=True):
            check_finite(array, weight)
            if bias is not None:
                check_finite(file.get_tensor(bias), bias)
    return [array.T if transposed else array for array in W], b


def _pairs(names: Any) -> list[tuple[str, str | None]]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise TypeError(
            f"names is {names!r}; expected a list with the name of the weight of each layer, or "
            "the names of its weight and its bias"
        )
    pairs: list[tuple[str, str | None]] = []
    for l, name in enumerate(names, start=1):
        pair = (name, None) if isinstance(name, str) else name
        fits = isinstance(pair, tuple | list) and len(pair) == 2
        if not fits or not all(isinstance(one, str | None) for one in pair) or pair[0] is None:
            raise TypeError(
                f"names has {name!r} for layer {l}; expected the name of its weight, or the names "
                "of its weight and its bias"
            )
        pairs.append((pair[0], pair[1]))
    without = [weight for weight, bias in pairs if bias is None]
    if without and len(without) < len(pairs):
        raise ValueError(
            f"names has no bias for {listed(without)}, and one for other layers; all or no layers "
            "need one"
        )
    return pairs


def _faults(file: OpenFile, pairs: Sequence[tuple[str, str | None]], transposed: bool) -> list[str]:
    """Return what speaks against the tensors."""
    there = list(file.keys())
    wanted = [name for pair in pairs for name in pair if name is not None]
    if missing := [name for name in wanted if name not in there]:
        shapes = [f"{name} {tuple(file.get_slice(name).get_shape())}" for name in there]
        return [f"there is no tensor {listed(missing)}; the file has {', '.join(shapes[:30])}"]
    faults, before = [], None
    for weight, bias in pairs:
        shape = tuple(file.get_slice(weight).get_shape())
        if len(shape) != 2 or 0 in shape:
            form = "(inputs, outputs)" if transposed else "(outputs, inputs)"
            faults.append(f"{weight} has shape {shape}; expected {form}")
            continue
        units, fan_in = reversed(shape) if transposed else shape
        if before is not None and fan_in != before:
            hint = "" if transposed else ". Pass transposed=True if weights are (inputs, outputs)"
            faults.append(f"{weight} takes {fan_in} inputs, the layer before has {before}{hint}")
        if bias is not None and (of_bias := tuple(file.get_slice(bias).get_shape())) != (units,):
            faults.append(f"{bias} has shape {of_bias}; expected ({units},)")
        before = units
    kinds = {name: file.get_slice(name).get_dtype() for name in wanted}
    expected = listed(list(_KINDS))
    faults += [
        f"{name} holds {kind}; expected {expected}"
        for name, kind in kinds.items()
        if kind not in _KINDS
    ]
    return faults

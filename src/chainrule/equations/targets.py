"""Targets: what a derivative is taken with respect to, such as w[2][1,2].

Indices start at 0; layer 0 is the input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from chainrule._exports import exported
from chainrule.equations.checks import integer


@exported("chainrule")
@dataclass(frozen=True)
class Weight:
    """Name the weight w_jk^(l), from unit k of layer l−1 to unit j of layer l.

    Args:
        layer: l, from 1 to L.
        j: The unit of layer l, from 0.
        k: The unit of layer l−1, from 0.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.Weight(layer=2, j=1, k=2))
        w[2][1,2]
    """

    layer: int
    j: int
    k: int

    def __str__(self) -> str:
        return f"w[{self.layer}][{self.j},{self.k}]"


@exported("chainrule")
@dataclass(frozen=True)
class Bias:
    """Name the bias b_j^(l) of unit j of layer l.

    Args:
        layer: l, from 1 to L.
        j: The unit, from 0.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.Bias(layer=2, j=1))
        b[2][1]
    """

    layer: int
    j: int

    def __str__(self) -> str:
        return f"b[{self.layer}][{self.j}]"


@exported("chainrule")
@dataclass(frozen=True)
class PreActivation:
    """Name the pre-activation z_j^(l) of unit j of layer l.

    Args:
        layer: l, from 1 to L.
        j: The unit, from 0.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.PreActivation(layer=1, j=0))
        z[1][0]
    """

    layer: int
    j: int

    def __str__(self) -> str:
        return f"z[{self.layer}][{self.j}]"


@exported("chainrule")
@dataclass(frozen=True)
class UnitOutput:
    """Name the activation a_j^(l) of unit j of layer l; in layer 0 it is the input x_j.

    Args:
        layer: l, from 0 to L.
        j: The unit, from 0.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.UnitOutput(layer=1, j=3), cr.UnitOutput(layer=0, j=0))
        a[1][3] x[0]
    """

    layer: int
    j: int

    def __str__(self) -> str:
        return f"a[{self.layer}][{self.j}]" if self.layer else f"x[{self.j}]"


@exported("chainrule")
@dataclass(frozen=True)
class WeightMatrix:
    """Name all weights W^(l) of a layer.

    Args:
        layer: l, from 1 to L.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.WeightMatrix(layer=2))
        W[2]
    """

    layer: int

    def __str__(self) -> str:
        return f"W[{self.layer}]"


@exported("chainrule")
@dataclass(frozen=True)
class BiasVector:
    """Name all biases b^(l) of a layer.

    Args:
        layer: l, from 1 to L.

    Examples:
        >>> import chainrule as cr
        >>> print(cr.BiasVector(layer=1))
        b[1]
    """

    layer: int

    def __str__(self) -> str:
        return f"b[{self.layer}]"


Target = Weight | Bias | PreActivation | UnitOutput
ArrayTarget = WeightMatrix | BiasVector

_FORM = re.compile(r"([wbza])\[(-?\d+)\]\[(-?\d+)(?:,(-?\d+))?\]|x\[(-?\d+)\]")
_ARRAY = re.compile(r"([Wb])\[(-?\d+)\]")
_FORMS = "'w[2][1,2]', 'b[2][1]', 'z[1][0]', 'a[1][3]' or 'x[0]'"


def resolve(target: Target | str, sizes: Sequence[int], biases: bool = True) -> Target:
    """Return the target that a text names, or check one, in a network of these sizes.

    Raises ValueError where the text is not a target or the network has none such, TypeError for
    anything else.
    """
    if isinstance(target, str):
        target = _parse(target)
    elif not isinstance(target, Target):
        raise TypeError(f"a target is {_FORMS}, or a chainrule.Weight, got {target!r}")
    else:
        target = _with_integers(target)
    last = len(sizes) - 1
    first = 0 if isinstance(target, UnitOutput) else 1
    if not first <= target.layer <= last:
        raise ValueError(f"{target}: the network has layers {first} to {last}")
    _check_unit(target, "j", target.j, target.layer, sizes)
    if isinstance(target, Weight):
        _check_unit(target, "k", target.k, target.layer - 1, sizes)
    if isinstance(target, Bias) and not biases:
        raise ValueError(f"{target}: the network has no biases")
    return target


def resolve_any(
    target: Target | ArrayTarget | str, sizes: Sequence[int], biases: bool = True
) -> Target | ArrayTarget:
    """Return the target or the whole array, such as W[2], that a text names, or check one.

    Raises ValueError where the text is neither or the network has none such, TypeError for anything
    else.
    """
    if isinstance(target, str):
        match = _ARRAY.fullmatch(target.replace(" ", ""))
        if match is None:
            return resolve(target, sizes, biases)
        letter, number = match.groups()
        kind: type[WeightMatrix | BiasVector] = WeightMatrix if letter == "W" else BiasVector
        layer = int(number)
    elif isinstance(target, WeightMatrix | BiasVector):
        kind = type(target)
        layer = integer(target.layer, f"{kind.__name__}.layer must be an integer")
    else:
        return resolve(target, sizes, biases)
    found, last = kind(layer), len(sizes) - 1
    if not 1 <= layer <= last:
        raise ValueError(f"{found}: the network has layers 1 to {last}")
    if kind is BiasVector and not biases:
        raise ValueError(f"{found}: the network has no biases")
    return found


def _with_integers(target: Target) -> Target:
    """Return a target with plain integers as indices, which may have been NumPy's."""
    indices = {field.name: getattr(target, field.name) for field in fields(target)}
    for name, index in indices.items():
        indices[name] = integer(index, f"{type(target).__name__}.{name} must be an integer")
    kind: type[Any] = type(target)
    plain: Target = kind(**indices)
    return plain


def _parse(text: str) -> Target:
    match = _FORM.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{text!r} is not a target; write {_FORMS}")
    letter, layer, j, k, x = match.groups()
    if x is not None:
        return UnitOutput(0, int(x))
    if (letter == "w") != (k is not None):
        need = "two unit indices, w[l][j,k]" if letter == "w" else f"one unit index, {letter}[l][j]"
        raise ValueError(f"{text!r} is not a target: {letter} takes {need}")
    if letter == "w":
        return Weight(int(layer), int(j), int(k))
    kinds: dict[str, type[Bias | PreActivation | UnitOutput]]
    kinds = {"b": Bias, "z": PreActivation, "a": UnitOutput}
    return kinds[letter](int(layer), int(j))


def _check_unit(target: Target, name: str, index: int, layer: int, sizes: Sequence[int]) -> None:
    if not 0 <= index < sizes[layer]:
        raise ValueError(
            f"{target}: layer {layer} has units 0 to {sizes[layer] - 1}, {name} is {index}"
        )

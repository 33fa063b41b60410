"""Parameters: one flat vector, and the layers whose W and b are views of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations.activations import Activation
from chainrule.equations.arrays import numeric

Array = NDArray[Any]


class Layer:
    """One layer: its units and, for layers 1 to L, its weights, biases and activation.

    ``net.layers[l]`` is layer l; you do not make layers yourself. ``W`` and ``b`` are views into
    the network's parameters: change them in place, or assign whole arrays of the same shape.

    Args:
        units: The number of units.
        activation: The activation g, or None for the input.
        W: The weights, (units_l, units_{l-1}).
        b: The biases, (units_l,), or None.
        dropout: The rate at which the units are dropped in training.

    Attributes:
        dropout: The rate at which the units are dropped in training.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], seed=0)
        >>> net.layers[1]
        Layer(3 units, relu, W (3, 2))
        >>> net.layers[1].W[2, 0] = 0.5
        >>> net.layers[1].b = [0.1, 0.2, 0.3]
        >>> net.layers[0]
        Layer(2 inputs)
    """

    def __init__(
        self,
        units: int,
        activation: Activation | None = None,
        W: Array | None = None,
        b: Array | None = None,
        dropout: float = 0.0,
    ) -> None:
        self._units, self.dropout = units, dropout
        self._activation, self._W, self._b = activation, W, b

    @property
    def units(self) -> int:
        """Return the number of units."""
        return self._units

    @property
    def activation(self) -> Activation:
        """Return the activation g of the layer."""
        if self._activation is None:
            raise AttributeError("layer 0 is the input and has no activation")
        return self._activation

    @property
    def W(self) -> Array:
        """Return the weights, (units_l, units_{l-1})."""
        if self._W is None:
            raise AttributeError("layer 0 is the input and has no weights")
        return self._W

    @W.setter
    def W(self, values: ArrayLike) -> None:
        assign(self.W, values, "W")

    @property
    def b(self) -> Array | None:
        """Return the biases, (units_l,), or None in a network without biases."""
        return self._b

    @b.setter
    def b(self, values: ArrayLike) -> None:
        if self._b is None:
            raise AttributeError("this layer has no biases")
        assign(self._b, values, "b")

    def __repr__(self) -> str:
        if self._activation is None:
            return f"Layer({self.units} inputs)"
        return f"Layer({self.units} units, {self._activation.name}, W {self.W.shape})"


class Layers(tuple[Layer, ...]):
    """The layers 0 to L of a network; they stay the objects that they are."""

    __slots__ = ()

    @classmethod
    def of(
        cls,
        flat: Array,
        sizes: Sequence[int],
        biases: bool,
        functions: Sequence[tuple[Activation | None, float]],
    ) -> Layers:
        """Make layers of these functions and dropout rates whose W and b are views of a vector."""
        arrays: list[tuple[Array | None, Array | None]]
        arrays = [(None, None), *views(flat, sizes, biases)]
        return cls(
            Layer(units, g, W, b, rate)
            for units, (W, b), (g, rate) in zip(sizes, arrays, functions, strict=True)
        )

    @property
    def functions(self) -> list[tuple[Activation | None, float]]:
        """The activation, None for the input, and the dropout rate of each layer."""
        return [(layer._activation, layer.dropout) for layer in self]

    def __setitem__(self, index: object, layer: object) -> None:
        raise TypeError(
            f"layers[{index}] can't be replaced, because its W and b are views of the network's "
            f"parameters; assign these (layers[{index}].W = ...), or make a new Network"
        )


def count_parameters(sizes: Sequence[int], biases: bool = True) -> int:
    """Return the number of weights and biases of a network."""
    return sum(units * (fan_in + biases) for fan_in, units in pairwise(sizes))


def views(flat: Array, sizes: Sequence[int], biases: bool) -> list[tuple[Array, Array | None]]:
    """Cut a flat vector into the (W, b) of layers 1 to L, as views."""
    found: list[tuple[Array, Array | None]] = []
    start = 0
    for fan_in, units in pairwise(sizes):
        W = flat[start : start + units * fan_in].reshape(units, fan_in)
        start += W.size
        b = flat[start : start + units] if biases else None
        start += units if biases else 0
        found.append((W, b))
    return found


def assign(target: Array, values: ArrayLike, name: str) -> None:
    """Copy numbers into an array of the same shape.

    Raises ValueError for another shape, masked values, NaN, or what is infinite in the array's
    dtype; TypeError for what is not numeric.
    """
    array = numeric(values, name)
    if array.shape != target.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {target.shape}")
    with np.errstate(over="ignore"):
        converted = array.astype(target.dtype)
    if not np.isfinite(converted).all():
        raise ValueError(f"{name} holds NaN or infinity (in {target.dtype}); it must be finite")
    target[...] = converted

"""Layers: what the equations need of a network, and a sequence indexed as the layers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

from numpy.typing import NDArray

from chainrule.equations.activations import Activation
from chainrule.equations.losses import Loss

Array = NDArray[Any]
T = TypeVar("T")


class ByLayer(Sequence[T], Generic[T]):
    """Hold one item for each layer, indexed by l: ``dW[1]`` is the first; there is no ``dW[0]``.

    Iterating gives the items in the order of the layers.

    Args:
        items: The items.
        first: The layer of the first one.

    Examples:
        >>> import chainrule as cr
        >>> g = cr.Network([2, 3, 1], seed=0).gradient([1.0, 2.0], [0.0])
        >>> g.dW
        ByLayer(1: (3, 2), 2: (1, 3))
        >>> len(g.dW), g.dW[-1].shape
        (2, (1, 3))
    """

    def __init__(self, items: Sequence[T], first: int = 1) -> None:
        self._items, self._first = tuple(items), first

    @overload
    def __getitem__(self, layer: int) -> T: ...
    @overload
    def __getitem__(self, layer: slice) -> Sequence[T]: ...
    def __getitem__(self, layer: int | slice) -> T | Sequence[T]:
        if isinstance(layer, slice):
            raise TypeError("take one layer at a time, or iterate")
        last = self._first + len(self._items) - 1
        if not -len(self._items) <= layer <= last or 0 <= layer < self._first:
            raise IndexError(f"layer {layer}: there is one for layers {self._first} to {last}")
        return self._items[layer - self._first if layer >= 0 else layer]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        numbered = enumerate(self, start=self._first)
        shapes = (f"{l}: {getattr(item, 'shape', item)}" for l, item in numbered)
        return f"ByLayer({', '.join(shapes)})"


class LayerOf(Protocol):
    """What the equations need of a layer: W (units_l, units_{l-1}), b (units_l,) or None, and g."""

    @property
    def W(self) -> Array: ...  # noqa: D102
    @property
    def b(self) -> Array | None: ...  # noqa: D102
    @property
    def activation(self) -> Activation: ...  # noqa: D102


class NetworkOf(Protocol):
    """What the equations need of a network: layers 1 to L, in order, the loss, and λ."""

    @property
    def weighted_layers(self) -> Sequence[LayerOf]: ...  # noqa: D102
    @property
    def loss(self) -> Loss: ...  # noqa: D102
    @property
    def l2(self) -> float: ...  # noqa: D102

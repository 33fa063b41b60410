"""Elsewhere: where the network of a table is trained, and as how many micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.network import Network


def fit_of(network: Network, options: dict[str, Any]) -> Callable[..., History]:
    """Return what trains the network, and take ``on`` out of the options: the workers, if any."""
    on = options.pop("on", None)
    return network.fit if on is None else partial(_on, on, network)


def _on(
    on: str, network: Network, X: Any, y: Any, *, sample_weight: Any = None, **options: Any
) -> History:
    from chainrule import distributed

    data = (X, y) if sample_weight is None else (X, y, sample_weight)
    return distributed.fit(network, data, on=on, **options)

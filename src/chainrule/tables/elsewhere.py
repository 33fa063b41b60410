"""Elsewhere: where the network of a table is trained, and as how many micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from chainrule.tables.encoded import Encoded
from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.network import Network


def fit_of(
    network: Network, options: dict[str, Any], rows: Encoded | None = None
) -> Callable[..., History]:
    """Return what trains the network, and take ``on`` out of the options: the workers, if any.

    ``rows`` are read by whoever trains, in place of the samples that it is called with.
    """
    on = options.pop("on", None)
    if options.get("local_steps") is None:
        options.pop("local_steps", None)
        if on is None and rows is None:
            return network.fit
    return partial(_on, on, network, rows)


def _on(
    on: str | None, network: Network, rows: Encoded | None, X: Any, y: Any, *,
    sample_weight: Any = None, **options: Any,
) -> History:  # fmt: skip
    from chainrule import distributed

    data = (X, y) if sample_weight is None else (X, y, sample_weight)
    return distributed.fit(network, data if rows is None else rows, on=on, **options)

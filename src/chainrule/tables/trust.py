"""Trust: what the test rows tell about how far predictions can be trusted, as a training ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.tables import held_out, rows
from chainrule.tables.held_out import HeldOut
from chainrule.tables.split import TEST

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.training import Prepared


def of_test(network: Network, prepared: Prepared) -> HeldOut:
    """Return what the test rows tell about a network that has not learned from them."""
    X, y = prepared.X[TEST], prepared.y[TEST]
    if not len(y):
        return HeldOut()
    with rows.released([X]):
        outputs = network.predict(X)
    least = 0.0 if prepared.settings.loss == "poisson" else None
    return held_out.of_rows(prepared.schema.target, y, outputs, prepared.weight.get(TEST), least)

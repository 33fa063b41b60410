"""Trust: what the test rows tell about how far predictions can be trusted, as a training ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.ensemble import Ensemble
from chainrule.tables import held_out, rows
from chainrule.tables.held_out import HeldOut
from chainrule.tables.split import TEST

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.training import Prepared


def of_test(networks: Sequence[Network], prepared: Prepared) -> HeldOut:
    """Return what the test rows tell about networks that have not learned from them.

    Of several, the mean is the prediction, and intervals follow their spread.
    """
    X, y = prepared.X[TEST], prepared.y[TEST]
    if not len(y):
        return HeldOut()
    with rows.released([X]):
        each = Ensemble(networks).outputs(X)
    target, spread = prepared.schema.target, None
    if len(each) > 1 and target.task == "regress":
        spread = each[:, :, 0].std(axis=0, dtype=np.float64) * target.scale
    least = 0.0 if prepared.settings.loss == "poisson" else None
    outputs = each.mean(axis=0) if len(each) > 1 else each[0]
    return held_out.of_rows(target, y, outputs, prepared.weight.get(TEST), least, spread)

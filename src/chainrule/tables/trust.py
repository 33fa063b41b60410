"""Trust: what the test rows tell about how far predictions can be trusted, as a training ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.ensemble import Ensemble
from chainrule.storage import mapped
from chainrule.tables import held_out, measures
from chainrule.tables.cells import Floats
from chainrule.tables.held_out import HeldOut, OfTarget
from chainrule.tables.schema import Target
from chainrule.tables.split import TEST, TRAIN

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
    with mapped.released([X]):
        each = Ensemble(networks).outputs(X)
    weight, learned = prepared.weight.get(TEST), prepared.weight.get(TRAIN)
    least = 0.0 if prepared.settings.loss == "poisson" else None
    outputs = each.mean(axis=0) if len(each) > 1 else each[0]
    if prepared.schema.more:
        made = {}
        for j, target in enumerate(prepared.schema.targets):
            of = y[:, j], outputs[:, [j]], weight
            beside = measures.baseline(target, prepared.y[TRAIN][:, j], y[:, j], learned, weight)
            found = held_out.of_rows(target, *of, least, spread_of(each, target, j)).intervals
            assert found is not None
            made[target.name] = OfTarget(measures.measure(target, *of), beside, found)
        return HeldOut(several=made)
    target, spread = prepared.schema.target, None
    if target.task == "regress":
        spread = spread_of(each, target)
    return held_out.of_rows(target, y, outputs, weight, least, spread)


def spread_of(each: NDArray[Any], target: Target, j: int = 0) -> Floats | None:
    """Return the spread of networks, whose outputs are (M, n, targets), in a target's units."""
    if len(each) == 1:
        return None
    deviation: Floats = each[:, :, j].std(axis=0, dtype=np.float64) * target.scale
    return deviation

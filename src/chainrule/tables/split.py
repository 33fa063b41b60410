"""Split: the rows for training, validation and test; the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables.source import TableError

TRAIN, VALIDATION, TEST, NONE = 0, 1, 2, -1  # NONE: the row has no target
PARTS = {"training": TRAIN, "validation": VALIDATION, "test": TEST}
_FEWEST = 10
_MOST_WATCHED = 50_000  # validation rows; more would slow every epoch and tell no more


def split(
    y: NDArray[Any], classes: bool, test: float, validation: float, seed: int
) -> NDArray[np.int8]:
    """Return the part of each row; -1 or NaN in ``y`` marks a row without a target.

    ``test`` and ``validation`` are shares of all rows. With ``classes``, every class has its share
    in each part, as far as whole rows allow, and at least one training row.
    Raises TableError if there are too few rows.
    """
    present = np.flatnonzero(y >= 0 if classes else ~np.isnan(y))
    n = len(present)
    if n < _FEWEST:
        raise TableError(
            f"{n} row{'s have' if n != 1 else ' has'} a target; training, validation and test "
            f"need {_FEWEST} or more"
        )
    rng = np.random.default_rng(seed)
    order = present[rng.permutation(n)]
    if classes:
        order = order[np.argsort(y[order], kind="stable")]
    parts = np.full(len(y), NONE, dtype=np.int8)
    parts[order] = TRAIN
    held = _every(n, test, rng.random())
    parts[order[held]] = TEST
    rest = order[~held]
    share = min(validation, _MOST_WATCHED / n) * n / len(rest)
    parts[rest[_every(len(rest), share, rng.random())]] = VALIDATION
    if classes:
        learned = np.bincount(y[parts == TRAIN], minlength=int(y.max()) + 1)
        unlearned = np.isin(y, np.flatnonzero(learned == 0)) & (parts != NONE)
        parts[unlearned] = TRAIN
    return parts


def _every(n: int, share: float, start: float) -> NDArray[np.bool_]:
    """Mark a share of n places, evenly spread."""
    steps = np.floor(np.arange(n + 1) * share + start)
    return np.diff(steps) > 0

"""Split: the rows for training, validation and test; the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.tables.source import NothingToLearnError

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
    present = _present(y, classes)
    n = len(present)
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


def split_by_group(
    y: NDArray[Any],
    classes: bool,
    test: float,
    validation: float,
    seed: int,
    group: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Return the part of each row, all rows of a group in the same; see `split`.

    Whole groups are drawn until a part has its share of the rows, or as near to it as they allow.
    Raises TableError if a part would have no group, or a class no training row.
    """
    present = _present(y, classes)
    rng = np.random.default_rng(seed)
    sizes = np.bincount(group[present], minlength=int(group.max()) + 1)
    drawn = rng.permutation(np.flatnonzero(sizes))
    ends = np.cumsum(sizes[drawn]) - sizes[drawn] / 2  # a group belongs where its middle lies
    parts = np.full(len(y), NONE, dtype=np.int8)
    of_group = np.full(len(sizes), TRAIN, dtype=np.int8)
    of_group[drawn[ends < (test + validation) * len(present)]] = VALIDATION
    of_group[drawn[ends < test * len(present)]] = TEST
    parts[present] = of_group[group[present]]
    _check(parts, y, classes, test, validation, f"{len(drawn):,} groups", "group")
    return parts


def split_by_time(
    y: NDArray[Any], classes: bool, test: float, validation: float, time: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Return the part of each row: the latest are the test, those before them the validation.

    Rows of the same time are in the same part. Raises TableError as `split_by_group`.
    """
    present = _present(y, classes)
    parts = np.full(len(y), NONE, dtype=np.int8)
    parts[present] = TRAIN
    order = np.sort(time[present])
    n = len(order)
    for part, share in ((VALIDATION, test + validation), (TEST, test)):
        if share > 0:
            first = order[min(n - 1, round(n * (1 - share)))]
            parts[present[time[present] >= first]] = part
    _check(parts, y, classes, test, validation, f"{len(np.unique(order)):,} times", "time")
    return parts


def _check(
    parts: NDArray[np.int8],
    y: NDArray[Any],
    classes: bool,
    test: float,
    validation: float,
    found: str,
    what: str,
) -> None:
    """Raise TableError for a part without rows, and for a class without training rows."""
    for name, part in PARTS.items():
        share = {"training": 1.0, "validation": validation, "test": test}[name]
        if share and not (parts == part).any():
            raise NothingToLearnError(
                f"a split by {what} leaves no row for the {name}: the rows with a target have "
                f"{found}. Change --test and --validation, or split by another column."
            )
    if classes:
        learned = np.unique(y[parts == TRAIN])
        lost = np.setdiff1d(y[parts != NONE], learned)
        if len(lost):
            raise NothingToLearnError(
                f"a split by {what} leaves {len(lost):,} of the classes without a training row; "
                "change --test, --validation or --seed, or split by another column"
            )


def _present(y: NDArray[Any], classes: bool) -> NDArray[np.int64]:
    """Return the rows that have a target; raise TableError if these are too few."""
    present = np.flatnonzero(y >= 0 if classes else ~np.isnan(y))
    n = len(present)
    if n < _FEWEST:
        raise NothingToLearnError(
            f"{n} row{'s have' if n != 1 else ' has'} a target; training, validation and test "
            f"need {_FEWEST} or more"
        )
    return present


def _every(n: int, share: float, start: float) -> NDArray[np.bool_]:
    """Mark a share of n places, evenly spread."""
    steps = np.floor(np.arange(n + 1) * share + start)
    return np.diff(steps) > 0

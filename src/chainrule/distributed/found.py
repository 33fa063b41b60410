"""What is found in a dataset as its shards are read, on workers or in this process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule.distributed.dataset import Dataset, Facts, Weighing, digest
from chainrule.engines.micro import Cut
from chainrule.equations import data
from chainrule.equations.data import Samples

Array = NDArray[Any]
ClassWeight = Mapping[int, float] | Literal["balanced"] | None

_RANGE = 1e300  # by which the largest weight may exceed the smallest


class WorkersError(RuntimeError):
    """There are not enough workers, or they cannot work."""


def refusal(fields: dict[str, Any], host: str) -> Exception:
    """Return the error that a worker has met with as it read its rows."""
    if fields["data"]:
        return ValueError(fields["why"])
    return WorkersError(
        f"the worker at {host} cannot read its rows: {fields['why']}. All workers need the files "
        "at the same place, and room for their rows"
    )


class Found:
    """The facts of the shards that have been read, and what follows from all of them.

    Attributes:
        weighing: How the weights of rows become those of training.
        targets: Receives the targets of all rows and their weights, if there is anybody to measure
            them; None if not.
    """

    def __init__(self, cut: Cut) -> None:
        self._cut, self._facts = cut, dict[int, Facts]()
        self.weighing = Weighing()
        self.targets: Samples | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all shards have been read."""
        return len(self._facts) == self._cut.filled

    def wants(self, k: int) -> bool:
        """Return whether the targets of a shard are to be sent here."""
        return self.targets is not None and k not in self._facts

    def take(self, fields: dict[str, Any], arrays: Mapping[str, Array]) -> int:
        """Take in a shard, from a message, and return its number.

        Raises ValueError where it was read before, with other numbers.
        """
        fields = dict(fields)
        k, rows = fields["k"], self._cut.shard(fields.pop("k"))
        if self._facts.setdefault(k, facts := Facts(**fields)) != facts:
            raise ValueError(
                f"rows {rows.start:,} to {rows.stop:,} of the dataset changed since the training "
                "began. Start again when nothing writes to its files"
            )
        if self.targets is not None and "y" in arrays:
            self.targets.y[rows.start : rows.stop] = arrays["y"]
            if self.targets.weights is not None:
                self.targets.weights[rows.start : rows.stop] = arrays["weights"]
        return int(k)

    def digest(self) -> str:
        """Return the digest of the dataset."""
        return digest(self._facts, self._cut.n)

    def settle(self, dataset: Dataset, class_weight: ClassWeight, units: int) -> None:
        """Find how rows are weighed, and bring the targets here to it.

        Raises ValueError for weights that leave nothing to learn from, or are too far apart, and
        for class weights of targets that are not classes.
        """
        facts = self._facts.values()
        most, least = max(f.most for f in facts), min(f.least for f in facts)
        if not most:
            raise ValueError("the weight is 0 for every row; at least one must count")
        of_class = self._of_class(class_weight, units)
        spread = of_class[of_class > 0] if of_class is not None else np.ones(1)
        if least / most * (spread.min() / spread.max()) < 1 / _RANGE:
            raise ValueError(
                f"weights differ by more than a factor of {_RANGE:g}; make the smallest 0, which "
                "leaves a row out"
            )
        exponent = int(np.frexp(most)[1]) - 1 if dataset.weighted else 0
        self.weighing = Weighing(exponent, None if of_class is None else of_class.tolist())

    def _of_class(self, class_weight: ClassWeight, units: int) -> NDArray[np.float64] | None:
        if class_weight is None:
            return None
        facts = self._facts.values()
        if any(f.members is None for f in facts):
            data.class_weights(class_weight, np.full((1, units), 0.5), units)  # which raises
        members = np.sum([f.members or [] for f in facts], axis=0)
        classes = np.arange(len(members))
        of_class = (
            self._cut.n / (np.count_nonzero(members) * np.maximum(members, 1))
            if class_weight == "balanced"
            else data.class_weights(
                class_weight, classes[:, None] if units == 1 else classes, units
            )
        )
        weights = np.sum([f.weights or [] for f in facts], axis=0)
        if not (of_class * weights).any():
            raise ValueError("class_weight leaves every sample a weight of 0; one must count")
        largest = of_class[members > 0].max()
        return np.asarray(np.ldexp(of_class, 1 - math.frexp(largest)[1]), dtype=np.float64)

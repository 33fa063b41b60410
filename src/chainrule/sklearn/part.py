"""Part: some rows with their targets and weights, as scikit-learn passes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.arrays import contiguous
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.sklearn import networks

Array = NDArray[Any]


@dataclass
class Part:
    """Rows of X and y, (n, units_L), with the weights that the loss takes, as ratios of a unit.

    A small sparse X is made dense at once; a larger one stays CSR, and is made dense piece by
    piece.
    """

    X: Any
    y: Array
    weights: Array | None = None
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.X, np.ndarray):
            small = self.X.shape[0] * self.X.shape[1] <= networks.DENSE
            self.X = self.X.toarray() if small else self.X.tocsr()

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def rows(self, index: Any) -> Part:
        """Return some of the rows, dense."""
        X = self.X[index]
        weights = None if self.weights is None else self.weights[index]
        X = X if isinstance(X, np.ndarray) else X.toarray()
        return Part(X, self.y[index], weights, self.unit)

    @property
    def is_dense(self) -> bool:
        """Whether X is an array."""
        return isinstance(self.X, np.ndarray)

    @property
    def dense_rows(self) -> int:
        """The number of rows that may be dense at a time."""
        return len(self) if self.is_dense else max(1, networks.DENSE // int(self.X.shape[1]))

    def samples(self, network: FeedForward) -> Samples:
        """Return dense rows as an engine reads them fastest: one-hot rows as classes."""
        one_hot = self.y.dtype == bool and self.y.shape[1] > 1
        if one_hot and (np.count_nonzero(self.y, axis=1) == 1).all():
            y: Array = self.y.argmax(axis=1)
        else:
            y = contiguous(self.y, network.dtype)
        weights = None if self.weights is None else self.weights.astype(np.float64)
        return Samples(contiguous(self.X, network.dtype), y, weights)

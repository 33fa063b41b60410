"""Epochs with scikit-learn's penalty, and its gradient for L-BFGS, on our engines."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule import backprop, engines
from chainrule.data import Samples
from chainrule.engines import EpochResult, Plan, State
from chainrule.network import Network
from chainrule.optimizers import GradientDescent
from chainrule.sklearn.reported import Report
from chainrule.sklearn.solvers import Solver

Array = NDArray[Any]
_DENSE = 1 << 23  # numbers of a sparse X that are made dense in one go


@dataclass
class Part:
    """Rows of X and y, (n, units_L), with the weights that the loss takes.

    A sparse X that is not large is made dense at once, a larger one as CSR, piece by piece.
    """

    X: Any
    y: Array
    weights: Array | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.X, np.ndarray):
            small = self.X.shape[0] * self.X.shape[1] <= _DENSE
            self.X = self.X.toarray() if small else self.X.tocsr()

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def rows(self, index: Any) -> Part:
        """Give some of the rows, dense."""
        X = self.X[index]
        weights = None if self.weights is None else self.weights[index]
        return Part(X if isinstance(X, np.ndarray) else X.toarray(), self.y[index], weights)

    @property
    def is_dense(self) -> bool:
        """Whether X is an array."""
        return isinstance(self.X, np.ndarray)

    @property
    def dense_rows(self) -> int:
        """How many rows may be dense at a time."""
        return len(self) if self.is_dense else max(1, _DENSE // int(self.X.shape[1]))

    def samples(self) -> Samples:
        """Give the rows as an engine takes them."""
        y = self.y if self.y.dtype != object else self.y.astype(np.float64)
        weights = self.weights
        return Samples(self.X, y, None if weights is None else weights.astype(np.float64))


class DivergedError(ArithmeticError):
    """A number was not finite."""


class Epochs:
    """Takes epochs over samples, and gives their loss as scikit-learn reports it.

    The penalty of a batch is ½ (α / S) Σ w², S its number of samples or the sum of their weights.
    Batches with the same S are done in one call of the engine, others each in its own.
    """

    def __init__(
        self, network: Network, part: Part, alpha: float, batch_size: int, report: Report,
        solver: Solver,
    ) -> None:  # fmt: skip
        self.network, self.part, self.alpha = network, part, float(alpha)
        self.batch_size, self.report, self.solver = batch_size, report, solver
        self.plan = Plan(solver.rule, batch_size)
        self._full, self._last = copy.copy(network), copy.copy(network)  # all but l2 is shared
        by_step = part.weights is not None and self.alpha > 0  # l2 is new in each step
        lacks = engines.choose("auto", network).lacks(network, self.plan)
        self.engine = engines.choose("reference" if by_step or lacks else "auto", network)

    def run(self, order: Array | None) -> float:
        """Take one epoch in an order; give the mean of the batches' losses, weighted by rows.

        Raises DivergedError.
        """
        part, size, n = self.part, self.batch_size, len(self.part)
        full = n - n % size
        if part.weights is None and full == n and part.is_dense:
            return self._together(self._full, part, order)
        step = size if part.weights is not None else max(1, part.dense_rows // size) * size
        pieces = [(i, min(i + step, full)) for i in range(0, full, step)]
        total = 0.0
        for first, last in pieces + [(full, n)] * (full < n):
            rows = part.rows(slice(first, last) if order is None else order[first:last])
            do = self._together if part.weights is None else self._one_by_one
            total += (last - first) * do(self._last if first == full else self._full, rows)
        return total / n

    def _together(self, network: Network, part: Part, order: Array | None = None) -> float:
        """Do batches of one size in one call; give the mean loss of their rows."""
        network.l2 = self.alpha / min(self.batch_size, len(part))
        before = self._copy() if self.report.may_clip else None
        loss, a = self._call(network, part, order)
        if before is not None and self.report.clips(part.y, a):
            # The penalty of each step is needed apart from the data's loss: once more.
            self._put_back(before)
            return self._one_by_one(network, part if order is None else part.rows(order))
        return self.report.adjust(loss, part.y, a, None)

    def _one_by_one(self, network: Network, part: Part) -> float:
        """Do each batch in a call of its own; give the mean of their losses, weighted by rows."""
        total = 0.0
        for first in range(0, len(part), self.batch_size):
            batch = part.rows(slice(first, first + self.batch_size))
            weight = len(batch) if batch.weights is None else float(batch.weights.sum())
            network.l2 = self.alpha / weight if weight else 0.0
            penalty = network.penalty()
            loss, a = self._call(network, batch)
            if self.report.may_clip:
                loss = self.report.data_loss(batch.y, a, batch.weights) + penalty
            else:
                loss = self.report.adjust(loss, batch.y, a, batch.weights)
            total += len(batch) * loss
        return total / len(part)

    def _call(
        self, network: Network, part: Part, order: Array | None = None
    ) -> tuple[float, Array]:
        """Take an epoch over rows; give the engine's loss and the outputs, if they are needed."""
        n, state = len(part), self.solver.state
        rates = self.solver.rates(-(-n // self.batch_size))
        units = network.sizes[-1] if self.report.needs_outputs else 0
        a = np.empty((n, units), network.dtype)
        result = self.engine.run_epoch(
            network, part.samples(), self.plan, state, order, rates, a if units else None, _go_on
        )
        if result.failure is not None:
            raise DivergedError
        return result.loss, a

    def _copy(self) -> tuple[int, list[Array]]:
        state = self.solver.state
        return state.step, [v.copy() for v in (self.network.parameters, *state.slots.values())]

    def _put_back(self, before: tuple[int, list[Array]]) -> None:
        state = self.solver.state
        state.step, saved = before
        for array, values in zip(
            (self.network.parameters, *state.slots.values()), saved, strict=True
        ):
            array[...] = values


def _go_on(steps: int, loss: float) -> bool:
    return False


_RULE = GradientDescent(momentum=0.5)  # with v = 0 before a step, it leaves the gradient in v


def loss_and_gradient(
    network: Network, part: Part, alpha: float, report: Report
) -> tuple[float, Array]:
    """Give the loss over all rows as scikit-learn reports it, and its gradient, flat.

    The gradient is laid out as the network's parameters; of the multi-output squared error it is
    that of the sum.
    """
    plain, network = copy.copy(network), copy.copy(network)
    plain.l2 = 0.0  # the penalty comes at the end
    weights = part.weights
    total = len(part) if weights is None else float(weights.sum())
    gradient, loss = np.zeros_like(network.parameters), 0.0
    step = part.dense_rows
    for first in range(0, len(part), step):
        rows = part.rows(slice(first, first + step))
        weight = len(rows) if rows.weights is None else float(rows.weights.sum())
        C, g = _data_gradient(plain, rows, report)
        gradient += weight / total * g
        loss += weight / total * C
    network.l2 = alpha / total
    for layer, (dW, _) in zip(network.weighted_layers, network._views(gradient), strict=True):
        dW += network.l2 * layer.W
    return loss + network.penalty(), gradient


def _data_gradient(network: Network, part: Part, report: Report) -> tuple[float, Array]:
    samples = part.samples()
    a = np.empty((len(part), network.sizes[-1]), network.dtype)
    plan = Plan(_RULE, len(part))
    state = State(slots=_RULE.start(network.parameters))
    engine = engines.choose("auto", network)
    if engine.lacks(network, plan):
        engine = engines.choose("reference", network)
    result = engine.run_epoch(network, samples, plan, state, None, np.zeros(1), a, _go_on)
    g = state.slots["v"]
    if result.failure is not None:  # L-BFGS has tried a step too long, and will take a shorter one
        with np.errstate(all="ignore"):
            X, y, s = samples.rows(slice(None), network.sizes[-1], network.dtype)
            passed = backprop.forward(network, X)
            found = backprop.gradient(network, passed, y, s)
            a[...] = passed.a[-1]
        pairs = zip(found.dW, found.db, strict=True)
        g = np.concatenate([np.ravel(part) for pair in pairs for part in pair if part is not None])
        result = EpochResult(found.loss, 1, len(part))
    with np.errstate(all="ignore"):
        if report.kind is None:
            return result.loss, g
        return report.data_loss(part.y, a, part.weights), g

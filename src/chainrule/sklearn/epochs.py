"""Epochs with scikit-learn's penalty, and its gradient for L-BFGS, on chainrule's engines."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule.engines import Engine, Epoch, Plan, State
from chainrule.equations import backprop
from chainrule.equations.data import Samples
from chainrule.equations.optimizers import GradientDescent
from chainrule.network import Network
from chainrule.sklearn import weights
from chainrule.sklearn.part import Part
from chainrule.sklearn.reported import Report
from chainrule.sklearn.solvers import Solver

if TYPE_CHECKING:
    from chainrule.training.watching.recorder import Recorder
    from chainrule.training.watching.settings import Watch

Array = NDArray[Any]


class DivergedError(ArithmeticError):
    """A number was not finite."""


class Epochs:
    """Epochs over samples, with the loss as scikit-learn reports it.

    The penalty of a batch is ½ (α / S) Σ w², where S is its number of samples or the sum of their
    weights.
    """

    def __init__(
        self, network: Network, part: Part, alpha: float, batch_size: int, report: Report,
        solver: Solver,
    ) -> None:  # fmt: skip
        self.network, self.part = network, part
        self.batch_size, self.report, self.solver = batch_size, report, solver
        largest = report.largest_loss(network.dtype)
        self.plan = Plan(solver.rule, batch_size, l2_per_sample=True, largest_loss=largest)
        self._trained = copy.copy(network)  # shares everything but l2
        self._trained.l2 = weights.penalty(float(alpha), part.unit)
        self.engine = _engine(network, self.plan)
        self._runner: Engine | Recorder = self.engine
        self._samples = part.samples(network) if part.is_dense else None

    @property
    def samples(self) -> Samples | None:
        """The rows as an engine reads them; None if they are made dense piece by piece."""
        return self._samples

    @property
    def trained(self) -> Network:
        """The network that is trained, with the penalty of one sample."""
        return self._trained

    def recorded(self, watch: Watch, rows: NDArray[np.int64]) -> Recorder:
        """Return who records the epochs from now on; ``rows`` are the samples' row numbers.

        Raises ValueError for samples that are too many to be dense.
        """
        from chainrule.training.watching.recorder import Recorder

        if self._samples is None:
            raise ValueError(
                f"watch needs a dense X, or a small sparse one; X is sparse, with shape "
                f"{self.part.X.shape}. Train without watch, or on fewer rows"
            )
        self._runner = recorder = Recorder(
            watch, self._trained, self.plan, self.engine, self._samples, rows=rows,
            offset=self.solver.first, steady=self.solver.steady,
        )  # fmt: skip
        return recorder

    def run(self, order: Array | None) -> float:
        """Take one epoch in an order; return the mean of the batches' losses, weighted by rows.

        Raises DivergedError if a number is not finite.
        """
        part, n = self.part, len(self.part)
        if self._samples is not None:
            return self._run(part, self._samples, order) / n
        step = max(1, part.dense_rows // self.batch_size) * self.batch_size
        total = 0.0
        for first in range(0, n, step):
            piece = slice(first, first + step)
            rows = part.rows(piece if order is None else order[piece])
            total += self._run(rows, rows.samples(self.network), None)
        return total / n

    def _run(self, part: Part, samples: Samples, order: Array | None) -> float:
        """Take the steps; return the sum of the batches' losses, each times its rows."""
        epoch = self.planned(samples, order)
        self.take(epoch)
        return self.total(part, epoch)

    def planned(self, samples: Samples, order: Array | None) -> Epoch:
        """Return the next epoch of some rows, with arrays for what is to be reported."""
        rates = self.solver.rates(-(-len(samples) // self.batch_size))
        a = None
        if self.report.needs_outputs:
            a = np.empty((len(samples), self.network.sizes[-1]), self.network.dtype)
        return Epoch(samples, self.plan, rates, order, a, np.empty((len(rates), 2)))

    def take(self, epoch: Epoch, engine: Engine | None = None) -> None:
        """Take an epoch; raise DivergedError if a number is not finite."""
        result = (engine or self._runner).run_epoch(self._trained, epoch, self.solver.state)
        if result.failure is not None:
            raise DivergedError

    def total(self, part: Part, epoch: Epoch) -> float:
        """Return the sum of the batches' losses of an epoch that was taken, each times its rows."""
        losses, steps = epoch.step_losses, len(epoch.learning_rates)
        assert losses is not None
        counts = np.full(steps, self.batch_size)
        counts[-1] = len(part) - self.batch_size * (steps - 1)
        return self.report.total(losses, counts, part, epoch.order, epoch.outputs)


def _engine(network: Network, plan: Plan) -> Engine:
    """Return the fastest engine that can do it, without a warning if it falls back."""
    engine = engines.choose("auto", network)
    return engines.choose("reference", network) if engine.lacks(network, plan) else engine


_RULE = GradientDescent(momentum=0.5)  # with v = 0 before a step, it leaves the gradient in v


def loss_and_gradient(
    network: Network, part: Part, alpha: float, report: Report
) -> tuple[float, Array]:
    """Return the loss over all rows as scikit-learn reports it, and its gradient, flat.

    The gradient has the layout of the network's parameters. For the squared error of several
    outputs it is that of the sum.
    """
    # An engine keeps what it made for a network between calls, so do not copy the network.
    given, network.l2 = network.l2, 0.0  # the penalty is added at the end
    try:
        loss, gradient, total = _of_data(network, part, report)
        network.l2 = weights.penalty(alpha, part.unit) / total
        for layer, (dW, _) in zip(network.weighted_layers, network.views_of(gradient), strict=True):
            dW += network.l2 * layer.W
        return loss + network.penalty(), gradient
    finally:
        network.l2 = given


def _of_data(network: Network, part: Part, report: Report) -> tuple[float, Array, float]:
    """Return loss, gradient and the number of samples, or the sum of their weights."""
    total = len(part) if part.weights is None else float(part.weights.sum())
    gradient, loss = np.zeros_like(network.parameters), 0.0
    step = part.dense_rows
    for first in range(0, len(part), step):
        rows = part.rows(slice(first, first + step))
        weight = len(rows) if rows.weights is None else float(rows.weights.sum())
        C, g = _data_gradient(network, rows, report)
        gradient += weight / total * g
        loss += weight / total * C
    return loss, gradient, total


def _data_gradient(network: Network, part: Part, report: Report) -> tuple[float, Array]:
    samples, plan = part.samples(network), Plan(_RULE, len(part))
    a = np.empty((len(part), network.sizes[-1]), network.dtype)
    state = State(slots=_RULE.start(network.parameters))
    engine = _engine(network, plan)
    result = engine.run_epoch(network, Epoch(samples, plan, np.zeros(1), outputs=a), state)
    loss, g = result.loss, state.slots["v"]
    with np.errstate(all="ignore"):
        if result.failure is not None:  # L-BFGS tried a step too long, and will take a shorter one
            X, y, s = samples.rows(slice(None), network.sizes[-1], network.dtype)
            passed = backprop.forward(network, X)
            found = backprop.gradient(network, passed, y, s)
            loss, a = found.loss, passed.a[-1]
            pairs = zip(found.dW, found.db, strict=True)
            g = np.concatenate([np.ravel(p) for pair in pairs for p in pair if p is not None])
        return (loss if report.kind is None else report.data_loss(part.y, a, part.weights)), g

"""scikit-learn's solvers as chainrule's optimisers: the same steps, to rounding.

sgd: scikit-learn's velocity is -η v of `GradientDescent`, so that v is rescaled where η
changes. adam: scikit-learn takes θ ← θ - η_t m / (√v + ε) with η_t = η √(1 - β₂ᵗ) / (1 - β₁ᵗ): ε is
added to √v before the bias of v is corrected. `Adam` becomes that rule, with η_t as the learning
rate, when t is so large that β₁ᵗ = β₂ᵗ = 0; so the count of its steps begins there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engines import State
from chainrule.equations.optimizers import Adam, GradientDescent, Optimizer
from chainrule.network import Network

_LATE = 1 << 60  # a multiple of 2³², so that the counters of dropout start at 0
_SMALLEST = 1e-6  # where "adaptive" stops


class FullMomentum(GradientDescent):
    """Gradient descent with momentum 1, which scikit-learn allows."""

    def __post_init__(self) -> None:
        """Check nothing, because scikit-learn has done so."""


class Solver:
    """The optimiser of a run: its rule and state, and the learning rate as scikit-learn changes it.

    ``learning_rate`` is the current one, as in scikit-learn's ``_optimizer``: for adam, η_t of the
    last step. ``nominal_rate`` is η, which people set and read.
    """

    def __init__(self, estimator: Any, network: Network) -> None:
        self.rule: Optimizer
        self.learning_rate = self._initial = float(estimator.learning_rate_init)
        self._schedule, self._power = "constant", float(estimator.power_t)
        self._first = 0
        if estimator.solver == "sgd":
            momentum = float(estimator.momentum)
            make = FullMomentum if momentum == 1 else GradientDescent
            nesterov = bool(estimator.nesterovs_momentum and momentum)
            self.rule = make(self._initial, momentum=momentum, nesterov=nesterov)
            self._schedule = estimator.learning_rate
        else:
            betas = float(estimator.beta_1), float(estimator.beta_2)
            self.rule = Adam(self._initial, *betas, epsilon=float(estimator.epsilon))
            self._first = _LATE
        self.state = State(self._first, self.rule.start(network.parameters))

    @property
    def first(self) -> int:
        """Return where the count of steps begins."""
        return self._first

    @property
    def steady(self) -> bool:
        """Return whether nothing but steps changes what the optimiser remembers."""
        return self._schedule == "constant" or "v" not in self.state.slots

    @property
    def nominal_rate(self) -> float:
        """η of the next epoch: by scikit-learn's schedule for sgd, constant for adam."""
        return self._initial if isinstance(self.rule, Adam) else self.learning_rate

    def rates(self, steps: int) -> NDArray[np.float64]:
        """Return the learning rates of the next steps."""
        if not isinstance(self.rule, Adam):
            return np.full(steps, self.learning_rate)
        done = self.state.step - self._first
        t = np.arange(done + 1, done + steps + 1, dtype=np.float64)
        free = np.sqrt(1 - self.rule.beta2**t) / (1 - self.rule.beta1**t)
        rates: NDArray[np.float64] = self._initial * free
        self.learning_rate = float(rates[-1])
        return rates

    def iteration_ends(self, samples_seen: int) -> None:
        """Lower the learning rate at an epoch's end, if it is "invscaling"."""
        if self._schedule == "invscaling":
            self._set_rate(self._initial / (samples_seen + 1) ** self._power)

    def trigger_stopping(self, message: str, verbose: bool) -> bool:
        """Return whether a run that no longer improves stops; "adaptive" lowers its rate first."""
        if self._schedule != "adaptive":
            said, stop = " Stopping.", True
        elif self.learning_rate <= _SMALLEST:
            said, stop = " Learning rate too small. Stopping.", True
        else:
            self._set_rate(self.learning_rate / 5)
            said, stop = f" Setting learning rate to {self.learning_rate:f}", False
        if verbose:
            print(message + said)  # noqa: T201 (as scikit-learn's verbose does)
        return stop

    def _set_rate(self, rate: float) -> None:
        if "v" in self.state.slots:
            self.state.slots["v"] *= self.learning_rate / rate
        self.learning_rate = rate

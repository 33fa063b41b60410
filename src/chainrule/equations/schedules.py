"""Learning-rate schedules: η as a function of the epochs that have passed.

``rate(epoch, losses)`` takes the position of a step in epochs since the run began (2.5 is the
middle of the third) and the monitored losses of the epochs that ended. A schedule holds
hyperparameters only, so that a run can be resumed or replayed. Any object with such a ``rate`` is
one; `Schedule` adds that one call gives η of a whole epoch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations.checks import not_negative, positive, whole


@runtime_checkable
class HasRate(Protocol):
    """What a schedule of a user's own needs."""

    def rate(self, epoch: float, losses: Sequence[float], /) -> float:
        """Return η at a position in epochs, after the epochs with these losses."""
        ...


class Schedule(ABC):
    """A learning rate that changes over a run: a base for schedules of your own.

    Override ``rate``; ``rates``, which gives η of every step of an epoch, calls it for each.
    """

    @abstractmethod
    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        """Give η at a position in epochs, after the epochs with these losses."""

    def rates(self, epoch: int, steps: int, losses: Sequence[float] = ()) -> NDArray[np.float64]:
        """Give η of each of an epoch's steps."""
        positions = ((epoch * steps + step) / steps for step in range(steps))
        found: list[object] = [self.rate(position, losses) for position in positions]
        for rate in found:
            array = isinstance(rate, np.ndarray) and rate.ndim == 0 and rate.dtype.kind in "fiu"
            if not (isinstance(rate, Real) or array):
                raise TypeError(f"the schedule {self!r} gave {rate!r}; expected a number")
        return np.array(found, dtype=np.float64)


@exported("chainrule")
@dataclass(frozen=True)
class Constant(Schedule):
    """η = initial."""

    initial: float

    def __post_init__(self) -> None:
        positive(self.initial, "initial")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return self.initial

    def rates(self, epoch: int, steps: int, losses: Sequence[float] = ()) -> NDArray[np.float64]:
        return np.full(steps, self.initial, dtype=np.float64)


@exported("chainrule")
@dataclass(frozen=True)
class StepDecay(Schedule):
    """η = initial · factor^⌊epoch / every⌋."""

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        positive(self.initial, "initial")
        positive(self.every, "every")
        positive(self.factor, "factor")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return self.initial * self.factor ** math.floor(epoch / self.every)


@exported("chainrule")
@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """η = initial · factor^epoch."""

    initial: float
    factor: float

    def __post_init__(self) -> None:
        positive(self.initial, "initial")
        positive(self.factor, "factor")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return float(self.initial * self.factor**epoch)


@exported("chainrule")
@dataclass(frozen=True)
class Cosine(Schedule):
    """η falls from initial to final along half a cosine over ``epochs``, then stays.

    Source: Loshchilov and Hutter, arXiv 1608.03983, without restarts.
    """

    initial: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        positive(self.initial, "initial")
        positive(self.epochs, "epochs")
        not_negative(self.final, "final")
        if self.final > self.initial:
            raise ValueError(f"final must be from 0 to initial = {self.initial}, got {self.final}")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        part = min(epoch / self.epochs, 1.0)
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * part)) / 2


@exported("chainrule")
@dataclass(frozen=True)
class WarmUp(Schedule):
    """η rises evenly from 0 over the first ``epochs`` to where ``then`` begins, which follows."""

    epochs: float
    then: HasRate | float

    def __post_init__(self) -> None:
        positive(self.epochs, "epochs")
        as_schedule(self.then, "then")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        schedule = as_schedule(self.then, "then")
        if epoch < self.epochs:
            return schedule.rate(0.0) * epoch / self.epochs
        return schedule.rate(epoch - self.epochs, losses[math.ceil(self.epochs) :])


@exported("chainrule")
@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """η is multiplied by factor after ``patience`` epochs without a better monitored loss.

    The loss is that of validation if there is validation data, else that of training. Better means
    lower by more than ``min_delta``. η never falls below ``minimum``.
    """

    initial: float
    factor: float = 0.5
    patience: int = 5
    min_delta: float = 0.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        positive(self.initial, "initial")
        positive(self.factor, "factor")
        if self.factor >= 1:
            raise ValueError(f"factor must be between 0 and 1, got {self.factor}")
        whole(self.patience, "patience")
        not_negative(self.min_delta, "min_delta")
        not_negative(self.minimum, "minimum")

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        best, waited, reductions = math.inf, 0, 0
        for loss in losses:
            if loss < best - self.min_delta:
                best, waited = loss, 0
            else:
                waited += 1
            if waited == self.patience:
                reductions, waited = reductions + 1, 0
        return max(self.initial * self.factor**reductions, min(self.minimum, self.initial))

    def rates(self, epoch: int, steps: int, losses: Sequence[float] = ()) -> NDArray[np.float64]:
        return np.full(steps, self.rate(epoch, losses), dtype=np.float64)  # the same all epoch


@dataclass(frozen=True, repr=False)
class _Own(Schedule):
    """A schedule of a user's own that is no `Schedule`."""

    own: HasRate

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return self.own.rate(epoch, losses)

    def __repr__(self) -> str:
        return repr(self.own)


def as_schedule(learning_rate: float | HasRate, name: str = "learning_rate") -> Schedule:
    """Return a schedule for a number, `Constant`, or for an object with ``rate(epoch, losses)``.

    Raises ValueError for a number that is not above 0, TypeError for anything else.
    """
    if isinstance(learning_rate, Schedule):
        return learning_rate
    if isinstance(learning_rate, type):
        kind = learning_rate.__name__
        raise TypeError(f"{name} is the class {kind}; expected an object of it, such as {kind}()")
    if isinstance(learning_rate, HasRate) and callable(learning_rate.rate):
        return _Own(learning_rate)
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, Real):
        raise TypeError(
            f"{name} must be a number, or a schedule: an object with rate(epoch, losses), such as "
            f"Cosine(0.01, epochs=20); got {learning_rate!r}"
        )
    positive(learning_rate, name)
    return Constant(float(learning_rate))

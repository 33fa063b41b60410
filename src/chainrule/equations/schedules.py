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


@exported("chainrule")
class Schedule(ABC):
    """Change the learning rate η over a run: the base class of the schedules, and of your own.

    Override `rate`; `rates`, which returns η of every step of an epoch, calls it for each.
    """

    @abstractmethod
    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        """Return η at a moment of a run.

        Args:
            epoch: How many epochs have passed; 2.5 is the middle of the third.
            losses: The monitored loss of each epoch that has ended: that of validation if there is
                validation data, else that of training.
        """

    def rates(self, epoch: int, steps: int, losses: Sequence[float] = ()) -> NDArray[np.float64]:
        """Return η of each step of an epoch.

        Args:
            epoch: The number of the epoch, from 0.
            steps: How many steps it has.
            losses: As for `rate`.
        """
        positions = ((epoch * steps + step) / steps for step in range(steps))
        found: list[object] = [self.rate(position, losses) for position in positions]
        for rate in found:
            array = isinstance(rate, np.ndarray) and rate.ndim == 0 and rate.dtype.kind in "fiu"
            if not (isinstance(rate, Real) or array):
                raise TypeError(f"the schedule {self!r} returned {rate!r}; expected a number")
        return np.array(found, dtype=np.float64)


@exported("chainrule")
@dataclass(frozen=True)
class Constant(Schedule):
    """Keep the learning rate as it is.

    Args:
        initial: η, above 0.

    Raises:
        TypeError: ``initial`` is not a number.
        ValueError: ``initial`` is not above 0.

    Examples:
        >>> import chainrule as cr
        >>> cr.Constant(0.1).rate(7.5)
        0.1
    """

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
    """Multiply the learning rate by a factor every few epochs: η = η₀ f^⌊epoch / every⌋.

    Args:
        initial: η₀, above 0.
        every: How many epochs lie between two changes.
        factor: f, above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is not above 0.

    Examples:
        >>> import chainrule as cr
        >>> decay = cr.StepDecay(0.1, every=10, factor=0.5)
        >>> decay.rate(9.9), decay.rate(10), decay.rate(20)
        (0.1, 0.05, 0.025)
    """

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
    """Multiply the learning rate by a factor every epoch, smoothly: η = η₀ f^epoch.

    Args:
        initial: η₀, above 0.
        factor: f, above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is not above 0.

    Examples:
        >>> import chainrule as cr
        >>> cr.ExponentialDecay(0.4, factor=0.5).rate(2)
        0.1
    """

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
    """Lower the learning rate along half a cosine, and keep it there.

    η = η₁ + ½ (η₀ − η₁) (1 + cos(π epoch / epochs)), then η₁.

    Args:
        initial: η₀, above 0.
        epochs: How many epochs the fall takes.
        final: η₁, from 0 to ``initial``.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Loshchilov and Hutter, arXiv:1608.03983, without restarts.

    Examples:
        >>> import chainrule as cr
        >>> schedule = cr.Cosine(0.1, epochs=10)
        >>> schedule.rate(0), round(schedule.rate(5), 6), schedule.rate(12)
        (0.1, 0.05, 0.0)
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
    """Raise the learning rate evenly from 0, then follow another schedule.

    Args:
        epochs: How many epochs the rise takes.
        then: The number at which it ends, or the schedule that follows from its beginning.

    Raises:
        TypeError: A setting is neither a number nor a schedule.
        ValueError: A number is not above 0.

    Examples:
        >>> import chainrule as cr
        >>> schedule = cr.WarmUp(4, then=cr.StepDecay(0.1, every=10))
        >>> schedule.rate(0), schedule.rate(2), schedule.rate(4)
        (0.0, 0.05, 0.1)
    """

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
    """Multiply the learning rate by a factor when the loss has stopped falling.

    The loss is that of validation if there is validation data, else that of training.

    Args:
        initial: η at the beginning, above 0.
        factor: What η is multiplied by, between 0 and 1.
        patience: After how many epochs without a better loss η is multiplied.
        min_delta: By how much a loss must fall to count as better.
        minimum: The smallest η.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Examples:
        >>> import chainrule as cr
        >>> schedule = cr.ReduceOnPlateau(0.1, patience=2)
        >>> schedule.rate(3, losses=[0.9, 0.8, 0.7])
        0.1
        >>> schedule.rate(5, losses=[0.9, 0.8, 0.7, 0.7, 0.7])
        0.05
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
    """Wrap a custom schedule that does not derive from `Schedule`."""

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
    if type(learning_rate) is float:  # the usual case: a protocol takes long to ask about
        positive(learning_rate, name)
        return Constant(learning_rate)
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

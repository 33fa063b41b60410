"""Optimisers: how a parameter θ moves, given its gradient g, the learning rate η and step t.

An optimiser holds hyperparameters only. What it remembers between steps stands in ``slots``, one
vector like θ for each name, which belong to the run and start at 0. θ, g and the slots are flat
vectors of all weights and biases. The rules are those of PyTorch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.equations.checks import not_negative, positive
from chainrule.equations.schedules import HasRate, Schedule, as_schedule

Array = NDArray[Any]
Slots = dict[str, Array]


class Optimizer(ABC):
    """Move parameters against their gradient: the base class of the optimisers.

    An optimiser holds numbers only. What it remembers between steps belongs to the run.

    Attributes:
        slot_names: The names of the vectors that it remembers, each shaped as θ.
        learning_rate: η, a number or a schedule.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()
    learning_rate: float | HasRate

    @property
    def schedule(self) -> Schedule:
        """Return the learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    @property
    def used_slots(self) -> tuple[str, ...]:
        """Return the names of the slots that its hyperparameters call for."""
        return self.slot_names

    def start(self, theta: Array) -> Slots:
        """Return the vectors of a new run, each 0.

        Args:
            theta: All parameters as one vector.
        """
        return {name: np.zeros(theta.shape, theta.dtype) for name in self.used_slots}

    @abstractmethod
    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        """Take one step: change θ and the vectors in place.

        Args:
            theta: All parameters as one vector.
            g: Their gradient.
            slots: The vectors that the optimiser remembers, by name.
            eta: The learning rate η of this step.
            t: The number of the step, from 1.
        """


@exported("chainrule")
@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """Move θ against its gradient: θ ← θ − η g.

    With momentum μ, v ← μ v + g and θ ← θ − η v, or θ ← θ − η (g + μ v) with Nesterov's.

    Args:
        learning_rate: η, a number or a schedule.
        momentum: μ, from 0 to below 1.
        nesterov: Whether to look ahead along v; needs a momentum above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Polyak, 1964, for momentum; Sutskever et al., 2013, for Nesterov's in this form, which is
        PyTorch's.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[3.0]]], b=[[0.0]])
        >>> history = net.fit([[1.0]], [1.0], optimizer=cr.GradientDescent(0.1), epochs=1)
        >>> net.layers[1].W.tolist()
        [[2.8]]
    """

    learning_rate: float | HasRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    slot_names: ClassVar[tuple[str, ...]] = ("v",)

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        _fraction(self.momentum, "momentum")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum above 0")

    @property
    def used_slots(self) -> tuple[str, ...]:
        """Return none without momentum."""
        return self.slot_names if self.momentum else ()

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        if not self.momentum:
            theta -= eta * g
            return
        v = slots["v"]
        v *= self.momentum
        v += g
        theta -= eta * (g + self.momentum * v if self.nesterov else v)


@exported("chainrule")
@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Divide each step by the root of the sum of all squared gradients so far.

    s ← s + g², θ ← θ − η g / (√s + ε).

    Args:
        learning_rate: η, a number or a schedule.
        epsilon: ε, above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Duchi, Hazan and Singer, 2011.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[3.0]]], b=[[0.0]])
        >>> history = net.fit([[1.0]], [1.0], optimizer=cr.AdaGrad(0.1), epochs=1)
        >>> round(float(net.layers[1].W[0, 0]), 6)
        2.9
    """

    learning_rate: float | HasRate = 0.01
    epsilon: float = 1e-10

    slot_names: ClassVar[tuple[str, ...]] = ("s",)

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        positive(self.epsilon, "epsilon")

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        s = slots["s"]
        s += g * g
        theta -= eta * g / (np.sqrt(s) + self.epsilon)


@exported("chainrule")
@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Divide each step by the root of a running mean of squared gradients.

    s ← ρ s + (1 − ρ) g², θ ← θ − η g / (√s + ε).

    Args:
        learning_rate: η, a number or a schedule.
        decay: ρ, from 0 to below 1.
        epsilon: ε, above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Tieleman and Hinton, 2012, lecture 6.5.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[3.0]]], b=[[0.0]])
        >>> history = net.fit([[1.0]], [1.0], optimizer=cr.RMSProp(0.01), epochs=1)
        >>> round(float(net.layers[1].W[0, 0]), 6)
        2.9
    """

    learning_rate: float | HasRate = 0.001
    decay: float = 0.99
    epsilon: float = 1e-8

    slot_names: ClassVar[tuple[str, ...]] = ("s",)

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        _fraction(self.decay, "decay")
        positive(self.epsilon, "epsilon")

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        s = slots["s"]
        s *= self.decay
        s += (1 - self.decay) * (g * g)
        theta -= eta * g / (np.sqrt(s) + self.epsilon)


@exported("chainrule")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Move along a running mean of gradients, divided by the root of one of their squares.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², and θ ← θ − η · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ))
    + ε), where the divisors remove the bias of the means towards 0.

    Args:
        learning_rate: η, a number or a schedule.
        beta1: β₁, from 0 to below 1.
        beta2: β₂, from 0 to below 1.
        epsilon: ε, above 0.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Kingma and Ba, arXiv:1412.6980.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[3.0]]], b=[[0.0]])
        >>> history = net.fit([[1.0]], [1.0], optimizer=cr.Adam(0.1), epochs=1)
        >>> round(float(net.layers[1].W[0, 0]), 6)
        2.9
    """

    learning_rate: float | HasRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    slot_names: ClassVar[tuple[str, ...]] = ("m", "v")

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        _fraction(self.beta1, "beta1")
        _fraction(self.beta2, "beta2")
        positive(self.epsilon, "epsilon")

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        m, v = slots["m"], slots["v"]
        m *= self.beta1
        m += (1 - self.beta1) * g
        v *= self.beta2
        v += (1 - self.beta2) * (g * g)
        step = eta / (1 - self.beta1**t)
        root = math.sqrt(1 - self.beta2**t)
        theta -= step * m / (np.sqrt(v) / root + self.epsilon)


@exported("chainrule")
@dataclass(frozen=True)
class AdamW(Adam):
    """Shrink every parameter, then take a step of `Adam`: θ ← (1 − η λ) θ.

    The decay acts on weights and biases, and is not part of the loss; the network's ``l2`` is.

    Args:
        learning_rate: η, a number or a schedule.
        beta1: β₁, from 0 to below 1.
        beta2: β₂, from 0 to below 1.
        epsilon: ε, above 0.
        weight_decay: λ, 0 or more.

    Raises:
        TypeError: A setting is not a number.
        ValueError: A setting is out of its range.

    Source:
        Loshchilov and Hutter, arXiv:1711.05101.

    Examples:
        >>> import chainrule as cr
        >>> cr.AdamW(weight_decay=0.05)
        AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.05)
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.weight_decay, "weight_decay")

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        theta *= 1 - eta * self.weight_decay
        super().update(theta, g, slots, eta, t)


def _fraction(value: float, name: str) -> None:
    not_negative(value, name)
    if value >= 1:
        raise ValueError(f"{name} must be from 0 to below 1, got {value}")

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

from chainrule.checks import not_negative, positive
from chainrule.schedules import Schedule, as_schedule

Array = NDArray[Any]
Slots = dict[str, Array]


class Optimizer(ABC):
    """An update rule; ``slot_names`` are the vectors that it remembers."""

    slot_names: ClassVar[tuple[str, ...]] = ()
    learning_rate: float | Schedule

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    @property
    def used_slots(self) -> tuple[str, ...]:
        """The names of the slots that its hyperparameters call for."""
        return self.slot_names

    def start(self, theta: Array) -> Slots:
        """Give the slots of a new run."""
        return {name: np.zeros_like(theta) for name in self.used_slots}

    @abstractmethod
    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        """Move θ in place, and the slots; t = 1 for the first step."""


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """θ ← θ - η g.

    With momentum μ: v ← μ v + g and θ ← θ - η v, or with Nesterov's θ ← θ - η (g + μ v).
    """

    learning_rate: float | Schedule = 0.01
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
        """None without momentum."""
        return self.slot_names if self.momentum else ()

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        if not self.momentum:
            theta -= eta * g
            return
        v = slots["v"]
        v *= self.momentum
        v += g
        theta -= eta * (g + self.momentum * v if self.nesterov else v)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """s ← s + g², θ ← θ - η g / (√s + ε) (Duchi et al., 2011)."""

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    slot_names: ClassVar[tuple[str, ...]] = ("s",)

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        positive(self.epsilon, "epsilon")

    def update(self, theta: Array, g: Array, slots: Slots, eta: float, t: int) -> None:
        s = slots["s"]
        s += g * g
        theta -= eta * g / (np.sqrt(s) + self.epsilon)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """s ← ρ s + (1 - ρ) g², θ ← θ - η g / (√s + ε) (Tieleman and Hinton, 2012); ρ is ``decay``."""

    learning_rate: float | Schedule = 0.001
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


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of g and g², freed of their bias towards 0 (Kingma and Ba, arXiv 1412.6980).

    m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²,
    θ ← θ - η · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε).
    """

    learning_rate: float | Schedule = 0.001
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


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam after θ ← (1 - η λ) θ (Loshchilov and Hutter, arXiv 1711.05101); λ is ``weight_decay``.

    The decay acts on weights and biases and is no part of the loss.
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

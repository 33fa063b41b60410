"""Rules: one step of an optimiser for one parameter, in float64, as a sum over its sources.

What an optimiser remembers is linear in the gradients that it was given, so each memory is kept as
a sum with one part for each source: this gradient, an earlier one, weight decay, clipping. The
rules are those of PyTorch, of which ours are a part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# (what, the step it comes from; None is before the first step that is known)
Source = tuple[str, int | None]
Parts = dict[Source, float]

GRADIENT, PENALTY, CLIPPING, DECAY = "gradient", "penalty", "clipping", "weight decay"
BEFORE, ROUNDING = "before", "rounding"


@dataclass(frozen=True)
class Taken:
    """What one step had and did, for one parameter.

    Attributes:
        step: The number of the step.
        theta: The parameter before the step.
        after: The parameter after it.
        gradient: The gradient of the loss, as backward left it.
        used: The gradient that the optimiser was given, clipped where the loop clips.
        rate: The learning rate η.
        settings: The other hyperparameters, under PyTorch's names.
        penalty: The part of the gradient that an L2 penalty of the loss makes.
    """

    step: int
    theta: float
    after: float
    gradient: float
    used: float
    rate: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    penalty: float = 0.0


@dataclass
class Memory:
    """What an optimiser remembers of one parameter.

    Attributes:
        count: How many steps it has taken.
        momentum: The running sum or mean of gradients; None before the first step.
        squares: The running sum or mean of squares, by the step that each part comes from.
        largest: The largest mean of squares so far, with AMSGrad.
        mean: The running mean of gradients of the centred RMSProp.
    """

    count: int = 0
    momentum: Parts | None = None
    squares: dict[int | None, float] = field(default_factory=dict)
    largest: dict[int | None, float] | None = None
    mean: float = 0.0


@dataclass(frozen=True)
class Step:
    """One step: the parts of the change, and the factors that they share.

    Attributes:
        parts: The change of the parameter, by source.
        factors: What each part of the numerator was multiplied with, by name. Empty where the parts
            do not share them.
        squares: The parts of the mean of squares under the root, by step.
    """

    parts: Parts
    factors: dict[str, float]
    squares: dict[int | None, float]


Rule = Callable[[Memory, Taken], Step]


def fresh(taken: Taken) -> Parts:
    """Return this step's gradient by source, with the decay that is added to it."""
    sign = -1.0 if taken.settings.get("maximize") else 1.0
    parts: Parts = {(GRADIENT, taken.step): sign * (taken.gradient - taken.penalty)}
    if taken.penalty:
        parts[PENALTY, taken.step] = sign * taken.penalty
    if taken.used != taken.gradient:
        parts[CLIPPING, taken.step] = sign * (taken.used - taken.gradient)
    decay = taken.settings.get("weight_decay", 0.0)
    if decay and not taken.settings.get("decoupled"):
        parts[DECAY, taken.step] = decay * taken.theta
    return parts


def scaled(parts: Parts, factor: float) -> Parts:
    """Return each part times a factor."""
    return {source: factor * value for source, value in parts.items()}


def added(*sums: Parts) -> Parts:
    """Return the sum of sums."""
    result: Parts = {}
    for parts in sums:
        for source, value in parts.items():
            result[source] = result.get(source, 0.0) + value
    return result


def gradient_descent(memory: Memory, taken: Taken) -> Step:
    """Take a step of SGD with momentum, dampening and Nesterov's look ahead."""
    settings, direction = taken.settings, fresh(taken)
    mu = settings.get("momentum", 0.0)
    if mu:
        g = direction
        if memory.momentum is None:
            memory.momentum = g
        else:
            rest = 1 - settings.get("dampening", 0.0)
            memory.momentum = added(scaled(memory.momentum, mu), scaled(g, rest))
        ahead = settings.get("nesterov")
        direction = added(g, scaled(memory.momentum, mu)) if ahead else memory.momentum
    memory.count += 1
    return Step(scaled(direction, -taken.rate), {"learning rate": taken.rate}, {})


def adagrad(memory: Memory, taken: Taken) -> Step:
    """Take a step of AdaGrad."""
    g = fresh(taken)
    rate = taken.rate / (1 + memory.count * taken.settings.get("lr_decay", 0.0))
    memory.count += 1
    memory.squares[taken.step] = math.fsum(g.values()) ** 2
    root = math.sqrt(math.fsum(memory.squares.values())) + taken.settings["eps"]
    factors = {"learning rate": rate, "denominator": 1 / root}
    return Step(scaled(g, -rate / root), factors, dict(memory.squares))


def rmsprop(memory: Memory, taken: Taken) -> Step:
    """Take a step of RMSProp, centred or with momentum if it is set."""
    settings, g = taken.settings, fresh(taken)
    rho, whole = settings["alpha"], math.fsum(fresh(taken).values())
    memory.count += 1
    memory.squares = {k: rho * s for k, s in memory.squares.items()}
    memory.squares[taken.step] = (1 - rho) * whole**2
    square = math.fsum(memory.squares.values())
    if settings.get("centered"):
        memory.mean = rho * memory.mean + (1 - rho) * whole
        square = max(square - memory.mean**2, 0.0)
    root = math.sqrt(square) + settings["eps"]
    factors = {"learning rate": taken.rate, "denominator": 1 / root}
    mu = settings.get("momentum", 0.0)
    if not mu:
        return Step(scaled(g, -taken.rate / root), factors, dict(memory.squares))
    before = {} if memory.momentum is None else scaled(memory.momentum, mu)
    memory.momentum = added(before, scaled(g, 1 / root))
    del factors["denominator"]  # each gradient has been divided by that of its own step
    return Step(scaled(memory.momentum, -taken.rate), factors, dict(memory.squares))


def adam(memory: Memory, taken: Taken) -> Step:
    """Take a step of Adam, or of AdamW where the decay is decoupled."""
    settings, g = taken.settings, fresh(taken)
    beta1, beta2 = settings["betas"]
    memory.count += 1
    before = {} if memory.momentum is None else scaled(memory.momentum, beta1)
    memory.momentum = added(before, scaled(g, 1 - beta1))
    squares = {k: beta2 * v for k, v in memory.squares.items()}
    squares[taken.step] = (1 - beta2) * math.fsum(g.values()) ** 2
    memory.squares = squares
    if settings.get("amsgrad"):
        known = memory.largest or {}
        if math.fsum(known.values()) < math.fsum(squares.values()):
            memory.largest = dict(squares)
        squares = memory.largest or squares
    correction = 1 / (1 - beta1**memory.count)
    v = math.fsum(squares.values())
    root = math.sqrt(v) / math.sqrt(1 - beta2**memory.count) + settings["eps"]
    factors = {
        "learning rate": taken.rate,
        "bias correction": correction,
        "denominator": 1 / root,
    }
    parts = scaled(memory.momentum, -taken.rate * correction / root)
    if settings.get("decoupled") and settings.get("weight_decay"):
        decay = -taken.rate * settings["weight_decay"] * taken.theta
        parts = added(parts, {(DECAY, taken.step): decay})
    return Step(parts, factors, dict(squares))


RULES: dict[str, Rule] = {  # by PyTorch's names, and by ours where they differ
    "GradientDescent": gradient_descent,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "SGD": gradient_descent,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adam,
}

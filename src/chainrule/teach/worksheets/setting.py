"""Setting: from a network and a seed to the questions of each student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations import data
from chainrule.equations.checks import integer, positive
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import BinaryCrossEntropy, CrossEntropy, Poisson
from chainrule.explain import Notation
from chainrule.explain import notation as notations
from chainrule.teach.exercises import Examiner
from chainrule.teach.worksheets import by_hand, proofs
from chainrule.teach.worksheets.deck import Deck, Variant
from chainrule.teach.worksheets.kinds import KINDS, LEVELS, layers
from chainrule.teach.worksheets.questions import Question
from chainrule.teach.worksheets.setter import Setter

MOST_UNITS = 8  # in a layer; more is not work for a hand
MOST_EXERCISES, MOST_VARIANTS = 50, 500
_TRIES = 40  # draws of one question
_SAMPLES = 4  # drawn where there are no data
_WEIGHTS = np.array([w / 10 for w in range(-10, 11) if w])
_INPUTS = np.array([-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2])
Array = NDArray[Any]
D = TypeVar("D", bound=Deck)


def deck(
    kind: type[D],
    network: FeedForward,
    X: ArrayLike | None,
    y: ArrayLike | None,
    *,
    exercises: int,
    variants: int,
    seed: int,
    level: str,
    kinds: Sequence[str] | None,
    draw_weights: bool,
    learning_rate: float,
    notation: Notation | str,
) -> D:
    """Set the exercises of a class; the arguments are those of `chainrule.worksheet`."""
    exercises = _count(exercises, "exercises", MOST_EXERCISES)
    variants = _count(variants, "variants", MOST_VARIANTS)
    seed = integer(seed, "seed must be a whole number")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected a whole number from 0 on")
    positive(learning_rate, "learning_rate")
    chosen = _kinds(level, kinds)
    if not isinstance(network, FeedForward):
        raise TypeError(f"network is {type(network).__name__}; expected a chainrule.Network")
    if max(network.sizes) > MOST_UNITS:
        raise ValueError(
            f"the network has a layer of {max(network.sizes)} units; a worksheet takes at most "
            f"{MOST_UNITS}. Choose a smaller network."
        )
    if any(layer.dropout for layer in network.layers[1:]) or network.l2:
        raise ValueError(
            "the network has dropout or an L2 penalty; a worksheet takes a network without. "
            "Make one with the same weights."
        )
    if (X is None) != (y is None):
        raise ValueError("only one of X and y was passed; pass both, or neither")
    given: tuple[Array, Array] | None = None
    if X is not None and y is not None:
        checked = data.samples(X, y, network.sizes, network.loss, None)
        rows = data.one_hot(checked.y, network.sizes[-1], np.float64)
        given = np.round(np.asarray(checked.X, dtype=np.float64), 2), np.round(rows, 2)
        if isinstance(network.loss, CrossEntropy):
            _check_probabilities(given[1])
    name = notation if isinstance(notation, Notation) else notations.get(notation)
    shown = replace(name, digits=by_hand.DIGITS)
    made = tuple(
        _variant(
            network, given, number, exercises, seed, level, chosen, draw_weights, learning_rate,
            shown,
        )
        for number in range(1, variants + 1)
    )  # fmt: skip
    return kind(made, seed, level, shown, learning_rate)


def _variant(
    network: FeedForward,
    given: tuple[Array, Array] | None,
    number: int,
    exercises: int,
    seed: int,
    level: str,
    kinds: Sequence[str],
    draw_weights: bool,
    eta: float,
    notation: Notation,
) -> Variant:
    own = network.copy()
    rng = np.random.default_rng([seed, number])
    if draw_weights:
        own.parameters = rng.choice(_WEIGHTS, size=len(own.parameters))
    else:
        own.parameters = np.round(np.asarray(own.parameters, dtype=np.float64), 2)
    X, y = given if given is not None else _samples(own, rng)
    asked: list[Question] = []
    seen: set[tuple[str, str, str]] = set()
    for place in range(exercises):
        question = _question(own, X, y, place, rng, level, kinds, eta, notation, seen)
        seen.add(_name(question))
        asked.append(question)
    return Variant(number, own, tuple(asked))


def _question(
    network: FeedForward,
    X: Array,
    y: Array,
    place: int,
    rng: np.random.Generator,
    level: str,
    kinds: Sequence[str],
    eta: float,
    notation: Notation,
    seen: set[tuple[str, str, str]],
) -> Question:
    """Draw a question; kinds take turns, and one that can't be set makes room for the next."""
    repeated: Question | None = None
    for turn in range(len(kinds)):
        kind = kinds[(place + turn) % len(kinds)]
        for _ in range(_TRIES):
            sample = int(rng.integers(len(X)))
            if proofs.is_at_kink(network, X, y):
                break
            examiner = Examiner(network, X, y, sample, notation, eta)
            setter = Setter(examiner, list(layers(level, len(network.sizes) - 1)))
            try:
                question = KINDS[kind](setter, rng)
            except ValueError:  # not proven, or no exercise of this kind can be made
                continue
            if question is not None and _name(question) not in seen:
                return question
            repeated = repeated or question
    if repeated is not None:
        return repeated
    raise ValueError(
        f"no exercise about {', '.join(kinds)} can be set: gradients are too close to 0, a unit "
        "stands on a kink, or rounding would lead a hand astray. Choose other samples, another "
        "seed or level."
    )


def _name(question: Question) -> tuple[str, str, str]:
    return question.kind, question.target, repr(question.given)


def _samples(network: FeedForward, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw samples whose units and residuals stand off every kink."""
    units, loss = network.sizes[-1], network.loss
    X = np.zeros((_SAMPLES, network.sizes[0]))
    y = np.zeros((_SAMPLES, units))
    for i in range(_SAMPLES):
        for _ in range(200):
            X[i] = rng.choice(_INPUTS, size=network.sizes[0])
            if isinstance(loss, CrossEntropy):
                y[i] = np.eye(units)[int(rng.integers(units))]
            elif isinstance(loss, BinaryCrossEntropy):
                y[i] = rng.integers(2, size=units)
            elif isinstance(loss, Poisson):
                y[i] = rng.integers(4, size=units)
            else:
                y[i] = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=units)
            new = not any(np.array_equal(X[i], X[k]) for k in range(i))
            if new and not proofs.is_at_kink(network, X[i : i + 1], y[i : i + 1]):
                break
    return X, y


def _check_probabilities(rows: Array) -> None:
    """Refuse probabilities that no longer add up to 1 when they are rounded to 2 decimals."""
    sums = rows.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-9)
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"row {at} of y, rounded to the 2 decimals of a sheet, does not add up to 1: its "
            f"probabilities add up to {sums[at]:.6g}, not to 1. Choose probabilities of 2 decimals."
        )


def _kinds(level: str, kinds: Sequence[str] | None) -> tuple[str, ...]:
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; expected {', '.join(LEVELS)}")
    if kinds is None:
        return LEVELS[level]
    if isinstance(kinds, str):
        raise TypeError(f"kinds is the text {kinds!r}; expected a list such as ['gradient']")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds is {list(kinds)!r}; expected some of {', '.join(KINDS)}")
    return tuple(kinds)


def _count(value: int, name: str, most: int) -> int:
    value = integer(value, f"{name} must be a whole number")
    if not 1 <= value <= most:
        raise ValueError(f"{name} is {value}; expected a whole number from 1 to {most}")
    return value

"""Lessons: two tours, each of a network and one derivation, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from chainrule.equations.feedforward import FeedForward
from chainrule.explain import Explanation
from chainrule.explain.scribe import EquationView, Scribe
from chainrule.teach.datasets import Dataset


class StopView(TypedDict):
    """A stop of a tour."""

    title: str
    words: str
    equations: list[EquationView]
    target: str
    phase: str
    layer: int
    act: str  # what a button of the page does: "", "update", "prove"


@dataclass(frozen=True)
class Lesson:
    """The title, network, data and settings of a lesson."""

    title: str
    target: str
    notation: str
    learning_rate: float
    network: FeedForward
    data: Dataset


def lesson(name: str, kind: type[FeedForward] = FeedForward) -> Lesson:
    """Return the lesson of that name: "output weight" or "tanh chain"."""
    if name == "output weight":
        network = kind(
            [3, 6, 4], hidden="sigmoid", output="sigmoid", loss="squared_error", biases=False,
            seed=4,
        )  # fmt: skip
        X = np.array([[-1.1, 0.5, -0.2], [0.3, -0.9, 0.1], [0.8, 0.4, -0.6]])
        y = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
        data = Dataset("samples of the lesson", X, y, X[:0], y[:0], classes=4)
        return Lesson("One weight of the output layer", "w[2][1,2]", "C-a-L", 0.1, network, data)
    network = kind(
        [1, 1, 1], hidden="tanh", output="tanh", loss="half_squared_error",
        W=[[[0.6]], [[-0.4]]], b=[[0.1], [0.2]], seed=0,
    )  # fmt: skip
    X, y = np.array([[0.5]]), np.array([[0.7]])
    data = Dataset("sample of the lesson", X, y, X[:0], y[:0])
    return Lesson("A chain of single units, and its update", "w[2][0,0]", "L-h", 0.1, network, data)


_OPENING = {
    "output weight": (
        "Six units feed four outputs. One weight is marked: it leads from unit 2 of the hidden "
        "layer to output 1. How does the loss change when this weight changes? That is hard to see "
        "at a glance, but the weight acts on the loss in three small steps, and each has a simple "
        "derivative."
    ),
    "tanh chain": (
        "One input, one hidden unit, one output: a chain. The weight at its end is marked. It "
        "changes z, z changes the activation, and the activation changes the loss: three factors, "
        "and then a step that makes the loss smaller."
    ),
}

_WORDS = {
    "The chain rule": "The derivative is a product: one factor for each step from the weight to "
    "the loss. The drawing marks the path.",
    "First term": "How does the loss change with the activation? Only one item of the sum depends "
    "on it; the derivative of every other item is 0.",
    "Second term": "How does the activation change with z? That is the slope of the activation "
    "function, at this z.",
    "Third term": "How does z change with the weight? Only the item with this weight is left of "
    "the sum, and its derivative is the activation at the start of the weight.",
    "Combining the terms": "Replace the three factors by the three results.",
    "The numbers": "Now with the numbers of this sample, which you see in the drawing.",
    "The mean": "So far this was one sample. The loss is the mean over all samples, and so is its "
    "derivative.",
    "The update": "Gradient descent moves the weight against its derivative. Try it: press the "
    "button below, and watch the weight and the loss.",
}
_PHASES = {
    "First term": "loss", "Second term": "backward", "Third term": "gradient",
    "The update": "update",
}  # fmt: skip


def stops(name: str, why: Explanation) -> list[StopView]:
    """Return the stops of a lesson: the question, each section of the derivation, the proof."""
    scribe = Scribe(why.notation, why.network.sizes, why.n_samples)
    target, layer = str(why.target), why.target.layer

    def stop(title: str, words: str, equations: list[object], phase: str, act: str) -> StopView:
        return {
            "title": title, "words": words, "equations": equations,  # type: ignore[typeddict-item]
            "target": target, "phase": phase, "layer": layer, "act": act,
        }  # fmt: skip

    found = [stop("The question", _OPENING[name], [], "input", "")]
    for section in why.sections():
        key = next((key for key in _WORDS if section.title.startswith(key)), "")
        equations: list[object] = [scribe.view(equation) for equation in section.equations]
        act = "update" if section.title == "The update" else ""
        found.append(stop(section.title, _WORDS.get(key, ""), equations, _PHASES.get(key, ""), act))
    words = (
        "Is the number right? Compare it with a difference quotient and a value with 30 digits, "
        "both computed without any rule of differentiation. Then click another weight, or practise."
    )
    found.append(stop("The proof", words, [], "", "prove"))
    return found

"""Stops: what the page shows of a stop, with the formulas and numbers of the network as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import numpy as np

from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.numbers import Value, format_number, plain
from chainrule.equations.targets import Bias, Weight, resolve
from chainrule.explain import Explanation
from chainrule.explain.scribe import EquationView, Scribe
from chainrule.explain.steps import Steps
from chainrule.explain.words import column
from chainrule.teach.lessons.format import Lesson, Question, Stop
from chainrule.teach.lessons.prose import BlockView, spans

_SECTIONS = {
    "chain rule": "The chain rule", "first term": "First term", "second term": "Second term",
    "third term": "Third term", "combined": "Combining the terms", "numbers": "The numbers",
    "mean": "The mean", "update": "The update",
}  # fmt: skip
_ROWS = 12  # samples whose products are shown beside the mean


class AskView(TypedDict):
    """A question of a lesson; without choices, the answer is a number."""

    ask: str
    choices: list[str]


class ActionView(TypedDict):
    """A button of a lesson: its label, and the requests that it makes."""

    label: str
    requests: list[dict[str, Any]]


class StopView(TypedDict):
    """A stop of a lesson; a row of ``samples`` has the index, the terms and their product."""

    kind: Literal["stop"]
    at: int
    title: str
    text: list[BlockView]
    equations: list[EquationView]
    heads: list[EquationView]  # the symbols of the terms
    samples: list[list[Value]]
    mark: str
    light: list[str]
    phase: str
    layer: int
    act: str
    open: str
    question: AskView | None
    buttons: list[ActionView]


class ResponseView(TypedDict):
    """Whether an answer is right, and why."""

    kind: Literal["response"]
    right: bool
    words: list[BlockView]


def view(
    lesson: Lesson, at: int, why: Callable[[str], Explanation], steps: Callable[[], Steps]
) -> StopView:
    """Return a stop of a lesson.

    Args:
        lesson: The lesson.
        at: The index of the stop.
        why: Returns the explanation of a quantity in the network as it is.
        steps: Returns the steps of that network.
    """
    stop = lesson.stops[at]
    equations, heads, samples = _formulas(lesson, stop, why, steps)
    question = stop.question
    return {
        "kind": "stop",
        "at": at,
        "title": stop.title,
        "text": list(stop.text),
        "equations": equations,
        "heads": heads,
        "samples": samples,
        "mark": stop.mark,
        "light": [name for text in stop.light for name in lit(text, lesson.network)],
        "phase": stop.phase,
        "layer": stop.layer,
        "act": stop.act,
        "open": stop.open,
        "question": None
        if question is None
        else {"ask": question.ask, "choices": list(question.choices)},
        "buttons": [
            {"label": b.label, "requests": [{**fields, "kind": kind} for kind, fields in b.actions]}
            for b in stop.buttons
        ],
    }


def _formulas(
    lesson: Lesson, stop: Stop, why: Callable[[str], Explanation], steps: Callable[[], Steps]
) -> tuple[list[EquationView], list[EquationView], list[list[Value]]]:
    equations: list[EquationView] = []
    heads: list[EquationView] = []
    samples: list[list[Value]] = []
    found = why(stop.mark) if set(stop.show) - {"step"} else None
    for name in stop.show:
        if found is None or name == "step":
            equations += _of_step(stop, steps())
            continue
        scribe = Scribe(found.notation, found.network.sizes, found.n_samples, found.first_sample)
        for section in found.sections():
            if section.title.startswith(_SECTIONS[name]):
                equations += [scribe.view(equation) for equation in section.equations]
        if name == "mean" and found.n_samples > 1:
            heads = [scribe.equation(column(found, term)) for term in found.terms]
            samples = [_row(found, i) for i in range(min(found.n_samples, _ROWS))]
    if lesson.language != "en":  # the words before formulas are English
        equations = [{**equation, "lead": ""} for equation in equations]
    return equations, heads, samples


def _of_step(stop: Stop, steps: Steps) -> list[EquationView]:
    for step in steps.views():
        if step["phase"] == stop.phase and stop.layer in (0, step["layer"]):
            return step["equations"]
    return []


def _row(why: Explanation, i: int) -> list[Value]:
    numbers = [plain(float(term.values[i])) for term in why.terms]
    return [i, *numbers, plain(float(why.products[i]))]


def lit(text: str, network: FeedForward) -> list[str]:
    """Return the names in the drawing of what a lesson lights: "layer 1", "weights 2", a[1][0]."""
    what, _, number = text.partition(" ")
    if not number:
        return [text.replace("y[", "target ").rstrip("]") if text.startswith("y[") else text]
    l = int(number)
    if not (0 if what == "layer" else 1) <= l < len(network.sizes):
        return []
    ends = range(network.sizes[l])
    if what == "layer":
        return [f"a[{l}][{j}]" if l else f"x[{j}]" for j in ends]
    if what == "biases":
        return [f"b[{l}][{j}]" for j in ends]
    return [f"w[{l}][{j},{k}]" for j in ends for k in range(network.sizes[l - 1])]


def response(
    question: Question,
    value: float | None,
    choice: int | None,
    network: FeedForward,
    gradient: Gradient,
    focus: int,
    learning_rate: float,
) -> ResponseView:
    """Return whether an answer is right; raise ValueError for one that does not fit.

    ``gradient`` is of the samples that are explained; ``focus`` is the current one among them.
    """
    words = spans(question.because)
    if question.choices:
        if choice is None or not 0 <= choice < len(question.choices):
            raise ValueError(f"choice is {choice}; expected 0 to {len(question.choices) - 1}")
        right = choice == question.right
    else:
        if value is None:
            raise ValueError("value is missing; expected a number")
        expected = question.answer
        if isinstance(expected, str):
            expected = number(expected, network, gradient, focus, learning_rate)
        near = question.tolerance * abs(expected) if expected else question.tolerance
        right = abs(value - expected) <= near
        if right:
            words = [*spans(f"{format_number(expected, 6)}. "), *words]
    shown: list[BlockView] = [{"kind": "p", "spans": words}] if right and words else []
    return {"kind": "response", "right": right, "words": shown}


def number(
    answer: str, network: FeedForward, gradient: Gradient, focus: int, learning_rate: float
) -> float:
    """Return the number that an answer such as "gradient w[2][0,0]" names."""
    what, _, name = answer.partition(" ")
    if name == "loss":
        return float(gradient.sample_losses[focus])
    target = resolve(name, network.sizes, network.biases)
    l, j = target.layer, target.j
    if isinstance(target, Weight):
        old, slope = network.layers[l].W[j, target.k], gradient.dW[l][j, target.k]
    elif isinstance(target, Bias):
        old, slope = _of(network.layers[l].b, j), _of(gradient.db[l], j)
    else:
        passed = gradient.forward.a if name[0] in "ax" else gradient.forward.z
        old = passed[l][focus, j]
        slope = gradient.delta[l][focus, j] if name[0] == "z" else np.nan
    if what == "value":
        return float(old)
    return float(slope if what == "gradient" else old - learning_rate * slope)


def _of(values: Any, j: int) -> float:
    return float(values[j])

"""Format: a lesson as a text file, read and checked.

A lesson is Markdown. It opens with TOML between two lines ``+++``: title, network, data, settings.
Each heading ``##`` begins a stop, which may open with a code block named ``stop`` that holds TOML:
what to light up, the formulas to show, a question, buttons. The rest of the stop is its text. A
translation has the title, the headings, the texts and the questions alone, and names the lesson
whose network and formulas it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import LOSSES
from chainrule.equations.parameters import count_parameters
from chainrule.equations.targets import PreActivation, UnitOutput, resolve
from chainrule.explain.notation import NOTATIONS
from chainrule.teach import datasets
from chainrule.teach.datasets import Dataset
from chainrule.teach.lessons import prose
from chainrule.teach.lessons.fields import Fields, Source
from chainrule.teach.lessons.prose import BlockView

MOST_BYTES = 64 * 2**10  # of a file
MOST_STOPS = 40
_PARAMETERS, _LAYERS, _UNITS = 10_000, 17, 64
_NUMBERS = 10_000  # in the samples
_TEXT = 400  # characters of a title, a question or a choice
FORMULAS = (
    "chain rule", "first term", "second term", "third term", "combined", "numbers", "mean",
    "update", "step",
)  # fmt: skip
PHASES = ("input", "forward", "loss", "backward", "gradient", "update")
OPTIMIZERS = ("gradient descent", "momentum", "adam")
ACTIONS = ("build", "configure", "edit", "select", "train")
_LIGHT = re.compile(r"(layer|weights|biases) (\d+)|loss|y\[(\d+)\]")
_ANSWER = re.compile(r"(value|gradient|new) (\S+)")


@dataclass(frozen=True)
class Question:
    """A question: with choices, or with a number as its answer.

    ``answer`` is a number, or "value w[1][0,0]", "gradient ..." or "new ..." (after an update),
    which the network computes when it is asked.
    """

    ask: str
    choices: tuple[str, ...] = ()
    right: int = 0
    answer: float | str = 0.0
    tolerance: float = 0.01
    because: str = ""


@dataclass(frozen=True)
class Button:
    """A button: its label, and the requests that it makes, (kind, fields), in order."""

    label: str
    actions: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class Stop:
    """A stop of a lesson: its text, and what the page shows beside it."""

    title: str
    text: tuple[BlockView, ...]
    mark: str
    light: tuple[str, ...] = ()
    phase: str = ""
    layer: int = 0
    show: tuple[str, ...] = ()
    act: str = ""  # what a button of the page does: "", "update", "prove"
    open: str = ""  # what opens beside it: "", "health"
    question: Question | None = None
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A lesson: its words, network, data, settings and stops."""

    title: str
    summary: str
    language: str
    network: FeedForward
    data: Dataset
    sample: int
    settings: dict[str, Any]  # notation, scope, learning_rate, optimizer, batch_size
    stops: tuple[Stop, ...]
    text: str  # that it was read from


def read(
    text: str,
    name: str,
    kind: type[FeedForward] = FeedForward,
    original: Callable[[str], Lesson] | None = None,
) -> Lesson:
    """Return the lesson of a text; raise ValueError naming the line of what is wrong.

    Args:
        text: The text of the file.
        name: Its name, for errors.
        kind: The class of the network.
        original: The lesson that a translation names. None: a translation is not allowed.
    """
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(
            f"{name} has {len(text.encode()):,} bytes; expected at most {MOST_BYTES:,}"
        )
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != "+++":
        raise ValueError(f"{name}, line 1: expected +++, and then the settings of the lesson")
    end = next((i for i in range(1, len(lines)) if lines[i].strip() == "+++"), 0)
    if not end:
        raise ValueError(f"{name}: the second +++ is missing, which ends the settings")
    source = Source(name, tuple(lines[1:end]), 2)
    head = Fields(source, source.table())
    parts = _parts(lines, end + 1, name)
    if head.has("of"):
        if original is None:
            head.fail("of", "makes this a translation; only built-in lessons have translations")
        return _translated(original(head.text("of", _TEXT)), head, parts)
    title, summary = head.text("title", _TEXT), head.text("summary", _TEXT, "")
    language = head.text("language", 8, "en")
    settings = _settings(head)
    network = _network(head.table("network"), kind)
    fields = head.table("data")
    data = _data(fields, network)
    sample = fields.integer("sample", 0, len(data.X) - 1, 0)
    fields.done()
    head.done()
    stops: list[Stop] = []
    for part in parts:
        stops.append(_stop(part, network, stops[-1].mark if stops else "loss"))
    return Lesson(title, summary, language, network, data, sample, settings, tuple(stops), text)


# --- parts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A heading, the TOML below it, and its text."""

    title: str
    line: int
    fields: Fields
    text: tuple[BlockView, ...]


def _parts(lines: list[str], start: int, name: str) -> list[_Part]:
    heads = [i for i in range(start, len(lines)) if lines[i].startswith("## ")]
    if not heads:
        raise ValueError(f"{name} has no stop; expected a heading such as ## The question")
    if len(heads) > MOST_STOPS:
        raise ValueError(f"{name} has {len(heads)} stops; expected at most {MOST_STOPS}")
    for i in range(start, heads[0]):
        if lines[i].strip():
            raise ValueError(f"{name}, line {i + 1} stands before the first heading ##; move it")
    return [
        _part(lines[a:b], a + 1, name) for a, b in zip(heads, [*heads[1:], len(lines)], strict=True)
    ]


def _part(lines: list[str], line: int, name: str) -> _Part:
    title = lines[0][3:].strip()
    prose.blocks([title], name, line)
    at = next((i for i in range(1, len(lines)) if lines[i].strip()), len(lines))
    inside: tuple[str, ...] = ()
    begin = at
    if at < len(lines) and lines[at].strip() == "```stop":
        end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "```"), 0)
        if not end:
            raise ValueError(f"{name}, line {line + at}: the ``` that ends this block is missing")
        inside, begin = tuple(lines[at + 1 : end]), end + 1
    source = Source(name, inside, line + (at + 1 if inside else 0))
    text = prose.blocks(lines[begin:], name, line + begin)
    if not title or len(title) > _TEXT or not text:
        raise ValueError(f"{name}, line {line}: a stop has a heading and a text below it")
    return _Part(title, line, Fields(source, source.table()), tuple(text))


# --- network, data, settings --------------------------------------------------------------------


def _settings(head: Fields) -> dict[str, Any]:
    return {
        "notation": head.choice("notation", list(NOTATIONS), "default"),
        "scope": head.choice("scope", ("sample", "all"), "sample"),
        "learning_rate": head.number("learning_rate", 1e-9, 1000, 0.1),
        "optimizer": head.choice("optimizer", OPTIMIZERS, "gradient descent"),
        "batch_size": head.integer("batch_size", 1, 10**7, 32),
    }


def _network(fields: Fields, kind: type[FeedForward]) -> FeedForward:
    sizes = fields.array("sizes", _LAYERS)
    whole = all(type(units) is int and 1 <= units <= _UNITS for units in sizes)
    if not whole or len(sizes) < 2 or count_parameters(sizes) > _PARAMETERS:
        fields.fail(
            "sizes",
            f"is {sizes}; expected 2 to {_LAYERS} layers of 1 to {_UNITS} units, with at most "
            f"{_PARAMETERS:,} parameters",
        )
    known = list(ACTIVATIONS)
    if isinstance(fields.rest().get("hidden"), list):
        hidden: Any = fields.texts("hidden", 40, len(sizes))
        for g in hidden:
            if g not in known:
                fields.fail("hidden", f"has {g!r}; expected names of {', '.join(known)}")
    else:
        hidden = fields.choice("hidden", known, "tanh")
    given = {
        "hidden": hidden,
        "output": fields.choice("output", known, "identity"),
        "loss": fields.choice("loss", list(LOSSES), "half_squared_error"),
        "biases": fields.boolean("biases", True),
        "seed": fields.integer("seed", 0, 2**53, 0),
        "l2": fields.number("l2", 0, 1000, 0.0),
        "W": fields.array("W", _PARAMETERS, None),
        "b": fields.array("b", _PARAMETERS, None),
    }
    fields.done()
    try:
        return kind(sizes, **given)
    except (ValueError, TypeError) as error:
        line = fields.source.line_of("network.sizes")
        raise ValueError(f"{fields.source.name}, line {line}: [network]: {error}") from None


def _data(fields: Fields, network: FeedForward) -> Dataset:
    name = fields.choice("set", datasets.names(), None)
    noise = fields.number("noise", 0, 10, 0.1)
    seed = fields.integer("seed", 0, 2**53, 0)
    try:
        if name is not None:
            made = datasets.make(name, noise, seed)
            datasets.for_network(network, made.X, made.y, None, name)  # they fit
            return made
        X, y = fields.array("X", _NUMBERS), fields.array("y", _NUMBERS)
        return datasets.for_network(network, X, y, None, "samples of the lesson")
    except (ValueError, TypeError) as error:
        if str(error).startswith(f"{fields.source.name}, line"):
            raise
        line = fields.source.line_of("data.set" if name else "data.X")
        raise ValueError(f"{fields.source.name}, line {line}: [data]: {error}") from None


# --- stops --------------------------------------------------------------------------------------


def _stop(part: _Part, network: FeedForward, before: str) -> Stop:
    fields = part.fields
    mark = fields.text("mark", 60, before)
    _check_target(fields, "mark", mark, network)
    light = fields.texts("light", 60, 100, [])
    for name in light:
        if not _LIGHT.fullmatch(name):
            _check_target(fields, "light", name, network)
    phase, layer = _step(fields, len(network.sizes) - 1)
    show = fields.texts("show", 20, len(FORMULAS), [])
    for name in show:
        if name not in FORMULAS:
            fields.fail("show", f"has {name!r}; expected some of {', '.join(FORMULAS)}")
    if set(show) - {"step"} and mark == "loss":
        fields.fail("show", "needs a mark that is not the loss, such as mark = 'w[1][0,0]'")
    act = fields.choice("do", ("update", "prove"), "")
    opened = fields.choice("open", ("health",), "")
    question = _question(fields.table("question"), network) if fields.has("question") else None
    buttons = tuple(_button(one) for one in fields.tables("button", 6))
    fields.table("question", {})
    fields.done()
    return Stop(
        part.title, part.text, mark, tuple(light), phase, layer, tuple(show), act, opened,
        question, buttons,
    )  # fmt: skip


def _step(fields: Fields, last: int) -> tuple[str, int]:
    """Return the phase and layer of a step such as "backward 2"."""
    text = fields.text("step", 20, "")
    if not text:
        return "", 0
    phase, _, number = text.partition(" ")
    numbered = phase in ("forward", "backward", "gradient")
    layer = int(number) if number.isdecimal() and len(number) < 3 else 0
    if phase not in PHASES or (not 1 <= layer <= last if numbered else number):
        fields.fail(
            "step",
            f"is {text!r}; expected input, loss, update, or forward, backward or gradient with a "
            f"layer from 1 to {last}, such as 'backward {last}'",
        )
    return phase, layer if numbered else last if phase == "loss" else 0


def _check_target(fields: Fields, key: str, name: str, network: FeedForward) -> None:
    if name == "loss":
        return
    try:
        found = resolve(name, network.sizes, network.biases)
    except ValueError as error:
        fields.fail(key, f"names {error}")
    if isinstance(found, PreActivation) and key == "light":
        fields.fail(key, f"has {name}; the drawing has a[{found.layer}][{found.j}] there")
    if key == "mark" and isinstance(found, UnitOutput) and found.layer == 0 and "a[0]" in name:
        fields.fail(key, f"is {name}; write x[{found.j}]")


def _question(fields: Fields, network: FeedForward) -> Question:
    ask, because = fields.text("ask", _TEXT), fields.text("because", 2 * _TEXT, "")
    if fields.has("choices"):
        choices = fields.texts("choices", _TEXT, 8)
        right = fields.integer("right", 1, max(len(choices), 1))
        fields.done()
        return Question(ask, tuple(choices), right - 1, because=because)
    tolerance = fields.number("tolerance", 1e-9, 0.5, 0.01)
    answer: float | str
    if isinstance(fields.rest().get("answer"), str):
        answer = fields.text("answer", 70)
        match = _ANSWER.fullmatch(answer)
        if not match or (match[2] == "loss" and match[1] != "value"):
            fields.fail("answer", f"is {answer!r}; expected value, gradient or new, and a name")
        _check_target(fields, "answer", match[2], network)
        if match[2][0] not in {"new": "wb", "gradient": "wbz"}.get(match[1], match[2][0]):
            fields.fail("answer", f"is {answer!r}; expected a weight or a bias there")
    else:
        answer = fields.number("answer", -1e300, 1e300)
    fields.done()
    return Question(ask, answer=answer, tolerance=tolerance, because=because)


def _button(fields: Fields) -> Button:
    label = fields.text("label", 60)
    actions = tuple((kind, dict(fields.table(kind).rest())) for kind in ACTIONS if fields.has(kind))
    for kind in ACTIONS:
        fields.table(kind, {})
    fields.done()
    if not actions:
        fields.fail("label", f"does nothing; add one of {', '.join(ACTIONS)}")
    return Button(label, actions)


# --- translations -------------------------------------------------------------------------------


def _translated(lesson: Lesson, head: Fields, parts: list[_Part]) -> Lesson:
    title, summary = head.text("title", _TEXT), head.text("summary", _TEXT, "")
    language = head.text("language", 8)
    head.done()
    if len(parts) != len(lesson.stops):
        raise ValueError(
            f"{head.source.name} has {len(parts)} stops; the lesson has {len(lesson.stops)}"
        )
    stops = tuple(map(_translated_stop, lesson.stops, parts))
    return replace(lesson, title=title, summary=summary, language=language, stops=stops)


def _translated_stop(stop: Stop, part: _Part) -> Stop:
    fields = part.fields
    question, buttons = stop.question, stop.buttons
    if question is not None:
        words = fields.table("question")
        ask, because = words.text("ask", _TEXT), words.text("because", 2 * _TEXT, "")
        choices = words.texts("choices", _TEXT, 8) if question.choices else []
        if len(choices) != len(question.choices):
            words.fail("choices", f"has {len(choices)} texts; expected {len(question.choices)}")
        words.done()
        question = replace(question, ask=ask, choices=tuple(choices), because=because)
    if buttons:
        labels = fields.texts("buttons", 60, 6)
        if len(labels) != len(buttons):
            fields.fail("buttons", f"has {len(labels)} labels; expected {len(buttons)}")
        buttons = tuple(map(lambda b, label: replace(b, label=label), buttons, labels))
    fields.done()
    return replace(stop, title=part.title, text=part.text, question=question, buttons=buttons)

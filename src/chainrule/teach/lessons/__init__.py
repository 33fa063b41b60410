"""Lessons: text files that the explorer plays, ten of which come with the package."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from chainrule.equations.feedforward import FeedForward
from chainrule.teach.lessons.format import Lesson, read

__all__ = ["LANGUAGES", "NAMES", "Lesson", "built_in", "read", "words"]

LANGUAGES = {"en": "English", "de": "Deutsch"}
NAMES = (
    "forward pass", "output weight", "hidden layers", "biases", "tanh chain",
    "softmax and cross-entropy", "mini-batches", "vanishing gradients", "momentum and Adam",
    "kinks",
)  # fmt: skip


def built_in(name: str, language: str = "en", kind: type[FeedForward] = FeedForward) -> Lesson:
    """Return a lesson of the package; in English if it has no translation.

    Raises ValueError for an unknown name or language.
    """
    if name not in NAMES:
        raise ValueError(f"lesson is {name!r}; expected one of {', '.join(NAMES)}")
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; expected one of {', '.join(LANGUAGES)}")
    original = _original(name)
    lesson = _translation(name, language) or original
    network = kind(
        original.network.sizes,
        hidden=[layer.activation for layer in original.network.weighted_layers[:-1]],
        output=original.network.weighted_layers[-1].activation, loss=original.network.loss,
        biases=original.network.biases, l2=original.network.l2, seed=original.network.seed,
    )  # fmt: skip
    network.parameters[...] = original.network.parameters
    return Lesson(**{**vars(lesson), "network": network})


@cache
def words(language: str) -> dict[str, str]:
    """Return what the page says around lessons; raise ValueError for an unknown language."""
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; expected one of {', '.join(LANGUAGES)}")
    found: dict[str, Any] = tomllib.loads(_file(f"words.{language}.toml") or "")
    return found


@cache
def _original(name: str) -> Lesson:
    text = _file(f"{name.replace(' ', '-')}.md")
    assert text is not None, f"the package lacks the lesson {name}"
    return read(text, name)


@cache
def _translation(name: str, language: str) -> Lesson | None:
    file = f"{name.replace(' ', '-')}.{language}.md"
    text = None if language == "en" else _file(file)
    return None if text is None else read(text, file, original=_original)


def _file(name: str) -> str | None:
    path = resources.files("chainrule.teach.lessons").joinpath("files", name)
    return path.read_text(encoding="utf-8") if path.is_file() else None

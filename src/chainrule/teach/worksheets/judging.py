"""Judging: whether an answer is right and, if not, which mistake led to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.teach import answers
from chainrule.teach.answers import Verdict
from chainrule.teach.exercise import Mistake
from chainrule.teach.worksheets.by_hand import TOLERANCE

LETTERS = "abcdefgh"


def judge_number(text: str, value: float, mistakes: Sequence[Mistake]) -> Verdict:
    """Judge a number, or arithmetic such as 0.5*0.2."""
    if not text.strip():
        return Verdict(False, "empty", "No answer.")
    try:
        given = answers.number(text)
    except ValueError as error:
        return Verdict(False, "unreadable", f"This can't be read: {error}.")
    if _near(given, value):
        return Verdict(True, "", "Right.")
    found = [m for m in mistakes if _near(given, m.value)]
    if found:
        nearest = min(found, key=lambda m: abs(m.value - given))
        return Verdict(False, nearest.fault, nearest.words)
    if given * value > 0 and _near(abs(given), abs(value), 0.1):
        return Verdict(False, "digits", "Close, but not within 1 %. Calculate with more digits.")
    return Verdict(False, "other", "Not right, and not one of the common mistakes.")


def judge_choice(text: str, correct: int, words: Sequence[str]) -> Verdict:
    """Judge a letter of a choice."""
    letter = text.strip().strip("().").lower()
    if not letter:
        return Verdict(False, "empty", "No answer.")
    known = LETTERS[: len(words)]
    if len(letter) != 1 or letter not in known:
        expected = f"expected one letter from {known[0]} to {known[-1]}"
        return Verdict(False, "unreadable", f"{text.strip()!r} is not a choice; {expected}.")
    at = known.index(letter)
    return Verdict(at == correct, "" if at == correct else f"choice {letter}", words[at])


def _near(value: float, other: float, share: float = TOLERANCE) -> bool:
    return math.isclose(value, other, rel_tol=share, abs_tol=1e-9)

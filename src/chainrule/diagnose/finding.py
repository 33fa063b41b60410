"""Findings: what a diagnosis says of a model, each with a stable code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chainrule._exports import exported
from chainrule.equations.numbers import format_number, plain

Level = Literal["error", "warning", "note"]

# The codes, in the order in which findings of one level stand: what spoils the rest comes first.
CODES = {
    "nan-origin": "the first number that is NaN or infinite",
    "wrong-target-range": "targets that the loss or the output cannot reach",
    "target-broadcast": "output and target of shapes that broadcast to all pairs",
    "double-softmax": "a softmax or sigmoid before a loss that applies its own",
    "wrong-backward": "a custom backward that is not the derivative of its forward",
    "missing-zero-grad": "gradients of earlier batches in .grad",
    "frozen-or-unregistered": "parameters that no step changes",
    "mixed-samples": "outputs that depend on other samples of the batch",
    "constant-output": "the same output for every sample",
    "exploding": "gradients or steps that are far too large",
    "vanishing": "gradients that do not reach the first layers",
    "dead-units": "units that are 0 on every sample",
    "saturated-units": "units on a flat part of their activation",
    "identical-units": "units that stay equal",
    "unscaled-input": "columns of the input on a far larger scale than others",
    "loss-sum-not-mean": "a loss that grows with the size of the batch",
    "unused-parameters": "parameters without a gradient",
    "suspect-labels": "samples whose label the model contradicts with confidence",
    "norm-mode": "batch norm in the mode of training, or of prediction",
    "bias-before-norm": "a bias whose gradient is 0 by construction",
}
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
MOST_ALIKE = 3  # findings of one cause that stand each for itself; more make one
LISTED = 6  # places that its sentence names, of which `parts` has all


@exported("chainrule")
@dataclass(frozen=True)
class Finding:
    """One thing that a diagnosis found.

    Attributes:
        code: What it is, one of the codes of the reference, such as "dead-units".
        level: "error" (it is wrong), "warning" (it is seldom meant), or "note" (no fault).
        where: The module, parameter, layer or column.
        words: What was found, with its numbers, in a sentence or two.
        factor: The factor of the chain rule that is to blame.
        advice: What to do.
        numbers: The numbers of the sentence by name.
        units: The units or columns, from 0.
        rows: The row numbers of the samples.
        parts: The findings that this one sums up, the most severe first, if more than three places
            have the same fault: one for each, with its own units and numbers. Else it is empty.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 2, 1], hidden="relu", W=[[[1.0], [-1.0]], [[1.0, 1.0]]])
        >>> found = net.diagnose([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])["dead-units"]
        >>> found[0].where, found[0].units
        ('layer 1', (1,))
    """

    code: str
    level: Level
    where: str
    words: str
    factor: str
    advice: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    units: tuple[int, ...] = ()
    rows: tuple[Any, ...] = ()
    parts: tuple[Finding, ...] = ()

    @property
    def brief(self) -> str:
        """Return the place with its numbers, in a few words."""
        numbers = dict(self.numbers)
        said = [f"{name} {shown(value)}" for name, value in numbers.items()]
        if _counts_units(self):
            said = [f"{numbers['units']:,} of {times(numbers['of'], 'unit')}"]
        return f"{self.where} ({', '.join(said)})" if said else self.where

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "code": self.code, "level": self.level, "where": self.where, "words": self.words,
            "factor": self.factor, "advice": self.advice,
            "numbers": {name: plain(value) for name, value in self.numbers.items()},
            "units": list(self.units), "rows": list(self.rows),
            "parts": [part.to_dict() for part in self.parts],
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.code} ({self.level}): {self.words}"


def by_weight(found: list[Finding]) -> tuple[Finding, ...]:
    """Return findings with errors first, then by the order of the codes."""
    order = list(CODES)
    return tuple(sorted(found, key=lambda f: (_LEVELS.index(f.level), order.index(f.code))))


def grouped(found: Sequence[Finding]) -> list[Finding]:
    """Return findings with those of one cause as one: of the same code, level and advice."""
    causes: dict[tuple[str, str, str], list[Finding]] = {}
    for each in found:
        causes.setdefault((each.code, each.level, each.advice), []).append(each)
    return [
        one
        for parts in causes.values()
        for one in (parts if len(parts) <= MOST_ALIKE else [_sum_of(parts)])
    ]


def _sum_of(found: list[Finding]) -> Finding:
    """Return one finding about several places."""
    parts = sorted(found, key=_severity, reverse=True)
    worst, rest = parts[0], parts[LISTED:]
    then = ", ".join(part.brief for part in parts[1:LISTED])
    if rest:
        then += f" and {len(rest):,} more{_units_in(rest, ' ({})')}"
    numbers: dict[str, Any] = {"places": len(parts)}
    if all(map(_counts_units, parts)):
        numbers |= {name: sum(part.numbers[name] for part in parts) for name in ("units", "of")}
    return Finding(
        worst.code, worst.level, some((part.where for part in parts), 2),
        f"{len(parts):,} places{_units_in(parts, ', {} in all')}. {worst.words} Then {then}.",
        worst.factor, worst.advice, numbers,
        rows=tuple(dict.fromkeys(row for part in parts for row in part.rows)), parts=tuple(parts),
    )  # fmt: skip


def _counts_units(finding: Finding) -> bool:
    return "units" in finding.numbers and "of" in finding.numbers


def _severity(finding: Finding) -> float:
    """Return the share of a layer's units, or else the number of samples."""
    if _counts_units(finding):
        return float(finding.numbers["units"] / finding.numbers["of"])
    return float(len(finding.rows))


def _units_in(found: Sequence[Finding], around: str) -> str:
    """Return how many units of how many some findings are about, or "" if about something else."""
    if not all(map(_counts_units, found)):
        return ""
    units, of = (sum(each.numbers[name] for each in found) for name in ("units", "of"))
    return around.format(f"{units:,} of {times(of, 'unit')}")


def shown(value: Any) -> str:
    """Return a number of a finding as text."""
    if isinstance(value, float):
        return format_number(value, 6)
    return f"{value:,}" if isinstance(value, int) else str(value)


def some(items: Any, most: int = 6) -> str:
    """Return the first items as a list in words: "1, 2, 3 and 5 more"."""
    texts = [str(item) for item in items]
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")


def times(n: int, one: str) -> str:
    """Return a number with its noun: "1 unit", "3 units"."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"

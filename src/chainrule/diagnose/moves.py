"""Moves: why one parameter moved in one step, split exactly into what moved it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from chainrule._exports import exported
from chainrule.diagnose.rules import (
    BEFORE,
    CLIPPING,
    DECAY,
    GRADIENT,
    PENALTY,
    ROUNDING,
    RULES,
    Memory,
    Parts,
    Step,
    Taken,
)
from chainrule.equations.numbers import format_number

_MOST = 0.8  # of a sum, in what is called its cause
_DIGITS = 4
_SEEN = 5e-5  # of the step: less does not change its four digits
_SHOWN = 8  # earlier gradients that a text lists; the rest is one line
_NAMES = {
    GRADIENT: "gradient",
    PENALTY: "L2 penalty",
    CLIPPING: "clipping",
    DECAY: "weight decay",
    BEFORE: "momentum",
    ROUNDING: "rounding",
}


@exported("chainrule")
@dataclass(frozen=True)
class Share:
    """One addend of a `Move`.

    Attributes:
        cause: "gradient", "penalty", "clipping", "weight decay", "before" (the momentum from before
            the first step that is known) or "rounding".
        step: The step whose gradient, clipping or decay it is; None for "before".
        value: How far it moved the parameter.

    Examples:
        >>> from chainrule.diagnose.moves import Share
        >>> Share("gradient", 118, -0.002)
        Share(cause='gradient', step=118, value=-0.002)
    """

    cause: str
    step: int | None
    value: float


@exported("chainrule")
@dataclass(frozen=True)
class Move:
    """The step of one parameter, split into what moved it. `RunRecord.why_moved` returns it.

    The shares add up to the step: what the numbers of the network's dtype lose is a share of its
    own, "rounding".

    Attributes:
        target: The parameter, such as "fc1.weight[3,7]".
        step: The number of the step, from 0.
        optimizer: The optimiser's name.
        before: The parameter before the step.
        after: The parameter after it.
        gradient: ∂C/∂ of it in this step, before clipping; None where backward did not reach it.
        shares: The addends, each a `Share`: this step's, then earlier ones from the latest on.
        factors: What every gradient in the sum was multiplied with, by name: "learning rate",
            "schedule", "bias correction", "denominator". Empty for RMSProp with momentum, where
            each gradient has a denominator of its own.
        squares: The share of each step in the mean of squares under the root, 0 to 1; None is
            before the first step that is known.

    Examples:
        >>> import chainrule as cr
        >>> run = cr.load_run("run")  # doctest: +SKIP
        >>> print(run.why_moved("W[1][0,0]", 3))  # doctest: +SKIP
    """

    target: str
    step: int
    optimizer: str
    before: float
    after: float
    gradient: float | None
    shares: tuple[Share, ...]
    factors: dict[str, float]
    squares: dict[int | None, float]

    @property
    def value(self) -> float:
        """Return the step that was taken: after minus before."""
        return 0.0 if self.gradient is None else self.after - self.before

    def of(self, cause: str) -> float:
        """Return the sum of the shares of one cause.

        Args:
            cause: A cause of `Share`, or "this gradient" or "earlier gradients", which tell the two
                kinds of gradients apart.

        Raises:
            ValueError: There is no such cause.
        """
        names = {"this gradient": True, "earlier gradients": False}
        if cause in names:
            now = names[cause]
            return math.fsum(
                s.value for s in self.shares
                if s.cause == GRADIENT and (s.step == self.step) is now
            )  # fmt: skip
        if cause not in _NAMES:
            known = ", ".join(map(repr, (*names, *_NAMES)))
            raise ValueError(f"cause is {cause!r}; expected one of {known}")
        return math.fsum(s.value for s in self.shares if s.cause == cause)

    @property
    def earlier(self) -> tuple[Share, ...]:
        """Return the shares of earlier gradients, from the latest on."""
        return tuple(s for s in self.shares if s.cause == GRADIENT and s.step != self.step)

    @property
    def reason(self) -> str:
        """Return one sentence: what moved it, or what kept it."""
        return _reason(self)

    def text(self) -> str:
        """Return the move as text: a sentence, then a line for each share, with their sum."""
        lines = [self.reason, ""]
        rows = [*_rows(self), ("the step", self.value)]
        width = max(len(name) for name, _ in rows)
        lines += [f"  {name:<{width}}  {_signed(value)}" for name, value in rows]
        lines += ["", *_factor_lines(self)]
        return "\n".join(lines).rstrip()

    def __str__(self) -> str:
        return self.text()

    def html(self) -> str:
        """Return the move as HTML: the sentence and a table of its shares."""
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{_signed(value)}</td></tr>"
            for name, value in _rows(self)
        )
        factors = "".join(f"<p>{escape(line)}</p>" for line in _factor_lines(self))
        return (
            f'<div class="chainrule move"><p>{escape(self.reason)}</p><table>'
            f"<thead><tr><th>cause</th><th>moved by</th></tr></thead><tbody>{rows}</tbody>"
            f"<tfoot><tr><th>the step</th><td>{_signed(self.value)}</td></tr></tfoot></table>"
            f"{factors}</div>"
        )

    def _repr_html_(self) -> str:
        return self.html()

    def to_dict(self) -> dict[str, Any]:
        """Return the move as plain values, for JSON."""
        return {
            "target": self.target,
            "step": self.step,
            "optimizer": self.optimizer,
            "before": self.before,
            "after": self.after,
            "value": self.value,
            "gradient": self.gradient,
            "reason": self.reason,
            "shares": [
                {"cause": s.cause, "step": s.step, "value": s.value} for s in self.shares
            ],
            "factors": dict(self.factors),
            "squares": [{"step": k, "share": v} for k, v in self.squares.items()],
        }  # fmt: skip


def split(
    target: str,
    optimizer: str,
    steps: Sequence[Taken],
    memory: Memory | None = None,
    base_rate: float | None = None,
) -> Move:
    """Return why a parameter moved in the last of some consecutive steps.

    Args:
        target: The text that names the parameter.
        optimizer: The name of its rule, one of `RULES`.
        steps: The steps, of which the last is explained.
        memory: What the optimiser remembered before the first of them; None is nothing.
        base_rate: The learning rate without its schedule; None is that of the first step.
    """
    rule, memory = RULES[optimizer], memory or Memory()
    taken, done = steps[-1], [rule(memory, each) for each in steps][-1]
    parts = {source: value for source, value in done.parts.items() if value or _own(source, taken)}
    change = taken.after - taken.theta
    shares = [Share(cause, step, value) for (cause, step), value in parts.items()]
    shares.sort(key=_place)
    rest = change - math.fsum(s.value for s in shares)
    if rest:
        shares.append(Share(ROUNDING, taken.step, rest))
    return Move(
        target, taken.step, optimizer, taken.theta, taken.after, taken.gradient, tuple(shares),
        _factors(done, taken, steps[0].rate if base_rate is None else base_rate),
        _fractions(done),
    )  # fmt: skip


def _own(source: tuple[str, int | None], taken: Taken) -> bool:
    return source == (GRADIENT, taken.step)


def _place(share: Share) -> tuple[bool, float, int]:
    order = (GRADIENT, PENALTY, CLIPPING, DECAY, BEFORE)
    return share.step is None, -(share.step or 0), order.index(share.cause)


def _factors(done: Step, taken: Taken, base: float) -> dict[str, float]:
    """Return the factors, with the learning rate as its base times the schedule."""
    factors = dict(done.factors)
    if not base or base == taken.rate:
        return factors
    rate = factors.pop("learning rate")
    start = rate * base / taken.rate if taken.rate else base
    return {"learning rate": start, "schedule": taken.rate / base, **factors}


def _fractions(done: Step) -> dict[int | None, float]:
    whole = math.fsum(done.squares.values())
    return {step: value / whole for step, value in done.squares.items()} if whole else {}


def before(momentum: float | None) -> Parts | None:
    """Return a memory's momentum of which only the sum is known."""
    return None if momentum is None else {(BEFORE, None): momentum}


# --- words ----------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return format_number(value, _DIGITS)


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + _number(value)


def _reason(move: Move) -> str:
    what = f"{move.target} in step {move.step}"
    if move.value == 0:
        return f"{what} did not move: {_why_not(move)}."
    head = f"{what} moved by {_signed(move.value)}, from {_number(move.before)}"
    now = move.of("this gradient")
    rivals = {
        "momentum": move.of("earlier gradients") + move.of(BEFORE),
        "weight decay": move.of(DECAY),
        "the L2 penalty": move.of(PENALTY),
        "clipping": move.of(CLIPPING),
    }
    cause = max(rivals, key=lambda name: rivals[name] * math.copysign(1, move.value))
    by = f"{cause}{_steps_of(move) if cause == 'momentum' else ''}"
    if now * move.value > 0:
        part = abs(now / move.value)
        if part >= 0.5 or rivals[cause] * move.value <= 0:
            return f"{head}, along its gradient of this step."
        return f"{head}, along its gradient of this step, and mostly by {by}."
    if now == 0:
        return f"{head}, with no gradient in this step, by {by}."
    return f"{head}, against its gradient of this step, by {by}."


def _why_not(move: Move) -> str:
    if move.gradient is None:
        return "backward did not reach it, so the optimiser left it out"
    if move.factors.get("learning rate") == 0 or move.factors.get("schedule") == 0:
        return "the learning rate is 0"
    sizes = [abs(s.value) for s in move.shares if s.cause != ROUNDING]
    if not any(sizes):
        return "its gradient is 0, and nothing is left of earlier ones"
    total = math.fsum(s.value for s in move.shares if s.cause != ROUNDING)
    if abs(total) < 1e-3 * max(sizes):
        return "its shares cancel"
    return f"the step of {_number(total)} is lost in rounding"


def _steps_of(move: Move) -> str:
    """Return the fewest consecutive steps that make most of the momentum, in words."""
    sign = math.copysign(1, move.value)
    pulls = sorted((s.step, s.value * sign) for s in move.earlier if s.step is not None)
    whole = math.fsum(value for _, value in pulls)
    from_before = move.of(BEFORE) * sign
    if not pulls or from_before > whole:
        return f" from before step {pulls[0][0] if pulls else move.step}"
    best = _narrowest(pulls, _MOST * whole)
    if best is None:
        return ""
    first, last = best
    return f" from step {first}" if first == last else f" from steps {first} to {last}"


def _narrowest(pulls: Sequence[tuple[int, float]], need: float) -> tuple[int, int] | None:
    """Return the shortest, then the latest, range of steps that sums to at least ``need``."""
    for length in range(1, len(pulls) + 1):
        for start in range(len(pulls) - length, -1, -1):
            if math.fsum(value for _, value in pulls[start : start + length]) >= need:
                return pulls[start][0], pulls[start + length - 1][0]
    return None


def _rows(move: Move) -> list[tuple[str, float]]:
    """Return a text for each share; small ones of earlier steps are summed, by cause."""
    earlier = sorted(move.earlier, key=lambda s: -abs(s.value))
    shown = {s.step for s in earlier[:_SHOWN]}
    rows: list[tuple[str, float]] = []
    rest: dict[str, list[float]] = {}
    for s in move.shares:
        if s.step == move.step and s.cause != ROUNDING:
            rows.append((f"{_NAMES[s.cause]} of this step", s.value))
        elif s.cause == GRADIENT and s.step in shown:
            rows.append((f"gradient of step {s.step}", s.value))
        elif s.cause == BEFORE:
            known = [k for k in (x.step for x in move.shares) if k is not None]
            rest.setdefault(f"momentum from before step {min(known)}", []).append(s.value)
        elif s.cause == ROUNDING:
            continue
        elif s.cause == GRADIENT:
            rest.setdefault("other earlier gradients", []).append(s.value)
        else:
            rest.setdefault(f"{_NAMES[s.cause]} of earlier steps", []).append(s.value)
    rows += [(name, math.fsum(values)) for name, values in rest.items()]
    rounding = move.of(ROUNDING)
    if abs(rounding) > _SEEN * abs(move.value):
        rows.append(("rounding", rounding))
    return rows


def _factor_lines(move: Move) -> Iterable[str]:
    words = {
        "learning rate": "η = {}",
        "schedule": "times {} by the schedule",
        "bias correction": "times {} to correct the bias of the running mean",
    }
    said = [words[k].format(_number(v)) for k, v in move.factors.items() if k in words]
    if "denominator" in move.factors:
        said.append(f"divided by {_number(1 / move.factors['denominator'])}")
    if said:
        yield f"Each gradient counts {', '.join(said)}."
    if move.squares:
        step, share = max(move.squares.items(), key=lambda item: item[1])
        where = "steps that were not recorded" if step is None else f"step {step}"
        yield f"Of the squares under the root, {share:.0%} are from {where}."

"""The check of a whole gradient against central differences, and against more digits."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule._exports import exported
from chainrule.equations.checks import whole
from chainrule.equations.numbers import plain
from chainrule.equations.targets import Bias, Target, Weight
from chainrule.verify import high_precision, rounding
from chainrule.verify.finite_difference import STEPS, Shifted, penalty_quotient, quotients
from chainrule.verify.setting import Array, Place, Setting

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

TOLERANCE = 1e-6  # of a derivative, or of its array's norm: 6 digits
_FIRST_STEPS = (0, 2, 4, STEPS - 1)  # tried until no unit crosses a kink
_ERROR = 4.0  # times the estimated error of a difference, and times the scatter of rounding
_LISTED = 10
_NUMBERS = 1 << 21  # (parameter, sample) pairs at once
_BUDGET = 24_000_000  # integer multiplications of high precision; about 5 s


@exported("chainrule.verify")
@dataclass(frozen=True)
class Compared:
    """Hold one parameter: its derivative beside the one that was found without backpropagation.

    Attributes:
        parameter: The `Weight` or `Bias`.
        analytic: The derivative of backpropagation.
        numeric: The difference quotient or, where that has too few digits, the derivative of high
            precision. At a kink it follows the slope that is taken there.
        error: How far ``numeric`` itself may be off.
        resolved: Whether ``numeric`` proves the analytic value to 6 digits.
        relative_error: The error relative to the larger of the two; where the parameter is not
            resolved, relative to what the errors of both explain, so that it stays below the
            tolerance.
        left: The derivative from the left, at a kink.
        right: The derivative from the right, at a kink.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], W=[[[2.0]]], b=[[0.0]])
        >>> worst = net.check_gradient([[1.0]], [1.0]).worst
        >>> worst.relative_error < 1e-6
        True
    """

    parameter: Target
    analytic: float
    numeric: float
    relative_error: float
    left: float | None = None
    right: float | None = None
    error: float = 0.0
    resolved: bool = True

    @property
    def bound(self) -> float:
        """The most by which the analytic value may be wrong."""
        bound = abs(self.analytic - self.numeric) + self.error
        return math.inf if math.isnan(bound) else bound


@exported("chainrule.verify")
@dataclass(frozen=True)
class GradientReport:
    """Hold what the check of a gradient came to. It is true if the check passed.

    Attributes:
        verdict: "fail" if a parameter differs by more than ``tolerance`` and by more than its
            errors explain; "pass" if all are proven to 6 digits, of their own or, where they vanish
            beside the rest of their W or b, of its norm; else "not resolved".
        advice: What to try where the verdict is "not resolved".
        worst: The parameter with the largest relative error, or None if none is resolved that
            stands on no kink.
        failures: The parameters beyond the tolerance, the worst first.
        unresolved: Those of which neither differences nor high precision have 6 digits.
        kinks: The parameters at a kink whose derivative follows the slope that is taken there.
        checked: How many parameters were checked.
        total: How many there are.
        n_samples: The number of samples.
        seconds: How long it took.
        tolerance: The relative error that is allowed.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> report = net.check_gradient([[0.5, -1.0]], [1.0])
        >>> bool(report), report.checked, report.failures
        (True, 13, ())
    """

    worst: Compared | None
    failures: tuple[Compared, ...]
    kinks: tuple[Compared, ...]
    checked: int
    total: int
    n_samples: int
    seconds: float
    tolerance: float = TOLERANCE
    unresolved: tuple[Compared, ...] = ()
    advice: str = ""

    @property
    def verdict(self) -> Literal["pass", "fail", "not resolved"]:
        """What the check came to."""
        if self.failures:
            return "fail"
        return "not resolved" if self.advice else "pass"

    @property
    def passed(self) -> bool:
        """Return whether the gradient is proven, and no parameter is beyond the tolerance."""
        return self.verdict == "pass"

    @property
    def worst_relative_error(self) -> float:
        """Return the largest relative error; 0 if no parameter is resolved off the kinks."""
        return 0.0 if self.worst is None else self.worst.relative_error

    def __bool__(self) -> bool:
        return self.passed

    def text(self) -> str:
        """Return the report in lines of at most 100 columns."""
        checked = f"all {self.total:,} parameters"
        if self.checked < self.total:
            checked = f"{self.checked:,} of {self.total:,} parameters, drawn at random,"
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples:,} samples"
        verdict = "pass" if self.passed else self.verdict.upper()
        lines = [f"gradient: {verdict}; {checked} checked on {samples}"]
        if self.worst is not None:
            w = self.worst
            lines.append(
                f"worst relative error {w.relative_error:.1e} at {w.parameter}: "
                f"analytic {w.analytic:.10g}, difference {w.numeric:.10g}"
            )
        if self.failures:
            count = len(self.failures)
            lines.append(f"wrong (relative error above {self.tolerance:.0e}): {count:,}")
            lines += _table(self.failures, "analytic", "difference", "rel. error")
        if self.unresolved:
            lines += self._unresolved()
        if self.kinks:
            count = len(self.kinks)
            lines.append(f"at a kink, where only derivatives from one side exist: {count:,}")
            lines += _table(self.kinks, "analytic", "from the left", "from the right")
        return "\n".join(lines)

    def _unresolved(self) -> list[str]:
        count = len(self.unresolved)
        if self.passed:
            largest = max(c.bound for c in self.unresolved)
            words = f"too small beside the others to be resolved: {count:,}"
            return [f"{words}, right to within {largest:.1e} each"]
        lines = [f"not resolved to 6 digits: {count:,}"]
        lines += _table(self.unresolved, "analytic", "difference", "may be off by")
        return lines + textwrap.wrap(self.advice, 100)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "advice": self.advice,
            "worst": None if self.worst is None else _plain(self.worst),
            "failures": [_plain(c) for c in self.failures],
            "unresolved": [_plain(c) for c in self.unresolved],
            "kinks": [_plain(c) for c in self.kinks],
            "checked": self.checked,
            "total": self.total,
            "samples": self.n_samples,
            "seconds": self.seconds,
            "tolerance": self.tolerance,
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        verdict = {
            "pass": "passed",
            "fail": f"FAILED for {len(self.failures):,}",
            "not resolved": f"NOT RESOLVED for {len(self.unresolved):,}",
        }[self.verdict]
        at = "" if self.worst is None else f" at {self.worst.parameter}"
        return (
            f"GradientReport({verdict}: {self.checked:,} of {self.total:,} parameters, "
            f"worst relative error {self.worst_relative_error:.1e}{at}, "
            f"{len(self.kinks):,} at kinks)"
        )


@np.errstate(all="ignore")  # a number that is not finite fails; it need not warn as well
def check_gradient(
    network: FeedForward,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    max_parameters: int = 10_000,
    seed: int = 0,
) -> GradientReport:
    """Compare the gradient of every weight and bias with central differences of the loss.

    Each parameter is shifted by itself, by a 4th-order stencil whose step shrinks where it would
    carry a unit over a kink. A parameter that differs is looked at again with six steps. It fails
    if it differs by more than 1e-6 of the larger value, and by more than 4 times what rounding and
    the differences' own error come to. A parameter of which the differences do not have 6 digits is
    found with high precision, as many as about 5 seconds allow; what is then left is not resolved.
    The gradient passes if nothing fails and what is not resolved is right to 1e-6 of the norm of
    its W or b. Everything is computed in float64 from the parameters as stored, without dropout.

    Args:
        network: The network.
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.fit`.
        sample_weight: The weight of each sample in the mean, (n,).
        max_parameters: Of a larger network so many are drawn, from every layer alike.
        seed: The seed of that draw.

    Returns:
        The report, which is true if the check passed.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The data do not fit, or ``max_parameters`` is below 1.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> net.check_gradient([[0.5, -1.0]], [1.0]).passed
        True
    """
    max_parameters = whole(max_parameters, "max_parameters")
    start = time.perf_counter()
    gradient = network.gradient(X, y, sample_weight=sample_weight)
    setting = Setting.of(network, X, y, sample_weight)
    shifted = Shifted(setting, rounding.kinks(setting))
    noise, scatter = rounding.spread_of_gradient(setting)

    results: list[Compared] = []
    spreads: list[Array] = []
    for layer, places in _drawn(network, max_parameters, seed):
        W, b = gradient.dW[layer], gradient.db[layer]
        columns = W.shape[1]
        flat = W if b is None else np.concatenate([W, b[:, None]], axis=1)
        spread = scatter[layer - 1][:, : flat.shape[1]].ravel()[places]
        targets: list[Target] = [
            Bias(layer, int(j)) if k == columns else Weight(layer, int(j), int(k))
            for j, k in zip(*np.divmod(places, flat.shape[1]), strict=True)
        ]
        results += _compared(shifted, targets, flat.ravel()[places], noise, spread)
        spreads.append(spread)
    with_digits = _look_closer(setting, shifted, results, _ERROR * np.concatenate(spreads))

    failures = [c for c in results if not c.relative_error <= TOLERANCE]
    smooth = [c for c in results if c.left is None]
    smooth = [c for c in smooth if c.resolved or not c.relative_error <= TOLERANCE]
    unresolved = [c for c in results if not c.resolved and c.relative_error <= TOLERANCE]
    arrays = ([results[p] for p in places] for places in _arrays(results))
    proven = all(map(_is_resolved, arrays))
    return GradientReport(
        worst=max(smooth, key=_badness, default=None),
        failures=tuple(sorted(failures, key=_badness, reverse=True)),
        kinks=tuple(
            c for c in results
            if c.left is not None and c.resolved and c.relative_error <= TOLERANCE
        ),
        checked=len(results),
        total=network.parameters.size,
        n_samples=len(setting),
        seconds=time.perf_counter() - start,
        unresolved=tuple(sorted(unresolved, key=lambda c: c.bound, reverse=True)),
        advice="" if failures or proven else _advice(with_digits),
    )  # fmt: skip


def _arrays(results: list[Compared]) -> list[list[int]]:
    """Give the places of the parameters of every W and every b."""
    places: dict[tuple[type[Target], int], list[int]] = {}
    for p, c in enumerate(results):
        places.setdefault((type(c.parameter), c.parameter.layer), []).append(p)
    return list(places.values())


def _is_resolved(array: list[Compared]) -> bool:
    """Say whether what is not resolved of a W or b is small beside its norm."""
    bound = math.hypot(*(c.bound for c in array if not c.resolved))
    return bound <= TOLERANCE * math.hypot(*(c.analytic for c in array))


def _advice(with_digits: bool) -> str:
    """Say why parameters are not resolved, and what to try."""
    if with_digits:
        return (
            "High precision has the digits of these, but float64 has not: their parts cancel, as "
            "at a minimum of the loss, or vanish. Try other samples, or smaller weights and inputs."
        )
    return (
        "Differences see no more of these, and high precision, which does, is too slow here for "
        "all, or has no value. Try fewer samples, or a certificate for one of them."
    )


def _drawn(
    network: FeedForward, max_parameters: int, seed: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Give for each layer the parameters to check, as places in [W, b] row by row.

    Every layer gets an equal share of what may be checked, so far as it has so many.
    """
    rng = np.random.default_rng(seed)
    sizes = {l: layer.units * (layer.W.shape[1] + network.biases) for l, layer in _layers(network)}
    left = max_parameters
    share = {}
    for at, l in enumerate(sorted(sizes, key=lambda l: sizes[l])):
        share[l] = min(sizes[l], -(-left // (len(sizes) - at)))
        left -= share[l]
    for l, size in sizes.items():
        if share[l] == size:
            yield l, np.arange(size)
        elif share[l]:
            yield l, np.sort(rng.choice(size, share[l], replace=False))


def _layers(network: FeedForward) -> Iterator[tuple[int, Any]]:
    return enumerate(network.weighted_layers, start=1)


def _compared(
    shifted: Shifted, targets: list[Target], analytic: Array, noise: Array, spread: Array
) -> Iterator[Compared]:
    """Compare parameters of one layer: all quickly, then thoroughly those that seem wrong."""
    at_once = max(1, _NUMBERS // len(noise))
    for start in range(0, len(targets), at_once):
        part = targets[start : start + at_once]
        values, rounded = analytic[start : start + at_once], spread[start : start + at_once]
        found = _differences(shifted, part, values, noise, rounded, thorough=False)
        (again,) = np.nonzero([not c.relative_error <= TOLERANCE for c in found])
        at_once_now = max(1, at_once // STEPS)
        for first in range(0, len(again), at_once_now):
            rows = again[first : first + at_once_now]
            wrong = [part[r] for r in rows]
            better = _differences(shifted, wrong, values[rows], noise, rounded[rows], thorough=True)
            for r, c in zip(rows, better, strict=True):
                found[r] = c
        yield from found


def _differences(
    shifted: Shifted,
    targets: list[Target],
    analytic: Array,
    noise: Array,
    spread: Array,
    thorough: bool,
) -> list[Compared]:
    setting = shifted.setting
    place = Place("z", targets[0].layer)
    j = np.array([target.j for target in targets])
    factors = np.stack([setting.factors(target) for target in targets])
    q = quotients(
        shifted, place, j, factors, noise, range(STEPS) if thorough else _FIRST_STEPS, thorough
    )
    shares = setting.shares
    penalty = np.array([penalty_quotient(setting, target) for target in targets])
    numeric = q.value @ shares + penalty
    # Errors of different samples are independent: they add up as squares.
    error = _ERROR * np.sqrt((q.error**2) @ (shares**2))
    left, right = q.left @ shares + penalty, q.right @ shares + penalty
    kink = (q.kink & (shares > 0)).any(axis=1) & (np.abs(left - right) > 4 * error)
    return [
        _judged(
            target, float(analytic[p]), float(numeric[p]), float(error[p]),
            _ERROR * float(spread[p]), (float(left[p]), float(right[p])) if kink[p] else None,
        )
        for p, target in enumerate(targets)
    ]  # fmt: skip


def _judged(
    target: Target,
    analytic: float,
    numeric: float,
    error: float,
    rounded: float,
    sides: tuple[float, float] | None,
) -> Compared:
    """Set a parameter's two values beside each other."""
    if math.isnan(numeric) or math.isnan(error):
        numeric, error = math.nan, math.inf  # nothing was found; only NaN is wrong then
    difference = 0.0 if analytic == numeric else abs(analytic - numeric)
    larger = max(abs(analytic), abs(numeric))
    resolved = difference + error <= TOLERANCE * larger < math.inf
    explained = error + rounded
    if resolved:
        relative = difference / larger if larger else 0.0
    elif math.isnan(analytic):
        relative = math.inf
    elif difference <= explained or not math.isfinite(explained):
        relative = min(TOLERANCE, difference / max(larger, explained / TOLERANCE))
        relative = 0.0 if math.isnan(relative) else relative
    else:
        relative = difference / larger if larger < math.inf else math.inf
    left, right = sides or (None, None)
    return Compared(target, analytic, numeric, relative, left, right, error, resolved)


def _look_closer(
    setting: Setting, shifted: Shifted, results: list[Compared], rounded: Array
) -> bool:
    """Find with high precision what differences do not resolve, as far as there is time.

    First come those that an array can't do without. Says whether all have a value.
    """
    needed: list[int] = []
    others: list[int] = []
    for places in _arrays(results):
        chosen = others if _is_resolved([results[p] for p in places]) else needed
        chosen += [
            p for p in places if not results[p].resolved and results[p].relative_error <= TOLERANCE
        ]
    complete = bool(needed)
    for wanted, room in ((needed, _BUDGET), (others, _BUDGET // 8)):
        if not wanted:
            continue
        wanted.sort(key=lambda p: high_precision.shift_cost(setting, results[p].parameter))
        targets = [results[p].parameter for p in wanted]
        found = high_precision.derivatives(setting, targets, shifted.kinks, room)
        for p, d in zip(wanted, found, strict=True):
            if isinstance(d, ValueError):
                complete = False
                continue
            sides = (d.left, d.right) if d.kink and d.left != d.right else None
            now = results[p]
            results[p] = _judged(
                now.parameter, now.analytic, d.value, d.error, float(rounded[p]), sides
            )
    return complete


def _badness(c: Compared) -> float:
    return c.relative_error


def _table(rows: tuple[Compared, ...], *names: str) -> list[str]:
    lines = ["  {:<24}{:>20}{:>20}{:>20}".format("", *names)]
    for c in rows[:_LISTED]:
        middle, last = c.numeric, f"{c.relative_error:.1e}"
        if names[-1] == "from the right":
            assert c.left is not None
            middle, last = c.left, f"{c.right:.10g}"
        elif names[-1] == "may be off by":
            last = f"{c.bound:.1e}"
        lines.append(f"  {c.parameter!s:<24}{c.analytic:>20.10g}{middle:>20.10g}{last:>20}")
    if len(rows) > _LISTED:
        lines.append(f"  and {len(rows) - _LISTED:,} more")
    return lines


def _plain(c: Compared) -> dict[str, Any]:
    return {
        "parameter": str(c.parameter),
        "analytic": plain(c.analytic),
        "numeric": plain(c.numeric),
        "relative_error": plain(c.relative_error),
        "error": plain(c.error),
        "resolved": c.resolved,
        "left": plain(c.left),
        "right": plain(c.right),
    }

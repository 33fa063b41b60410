"""The check of a whole gradient against central differences."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule._exports import exported
from chainrule.equations.checks import whole
from chainrule.equations.numbers import plain
from chainrule.equations.targets import Bias, Target, Weight
from chainrule.verify import rounding
from chainrule.verify.finite_difference import STEPS, Shifted, penalty_quotient, quotients
from chainrule.verify.setting import Array, Place, Setting

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

TOLERANCE = 1e-6
_FIRST_STEPS = (0, 2, 4, STEPS - 1)  # tried until no unit crosses a kink
_ERROR = 4.0  # times the estimated error of a difference
_LISTED = 10
_NUMBERS = 1 << 21  # (parameter, sample) pairs at once


@exported("chainrule.verify")
@dataclass(frozen=True)
class Compared:
    """Hold one parameter: its derivative beside the difference quotient.

    Attributes:
        parameter: The `Weight` or `Bias`.
        analytic: The derivative of backpropagation.
        numeric: The difference quotient. At a kink it follows the slope that is taken there.
        relative_error: The error relative to the larger of the two, but at least to what
            differences resolve, so that a derivative which vanishes beside the rounding of C raises
            no alarm.
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


@exported("chainrule.verify")
@dataclass(frozen=True)
class GradientReport:
    """Hold what the check of a gradient came to. It is true if the check passed.

    Attributes:
        worst: The parameter with the largest relative error, or None if all stand on kinks.
        failures: The parameters beyond the tolerance, the worst first.
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

    @property
    def passed(self) -> bool:
        """Return whether no parameter is beyond the tolerance."""
        return not self.failures

    @property
    def worst_relative_error(self) -> float:
        """Return the largest relative error; 0 if all parameters stand on kinks."""
        return 0.0 if self.worst is None else self.worst.relative_error

    def __bool__(self) -> bool:
        return self.passed

    def text(self) -> str:
        """Return the report in lines of at most 100 columns."""
        checked = f"all {self.total:,} parameters"
        if self.checked < self.total:
            checked = f"{self.checked:,} of {self.total:,} parameters, drawn at random,"
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples:,} samples"
        verdict = "pass" if self.passed else "FAIL"
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
        if self.kinks:
            count = len(self.kinks)
            lines.append(f"at a kink, where only derivatives from one side exist: {count:,}")
            lines += _table(self.kinks, "analytic", "from the left", "from the right")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "passed": self.passed,
            "worst": None if self.worst is None else _plain(self.worst),
            "failures": [_plain(c) for c in self.failures],
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
        verdict = "passed" if self.passed else f"FAILED for {len(self.failures):,}"
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
    carry a unit over a kink. A parameter fails if it differs by more than 1e-6 of the larger value,
    and by more than 4 times what rounding and the differences' own error come to. Everything is
    computed in float64 from the parameters as stored, without dropout.

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

    counted = [c for c in results if c.left is None]
    failures = [c for c in results if not c.relative_error <= TOLERANCE]
    return GradientReport(
        worst=max(counted, key=_badness, default=None),
        failures=tuple(sorted(failures, key=_badness, reverse=True)),
        kinks=tuple(c for c in results if c.left is not None and c.relative_error <= TOLERANCE),
        checked=len(results),
        total=network.parameters.size,
        n_samples=len(setting),
        seconds=time.perf_counter() - start,
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
    error = _ERROR * (np.sqrt((q.error**2) @ (shares**2)) + spread)
    left, right = q.left @ shares + penalty, q.right @ shares + penalty
    kink = (q.kink & (shares > 0)).any(axis=1) & (np.abs(left - right) > 4 * error)
    larger = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), error / TOLERANCE)
    with np.errstate(invalid="ignore"):
        relative = np.where(analytic == numeric, 0.0, np.abs(analytic - numeric) / larger)
    relative = np.where(np.isnan(relative), np.inf, relative)
    return [
        Compared(
            target, float(analytic[p]), float(numeric[p]), float(relative[p]),
            float(left[p]) if kink[p] else None, float(right[p]) if kink[p] else None,
        )
        for p, target in enumerate(targets)
    ]  # fmt: skip


def _badness(c: Compared) -> float:
    return c.relative_error


def _table(rows: tuple[Compared, ...], *names: str) -> list[str]:
    kinks = names[-1] == "from the right"
    lines = ["  {:<24}{:>20}{:>20}{:>20}".format("", *names)]
    for c in rows[:_LISTED]:
        last = f"{c.right:.10g}" if kinks else f"{c.relative_error:.1e}"
        middle = c.left if kinks else c.numeric
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
        "left": plain(c.left),
        "right": plain(c.right),
    }

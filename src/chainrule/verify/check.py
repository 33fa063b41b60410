"""The check of a whole gradient against central differences, and against more digits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations.targets import Bias, Target, Weight
from chainrule.verify import high_precision, rounding
from chainrule.verify.finite_difference import STEPS, Shifted, penalty_quotient, quotients
from chainrule.verify.report import TOLERANCE, Compared, GradientReport
from chainrule.verify.setting import Array, Place, Setting

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

_FIRST_STEPS = (0, 2, 4, STEPS - 1)  # tried until no unit crosses a kink
_ERROR = 4.0  # times the estimated error of a difference, and times the scatter of rounding
_NUMBERS = 1 << 21  # (parameter, sample) pairs at once
_BUDGET = 24_000_000  # integer multiplications of high precision; about 5 s


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
    if isinstance(max_parameters, bool) or not isinstance(max_parameters, int | np.integer):
        raise TypeError(f"max_parameters must be an integer, got {max_parameters!r}")
    if max_parameters < 1:
        raise ValueError(f"max_parameters must be at least 1, got {max_parameters}")
    start = time.perf_counter()
    gradient = network.gradient(X, y, sample_weight=sample_weight)
    setting = Setting.of(network, X, y, sample_weight)
    shifted = Shifted(setting, rounding.kinks(setting))
    noise, scatter = rounding.spread_of_gradient(setting)

    results: list[Compared] = []
    spreads: list[Array] = []
    for layer, places in _drawn(network, int(max_parameters), seed):
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
    """Return the places of the parameters of every W and every b."""
    places: dict[tuple[type[Target], int], list[int]] = {}
    for p, c in enumerate(results):
        places.setdefault((type(c.parameter), c.parameter.layer), []).append(p)
    return list(places.values())


def _is_resolved(array: list[Compared]) -> bool:
    """Return whether what is not resolved of a W or b is small beside its norm."""
    bound = math.hypot(*(c.bound for c in array if not c.resolved))
    return bound <= TOLERANCE * math.hypot(*(c.analytic for c in array))


def _advice(with_digits: bool) -> str:
    """Return why parameters are not resolved, and what to try."""
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
    """Return for each layer the parameters to check, as places in [W, b] row by row.

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
    # Errors of different samples are independent: they add up as squares, which may underflow.
    largest = q.error.max(axis=1)
    scaled = q.error / np.where((largest > 0) & np.isfinite(largest), largest, 1)[:, None]
    error = _ERROR * largest * np.sqrt((scaled**2) @ (shares**2))
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

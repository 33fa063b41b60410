"""Certificates: one derivative, found in independent ways, and a verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from chainrule.equations.targets import Target
from chainrule.verify import autodiff, finite_difference, high_precision, rounding
from chainrule.verify.evidence import Certificate, Evidence, Verdict
from chainrule.verify.setting import Array, Setting, analytic_value, contributions, count_weights

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Autodiff = Literal["auto", "torch", "jax", "off"]

RELATIVE = 1e-10  # what is asked for beside rounding; float64 has 1e-16
RESOLVED = 1e-7  # a value passes that is proven to be right to this part of it: 7 digits
_ROUNDING = 4.0  # times the scatter that was measured
_DIFFERENCE = 4.0  # times the error that the differences estimate of themselves
_LARGE = 1e307  # what is larger may be one that rounding keeps from infinity
_SUMMANDS = 64 * rounding.EPS  # of the size of what automatic differentiation cancels
_BUDGET = 12_000_000  # integer multiplications; about 2 s
_WEIGHTS_COST = 5  # a weight's turn into an integer, once


@np.errstate(all="ignore")  # a number that is not finite fails; it need not warn as well
def certify(
    network: FeedForward,
    target: Target | str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    analytic: float | None = None,
    autodiff: Autodiff = "auto",
) -> Certificate:
    """Prove the derivative of the loss C with respect to one w, b, z, a or x.

    The value of backpropagation, or your own, is compared with a central difference, with a
    high-precision number, and with automatic differentiation. How much error is allowed follows
    from the rounding error of float64, which is measured. For z, a and x over many samples, that
    quantity is shifted equally in each sample. With many samples or a large network, the
    high-precision number is taken over the samples that contribute most, and says so.

    Args:
        network: The network.
        target: The quantity to differentiate with respect to, as for `Network.explain`.
        X: The inputs, (n, units_0), or one sample, (units_0,).
        y: The targets, as for `Network.fit`.
        sample_weight: The weight of each sample in the mean, (n,).
        dropout_step: Apply the dropout masks of this training step.
        analytic: The value to prove, instead of that of backpropagation.
        autodiff: "auto" takes PyTorch, or else JAX, if installed; "torch" and "jax" ask for one,
            and "off" leaves it out.

    Each has an error of its own, and float64 rounds the value under proof. It fails if it differs
    from some evidence by more than both and 1e-10 of the value; it passes if no evidence over all
    samples tells more than one that proves it to 7 digits, its own error included. Else it is not
    resolved: a wrong value of that size would not be seen. What an oracle can't compute is no
    evidence.

    The rounding error of float64 is 4 times the scatter of the result when every number of both
    passes is nudged by up to 4 units in its last place. The own error is

    - of high precision, 1e-30 of the value;
    - of the central difference, 4 times its own estimate (of the stencil: what a smaller step
      changes; of rounding: the scatter of C_i over the step);
    - of automatic differentiation, 64 ε of the size of what it adds up (it computes tanh' as
      1 - a², which leaves nothing where a rounds to 1).

    For a derivative with respect to z, a or x over many samples, that quantity is shifted equally
    in each sample. With many samples or a large network the high-precision evidence is taken over
    the samples that contribute most, as many as about 3 seconds allow, and says so; it is then
    compared with the analytic number of these samples, and the analytic total with its parts. It
    may fail a value, but not prove it.

    Returns:
        The certificate.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The network has no such quantity, the data do not fit, or ``autodiff`` is
            unknown.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> certify(net, "b[1][2]", [[0.5, -1.0]], [1.0], autodiff="off").passed
        True
        >>> certify(net, "b[1][2]", [[0.5, -1.0]], [1.0], analytic=0.5, autodiff="off").passed
        False
    """
    network.check_parameters()
    setting = Setting.of(network, X, y, sample_weight, dropout_step)
    target = setting.resolve(target)
    package = _package(autodiff)

    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    own = analytic_value(gradient, setting, target)
    analytic = own if analytic is None else float(analytic)
    f = gradient.forward
    parts = contributions(setting, target, gradient.delta, f.z, f.a, setting.y)

    noise, scatter = rounding.spread(setting, target)
    floor = _ROUNDING * scatter
    kinks = rounding.kinks(setting)

    central = _central(setting, target, kinks, analytic, noise, floor)
    precise = _precise(setting, target, kinks, analytic, parts, floor)
    on_kink = central.left is not None or precise.left is not None
    automatic = _automatic(package, setting, target, analytic, floor, counts=not on_kink)

    found = (central, precise, automatic)
    verdict = _verdict(analytic, found, on_kink)
    left = right = None
    if on_kink:
        sides = precise if precise.left is not None and not precise.note else central
        sides = sides if sides.left is not None else precise
        left, right = sides.left, sides.right
    n = len(setting)
    advice = _advice(setting, found, floor) if verdict == "not resolved" else ""
    return Certificate(target, n, analytic, *found, verdict, left, right, advice)


def _verdict(analytic: float, evidence: tuple[Evidence, ...], on_kink: bool) -> Verdict:
    """Come to a verdict: the evidence that tells most decides between pass and not resolved."""
    counted = [e for e in evidence if e.agrees is not None]
    if math.isnan(analytic) or not all(e.agrees for e in counted):
        return "fail"
    whole = [e for e in counted if not e.partial and e.own_error is not None]
    best = min(whole, key=lambda e: e.own_error or 0.0, default=None)
    if best is None or not best.proves:
        return "not resolved"
    return "kink" if on_kink else "pass"


def _advice(setting: Setting, evidence: tuple[Evidence, ...], floor: float) -> str:
    """Return why a value is not resolved, and what to try."""
    central, precise, _ = evidence
    if precise.value is not None and not math.isfinite(precise.value):
        return "the derivative is beyond the numbers of float64; try smaller weights or inputs"
    if precise.value is not None and abs(precise.value) < rounding.TINY:
        return (
            "a value this small has hardly any digits in float64, which ends at 5e-324; try a "
            "sample or a weight whose gradient vanishes less"
        )
    if precise.value is not None and not precise.partial:
        size = abs(precise.value)
        part = f", {floor / size:.0e} of it" if 0 < size < math.inf else ""
        return (
            f"rounding in float64 may carry this value by {floor:.1e}{part}; high precision has "
            "its digits. Its parts cancel, or the numbers on its way are far apart in size: try "
            "one sample, or smaller weights and inputs"
        )
    seen = ""
    if central.own_error is not None and central.value is not None:
        seen = f" (differences see no less than {central.own_error:.1e})"
    if precise.partial or precise.note.startswith("left out"):
        fewer = "fewer samples" if len(setting) > 1 else "a smaller network"
        return f"no evidence over all samples has its digits{seen}: try {fewer}"
    return (
        f"no evidence has its digits{seen}: try samples where the formulas have values, or "
        "install PyTorch or JAX"
    )


def _package(autodiff_: str) -> autodiff.Package | None:
    if autodiff_ not in ("auto", "torch", "jax", "off"):
        raise ValueError(f"autodiff must be 'auto', 'torch', 'jax' or 'off', got {autodiff_!r}")
    if autodiff_ == "off":
        return None
    return autodiff.available() if autodiff_ == "auto" else autodiff_  # type: ignore[return-value]


def _compare(
    method: str,
    value: float,
    compared: float,
    own_error: float,
    floor: float,
    digits: str = "",
    **more: Any,
) -> Evidence:
    """Set a value beside the evidence; ``floor`` is the rounding error of the value."""
    error = 0.0 if value == compared else abs(compared - value)
    allowed = RELATIVE * abs(value) + floor + own_error
    if math.isinf(value) and compared * math.copysign(1.0, value) < _LARGE:
        allowed = 0.0  # the derivative is beyond float64, and the value is not
    if math.isnan(allowed):
        allowed = math.inf
    larger = max(abs(value), abs(compared))
    relative = error / larger if 0 < larger < math.inf else (0.0 if error == 0 else math.inf)
    return Evidence(
        method, value, compared, math.inf if math.isnan(error) else error, relative, own_error,
        allowed, error <= allowed, error + own_error <= RESOLVED * abs(value) < math.inf,
        digits or repr(value), **more,
    )  # fmt: skip


def _central(
    setting: Setting,
    target: Target,
    kinks: rounding.Kinks,
    analytic: float,
    noise: Array,
    floor: float,
) -> Evidence:
    method = "central difference"
    d = finite_difference.difference(finite_difference.Shifted(setting, kinks), target, noise)
    if not math.isfinite(d.value):
        return Evidence(method, None, analytic, note="no step is small enough for the loss here")
    error = _DIFFERENCE * d.error if math.isfinite(d.error) else math.inf
    notes = [f"step {d.step:.1e}"] if math.isfinite(d.step) else []
    if abs(d.value) < error:
        notes.append(f"too small to be resolved: differences see {error:.1e} here")
    left = right = None
    if d.kink and abs(d.left - d.right) > 2 * error:
        left, right = d.left, d.right
        notes.append(f"{left:.10g} from the left, {right:.10g} from the right")
    return _compare(
        method, d.value, analytic, error, floor, f"{d.value:.12g}", note="; ".join(notes),
        left=left, right=right,
    )  # fmt: skip


def _precise(
    setting: Setting,
    target: Target,
    kinks: rounding.Kinks,
    analytic: float,
    parts: Array,
    floor: float,
) -> Evidence:
    method, sizes, n = "high precision", setting.network.sizes, len(setting)
    room = _BUDGET - _WEIGHTS_COST * count_weights(sizes)
    count = room // high_precision.cost(setting, target)
    if count < 1:
        shape = "-".join(map(str, sizes))
        return Evidence(method, None, analytic, note=f"left out: too slow for {shape}")
    compared, note, total_agrees, partial = analytic, "", True, count < n
    if partial:
        w = setting.weight(target)
        penalty = 0.0 if w is None else setting.network.l2 * w
        total = float(setting.shares @ parts) + penalty
        total_agrees = not abs(total - analytic) > RELATIVE * abs(total) + floor
        largest = np.sort(np.argsort(-np.abs(setting.weights * parts), kind="stable")[:count])
        setting = setting.rows(largest)
        kinks = rounding.kinks(setting)
        compared = float(setting.shares @ parts[largest]) + penalty
        floor = _ROUNDING * rounding.spread(setting, target)[1]
        note = (
            f"over {_listed(largest)} of {n:,}, which contribute most, where the analytic value is "
            f"{compared!r}"
        )
        if not total_agrees:
            note += f"; but the samples' parts add up to {total!r}, not to {analytic!r}"
    try:
        d = high_precision.derivative(setting, target, kinks)
    except ValueError as error:
        return Evidence(method, None, analytic, note=str(error))
    left = right = None
    allowed = RELATIVE * abs(d.value) + floor
    if d.kink and max(abs(d.left - d.right), abs(d.left - d.value)) > allowed:
        left, right = d.left, d.right
    found = _compare(
        method, d.value, compared, d.error, floor, d.digits, note=note, left=left, right=right,
        partial=partial,
    )  # fmt: skip
    return found if total_agrees else replace(found, agrees=False)


def _automatic(
    package: autodiff.Package | None,
    setting: Setting,
    target: Target,
    analytic: float,
    floor: float,
    counts: bool,
) -> Evidence:
    if package is None:
        return Evidence("autodiff", None, analytic)
    value = autodiff.derivative(package, setting, target)
    if not math.isfinite(value):
        note = f"gives {value} here, which does not count as evidence"
        return Evidence(autodiff.LABELS[package], None, analytic, note=note)
    error = _SUMMANDS * rounding.size_of_summands(setting, target)
    found = _compare(autodiff.LABELS[package], value, analytic, error, floor)
    if counts:
        return found
    return replace(found, agrees=None, proves=False, note="does not count at a kink")


def _listed(samples: Array) -> str:
    if len(samples) == 1:
        return f"sample {samples[0]}"
    if len(samples) <= 8:
        return f"samples {', '.join(map(str, samples[:-1]))} and {samples[-1]}"
    return f"{len(samples):,} samples"

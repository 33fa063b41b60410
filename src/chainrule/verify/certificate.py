"""Certificates: one derivative, found in independent ways, and a verdict."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.equations.targets import Target
from chainrule.verify import autodiff, finite_difference, high_precision, rounding
from chainrule.verify.setting import Array, Setting, analytic_value, contributions, count_weights

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Verdict = Literal["pass", "fail", "kink"]
Autodiff = Literal["auto", "torch", "jax", "off"]

RELATIVE = 1e-10  # what is asked for beside rounding; float64 has 1e-16
_ROUNDING = 4.0  # times the scatter that was measured
_DIFFERENCE = 4.0  # times the error that the differences estimate of themselves
_SUMMANDS = 64 * rounding.EPS  # of the size of what automatic differentiation cancels
_BUDGET = 12_000_000  # integer multiplications; about 2 s
_WEIGHTS_COST = 5  # a weight's turn into an integer, once


@exported("chainrule.verify")
@dataclass(frozen=True)
class Evidence:
    """Hold one number that was found for the derivative, and how it compares.

    Attributes:
        method: How it was found.
        value: The number, or None if it could not be found; ``note`` then says why.
        compared: The analytic number that it stands beside, over the same samples.
        absolute_error: The absolute error of ``compared`` against ``value``.
        relative_error: The relative error.
        allowed: The largest absolute error that passes.
        agrees: Whether it passes, or None where it does not count.
        digits: The number in decimal digits.
        note: What else is to say.
        left: The derivative from the left, where a unit stands on a kink.
        right: The derivative from the right.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> evidence = certify(net, "w[1][0,0]", [[2.0]], [0.0], autodiff="off").high_precision
        >>> evidence.agrees, evidence.digits[:12]
        (True, '0.6397000084')
    """

    method: str
    value: float | None
    compared: float
    absolute_error: float | None = None
    relative_error: float | None = None
    allowed: float | None = None
    agrees: bool | None = None
    digits: str = ""
    note: str = ""
    left: float | None = None
    right: float | None = None


@exported("chainrule.verify")
@dataclass(frozen=True)
class Certificate:
    """Hold the evidence for one derivative, and the verdict that it comes to.

    Attributes:
        target: The quantity that the derivative is taken with respect to.
        n_samples: The number of samples.
        analytic: The value under proof.
        central_difference: A difference quotient in float64.
        high_precision: A number good to 30 digits, from a second forward pass without derivatives.
        autodiff: The number of PyTorch or JAX, if installed.
        verdict: "pass" if all evidence agrees with the value, "fail" if some does not, and "kink"
            if the derivative does not exist, because a unit stands where a derivative jumps, and
            the value is the one along the slope that chainrule and PyTorch take there.
        left: The derivative from the left, at a kink.
        right: The derivative from the right, at a kink.

    Examples:
        >>> import chainrule as cr
        >>> from chainrule.verify import certify
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> certify(net, "w[1][0,0]", [[2.0]], [0.0], autodiff="off").verdict
        'pass'
    """

    target: Target
    n_samples: int
    analytic: float
    central_difference: Evidence
    high_precision: Evidence
    autodiff: Evidence
    verdict: Verdict
    left: float | None = None
    right: float | None = None

    @property
    def passed(self) -> bool:
        """Return whether nothing speaks against the value: the verdict is not "fail"."""
        return self.verdict != "fail"

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Return the evidence, in the order in which it is printed."""
        return self.central_difference, self.high_precision, self.autodiff

    def text(self, width: int = 100) -> str:
        """Return the certificate as a table.

        Args:
            width: How many columns it may have, 61 or more. A narrow table has fewer errors.
        """
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples:,} samples"
        lines = [f"∂C/∂{self.target} on {samples}: {self.verdict}", ""]
        heads = ["abs. error", "allowed", "rel. error"]
        fit = min(max((width - 58) // 13, 0), 3)
        shown = {3: [0, 1, 2], 2: [0, 1], 1: [2], 0: []}[fit]  # which errors there is room for
        columns = "{:<18}  {:<38}" + "  {:>11}" * fit
        lines.append(columns.format("", "value", *(heads[i] for i in shown)).rstrip())
        lines.append(columns.format("analytic", repr(self.analytic), *[""] * fit).rstrip())
        for e in self.evidence:
            if e.value is None:
                continue
            errors = (e.absolute_error, e.allowed, e.relative_error)
            numbers = ["" if x is None else f"{x:.1e}" for x in errors]
            lines.append(columns.format(e.method, e.digits, *(numbers[i] for i in shown)).rstrip())
        lines.append("")
        if self.left is not None and self.right is not None:
            sides = f"the derivative from the left is {self.left!r}, from the right {self.right!r}"
            lines += _wrapped("kink", sides, width)
        for e in self.evidence:
            if e.note:
                lines += _wrapped(e.method, e.note, width)
        return "\n".join(lines).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; numbers that are not finite become texts."""
        return {
            "target": str(self.target),
            "samples": self.n_samples,
            "verdict": self.verdict,
            "passed": self.passed,
            "analytic": plain(self.analytic),
            "left": plain(self.left),
            "right": plain(self.right),
            "evidence": [{k: plain(v) for k, v in asdict(e).items()} for e in self.evidence],
        }

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Certificate({self.target}: {self.analytic!r}, {self.verdict})"


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
    network._check_parameters()
    setting = Setting.of(network, X, y, sample_weight, dropout_step)
    target = setting.resolve(target)
    package = _package(autodiff)

    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    own = analytic_value(gradient, setting, target)
    analytic = own if analytic is None else float(analytic)
    parts = contributions(setting, target, gradient.delta, gradient.forward.a, setting.y)

    noise, scatter = rounding.spread(setting, target)
    floor = _ROUNDING * scatter
    kinks = rounding.kinks(setting)

    central = _central(setting, target, kinks, analytic, noise, floor)
    precise = _precise(setting, target, kinks, analytic, parts, floor)
    on_kink = central.left is not None or precise.left is not None
    automatic = _automatic(package, setting, target, analytic, floor, counts=not on_kink)

    agrees = [e.agrees for e in (central, precise, automatic) if e.agrees is not None]
    verdict: Verdict = "pass" if agrees and all(agrees) else "fail"
    left = right = None
    if on_kink:
        sides = precise if precise.left is not None and not precise.note else central
        sides = sides if sides.left is not None else precise
        left, right = sides.left, sides.right
        verdict = "kink" if verdict == "pass" else verdict
    n = len(setting)
    return Certificate(target, n, analytic, central, precise, automatic, verdict, left, right)


def _package(autodiff_: str) -> autodiff.Package | None:
    if autodiff_ not in ("auto", "torch", "jax", "off"):
        raise ValueError(f"autodiff must be 'auto', 'torch', 'jax' or 'off', got {autodiff_!r}")
    if autodiff_ == "off":
        return None
    return autodiff.available() if autodiff_ == "auto" else autodiff_  # type: ignore[return-value]


def _compare(
    method: str, value: float, compared: float, allowed: float, digits: str = "", **more: Any
) -> Evidence:
    error = 0.0 if value == compared else abs(compared - value)
    if math.isnan(error):
        error = math.inf
    larger = max(abs(value), abs(compared))
    relative = error / larger if 0 < larger < math.inf else (0.0 if error == 0 else math.inf)
    agrees = error <= allowed and math.isfinite(allowed)
    return Evidence(
        method, value, compared, error, relative, allowed, agrees, digits or repr(value), **more
    )


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
    allowed = RELATIVE * abs(d.value) + floor + _DIFFERENCE * d.error
    notes = [f"step {d.step:.1e}"] if math.isfinite(d.step) else []
    if abs(d.value) < _DIFFERENCE * d.error:
        notes.append(f"too small to be resolved: differences see {d.error:.1e} here")
    left = right = None
    if d.kink and abs(d.left - d.right) > 2 * _DIFFERENCE * d.error:
        left, right = d.left, d.right
        notes.append(f"{left:.10g} from the left, {right:.10g} from the right")
    return _compare(
        method, d.value, analytic, allowed, f"{d.value:.12g}", note="; ".join(notes),
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
    compared, note, total_agrees = analytic, "", True
    if count < n:
        w = setting.weight(target)
        penalty = 0.0 if w is None else setting.network.l2 * w
        total = float(setting.shares @ parts) + penalty
        total_agrees = abs(total - analytic) <= RELATIVE * abs(total) + floor
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
        method, d.value, compared, allowed, d.digits, note=note, left=left, right=right
    )
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
    size = rounding.size_of_summands(setting, target)
    allowed = RELATIVE * abs(value) + floor + _SUMMANDS * size
    found = _compare(autodiff.LABELS[package], value, analytic, allowed)
    if counts:
        return found
    return replace(found, agrees=None, note="does not count at a kink")


def _listed(samples: Array) -> str:
    if len(samples) == 1:
        return f"sample {samples[0]}"
    if len(samples) <= 8:
        return f"samples {', '.join(map(str, samples[:-1]))} and {samples[-1]}"
    return f"{len(samples):,} samples"


def _wrapped(label: str, note: str, width: int) -> list[str]:
    return textwrap.wrap(f"{label}: {note}", width, subsequent_indent="  ")


def plain(value: Any) -> Any:
    """Give a number as JSON holds it: one that is not finite as a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    return value

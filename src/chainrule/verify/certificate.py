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
    """One way in which the derivative was found.

    ``value`` is the number found (None: it could not be found, ``note`` says why), ``digits`` its
    decimal digits. ``compared`` is the analytic number that it stands beside, over the same
    samples; ``absolute_error`` and ``relative_error`` are those of ``compared`` against ``value``,
    ``allowed`` is the largest absolute error that passes, and ``agrees`` says whether it does (None
    where it does not count). ``left`` and ``right`` are set where a unit stands on a kink.
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
    """The evidence for one derivative, and what it comes to.

    ``analytic`` is the value under proof. ``verdict`` is "pass" if all evidence agrees with it,
    "fail" if some does not, and "kink" if the derivative does not exist, because some unit stands
    where its g' (or that of the loss) jumps, and ``analytic`` is the one that follows the slope
    which chainrule and PyTorch take there; ``left`` and ``right`` are then the derivatives from
    both sides. ``passed`` is true unless the verdict is "fail".
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
        """Whether nothing speaks against the analytic value."""
        return self.verdict != "fail"

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence, in the order in which it is printed."""
        return self.central_difference, self.high_precision, self.autodiff

    def text(self, width: int = 100) -> str:
        """Give a table that fits into a width from 61 columns; a narrow one has fewer errors."""
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
        """Give everything as plain data for JSON; numbers that are not finite as texts."""
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

    The value under proof is that of backpropagation, or ``analytic``. It is compared with

    - a central difference in float64: the 4th-order stencil, each sample with the step that serves
      it best, and never over a kink;
    - high precision: a difference quotient good to 30 digits, from a second forward pass that uses
      the formulas of activations and losses and no derivative of any kind;
    - automatic differentiation by PyTorch, or JAX, if installed. ``autodiff`` = "off" leaves it
      out (importing PyTorch takes seconds), "torch" and "jax" ask for one.

    How much error is allowed:

    - always the rounding error of float64: 4 times the scatter of the result when every number of
      both passes is nudged by up to 4 units in its last place;
    - for high precision, 1e-10 of the value;
    - for the central difference, 1e-10 of the value and 4 times its own estimate of its error (of
      the stencil: what a smaller step changes; of rounding: the scatter of C_i over the step);
    - for automatic differentiation, 1e-10 of the value and 64 ε of the size of what it adds up
      (it computes tanh' as 1 - a², which leaves nothing where a rounds to 1).

    For a derivative with respect to z, a or x over many samples, that quantity is shifted equally
    in each sample. With many samples or a large network the high-precision evidence is taken over
    the samples that contribute most, as many as about 3 seconds allow, and says so; it is then
    compared with the analytic number of these samples, and the analytic total with its parts.

    Raises ValueError or TypeError for a target that does not exist, or data that do not fit.
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

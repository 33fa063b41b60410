"""The loss as a function of one quantity, drawn with matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chainrule.explain.curve import loss_curve
from chainrule.explain.derivative import Derivative
from chainrule.explain.symbols import LossSymbol
from chainrule.explain.text import TextWriter

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(why: Derivative, ax: Axes | None) -> Axes:
    """Draw C, its tangent and the step of gradient descent; see `Explanation.plot`."""
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            need = "plot needs matplotlib, which is not installed"
            raise ImportError(f"{need}: pip install 'chainrule[plot]'") from error
        _, ax = plt.subplots()
    curve = loss_curve(why)
    writer = TextWriter(why.notation, why.network.sizes, why.n_samples)
    symbol, C = writer.write(why.symbol), writer.write(LossSymbol())
    finite = np.where(np.isfinite(curve.y), curve.y, np.nan)
    (line,) = ax.plot(curve.x, finite, label=C)
    limits = ax.get_ylim()
    if math.isfinite(curve.value) and math.isfinite(curve.slope):
        label = f"tangent, slope {writer.number(curve.slope)}"
        tangent = curve.value + curve.slope * (curve.x - curve.at)
        ax.plot(curve.x, tangent, linestyle="--", label=label)
        ax.plot([curve.at], [curve.value], "o", color="black", label=f"{symbol} as it is")
    if (step := curve.step) is not None and step.to != curve.at:
        ax.annotate(
            "", (step.to, curve.value), (curve.at, curve.value), arrowprops={"arrowstyle": "->"}
        )
        label = f"after the step, η = {step.rate:g}"
        ax.plot([step.to], [step.loss], "s", color=line.get_color(), label=label)
    ax.set_ylim(limits)  # those of the curve: a tangent goes on forever
    ax.set_xlabel(symbol)
    ax.set_ylabel(C)
    ax.legend()
    return ax

"""Overflow: which sample and layer stopped being finite, in one warning that names them.

Like NumPy's own warnings of overflow, it follows ``np.errstate``: ``over="ignore"`` says nothing,
and ``over="raise"`` raises FloatingPointError.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.arrays import all_finite
from chainrule.equations.backprop import Forward, Gradient
from chainrule.equations.checks import warn

Array = NDArray[Any]


class Overflow:
    """Examine what a block computes, in place of NumPy's warnings, and tells at its end.

    It tells the first sample with a number that is not finite, and the first layer where that
    sample has one.
    """

    def __init__(self, dtype: Any = np.float64) -> None:
        self._dtype = dtype
        self._where, self._sample, self._samples = "", -1, 0
        self._silence = np.errstate(over="ignore", invalid="ignore")

    def __enter__(self) -> Self:
        self._silence.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        self._silence.__exit__(kind, error, trace)
        if kind is None and self._where:
            self._tell()

    def look_at(self, passed: Forward, losses: Array | None = None, first: int = 0) -> None:
        """Examine a forward pass, and C_i, of samples ``first``, first + 1, ..."""
        # A hidden a that is not finite makes the z of the next layer so.
        ends = (passed.a[-1],) if losses is None else (passed.a[-1], losses)
        if all(map(all_finite, passed.z)) and all(map(all_finite, ends)):
            return
        arrays: list[tuple[str, Array]] = []
        for l, z in enumerate(passed.z, start=1):
            arrays += [(f"z of layer {l}", z), (f"a of layer {l}", passed.a[l])]
        if losses is not None:
            arrays.append(("the loss", losses[:, None]))
        wrong = np.array([~np.isfinite(array).all(axis=1) for _, array in arrays])
        samples = wrong.any(axis=0)
        if not self._where:
            i = int(np.argmax(samples))
            self._sample, self._where = first + i, arrays[int(np.argmax(wrong[:, i]))][0]
        self._samples += int(np.count_nonzero(samples))

    def look_at_gradient(self, g: Gradient) -> None:
        """Examine the gradient, from the last layer down, as it is computed."""
        for l in range(len(g.dW), 0, -1):
            if not self._where and not all_finite(g.dW[l]):
                self._where = f"the gradient of layer {l}"
        self.look_at_penalty(g.penalty)

    def look_at_penalty(self, penalty: float) -> None:
        """Examine ½ λ Σ w²."""
        if not self._where and not math.isfinite(penalty):
            self._where = "the penalty"

    def _tell(self) -> None:
        how = np.geterr()["over"]
        if how == "ignore":
            return
        of = f" for sample {self._sample}" if self._sample >= 0 else ""
        if self._samples > 1:
            of += f" (and for {self._samples - 1:,} more)"
        message = (
            f"{self._where} is not finite{of}: numbers became too large for "
            f"{np.dtype(self._dtype)}; scale X, or look for parameters that are too large"
        )
        if how == "raise":
            raise FloatingPointError(message)
        warn(message, RuntimeWarning)

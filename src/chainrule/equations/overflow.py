"""Overflow: which sample and layer stopped being finite, in one warning that names them.

Like NumPy's own warnings of overflow, it follows ``np.errstate``: ``over="ignore"`` says nothing,
and ``over="raise"`` raises FloatingPointError.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.backprop import Forward, Gradient

Array = NDArray[Any]
_INSIDE = ("chainrule", "contextlib")


class Overflow:
    """The first sample with a number that is not finite, and the first layer where it has one."""

    def __init__(self) -> None:
        self._where, self._sample, self._samples = "", -1, 0

    def look_at(self, passed: Forward, losses: Array | None = None, first: int = 0) -> None:
        """Look at a forward pass, and C_i, of samples ``first``, first + 1, ..."""
        arrays: list[tuple[str, Array]] = []
        for l, z in enumerate(passed.z, start=1):
            arrays += [(f"z of layer {l}", z), (f"a of layer {l}", passed.a[l])]
        if losses is not None:
            arrays.append(("the loss", losses[:, None]))
        if all(np.isfinite(array).all() for _, array in arrays):
            return
        wrong = np.array([~np.isfinite(array).all(axis=1) for _, array in arrays])
        samples = wrong.any(axis=0)
        if not self._where:
            i = int(np.argmax(samples))
            self._sample, self._where = first + i, arrays[int(np.argmax(wrong[:, i]))][0]
        self._samples += int(np.count_nonzero(samples))

    def look_at_gradient(self, g: Gradient) -> None:
        """Look at the gradient, from the last layer down, as it is computed."""
        for l in range(len(g.dW), 0, -1):
            if not self._where and not np.isfinite(g.dW[l]).all():
                self._where = f"the gradient of layer {l}"

    def tell(self, dtype: Any) -> None:
        """Warn of what was found, if anything was, where the package was called."""
        how = np.geterr()["over"]
        if not self._where or how == "ignore":
            return
        of = f" for sample {self._sample}" if self._sample >= 0 else ""
        if self._samples > 1:
            of += f" (and for {self._samples - 1:,} more)"
        message = (
            f"{self._where} is not finite{of}: numbers became too large for {np.dtype(dtype)}; "
            "scale X, or look for parameters that are too large"
        )
        if how == "raise":
            raise FloatingPointError(message)
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] in _INSIDE:
            level, frame = level + 1, frame.f_back
        warnings.warn(message, RuntimeWarning, stacklevel=level)


@contextmanager
def named(dtype: Any = np.float64) -> Iterator[Overflow]:
    """Collect what overflows in the block, in place of NumPy's warnings, and say it at its end."""
    found = Overflow()
    with np.errstate(over="ignore", invalid="ignore"):
        yield found
    found.tell(dtype)

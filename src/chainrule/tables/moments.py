"""Moments: means and variances of columns, batch by batch."""

from __future__ import annotations

import numpy as np

from chainrule.tables.cells import Floats


class Moments:
    """The mean, the variance and the scale of each column, NaN not counted.

    Each batch has its own mean and sum of squares about it, and two are joined without a loss of
    digits (Chan, Golub and LeVeque, 1983). The scale is the standard deviation, or 1 where the
    variance is no more than rounding, as of scikit-learn's `StandardScaler`.
    """

    def __init__(self) -> None:
        self.mean = self.variance = self.n = np.zeros(0)

    def see(self, X: Floats) -> None:
        """Learn from rows (n, columns)."""
        n = (~np.isnan(X)).sum(axis=0).astype(np.float64)
        counted = np.maximum(n, 1)
        mean = np.nansum(X, axis=0) / counted
        off = X - mean
        # what rounding left in the mean is taken out of the squares
        squares = np.nansum(off * off, axis=0) - np.nansum(off, axis=0) ** 2 / counted
        self._take(n, mean, squares, squares / counted)

    def join(self, later: Moments) -> None:
        """Learn from what others have seen of more rows."""
        if len(later.n):
            self._take(later.n, later.mean, later.variance * later.n, later.variance)

    def _take(self, n: Floats, mean: Floats, squares: Floats, variance: Floats) -> None:
        if not len(self.n):
            self.mean, self.variance, self.n = mean, variance, n
            return
        total = np.maximum(self.n + n, 1)
        step = mean - self.mean
        squares = squares + self.variance * self.n + step * step * (self.n * n / total)
        self.mean = np.where(self.n > 0, self.mean + step * (n / total), mean)
        self.variance, self.n = squares / total, self.n + n

    @property
    def scale(self) -> Floats:
        """By what to divide."""
        rounding = self.n * np.finfo(np.float64).eps
        constant = self.variance <= rounding * self.variance + (rounding * self.mean) ** 2
        return np.where(constant, 1.0, np.sqrt(self.variance))

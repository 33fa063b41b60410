"""Noise: how much gradients differ from sample to sample, and the batch size that it suggests."""

from __future__ import annotations

import math
from collections.abc import Iterable


def of_batch(squares: float, mean: float, n: int) -> tuple[float, float] | None:
    """Return estimates of tr Σ and ‖G‖² from one batch, without bias, or None from one sample.

    Args:
        squares: The mean of ‖g_i‖² over the n samples.
        mean: ‖(1/n) Σ g_i‖².
        n: The number of samples.

    Source:
        McCandlish et al., arXiv:1812.06162, appendix A.1, with batches of 1 and of n.
    """
    if n < 2 or not (math.isfinite(squares) and math.isfinite(mean)):
        return None
    return (squares - mean) * n / (n - 1), (n * mean - squares) / (n - 1)


def scale(batches: Iterable[tuple[float, float, int]]) -> float:
    """Return the simple noise scale tr Σ / ‖G‖² over batches; NaN where it is not known.

    The numerators and the denominators are averaged apart, as the mean of quotients is biased.
    Infinity says that the gradient cannot be told from noise.

    Args:
        batches: The mean of ‖g_i‖², ‖(1/n) Σ g_i‖² and n of each.
    """
    found = [each for each in (of_batch(*batch) for batch in batches) if each is not None]
    if not found:
        return math.nan
    spread = math.fsum(trace for trace, _ in found)
    signal = math.fsum(square for _, square in found)
    if spread <= 0:
        return 0.0
    return spread / signal if signal > 0 else math.inf

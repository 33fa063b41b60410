"""Functions in many digits, to hold those of float32 and float64 to."""

from __future__ import annotations

from typing import Any

import pytest

mp = pytest.importorskip("mpmath")


def sigma(z: Any) -> Any:
    return 1 / (1 + mp.exp(-z))


def softplus(z: Any) -> Any:
    return mp.log1p(mp.exp(z)) if z < 0 else z + mp.log1p(mp.exp(-z))


def tanh_slope(z: Any) -> Any:
    return 4 * mp.exp(-2 * abs(z)) / (1 + mp.exp(-2 * abs(z))) ** 2


def normal(z: Any) -> Any:
    """The distribution function Φ."""
    if z < -1000:  # whose exponent mpmath can't handle
        return mp.mpf(0)
    return mp.erfc(-z / mp.sqrt(2)) / 2


def phi(z: Any) -> Any:
    """The density φ."""
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def softmax(z: list[Any]) -> list[Any]:
    e = [mp.exp(part - max(z)) for part in z]
    return [part / mp.fsum(e) for part in e]

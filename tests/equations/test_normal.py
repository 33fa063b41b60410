"""The normal distribution against mpmath with 60 digits, over all exponents and into the tail."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from chainrule.equations import normal

Array = NDArray[Any]

EXACT: dict[Any, Any] = {normal.cdf: mpmath.ncdf, normal.density: mpmath.npdf}
MOST = 3  # units in the last place


def worst(function: Callable[[Array], Array], z: Array) -> tuple[float, float]:
    """The largest error in units in the last place of the exact value, and where it is."""
    errors = []
    with mpmath.workdps(60):
        for number, value in zip(z.tolist(), function(z).tolist(), strict=True):
            exact = EXACT[function](mpmath.mpf(number))
            unit = mpmath.mpf(float(np.spacing(z.dtype.type(exact))))
            errors.append(float(abs(mpmath.mpf(value) - exact) / unit))
    return max(errors), float(z[int(np.argmax(errors))])


def exponents() -> Array:
    """Numbers with every exponent up to 2^10, of both signs; what is beyond has exact values."""
    rng = np.random.default_rng(0)
    powers = np.arange(-1074, 10, dtype=np.float64)
    numbers = np.exp2(powers) * np.where(powers > -1022, rng.uniform(1, 2, len(powers)), 1)
    return np.concatenate([numbers, -numbers])


INTERVALS = [(-38.7, -37), (-37, -20), (-20, -5), (-5, -1), (-1, 0), (0, 1), (1, 9), (9, 50)]


@pytest.mark.parametrize("function", EXACT)
def test_every_exponent(function: Callable[[Array], Array]) -> None:
    error, where = worst(function, exponents())
    assert error <= MOST, where


@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_last_places(function: Callable[[Array], Array], low: float, high: float) -> None:
    z = np.random.default_rng(1).uniform(low, high, 500)
    error, where = worst(function, z)
    assert error <= MOST, where


@pytest.mark.parametrize("function", EXACT)
def test_float32_is_rounded_once(function: Callable[[Array], Array]) -> None:
    z = np.random.default_rng(2).uniform(-15, 6, 2000).astype(np.float32)
    assert function(z).dtype == np.float32
    error, where = worst(function, z)
    assert error <= 0.5001, where


def test_identities() -> None:
    z = np.concatenate([np.linspace(0, 9, 2001), exponents()])
    assert normal.cdf(np.zeros(1))[0] == 0.5
    np.testing.assert_array_equal(normal.cdf(-np.abs(z)) + normal.cdf(np.abs(z)), 1)
    np.testing.assert_array_equal(normal.density(-z), normal.density(z))


def test_ends() -> None:
    z = np.array([[-np.inf, -1e308, -0.0], [np.inf, 1e308, np.nan]])
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        assert normal.cdf(z)[0].tolist() == [0, 0, 0.5]
        assert normal.cdf(z)[1, :2].tolist() == [1, 1]
        assert normal.density(z)[:, :2].tolist() == [[0, 0], [0, 0]]
    assert math.isnan(normal.cdf(z)[1, 2])
    assert math.isnan(normal.density(z)[1, 2])
    assert normal.cdf(z).shape == z.shape
    large = np.exp2(np.arange(6, 1024, dtype=np.float64))
    assert (normal.cdf(-large) == 0).all()
    assert (normal.cdf(large) == 1).all()
    assert (normal.density(large) == 0).all()


def test_gelu_needs_no_scipy() -> None:
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "import chainrule as cr\n"
        "net = cr.Network([2, 3, 1], hidden='gelu', seed=0, engine='reference')\n"
        "print(net.check_gradient([[1.0, -2.0]], [0.5]))\n"
        "net.predict([[1.0, -2.0]])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("gradient: pass")

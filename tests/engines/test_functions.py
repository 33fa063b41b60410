"""The core's vector functions against mpmath: over all exponents, and at the ends.

What is promised, in both dtypes and for every instruction set: a result in the normal range is
within a few eps, relative to the true value; below it, where numbers are denormal, within a few of
the smallest number. A sum that cancels (g' of gelu and silu near its root) is so relative to its
parts. A product with a power that is denormal itself has that one's error, |z| times as large.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from chainrule.equations import activations

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
mp = pytest.importorskip("mpmath")
from tests.oracles import normal, phi, sigma, softplus, tanh_slope  # noqa: E402
from tests.settings import DTYPES  # noqa: E402

Array = Any
EPS, DENORMAL = 4, 3  # allowed: units of eps, and of the smallest number


@cache
def points(dtype: str) -> Array:
    """Numbers of every exponent, of both signs, and many where the functions bend and end."""
    about, rng = np.finfo(dtype), np.random.default_rng(0)
    exponents = np.arange(about.minexp - about.nmant, about.maxexp)
    drawn = np.ldexp(rng.uniform(1, 2, len(exponents)), exponents)
    low = 104 if dtype == "float32" else 746  # where e^-x rounds to 0
    root = np.sqrt(2 * low)
    dense = [rng.uniform(0, top, 150) for top in (1, 4, 20, root, low)]
    dense += [rng.uniform(0.8, 1.05, 100) * end for end in (low, low / 2, root)]
    with np.errstate(over="ignore"):
        positive = np.concatenate([drawn, [1, 2, about.tiny, about.max], *dense]).astype(dtype)
    positive = positive[np.isfinite(positive)]
    return np.concatenate([positive, -positive])


TRUE: dict[str, Callable[[Any], Any]] = {
    "exp": mp.exp,
    "log": mp.log,
    "log1p": mp.log1p,
    "distribution": normal,
    "density": phi,
    "tanh_slope": tanh_slope,
    "identity": lambda z: z,
    "identity'": lambda z: 1,
    "sigmoid": sigma,
    "sigmoid'": lambda z: sigma(z) * sigma(-z),
    "tanh": mp.tanh,
    "tanh'": tanh_slope,
    "relu": lambda z: max(z, 0),
    "relu'": lambda z: int(z > 0),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "leaky_relu'": lambda z: 1 if z > 0 else mp.mpf(1) / 100,
    "elu": lambda z: z if z > 0 else mp.expm1(z),
    "elu'": lambda z: 1 if z > 0 else mp.exp(z),
    "gelu": lambda z: z * normal(z),
    "gelu'": lambda z: normal(z) + z * phi(z),
    "silu": lambda z: z * sigma(z),
    "silu'": lambda z: sigma(z) * (1 + z * sigma(-z)),
    "softplus": softplus,
    "softplus'": sigma,
}
DOMAIN: dict[str, Callable[[Array], Array]] = {
    "exp": lambda x: x <= 0,
    "log": lambda x: x > 0,
    "log1p": lambda x: (x >= 0) & (x <= 1),
}


@cache
def exact(name: str, dtype: str) -> tuple[Array, list[Any], Array]:
    """Where a function is evaluated, what it is there, and the size of the parts of that."""
    z = points(dtype)
    z = z[DOMAIN[name](z)] if name in DOMAIN else z
    parts: dict[str, Callable[[Any], Any]] = {
        "gelu'": lambda z: normal(z) + abs(z) * phi(z),
        "silu'": lambda z: sigma(z) * (1 + abs(z) * sigma(-z)),
    }
    with mp.workprec(160):
        true = [mp.mpf(TRUE[name](mp.mpf(float(x)))) for x in z]
        size = [abs(t) for t in true]
        if name in parts:
            size = [mp.mpf(parts[name](mp.mpf(float(x)))) for x in z]
    return z, true, size


def check(name: str, found: Array, dtype: str, z: Array, true: list[Any], size: list[Any]) -> None:
    about = np.finfo(dtype)
    smallest = mp.ldexp(1, int(about.minexp) - int(about.nmant))
    largest = mp.mpf(float(about.max))
    for x, y, t, s in zip(z.tolist(), found.tolist(), true, size, strict=True):
        if abs(t) > largest:
            assert abs(y) == np.inf
            continue
        of_power = abs(x) if name in ("silu", "silu'", "gelu", "gelu'") else 0
        allowed = EPS * float(about.eps) * s + (DENORMAL + of_power) * smallest
        assert abs(mp.mpf(y) - t) <= allowed, (name, x, y, mp.nstr(t, 20))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", _native.functions)
def test_functions(isa: str, dtype: str, name: str) -> None:
    z, true, size = exact(name, dtype)
    found = np.empty_like(z)
    _native.function(_native.functions.index(name), z, found)
    check(name, found, dtype, z, true, size)


def activation(name: str, z: Array) -> tuple[Array, Array, Array]:
    value, a, d = (np.empty_like(z) for _ in range(3))
    _native.activation(_native.activations.index(name), z, value, a, d)
    return value, a, d


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(activations.ACTIVATIONS)[:-1])
def test_activations(isa: str, dtype: str, name: str) -> None:
    """g as predictions have it, g as training has it, and g'."""
    z, true, size = exact(name, dtype)
    value, a, d = activation(name, z)
    check(name, value, dtype, z, true, size)
    check(name, a, dtype, z, true, size)
    check(name + "'", d, dtype, *exact(name + "'", dtype))


NAN = np.nan
ENDS = [0.0, -0.0, np.inf, -np.inf, np.nan]
# At an infinite z a product infinity * 0 is NaN, as in the reference and in PyTorch.
AT_ENDS = {
    "identity": ([0.0, -0.0, np.inf, -np.inf, NAN], [1, 1, 1, 1, 1]),
    "sigmoid": ([0.5, 0.5, 1, 0, NAN], [0.25, 0.25, 0, 0, NAN]),
    "tanh": ([0.0, -0.0, 1, -1, NAN], [1, 1, 0, 0, NAN]),
    "relu": ([0.0, 0.0, np.inf, 0, NAN], [0, 0, 1, 0, 0]),
    "leaky_relu": ([0.0, -0.0, np.inf, -np.inf, NAN], [0.01, 0.01, 1, 0.01, 0.01]),
    "elu": ([0.0, 0.0, np.inf, -1, NAN], [1, 1, 1, 0, NAN]),
    "gelu": ([0.0, -0.0, np.inf, NAN, NAN], [0.5, 0.5, NAN, NAN, NAN]),
    "silu": ([0.0, -0.0, np.inf, NAN, NAN], [0.5, 0.5, NAN, NAN, NAN]),
    "softplus": ([np.log(2), np.log(2), np.inf, 0, NAN], [0.5, 0.5, 1, 0, NAN]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AT_ENDS)
def test_activations_at_the_ends(isa: str, dtype: str, name: str) -> None:
    value, a, d = activation(name, np.array(ENDS, dtype))
    expected, slope = (np.array(part, dtype) for part in AT_ENDS[name])
    for found in (value, a):
        np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(d, slope, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_at_the_ends(isa: str, dtype: str) -> None:
    ends = {
        "exp": ([0, -np.inf, np.nan, -1e30], [1, 0, np.nan, 0]),
        "log": ([0, 1, np.inf, np.nan, -1], [-np.inf, 0, np.inf, np.nan, np.nan]),
        "log1p": ([0, np.nan], [0, np.nan]),
        "distribution": ([-np.inf, np.inf, 0, np.nan, -1e30, 1e30], [0, 1, 0.5, np.nan, 0, 1]),
        "density": ([-np.inf, np.inf, np.nan, -1e30, 1e30], [0, 0, np.nan, 0, 0]),
        "tanh_slope": ([-np.inf, np.inf, 0, np.nan, -1e30], [0, 0, 1, np.nan, 0]),
    }
    assert ends.keys() == set(_native.functions)
    for name, (given, expected) in ends.items():
        x = np.array(given, dtype)
        found = np.empty_like(x)
        _native.function(_native.functions.index(name), x, found)
        np.testing.assert_allclose(found, expected, rtol=np.finfo(dtype).eps, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_stays_within_one(isa: str, dtype: str) -> None:
    z = np.linspace(7, 20, 200_001).astype(dtype)
    value, a, d = activation("tanh", z)
    assert value.max() <= 1
    assert a.max() <= 1
    assert (d > 0).all()


def test_what_was_wrong(isa: str) -> None:
    """Numbers of an issue: the power never reached 0, and a had lost the digits that g' needs."""
    z = np.array([-1e37, 3.4e38, -18, -12, 9.5, -120], "float32")
    silu, _, silu_slope = activation("silu", z)
    assert silu[0] == 0
    assert silu_slope[1] == 1
    assert activation("elu", z)[2][2:4] == pytest.approx([np.exp(-18), np.exp(-12)], rel=3e-7)
    assert activation("tanh", z)[2][4] == pytest.approx(float(tanh_slope(9.5)), rel=3e-7)
    assert activation("sigmoid", -z)[2][3] == pytest.approx(float(sigma(12) * sigma(-12)), rel=3e-7)

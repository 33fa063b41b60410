"""The core's losses and δ^(L) from any z, against mpmath: also where a rounds to 0 or 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.base import Epoch, Plan, State
from chainrule.equations import data

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
mp = pytest.importorskip("mpmath")
from chainrule.engines.native import NativeEngine  # noqa: E402
from tests.oracles import sigma, softmax, softplus  # noqa: E402
from tests.settings import DTYPES  # noqa: E402

Array = Any
EPS = 8  # relative to the parts of a sum


def passed_through(
    loss: str, output: str, z: Array, y: Array, hidden: int = 0
) -> tuple[float, float, Array, Array]:
    """C_i of one sample by a prediction and by a step, a^(L), and δ^(L), with these z^(L).

    ``hidden`` units of an identity layer in front make the network too wide for the core's way of
    doing tiny ones.
    """
    units, dtype = len(z), z.dtype.name
    eye = np.eye(units)
    W = [eye] if not hidden else [np.eye(hidden, units), np.eye(units, hidden)]
    net = cr.Network(
        [W[0].shape[1], *(len(w) for w in W)],
        hidden="identity",
        output=output,
        loss=loss,
        dtype=dtype,
        W=W,
    )
    engine, rule = NativeEngine(1), cr.GradientDescent(momentum=0.5)  # leaves the gradient in v
    state, a = State(slots=rule.start(net.parameters)), np.empty((1, units), dtype)
    C = engine.losses(net, z[None], y[None], a.copy())[0]
    samples = data.Samples(z[None], y[None])
    epoch = Epoch(samples, Plan(rule, 1), np.zeros(1), outputs=a)
    result = engine.run_epoch(net, epoch, state)
    assert result.failure is None
    return C, result.loss, a[0], state.slots["v"][-units:].copy()


# C_i, δ and the sizes of what they are sums of, from z and y


def poisson_sigmoid(z: list[Any], y: list[Any]) -> tuple[Any, ...]:
    C = [sigma(u) + v * softplus(-u) for u, v in zip(z, y, strict=True)]
    delta = [sigma(-u) * (sigma(u) - v) for u, v in zip(z, y, strict=True)]
    parts = [sigma(-u) * (sigma(u) + v) for u, v in zip(z, y, strict=True)]
    return mp.fsum(C), mp.fsum(C), delta, parts


def poisson_softplus(z: list[Any], y: list[Any]) -> tuple[Any, ...]:
    a, pairs = [softplus(u) for u in z], list(zip(z, y, strict=True))
    C = [b - v * mp.log(b) for b, v in zip(a, y, strict=True)]
    of_C = [b + v * (abs(mp.log(b)) + 1) for b, v in zip(a, y, strict=True)]
    delta = [sigma(u) * (1 - v / softplus(u)) for u, v in pairs]
    parts = [sigma(u) * (1 + v / softplus(u)) for u, v in pairs]
    return mp.fsum(C), mp.fsum(of_C), delta, parts


def cross_entropy(z: list[Any], y: list[Any], plus: int = 0) -> tuple[Any, ...]:
    largest = max(range(len(z)), key=z.__getitem__)
    powers = [mp.exp(u - z[largest]) for u in z]
    rest = mp.fsum(e for m, e in enumerate(powers) if m != largest)  # Σ e = 1 + rest
    C = mp.fsum(v * (mp.log1p(rest) + (z[largest] - u)) for u, v in zip(z, y, strict=True))
    delta, parts = [], []
    for j, (e, v) in enumerate(zip(powers, y, strict=True)):
        others = mp.fsum(y) - v  # a_j Σ y - y_j, where a_j = e_j / Σ e
        minus = rest if j == largest else 1 + rest - e
        delta.append((e * others - v * minus) / (1 + rest))
        parts.append((e * others + v * minus) / (1 + rest))
    return plus + C, plus + C, delta, parts


def poisson_softmax(z: list[Any], y: list[Any]) -> tuple[Any, ...]:
    return cross_entropy(z, y, 1)


def binary_cross_entropy(z: list[Any], y: list[Any]) -> tuple[Any, ...]:
    pairs = list(zip(z, y, strict=True))
    C = mp.fsum(v * softplus(-u) + (1 - v) * softplus(u) for u, v in pairs)
    delta = [(1 - v) * sigma(u) - v * sigma(-u) for u, v in pairs]
    parts = [(1 - v) * sigma(u) + v * sigma(-u) for u, v in pairs]
    return C, C, delta, parts


def squared_softmax(z: list[Any], y: list[Any]) -> tuple[Any, ...]:
    """A loss of a: what a has lost is lost, but no more than that."""
    a, largest = softmax(z), max(range(len(z)), key=z.__getitem__)
    v = [b - u for b, u in zip(a, y, strict=True)]
    of_v = [b + u for b, u in zip(a, y, strict=True)]
    C = mp.fsum(d * d for d in v) / 2
    delta, parts = [], []
    for j, b in enumerate(a):  # a_j Σ_m a_m (v_j - v_m), as Σ a = 1
        delta.append(b * mp.fsum(c * (v[j] - v[m]) for m, c in enumerate(a)))
        mean = mp.fsum(c * (of_v[m] + of_v[largest]) for m, c in enumerate(a) if m != largest)
        parts.append(b * (mean + (0 if j == largest else of_v[j] + of_v[largest])))
    return C, mp.fsum(d * d for d in of_v), delta, parts


KINDS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "poisson sigmoid": ("poisson", "sigmoid", poisson_sigmoid),
    "poisson softplus": ("poisson", "softplus", poisson_softplus),
    "poisson softmax": ("poisson", "softmax", poisson_softmax),
    "binary cross-entropy": ("binary_cross_entropy", "sigmoid", binary_cross_entropy),
    "cross-entropy": ("cross_entropy", "softmax", cross_entropy),
    "squared error softmax": ("half_squared_error", "softmax", squared_softmax),
}
EACH = [-800, -300, -120, -90, -50, -20, -17.9, -5, -0.3, 0, 0.6, 3, 15, 17, 40, 90, 300]
ROWS: list[list[float]] = [
    [0, 0, 0],
    [0, -1, 2],
    [5, 30, 8],
    [-40, -60, 1],
    [-20, 0, -90],
    [0, -120, -800],
    [700, 800, -900],
    [2e37, -2e37, 0],
    [-3e37, -3e37, -3e37],
    [1, 17, 1.5],
]


def cases(name: str) -> list[tuple[list[float], list[float]]]:
    if "softmax" not in KINDS[name][1]:
        targets = [0, 1, 0.25] + ([7, 1e-3] if "poisson" in name else [])
        return [([z, 0.5], [y, 1]) for z in EACH for y in targets]
    rows: list[list[float]] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.3, 0.5]]
    rows += [[4, 0, 2], [0, 0, 0]] if "poisson" in name else []
    return [(z, y) for z in ROWS for y in rows]


@pytest.mark.parametrize("hidden", [0, 67])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINDS)
def test_from_any_z(isa: str, dtype: str, name: str, hidden: int) -> None:
    loss, output, exact = KINDS[name]
    about = np.finfo(dtype)
    eps, tiny = float(about.eps), float(about.tiny)
    for z, y in cases(name):
        given, targets = np.array(z, dtype), np.array(y, dtype)
        predicted, trained, a, delta = passed_through(loss, output, given, targets, hidden)
        with mp.workprec(200):
            C, of_C, expected, parts = exact(
                [mp.mpf(float(part)) for part in given], [mp.mpf(float(part)) for part in targets]
            )
        where = (name, z, y)
        assert np.isfinite(a).all(), where
        for found in (predicted, trained):
            assert abs(found - C) <= EPS * eps * of_C + tiny, (where, found, mp.nstr(C, 20))
        for found, true, part in zip(delta.tolist(), expected, parts, strict=True):
            assert abs(found - true) <= EPS * eps * part + tiny, (where, found, mp.nstr(true, 20))

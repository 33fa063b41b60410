"""What is measured: the networks, their batches, data and initial weights, and the bars."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

OPTIMIZERS = {"gd": "gradient descent", "adam": "Adam"}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, the same for everyone


@dataclass(frozen=True)
class Case:
    """One network with its batch; ``steps`` batches make an epoch.

    ``ratio_bar`` is how many times as fast as the best peer chainrule has to be, ``share_bar`` the
    share of the matrix peak, ``predict_bar`` the ratio for predictions; None where nothing is
    promised. ``rates`` are the learning rates by optimiser.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    batch: int
    steps: int
    ratio_bar: float | None = None
    share_bar: float | None = None
    predict_bar: float | None = None
    output: str = "identity"  # with half_squared_error; or softmax, with cross_entropy
    rates: dict[str, float] = field(default_factory=lambda: {"gd": 0.01, "adam": 0.001})

    @property
    def multiply_adds(self) -> int:
        """Multiplications in one forward pass of one sample."""
        return sum(m * n for m, n in pairwise(self.sizes))

    @property
    def step_flops(self) -> float:
        """Floating-point operations in the matrix products of a step.

        Each layer has z = a Wᵀ and dW = δᵀ a, and each but the first ∂C/∂a = δ W.
        """
        first = self.sizes[0] * self.sizes[1]
        return 2.0 * self.batch * (3 * self.multiply_adds - first)

    def to_dict(self) -> dict[str, Any]:
        """Give the case as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Case:
        """Read what `to_dict` gave."""
        return cls(**{**values, "sizes": tuple(values["sizes"])})


def _case(sizes: str, activation: str, batch: int, steps: int, **more: Any) -> Case:
    units = tuple(int(part) for part in sizes.split("-"))
    return Case(f"{sizes} {activation}, {batch}", units, activation, batch, steps, **more)


CASES = (
    _case("2-2-1", "tanh", 1, 4096, ratio_bar=2.0, share_bar=0.002, predict_bar=2.0),
    _case("2-8-8-1", "tanh", 32, 1024, ratio_bar=4.0, share_bar=0.07, predict_bar=2.0),
    _case("64-64-32-10", "tanh", 32, 256, ratio_bar=3.0, share_bar=0.35, predict_bar=2.0),
    _case("784-128-10", "relu", 128, 64, ratio_bar=2.5, share_bar=0.72, predict_bar=2.0),
    _case(
        "784-512-512-10", "relu", 128, 64, ratio_bar=2.0, share_bar=0.78, predict_bar=2.0,
        rates={"gd": 0.01, "adam": 1e-4},
    ),
    _case(
        "1024-4096-4096-1024", "relu", 1024, 2, ratio_bar=1.12, share_bar=0.92,
        rates={"gd": 1e-3, "adam": 1e-5},
    ),
)  # fmt: skip

ACTIVATIONS = (
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus",
)  # fmt: skip

_DEEP = "-".join(["32"] * 21)
SHAPES = (
    _case("13-37-5", "tanh", 32, 512),
    Case("32, 20 layers, tanh, 32", tuple(int(u) for u in _DEEP.split("-")), "tanh", 32, 128),
    Case(
        "32, 20 layers, tanh, 64", tuple(int(u) for u in _DEEP.split("-")), "tanh", 64, 128,
        share_bar=0.60,
    ),
    _case("300-128-64-1", "relu", 64, 128, share_bar=0.70),
    _case("100-256-256-1", "silu", 4096, 4, share_bar=0.80),
    _case("64-64-32-10", "tanh", 1, 1024, ratio_bar=1.0),
    _case("64-64-32-10", "tanh", 4096, 8, share_bar=0.75),
    *(_case("64-64-32-10", g, 32, 256) for g in ACTIVATIONS if g != "tanh"),
    Case("64-64-32-10 relu, softmax, 32", (64, 64, 32, 10), "relu", 32, 256, output="softmax"),
)  # fmt: skip


def chosen(cases: tuple[Case, ...], only: str | None) -> list[Case]:
    """Give the cases whose name contains a text; raise ValueError if none does."""
    found = [case for case in cases if only is None or only in case.name]
    if not found:
        raise ValueError(
            f"no network is called {only!r}; known: {'; '.join(c.name for c in cases)}"
        )
    return found


@dataclass(frozen=True)
class Problem:
    """Samples and initial weights of a case: X (n, units_0), y (n, units_L), W (units, fan-in)."""

    X: Array
    y: Array
    W: list[Array]
    b: list[Array]


def problem(case: Case) -> Problem:
    """Draw the same numbers in every process: a noisy function to learn, and weights to start from.

    The noise keeps gradients from fading, since numbers near 0 (denormals) would be slow.
    """
    rng = np.random.default_rng(20)
    n, fan_in, units = case.batch * case.steps, case.sizes[0], case.sizes[-1]
    X = rng.uniform(-1, 1, (n, fan_in)).astype(np.float32)
    teacher = rng.normal(size=(fan_in, units)).astype(np.float32) / np.float32(np.sqrt(fan_in))
    y = 1 + np.tanh(2 * (X @ teacher)) + 0.3 * rng.standard_normal((n, units), dtype=np.float32)
    if case.output == "softmax":
        y = np.eye(units, dtype=np.float32)[y.argmax(axis=1)]
    gain = {"relu": 2.0, "leaky_relu": 2.0, "elu": 1.5, "gelu": 2.0, "silu": 2.0}
    W, b = [], []
    for below, above in pairwise(case.sizes):
        scale = np.sqrt(gain.get(case.activation, 1.0) / below)
        W.append((scale * rng.standard_normal((above, below))).astype(np.float32))
        b.append((0.1 * rng.standard_normal(above)).astype(np.float32))
    return Problem(X, np.ascontiguousarray(y, dtype=np.float32), W, b)

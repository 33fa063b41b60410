"""Cases: all that one draw chooses, as plain values, and the arrays that are made of them.

A case holds choices and one seed; `build` makes every number from these alone. So a case can be
printed, shrunk, and run again anywhere: `python -m tests.draw --case '{...}'`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

import chainrule as cr

from .exact import Problem
from .functions import Array, Real
from .layouts import lay_out, plain


@dataclass(frozen=True)
class Case:
    """What is drawn. The defaults are the plainest choice, towards which cases shrink."""

    sizes: tuple[int, ...] = (1, 1)
    hidden: tuple[str, ...] = ()
    output: str = "identity"
    loss: str = "half_squared_error"
    dtype: str = "float64"
    biases: bool = True
    n: int = 1
    seed: int = 0
    gains: tuple[float, ...] = ()  # of each layer: the size of W, times 1 / √fan_in; () for 1
    shifts: tuple[float, ...] = ()  # of each layer: added to half of the biases; () for 0
    whole: bool = False  # W, b and X are small integers, so that z is 0 now and then
    X_scale: float = 1.0
    y_scale: float = 1.0
    y_kind: str = "rows"
    weights: str = "none"
    dropout: tuple[float, ...] = ()
    l2: float = 0.0
    layout_X: str = "C"  # noqa: N815 (X is the letter)
    layout_y: str = "C"
    layout_weights: str = "C"
    optimizer: str = "GradientDescent"
    hyperparameters: tuple[tuple[str, float], ...] = ()
    schedule: str = "Constant"
    learning_rate: float = 0.1
    batch_size: int = 32
    epochs: int = 1
    shuffle: bool = True
    clip_norm: float | None = None
    isa: str = "best"
    threads: int = 1

    def to_json(self) -> str:
        """Return all that differs from the defaults."""
        values = asdict(self)
        told = {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> Case:
        return cls(**{name: _tuples(value) for name, value in json.loads(text).items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


SCHEDULES: dict[str, Any] = {
    "Constant": lambda eta: eta,
    "StepDecay": lambda eta: cr.StepDecay(eta, every=1, factor=0.5),
    "ExponentialDecay": lambda eta: cr.ExponentialDecay(eta, factor=0.5),
    "Cosine": lambda eta: cr.Cosine(eta, epochs=2),
    "WarmUp": lambda eta: cr.WarmUp(1.5, then=eta),
    "ReduceOnPlateau": lambda eta: cr.ReduceOnPlateau(eta, patience=1),
}


@dataclass(frozen=True)
class Built:
    """A case in arrays. ``X``, ``y``, ``weights`` are as given, in their layouts."""

    case: Case
    network: cr.Network
    X: Any
    y: Any
    weights: Any

    @cached_property
    def numbers(self) -> tuple[Array, Array, Array | None]:
        """X, y in rows (n, units_L) and weights, in float64 and C order."""
        units = self.case.sizes[-1]
        y = plain(self.y)
        if y.ndim == 1 and units > 1:
            y = np.eye(units)[y.astype(int)]
        weights = None if self.weights is None else plain(self.weights)
        return plain(self.X), y.reshape(len(y), units), weights

    def optimizer(self) -> Any:
        rate = SCHEDULES[self.case.schedule](self.case.learning_rate)
        return getattr(cr, self.case.optimizer)(rate, **dict(self.case.hyperparameters))

    def problem(
        self,
        X: Array,
        y: Array,
        weights: Array | None,
        *,
        dtype: Any,
        theta: Array | None = None,
        dropout_step: int | None = None,
    ) -> Problem:
        """What a step computes from these rows, as it stands in memory in a dtype."""
        network, case = self.network, self.case
        theta = network.parameters if theta is None else theta
        W, b = cut(case, theta)
        masks: list[Array | None] = []
        if dropout_step is not None and any(case.dropout):
            masks = [
                mask(case, dropout_step, l, len(X), units) if rate else None
                for l, (units, rate) in enumerate(
                    zip(case.sizes[1:-1], case.dropout, strict=True), start=1
                )
            ]
            masks.append(None)
        return Problem(
            W, b, [*case.hidden, case.output], case.loss, case.l2,
            X.astype(dtype).astype(Real), y.astype(dtype).astype(Real),
            None if weights is None else weights.astype(Real), masks,
        )  # fmt: skip


def cut(case: Case, theta: Array) -> tuple[list[Array], list[Array | None]]:
    """Cut a flat vector into W and b of each layer, in `Real`: W row by row, then b."""
    W: list[Array] = []
    b: list[Array | None] = []
    start = 0
    for fan_in, units in pairwise(case.sizes):
        W.append(theta[start : start + units * fan_in].reshape(units, fan_in).astype(Real))
        start += units * fan_in
        b.append(theta[start : start + units].astype(Real) if case.biases else None)
        start += units if case.biases else 0
    return W, b


def flat(case: Case, dW: list[Array], db: list[Array]) -> Array:
    """Put arrays of each layer into one flat vector; the inverse of `cut`."""
    parts: list[Array] = []
    for W, b in zip(dW, db, strict=True):
        parts += [W.ravel(), b] if case.biases else [W.ravel()]
    return np.concatenate(parts)


def mask(case: Case, step: int, layer: int, n: int, units: int) -> Array:
    """The dropout mask of a layer: its 0s are the package's, its other numbers exact."""
    from chainrule.random import dropout_mask

    rate = case.dropout[layer - 1]
    kept = dropout_mask(case.seed, step, layer, n, units, rate, np.float64) > 0
    return kept / (1 - Real(rate))


def build_network(case: Case, like: cr.Network, engine: str) -> cr.Network:
    """Make the network of a case anew, for one engine, with the parameters of another."""
    net = _network(case, engine)
    net.parameters[...] = like.parameters
    return net


def _network(case: Case, engine: str = "auto", **arrays: Any) -> cr.Network:
    return cr.Network(
        case.sizes, hidden=list(case.hidden), output=case.output, loss=case.loss,
        biases=case.biases, dtype=case.dtype, seed=case.seed, l2=case.l2, threads=case.threads,
        dropout=list(case.dropout) if case.dropout else 0.0, engine=engine, **arrays,
    )  # fmt: skip


def build(case: Case) -> Built:
    """Make the network and the arrays of a case."""
    rng = np.random.default_rng(case.seed)
    L = len(case.sizes) - 1
    gains, shifts = case.gains or (1.0,) * L, case.shifts or (0.0,) * L
    W, b = [], []
    for (fan_in, units), gain, shift in zip(pairwise(case.sizes), gains, shifts, strict=True):
        W_l, b_l = rng.normal(size=(units, fan_in)), rng.normal(scale=0.3, size=units)
        if case.whole:
            W.append(_fit(gain * W_l.round(), case.dtype))
            b.append((b_l + 0.5).round() + shift * (rng.random(units) < 0.5))
        else:
            W.append(_fit(gain * W_l / np.sqrt(fan_in), case.dtype))
            b.append(b_l + shift * (rng.random(units) < 0.5))
    network = _network(case, W=W, b=b if case.biases else None)
    X = rng.normal(size=(case.n, case.sizes[0]))
    X = _fit(case.X_scale * (X.round() if case.whole else X), case.dtype)
    y = _targets(case, rng)
    weights = _weights(case, rng)
    if weights is not None:
        weights = lay_out(weights, case.layout_weights)
    return Built(case, network, lay_out(X, case.layout_X), lay_out(y, case.layout_y), weights)


def _fit(values: Array, dtype: str) -> Array:
    """Bring numbers into a dtype's range."""
    largest = float(np.finfo(dtype).max) / 2
    return np.clip(values, -largest, largest)


def _targets(case: Case, rng: np.random.Generator) -> Array:
    n, units = case.n, case.sizes[-1]
    classes = rng.integers(0, units, n)
    if case.y_kind == "classes":
        return classes
    if case.y_kind == "one-hot":
        return np.eye(units)[classes]
    match case.loss:
        case "cross_entropy":
            return rng.dirichlet(np.ones(units), size=n)
        case "binary_cross_entropy":
            uniform = rng.random((n, units))
            return uniform.round() if case.y_kind == "whole" else uniform
        case "poisson":
            return rng.poisson(2 * min(case.y_scale, 1e6), (n, units)).astype(float)
    rows = _fit(case.y_scale * rng.normal(size=(n, units)), case.dtype)
    return rows.round() if case.y_kind == "whole" else rows


_WEIGHTS = {
    "uniform": (1.0, 0.0), "some zero": (1.0, 0.5), "1e-46": (1e-46, 0.0), "1e-300": (1e-300, 0.2),
    "1e50": (1e50, 0.0), "1e300": (1e300, 0.2),
}  # fmt: skip
WEIGHTS = ("none", *_WEIGHTS)


def _weights(case: Case, rng: np.random.Generator) -> Array | None:
    if case.weights == "none":
        return None
    size, zeros = _WEIGHTS[case.weights]
    weights = size * rng.uniform(0.1, 2, case.n)
    weights[rng.random(case.n) < zeros] = 0
    weights[0] = size  # which all are, with a stride of 0
    return weights

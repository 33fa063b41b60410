"""Strategies: how cases are drawn. The first choice of each is the one that a case shrinks to."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .cases import SCHEDULES, WEIGHTS, Case
from .functions import FUNCTIONS
from .layouts import LAYOUTS, OF_CLASSES, OF_WEIGHTS

WIDE = (70, 63, 64, 65, 31, 32, 33, 15, 16, 17, 7, 8, 9)  # vectors of any width, and one off them
HIDDEN = tuple(FUNCTIONS)
OUTPUTS: dict[str, tuple[str, ...]] = {
    "half_squared_error": (*HIDDEN, "softmax"),
    "squared_error": (*HIDDEN, "softmax"),
    "absolute_error": (*HIDDEN, "softmax"),
    "huber": (*HIDDEN, "softmax"),
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    "poisson": ("softplus", "sigmoid", "softmax"),
}
RULES: tuple[tuple[str, tuple[tuple[str, tuple[float, ...]], ...]], ...] = (
    ("GradientDescent", ()),
    ("GradientDescent", (("momentum", (0.9, 0.5)),)),
    ("GradientDescent", (("momentum", (0.9, 0.5)), ("nesterov", (True,)))),
    ("AdaGrad", (("epsilon", (1e-10, 1e-3)),)),
    ("RMSProp", (("decay", (0.99, 0.5)), ("epsilon", (1e-8, 1e-3)))),
    ("Adam", (("beta1", (0.9, 0.5)), ("beta2", (0.999, 0.9)), ("epsilon", (1e-8, 1e-3)))),
    ("AdamW", (("weight_decay", (0.01, 0.5)), ("epsilon", (1e-8, 1e-3)))),
)
# Saturation and underflow: scales of weights and inputs, and shifts of z.
GAINS = (10.0, 100.0, 1e-3, 1e4, 1e-10, 0.0, 1e-20, 1e8, 1e-40, 1e12, 1e19, 1e-200)
SHIFTS = (
    3.0,
    -3.0,
    -9.5,
    9.5,
    -12.0,
    -18.0,
    18.0,
    -40.0,
    40.0,
    -95.0,
    95.0,
    -120.0,
    120.0,
    -800.0,
    800.0,
    -1e4,
    1e37,
)
SCALES = (1e-3, 30.0, 1e3, 1e-10, 1e6, 1e-30, 1e12, 1e-42, 1e18, 1e-310, 1e37)
_LARGEST = 3e7  # numbers in all paths of all samples, which bound the time of a draw


def seldom(values: Any, plain: Any, one_in: int) -> st.SearchStrategy[Any]:
    """The plain value, and once in so often one of the others."""
    return st.integers(0, one_in - 1).flatmap(
        lambda chosen: st.sampled_from(values) if chosen == one_in - 1 else st.just(plain)
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    depth = draw(st.sampled_from((1, 2, 2, 3, 3, 4, 5, 6, 7, 8)))
    sizes = draw(_sizes(depth))
    loss = draw(st.sampled_from(tuple(OUTPUTS)))
    output = draw(st.sampled_from(OUTPUTS[loss]))
    if loss == "cross_entropy" and sizes[-1] == 1:
        sizes = (*sizes[:-1], 2)
    n = draw(st.one_of(st.integers(1, 8), st.integers(1, 40), st.sampled_from((97, 193, 300))))
    paths = sum(a * b for a in sizes[1:] for b in sizes[1:])
    n = max(1, min(n, int(_LARGEST / 20 / paths)))
    extreme = draw(st.sampled_from((False, False, True)))
    odd = 3 if extreme else 10**6
    L = range(depth)
    weights = draw(seldom(WEIGHTS[1:], "none", 3))
    rule, choices = draw(st.sampled_from(RULES))
    batch = draw(st.sampled_from((n, -(-n // 2), -(-n // 3), n + 3, 1 if n <= 4 else -(-n // 4))))
    y_kind = draw(st.sampled_from(_kinds_of_targets(loss, sizes[-1])))
    return Case(
        sizes=sizes,
        hidden=tuple(draw(st.sampled_from(HIDDEN)) for _ in range(depth - 1)),
        output=output,
        loss=loss,
        dtype=draw(st.sampled_from(("float64", "float32"))),
        biases=draw(st.sampled_from((True, True, True, False))),
        n=n,
        seed=draw(st.integers(0, 2**32 - 1)),
        gains=tuple(draw(seldom(GAINS, 1.0, odd)) for _ in L) if extreme else (),
        shifts=tuple(draw(seldom(SHIFTS, 0.0, odd)) for _ in L) if extreme else (),
        X_scale=draw(seldom(SCALES, 1.0, odd + 2)) if extreme else 1.0,
        y_scale=draw(seldom(SCALES, 1.0, odd + 2)) if extreme else 1.0,
        y_kind=y_kind,
        weights=weights,
        whole=draw(st.sampled_from((False, False, False, True))),
        dropout=draw(_dropout(depth)),
        l2=draw(seldom((0.1, 1e-4, 3.0, 1e-30), 0.0, 3)),
        layout_X=draw(seldom(tuple(LAYOUTS), "C", 2)),
        layout_y=draw(seldom(_layouts_of_targets(loss, y_kind), "C", 3)),
        layout_weights=draw(seldom(OF_WEIGHTS, "C", 3)) if weights != "none" else "C",
        optimizer=rule,
        hyperparameters=tuple((name, draw(st.sampled_from(known))) for name, known in choices),
        schedule=draw(seldom(tuple(SCHEDULES), "Constant", 3)),
        learning_rate=draw(st.sampled_from((0.1, 0.01, 1.0, 1e-4, 10.0, 1e4))),
        batch_size=batch,
        epochs=draw(st.sampled_from((1, 2, 3))),
        shuffle=draw(st.booleans()),
        clip_norm=draw(seldom((1.0, 1e-3, 100.0), None, 4)),
        isa=draw(st.sampled_from(("best", "avx2", "baseline"))),
        threads=draw(st.sampled_from((1, 2, 3))),
    )


@st.composite
def _sizes(draw: st.DrawFn, depth: int) -> tuple[int, ...]:
    small = st.integers(1, 6)
    middle = st.integers(1, 20)
    wide = st.one_of(st.sampled_from(WIDE), st.integers(1, 70))
    width = draw(st.sampled_from((small, small, middle, st.one_of(small, wide))))
    return tuple(draw(width) for _ in range(depth + 1))


@st.composite
def _dropout(draw: st.DrawFn, depth: int) -> tuple[float, ...]:
    if depth == 1 or draw(st.integers(0, 3)) < 3:
        return ()
    return tuple(draw(st.sampled_from((0.5, 0.1, 0.0, 0.9))) for _ in range(depth - 1))


def _kinds_of_targets(loss: str, units: int) -> tuple[str, ...]:
    if loss == "cross_entropy":
        return ("rows", "classes", "one-hot")
    if loss == "poisson":
        return ("rows",)
    kinds = ("rows", "whole")
    return (*kinds, "classes", "one-hot") if units > 1 else kinds


def _layouts_of_targets(loss: str, kind: str) -> tuple[str, ...]:
    if kind == "classes":
        return OF_CLASSES
    if kind in ("one-hot", "whole"):
        return tuple(LAYOUTS)
    if loss in ("cross_entropy", "binary_cross_entropy"):  # probabilities stay what they are
        return tuple(name for name in OF_WEIGHTS)
    if loss == "poisson":
        return tuple(name for name in LAYOUTS if name != "bool")
    return tuple(LAYOUTS)

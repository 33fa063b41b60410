"""The rules against our own optimisers, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose.moves import split
from chainrule.diagnose.rules import Taken

CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (cr.GradientDescent(0.1), "SGD", {}),
    (cr.GradientDescent(0.1, momentum=0.9), "SGD", {"momentum": 0.9}),
    (
        cr.GradientDescent(0.1, momentum=0.9, nesterov=True),
        "SGD",
        {"momentum": 0.9, "nesterov": True},
    ),
    (cr.AdaGrad(0.1), "Adagrad", {"eps": 1e-10}),
    (cr.RMSProp(0.01, decay=0.9), "RMSprop", {"alpha": 0.9, "eps": 1e-8}),
    (cr.Adam(0.01), "Adam", {"betas": (0.9, 0.999), "eps": 1e-8}),
    (
        cr.AdamW(0.01, weight_decay=0.1),
        "AdamW",
        {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True},
    ),
]


@pytest.mark.parametrize(("optimizer", "rule", "settings"), CASES)
def test_shares_sum_to_the_step_of_our_optimisers(
    optimizer: Any, rule: str, settings: dict[str, Any]
) -> None:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=4)
    slots = optimizer.start(theta)
    rows: list[list[Taken]] = [[] for _ in theta]
    for step in range(15):
        before, penalty = theta.copy(), 0.01 * theta
        g = rng.normal(size=4) + penalty
        used = g * min(1.0, 1.5 / float(np.linalg.norm(g)))
        eta = 0.1 * 0.9**step
        optimizer.update(theta, used, slots, eta, step + 1)
        for i, row in enumerate(rows):
            row.append(
                Taken(
                    step, float(before[i]), float(theta[i]), float(g[i]), float(used[i]), eta,
                    settings, float(penalty[i]),
                )
            )  # fmt: skip
    for row in rows:
        for end in range(1, len(row) + 1):
            move = split("w", rule, row[:end])
            assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-14)
            size = abs(move.before) + 8 * sum(abs(s.value) for s in move.shares)
            assert abs(move.of("rounding")) <= 4 * np.finfo(float).eps * size
    if rule == "SGD" and not settings:
        assert move.of("penalty") == pytest.approx(-row[-1].rate * row[-1].penalty, rel=1e-14)

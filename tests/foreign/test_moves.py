"""Moves: the shares of a step against PyTorch's own optimisers, and against formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from chainrule.diagnose.moves import Move, split  # noqa: E402
from chainrule.diagnose.rules import Taken  # noqa: E402

pytestmark = pytest.mark.needs("torch")

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "maximize": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "maximize": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True}),
]


def taken_by(
    name: str, settings: dict[str, Any], dtype: Any, steps: int = 12
) -> tuple[list[list[Taken]], Any]:
    """Run PyTorch's optimiser on five numbers with random, clipped gradients and a schedule."""
    torch.manual_seed(3)
    theta = torch.nn.Parameter(torch.randn(5, dtype=dtype))
    optimizer = getattr(torch.optim, name)([theta], **settings)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    rows: list[list[Taken]] = [[] for _ in range(5)]
    for step in range(steps):
        theta.grad = torch.randn(5, dtype=dtype)
        raw, before = theta.grad.clone(), theta.detach().clone()
        if step % 2:
            torch.nn.utils.clip_grad_norm_([theta], 1.0)
        used, group = theta.grad.clone(), dict(optimizer.param_groups[0])
        optimizer.step()
        schedule.step()
        group["decoupled"] = name == "AdamW"
        for i, row in enumerate(rows):
            row.append(
                Taken(
                    step, float(before[i]), float(theta.detach()[i]), float(raw[i]), float(used[i]),
                    group["lr"], group,
                )
            )  # fmt: skip
    return rows, optimizer


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_shares_sum_to_the_step_of_pytorch(name: str, settings: dict[str, Any], dtype: Any) -> None:
    rows, _ = taken_by(name, settings, dtype)
    eps = torch.finfo(dtype).eps
    for row in rows:
        for end in range(1, len(row) + 1):
            move = split("w", name, row[:end])
            assert math.fsum(s.value for s in move.shares) == pytest.approx(move.value, rel=1e-14)
            # what the formulas leave over is rounding: of θ, and of the terms
            size = abs(move.before) + 8 * sum(abs(s.value) for s in move.shares)
            assert abs(move.of("rounding")) <= 4 * eps * size, (move.to_dict(), name)


def test_momentum_against_the_geometric_series() -> None:
    rows, _ = taken_by("SGD", {"lr": 0.1, "momentum": 0.9}, torch.float64)
    move = split("w", "SGD", rows[0])
    rate = rows[0][-1].rate
    for share in move.earlier:
        assert share.step is not None
        expected = -rate * 0.9 ** (11 - share.step) * rows[0][share.step].gradient
        assert share.value == pytest.approx(expected, rel=1e-13)
    clipped = sum(0.9 ** (11 - t.step) * (t.used - t.gradient) for t in rows[0])
    assert move.of("clipping") == pytest.approx(-rate * clipped, rel=1e-12)
    assert move.factors["schedule"] == pytest.approx(0.9**11)
    assert move.factors["learning rate"] == pytest.approx(0.1)


def test_adam_against_its_paper() -> None:
    rows, optimizer = taken_by("Adam", {"lr": 0.01}, torch.float64)
    state = next(iter(optimizer.state.values()))
    for i, row in enumerate(rows):
        move = split("w", "Adam", row)
        v = float(state["exp_avg_sq"][i]) / (1 - 0.999**12)
        for share in [s for s in move.shares if s.cause == "gradient"]:
            k = share.step
            assert k is not None
            m = 0.1 * 0.9 ** (11 - k) * row[k].gradient / (1 - 0.9**12)
            expected = -row[-1].rate * m / (math.sqrt(v) + 1e-8)
            assert share.value == pytest.approx(expected, rel=1e-12)
            square = 0.001 * 0.999 ** (11 - k) * row[k].used ** 2
            assert move.squares[k] == pytest.approx(
                square / float(state["exp_avg_sq"][i]), rel=1e-12
            )


def test_decay_of_adamw_stands_apart() -> None:
    rows, _ = taken_by("AdamW", {"lr": 0.01, "weight_decay": 0.1}, torch.float64)
    last = rows[1][-1]
    move = split("w", "AdamW", rows[1])
    assert move.of("weight decay") == pytest.approx(-last.rate * 0.1 * last.theta, rel=1e-14)


def moved(gradients: list[float], **settings: Any) -> Move:
    theta = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64) + settings.pop("start", 0.5))
    optimizer = torch.optim.SGD([theta], **settings)
    row = []
    for step, g in enumerate(gradients):
        theta.grad = torch.full((1,), g, dtype=torch.float64)
        before = theta.item()
        optimizer.step()
        group = dict(optimizer.param_groups[0])
        row.append(Taken(step, before, theta.item(), g, g, group["lr"], group))
    return split("fc1.weight[3,7]", "SGD", row)


def test_what_is_said_of_a_move() -> None:
    momentum = {"lr": 0.1, "momentum": 0.9}
    assert moved([0.0, 0.0, 5.0, 6.0, 5.0, 0.0, -0.5], **momentum).reason.endswith(
        "against its gradient of this step, by momentum from steps 2 to 4."
    )
    assert moved([1.0], lr=0.1).reason.endswith(
        "moved by -0.1, from 0.5, along its gradient of this step."
    )
    assert moved([5.0, 0.0], **momentum).reason.endswith(
        "with no gradient in this step, by momentum from step 0."
    )
    assert moved([0.0], lr=0.1, weight_decay=0.1).reason.endswith(
        "with no gradient in this step, by weight decay."
    )
    assert moved([0.0], lr=0.1).reason.endswith(
        "did not move: its gradient is 0, and nothing is left of earlier ones."
    )
    assert moved([1.0], lr=0.0).reason.endswith("did not move: the learning rate is 0.")
    assert "lost in rounding" in moved([1.0], lr=1e-20).reason


def test_text_sums_what_it_does_not_list() -> None:
    gradients = np.random.default_rng(0).normal(size=40).tolist()
    text = moved(gradients, lr=0.1, momentum=0.9).text()
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    assert sum(float(line[-1]) for line in lines[:-1]) == pytest.approx(
        float(lines[-1][-1]), abs=2e-3
    )
    assert any("other earlier gradients" in line for line in text.splitlines())


def test_an_unknown_cause_is_refused() -> None:
    with pytest.raises(ValueError, match="cause is 'wind'; expected one of 'this gradient'"):
        moved([1.0], lr=0.1).of("wind")

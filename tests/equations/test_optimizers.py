"""The update rules: against the papers' formulas written for one number, and against PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import AdaGrad, Adam, AdamW, GradientDescent, Optimizer, RMSProp

STEPS, SIZE = 50, 7


# Each rule for a single parameter, in plain Python: a generator takes (g, η) and gives the new θ.


def descend(theta: float, mu: float = 0.0, nesterov: bool = False) -> Any:
    v = 0.0
    while True:
        g, eta = yield theta
        v = mu * v + g
        theta = theta - eta * (g + mu * v if nesterov else v)


def adagrad(theta: float, eps: float = 1e-10) -> Any:
    s = 0.0
    while True:
        g, eta = yield theta
        s = s + g**2
        theta = theta - eta * g / (math.sqrt(s) + eps)


def rmsprop(theta: float, rho: float = 0.99, eps: float = 1e-8) -> Any:
    s = 0.0
    while True:
        g, eta = yield theta
        s = rho * s + (1 - rho) * g**2
        theta = theta - eta * g / (math.sqrt(s) + eps)


def adam(
    theta: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, wd: float = 0.0
) -> Any:
    m = v = 0.0
    t = 0
    while True:
        g, eta = yield theta
        t += 1
        theta = theta - eta * wd * theta
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        theta = theta - eta * m_hat / (math.sqrt(v_hat) + eps)


# ours, the rule for one number, PyTorch's class and its arguments
CASES: list[tuple[Optimizer, Callable[..., Any], dict[str, Any], str, dict[str, Any]]] = [
    (GradientDescent(), descend, {}, "SGD", {}),
    (GradientDescent(momentum=0.9), descend, {"mu": 0.9}, "SGD", {"momentum": 0.9}),
    (
        GradientDescent(momentum=0.8, nesterov=True),
        descend,
        {"mu": 0.8, "nesterov": True},
        "SGD",
        {"momentum": 0.8, "nesterov": True},
    ),
    (AdaGrad(), adagrad, {}, "Adagrad", {}),
    (AdaGrad(epsilon=0.1), adagrad, {"eps": 0.1}, "Adagrad", {"eps": 0.1}),
    (RMSProp(), rmsprop, {}, "RMSprop", {}),
    (
        RMSProp(decay=0.7, epsilon=0.1),
        rmsprop,
        {"rho": 0.7, "eps": 0.1},
        "RMSprop",
        {"alpha": 0.7, "eps": 0.1},
    ),
    (Adam(), adam, {}, "Adam", {}),
    (
        Adam(beta1=0.5, beta2=0.9, epsilon=0.1),
        adam,
        {"b1": 0.5, "b2": 0.9, "eps": 0.1},
        "Adam",
        {"betas": (0.5, 0.9), "eps": 0.1},
    ),
    (AdamW(), adam, {"wd": 0.01}, "AdamW", {}),
    (AdamW(weight_decay=0.3), adam, {"wd": 0.3}, "AdamW", {"weight_decay": 0.3}),
]
by_optimizer = pytest.mark.parametrize(
    ("optimizer", "rule", "options", "torch_name", "torch_options"),
    CASES,
    ids=lambda x: getattr(x, "__name__", repr(x)),
)


def gradients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first θ, the gradients of all steps (sizes from 1e-6 to 1e3), their learning rates."""
    rng = np.random.default_rng(1)
    g = rng.normal(size=(STEPS, SIZE)) * 10.0 ** rng.integers(-6, 4, size=(1, SIZE))
    g[rng.random(g.shape) < 0.1] = 0
    return rng.normal(size=SIZE), g, rng.uniform(0.001, 0.1, size=STEPS)


def path(optimizer: Optimizer) -> np.ndarray:
    """θ after each step."""
    theta, g, rates = gradients()
    slots = optimizer.start(theta)
    thetas = []
    for t, (g_t, eta) in enumerate(zip(g, rates, strict=True), start=1):
        optimizer.update(theta, g_t.copy(), slots, float(eta), t)
        thetas.append(theta.copy())
    return np.array(thetas)


@by_optimizer
def test_the_rule(
    optimizer: Optimizer, rule: Any, options: Any, torch_name: str, torch_options: Any
) -> None:
    theta, g, rates = gradients()
    want = np.empty((STEPS, SIZE))
    for j in range(SIZE):
        parameter = rule(float(theta[j]), **options)
        next(parameter)
        want[:, j] = [parameter.send((float(g[t, j]), float(rates[t]))) for t in range(STEPS)]
    np.testing.assert_allclose(path(optimizer), want, rtol=1e-12, atol=1e-14)


@pytest.mark.needs("torch")
@by_optimizer
def test_as_pytorch(
    optimizer: Optimizer, rule: Any, options: Any, torch_name: str, torch_options: Any
) -> None:
    import torch

    theta, g, rates = gradients()
    parameter = torch.nn.Parameter(torch.tensor(theta, dtype=torch.float64))
    theirs = getattr(torch.optim, torch_name)([parameter], lr=0.01, **torch_options)
    want = []
    for g_t, eta in zip(g, rates, strict=True):
        theirs.param_groups[0]["lr"] = float(eta)
        parameter.grad = torch.tensor(g_t)
        theirs.step()
        want.append(parameter.detach().numpy().copy())
    np.testing.assert_allclose(path(optimizer), np.array(want), rtol=1e-12, atol=1e-14)


@by_optimizer
def test_float32_stays_float32(
    optimizer: Optimizer, rule: Any, options: Any, torch_name: str, torch_options: Any
) -> None:
    theta, g = np.ones(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    slots = optimizer.start(theta)
    optimizer.update(theta, g, slots, 0.1, 1)
    assert {theta.dtype, *(slot.dtype for slot in slots.values())} == {np.dtype(np.float32)}
    assert set(slots) <= set(optimizer.slot_names)


def test_adams_first_step_by_hand() -> None:
    # g = 2: m̂ = 2 and v̂ = 4 whatever β₁ and β₂ are, so that θ moves by η · 2 / (2 + ε)
    theta = np.array([1.0])
    optimizer = Adam()
    optimizer.update(theta, np.array([2.0]), optimizer.start(theta), 0.25, 1)
    assert theta[0] == pytest.approx(1 - 0.25 * 2 / (2 + 1e-8), rel=1e-15)


def test_two_momentum_steps_by_hand() -> None:
    # v = 1, then 0.5 + 1 = 1.5
    for nesterov, want in ((False, 1 - 0.1 * 1 - 0.1 * 1.5), (True, 1 - 0.1 * 1.5 - 0.1 * 1.75)):
        theta = np.array([1.0])
        optimizer = GradientDescent(momentum=0.5, nesterov=nesterov)
        slots = optimizer.start(theta)
        for t in (1, 2):
            optimizer.update(theta, np.array([1.0]), slots, 0.1, t)
        assert theta[0] == pytest.approx(want, rel=1e-15)


A_NUMBER_OR_SCHEDULE = (
    "learning_rate must be a number, or a schedule: an object with rate(epoch, losses), such as "
    "Cosine(0.01, epochs=20)"
)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GradientDescent(0), ValueError, "learning_rate must be above 0, got 0"),
        (lambda: Adam(math.nan), ValueError, "learning_rate must be above 0, got nan"),
        (lambda: Adam("fast"), TypeError, f"{A_NUMBER_OR_SCHEDULE}; got 'fast'"),
        (lambda: Adam(True), TypeError, f"{A_NUMBER_OR_SCHEDULE}; got True"),
        (
            lambda: GradientDescent(momentum=1),
            ValueError,
            "momentum must be from 0 to below 1, got 1",
        ),
        (lambda: GradientDescent(momentum="a"), TypeError, "momentum must be a number, got 'a'"),
        (
            lambda: GradientDescent(momentum=-0.1),
            ValueError,
            "momentum must be 0 or more, got -0.1",
        ),
        (
            lambda: GradientDescent(nesterov=True),
            ValueError,
            "nesterov=True needs a momentum above 0",
        ),
        (lambda: AdaGrad(epsilon=0), ValueError, "epsilon must be above 0, got 0"),
        (lambda: RMSProp(decay=1.5), ValueError, "decay must be from 0 to below 1, got 1.5"),
        (lambda: Adam(beta1=1), ValueError, "beta1 must be from 0 to below 1, got 1"),
        (lambda: Adam(beta2=None), TypeError, "beta2 must be a number, got None"),
        (lambda: AdamW(weight_decay=-1), ValueError, "weight_decay must be 0 or more, got -1"),
    ],
)
def test_bad_hyperparameters(
    make: Callable[[], Optimizer], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        make()
    assert str(raised.value) == message


def test_numpy_numbers_are_numbers() -> None:
    assert Adam(np.float32(0.5)).schedule.rate(0) == 0.5
    assert AdamW(np.float64(0.5), weight_decay=np.float32(0.5)).weight_decay == 0.5

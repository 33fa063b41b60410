"""The gradient by PyTorch's automatic differentiation, in float64, from the same `Problem`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from .exact import Problem
from .functions import Array


@dataclass(frozen=True)
class ByTorch:
    """C, ∂C/∂W and ∂C/∂b as PyTorch finds them; NaN is possible."""

    loss: float
    dW: list[Array]
    db: list[Array]


def available() -> bool:
    return importlib.util.find_spec("torch") is not None


def gradient(p: Problem) -> ByTorch:
    """Differentiate C, weighted and with its penalty, by every W and b."""
    import torch
    from torch.nn import functional as nn

    functions = {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": nn.leaky_relu, "elu": nn.elu, "gelu": nn.gelu, "silu": nn.silu,
        "softplus": lambda z: nn.softplus(z, threshold=50), "softmax": lambda z: z.softmax(-1),
    }  # fmt: skip
    losses = {
        "squared_error": lambda z, a, y: nn.mse_loss(a, y, reduction="none"),
        "half_squared_error": lambda z, a, y: nn.mse_loss(a, y, reduction="none") / 2,
        "absolute_error": lambda z, a, y: nn.l1_loss(a, y, reduction="none"),
        "huber": lambda z, a, y: nn.huber_loss(a, y, reduction="none"),
        "poisson": lambda z, a, y: a - torch.xlogy(y, a),
        "cross_entropy": lambda z, a, y: -y * z.log_softmax(-1),
        "binary_cross_entropy": lambda z, a, y: nn.binary_cross_entropy_with_logits(
            z, y, reduction="none"
        ),
    }

    def tensor(values: Any, leaf: bool = False) -> Any:
        return torch.tensor(values.astype(float), dtype=torch.float64, requires_grad=leaf)

    W = [tensor(w, True) for w in p.W]
    b = [None if v is None else tensor(v, True) for v in p.b]
    z = a = tensor(p.X)
    for l in range(p.L):
        z = nn.linear(a, W[l], b[l])
        a = functions[p.functions[l]](z)
        mask = p.mask(l)
        if mask is not None:
            a = tensor(mask) * a
    C_i = losses[p.loss](z, a, tensor(p.y)).sum(-1)
    C = (tensor(p.shares) * C_i).sum()
    if p.l2:
        C = C + p.l2 / 2 * sum((w * w).sum() for w in W)
    C.backward()
    db = [p.W[l][:, 0] * 0 if v is None else v.grad.numpy() for l, v in enumerate(b)]
    return ByTorch(C.item(), [w.grad.numpy() for w in W], db)

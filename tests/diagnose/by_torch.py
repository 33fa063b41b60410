"""The loss of a network as a function of its parameters in PyTorch, written apart from ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import Network


def functions() -> dict[str, Callable[[Any], Any]]:
    import torch
    from torch.nn import functional as nn

    return {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": nn.leaky_relu, "elu": nn.elu, "gelu": nn.gelu, "silu": nn.silu,
        "softplus": lambda z: nn.softplus(z, threshold=50), "softmax": lambda z: z.softmax(-1),
        "step": lambda z: (z > 0).to(z) + 0 * z,  # on the graph
    }  # fmt: skip


def split_losses() -> dict[str, tuple[str, Callable[[Any, Any], Any]]]:
    """For each loss what it is a function of, "z" or "a", and C_i of one sample."""
    import torch
    from torch.nn import functional as nn

    return {
        "squared_error": ("a", lambda a, y: ((a - y) ** 2).sum()),
        "half_squared_error": ("a", lambda a, y: ((a - y) ** 2).sum() / 2),
        "absolute_error": ("a", lambda a, y: (a - y).abs().sum()),
        "huber": (  # nn.huber_loss has no second derivative
            "a",
            lambda a, y: torch.where(
                (a - y).abs() <= 1, (a - y) ** 2 / 2, (a - y).abs() - 0.5
            ).sum(),
        ),
        "poisson": ("a", lambda a, y: (a - torch.xlogy(y, a)).sum()),
        "cross_entropy": ("z", lambda z, y: -(y * z.log_softmax(-1)).sum()),
        "binary_cross_entropy": (
            "z",
            lambda z, y: nn.binary_cross_entropy_with_logits(z, y, reduction="sum"),
        ),
    }


class Twin:
    """A network in PyTorch, as functions of one flat vector of parameters."""

    def __init__(self, net: Network, masks: Any = None) -> None:
        import torch

        self.net, self.masks = net, masks
        self.theta = torch.tensor(np.float64(net.parameters))
        self.of, self.loss = split_losses()[net.loss.name]

    def output(self, theta: Any, x: Any, i: int = 0) -> Any:
        """z or a of the output layer, whichever the loss is a function of, for one sample."""
        at, a, g = 0, x, functions()
        layers = self.net.weighted_layers
        for l, layer in enumerate(layers, start=1):
            units, fan_in = layer.W.shape
            W = theta[at : at + units * fan_in].reshape(units, fan_in)
            at += units * fan_in
            z = W @ a
            if layer.b is not None:
                z = z + theta[at : at + units]
                at += units
            a = g[layer.activation.name](z)
            mask = None if self.masks is None else self.masks[l]
            if mask is not None:
                a = a * mask[i]
        assert at == theta.numel()
        return z if self.of == "z" else a

    def sample_loss(self, theta: Any, x: Any, y: Any, i: int = 0) -> Any:
        return self.loss(self.output(theta, x, i), y)

    def penalty(self, theta: Any) -> Any:
        at, total = 0, 0.0
        for layer in self.net.weighted_layers:
            total = total + (theta[at : at + layer.W.size] ** 2).sum()
            at += layer.W.size + (0 if layer.b is None else layer.b.size)
        return self.net.l2 / 2 * total

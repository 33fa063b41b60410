"""Norms: the gradient norm of each sample of a batch, from the backward pass that the loop runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from chainrule.foreign.torch.calls import tensors
from chainrule.foreign.torch.watching.fallback import one_by_one
from chainrule.foreign.torch.watching.parts import Part, Use, parts_of, square_of


class Capture:
    """Hold what each module with parameters of its own reads, and the derivative of its output.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.uses: list[Use] = []
        self._handles: list[Any] = []
        self._modules = [
            m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))
        ]

    def start(self) -> None:
        """Hang hooks on the modules."""
        for module in self._modules:
            self._handles.append(module.register_forward_hook(self._ran, with_kwargs=True))

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _ran(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        made = [t for t in tensors(output) if t.requires_grad]
        if not made:
            return
        plain = len(args) == 1 and isinstance(args[0], torch.Tensor)
        read = (args[0].detach(),) if plain else tree_map(_apart, args)
        use = Use(module, read, tree_map(_apart, kwargs) if kwargs else {}, [None] * len(made))
        self.uses.append(use)
        for i, t in enumerate(made):
            self._handles.append(t.register_hook(_keeper(use, i)))


def _apart(t: Any) -> Any:
    return t.detach() if isinstance(t, torch.Tensor) else t


def _keeper(use: Use, i: int) -> Callable[[torch.Tensor], None]:
    def keep(grad: torch.Tensor) -> None:
        old = use.deltas[i]
        use.deltas[i] = grad if old is None else old + grad

    return keep


@dataclass(frozen=True)
class Norms:
    """Norms by sample.

    Attributes:
        squares: The square norm of each sample's part of the gradient, (n,), float64, or None where
            no part of it is known.
        missing: The names of parameters whose gradient is not split by sample.
    """

    squares: torch.Tensor | None
    missing: tuple[str, ...]


def norms(capture: Capture, n: int) -> Norms:
    """Return the square norms of the parts of the gradient that each of n samples makes."""
    parts: dict[int, list[Part]] = {}
    odd: list[Use] = []
    for use in capture.uses:
        if all(d is None for d in use.deltas):
            continue
        found = parts_of(use, n)
        if found is None:
            odd.append(use)
            continue
        for part in found:
            parts.setdefault(id(part.parameter), []).append(part)
    known, unknown = one_by_one(odd, n, set(parts)) if odd else ([], set[int]())
    for part in known:
        parts.setdefault(id(part.parameter), []).append(part)
    total: torch.Tensor | None = None
    known_squares: dict[int, torch.Tensor] = {}
    for key, found in parts.items():
        if key in unknown:
            continue
        square = square_of(found, n, known_squares)
        total = square if total is None else total + square
    missing = tuple(
        name
        for name, p in capture.model.named_parameters()
        if id(p) in unknown or (id(p) not in parts and p.grad is not None and p.requires_grad)
    )
    return Norms(total, missing)

"""Kept: the state of a model, put back when a run ends, also when it ends with an error."""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Any

import numpy as np
import torch

version: Callable[[torch.Tensor], int] = attrgetter("_version")  # it counts writes in place
base_of: Callable[[torch.Tensor], torch.Tensor | None] = attrgetter("_base")  # of a view
_TABLES = ("_parameters", "_buffers", "_modules")  # what a forward pass may fill or replace


class Kept:
    """Put a model and the random generators back as they were.

    Parameters, buffers, gradients, flags and plain attributes of every module, and the states of
    PyTorch's, NumPy's and Python's generators. A list or an object that the model changes in place
    stays changed.

    Attributes:
        copies: The numbers of each parameter and buffer when the block began, by ``id``.
        versions: The version of each, by ``id``.
        storages: The addresses of their storages.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.copies: dict[int, torch.Tensor] = {}
        self.versions: dict[int, int] = {}
        self.storages: set[int] = set()
        self._tensors: list[tuple[torch.Tensor, int, bool, torch.Tensor | None]] = []
        self._modules: list[tuple[torch.nn.Module, dict[str, Any], list[dict[str, Any]]]] = []

    def __enter__(self) -> Kept:
        for module in self.model.modules():
            tables = [dict(vars(module)[name]) for name in _TABLES]
            self._modules.append((module, dict(vars(module)), tables))
        with torch.no_grad():
            for t in (*self.model.parameters(), *self.model.buffers()):
                if _is_lazy(t):
                    continue
                self.copies[id(t)] = t.detach().clone()
                self.versions[id(t)] = version(t)
                self.storages.add(t.untyped_storage().data_ptr())
                self._tensors.append((t, version(t), t.requires_grad, t.grad))
        self._generators = generators()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        restore_generators(self._generators)
        for module, attributes, tables in self._modules:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)
            for name, table in zip(_TABLES, tables, strict=True):
                vars(module)[name].clear()
                vars(module)[name].update(table)
        buffers = {id(t) for t in self.model.buffers()}
        for t, before, requires_grad, grad in self._tensors:
            # Batch norm writes its statistics without a new version.
            if version(t) != before or id(t) in buffers:
                t.data.copy_(self.copies[id(t)])  # .data: a graph of the user's stays valid
            if t.requires_grad != requires_grad:
                t.requires_grad_(requires_grad)
            if t.grad is not grad:
                t.grad = grad


def _is_lazy(t: torch.Tensor) -> bool:
    return isinstance(t, torch.nn.parameter.UninitializedTensorMixin)


def generators(
    numpy: Callable[[], Any] = np.random.get_state,  # the global one, which models use
) -> dict[str, Any]:
    """Return the states of the generators of PyTorch, NumPy and Python."""
    states = {
        "python": random.getstate(),
        "numpy": numpy(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Set the generators to states that `generators` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])

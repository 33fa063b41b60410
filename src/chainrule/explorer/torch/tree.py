"""Tree: the modules of a recorded run, with the sizes of their values and gradients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from chainrule.equations.numbers import plain
from chainrule.foreign.torch import reasons
from chainrule.foreign.torch.asking import Answers
from chainrule.foreign.torch.calls import Value


@dataclass(frozen=True, eq=False)
class Tensor:
    """A parameter, an input, or the result of a call.

    Attributes:
        name: Its name as a target, such as "fc1.weight", "fc1:output" or "block:softmax".
        data: Its numbers.
        grad: ∂C/∂tensor, or None where there is none.
        norm: The Euclidean norm of its numbers.
        grad_norm: That of its gradient, or None.
        reason: Why it has no gradient, or "".
    """

    name: str
    data: torch.Tensor
    grad: torch.Tensor | None
    norm: float
    grad_norm: float | None
    reason: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        return tuple(self.data.shape)

    def index_of(self, flat: int) -> tuple[int, ...]:
        """Return the index of an element by its place in memory order."""
        found = torch.unravel_index(torch.tensor(flat), self.shape) if self.shape else ()
        return tuple(int(i) for i in found)

    def target(self, index: tuple[int, ...]) -> str:
        """Return the target that names an element."""
        return f"{self.name}[{','.join(map(str, index))}]" if index else self.name

    def largest(self, count: int) -> list[tuple[str, float]]:
        """Return the elements with the largest derivatives, as targets, with these."""
        if self.grad is None:
            return []
        flat = self.grad.reshape(-1)
        order = flat.abs().topk(min(count, flat.numel())).indices.tolist()
        return [(self.target(self.index_of(i)), float(flat[i])) for i in order]


@dataclass(frozen=True, eq=False)
class Module:
    """A module with what is in it.

    Attributes:
        name: Its path; "" is the model.
        kind: Its class.
        count: The number of its parameters, those of its parts among them.
        norm: The Euclidean norm of these.
        grad_norm: That of their gradients, or None where none has one.
        parameters: Its own parameters.
        results: What its forward pass made: its outputs, and the results of calls.
        parts: The modules in it.
    """

    name: str
    kind: str
    count: int
    norm: float
    grad_norm: float | None
    parameters: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    parts: tuple[Module, ...]

    def walk(self) -> Iterator[Module]:
        """Return the module and all inside it, from the top down."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain data for JSON."""
        return {
            "name": self.name, "kind": self.kind, "count": self.count, "norm": plain(self.norm),
            "grad_norm": None if self.grad_norm is None else plain(self.grad_norm),
            "parameters": [_plain(t) for t in self.parameters],
            "results": [_plain(t) for t in self.results],
            "parts": [part.to_dict() for part in self.parts],
        }  # fmt: skip


class Tree:
    """The modules and tensors of a recorded run.

    Attributes:
        root: The model.
        inputs: The inputs that the run has derivatives of.
    """

    def __init__(self, answers: Answers) -> None:
        self.run = answers.run
        self._results: dict[str, list[Tensor]] = defaultdict(list)
        self._tensors: dict[str, Tensor] = {}
        self._collect(answers)
        self.inputs = tuple(
            self._named(_tensor(name, value, value.data, ""))
            for name, value in self.run.input_values.items()
            if value is not None
        )
        self.root = self._module("", self.run.model)

    def tensor(self, name: str) -> Tensor | None:
        """Return the tensor of a name, or None."""
        return self._tensors.get(name)

    def _named(self, tensor: Tensor) -> Tensor:
        self._tensors[tensor.name] = tensor
        return tensor

    def _collect(self, answers: Answers) -> None:
        """Sort the results by module; of two names for one value, the first is shown."""
        seen: set[int] = set()
        for name, value in answers.labels.values.items():
            module, colon, _ = name.partition(":")
            if not colon:
                continue
            tensor = self._named(_tensor(name, value, value.data, ""))
            if id(value) not in seen:
                seen.add(id(value))
                self._results[module].append(tensor)

    def _module(self, name: str, module: torch.nn.Module) -> Module:
        before = f"{name}." if name else ""
        parameters = tuple(
            self._parameter(f"{before}{own}") for own, _ in module.named_parameters(recurse=False)
        )
        parts = tuple(self._module(f"{before}{own}", part) for own, part in module.named_children())
        inside = [own for own, _ in module.named_parameters(prefix=name)]  # each once
        values = [self.run.named[own] for own in inside]
        grads = [v.grad for v in values if v is not None and v.grad is not None]
        tensors = [self.run.parameters[own].detach() for own in inside]
        return Module(
            name, type(module).__name__, sum(t.numel() for t in tensors), _norm(*tensors),
            _norm(*grads) if grads else None, parameters, tuple(self._results[name]), parts,
        )  # fmt: skip

    def _parameter(self, name: str) -> Tensor:
        value, parameter = self.run.named[name], self.run.parameters[name].detach()
        why = ""
        if value is None or value.grad is None:
            why = reasons.of_missing(self.run, name, value)[1]
        elif name in self.run.frozen:
            why = f"{name} is frozen; this is the gradient that it would have"
        return self._named(_tensor(name, value, parameter, why))


def _tensor(name: str, value: Value | None, data: torch.Tensor, reason: str) -> Tensor:
    grad = None if value is None else value.grad
    return Tensor(name, data, grad, _norm(data), None if grad is None else _norm(grad), reason)


def _norm(*tensors: torch.Tensor) -> float:
    return math.sqrt(math.fsum(float(t.detach().abs().double().square().sum()) for t in tensors))


def _plain(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name, "shape": list(tensor.shape), "norm": plain(tensor.norm),
        "grad_norm": None if tensor.grad_norm is None else plain(tensor.grad_norm),
        "reason": tensor.reason,
    }  # fmt: skip

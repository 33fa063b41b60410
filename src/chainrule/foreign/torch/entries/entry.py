"""Entry: what one function of PyTorch computes, and its derivative element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chainrule.foreign.entries import Found, Index
from chainrule.foreign.torch.calls import Call, Value, unflatten


class Bound:
    """The arguments of a recorded call by name.

    Attributes:
        call: The call.
        out: The numbers of the output.
        asked: The argument that the derivative is taken with respect to.
    """

    def __init__(self, call: Call, out: Value, names: Sequence[str], asked: Value) -> None:
        self.call, self.out, self.asked = call, out.data, asked
        args, kwargs = unflatten(call.args, call.spec)
        self.given: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        self.rest = args[len(names) :]

    def tensor(self, name: str) -> torch.Tensor | None:
        """Return the numbers of a tensor argument, or None."""
        value = self.given.get(name)
        return value.data if isinstance(value, Value) else None

    def data(self, name: str) -> torch.Tensor:
        """Return the numbers of a tensor argument, which is there."""
        found = self.tensor(name)
        if found is None:
            raise LookupError(name)
        return found

    def option(self, name: str, default: Any) -> Any:
        """Return an argument that is not a tensor, or its default."""
        value = self.given.get(name, default)
        return default if isinstance(value, Value) else value

    def places(self) -> list[str]:
        """Return the names of the arguments that the one in question was given as."""
        found = [name for name, given in self.given.items() if given is self.asked]
        return found + ["rest" for given in self.rest if given is self.asked]


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        calls: The names of the functions.
        parameters: The names of their arguments, in order.
        says: What an element of the result is.
        depends: What it depends on.
        local: Returns ∂out/∂in for an argument, an element of it and one of the result.
    """

    calls: tuple[str, ...]
    parameters: tuple[str, ...]
    says: str
    depends: str
    local: Callable[[Bound, str, Index, Index], Found]


def number(t: torch.Tensor, index: Index) -> float:
    """Return one number of a tensor."""
    return float(t[index])

"""Calls: the values and calls that a tape holds, and how a call is made once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.autograd.graph import GradientEdge
from torch.utils._pytree import tree_flatten, tree_unflatten


class Value:
    """A tensor at one moment.

    Attributes:
        data: Its numbers.
        edge: Its place in autograd's graph, or None for a constant.
        grad: ∂C/∂value, or None where the loss does not depend on it.
        maker: The call that made it, or None for a parameter, an input or a constant.
        slot: Which output of that call it is.
        users: The calls that read it.
    """

    __slots__ = ("data", "edge", "grad", "maker", "slot", "users")

    def __init__(self, data: torch.Tensor, edge: GradientEdge | None) -> None:
        self.data, self.edge = data, edge
        self.grad: torch.Tensor | None = None
        self.maker: Call | None = None
        self.slot = 0
        self.users: list[Call] = []


@dataclass(eq=False, slots=True)
class Call:
    """One call of a function of PyTorch.

    Attributes:
        name: The function, as "linear".
        module: The path of the module in whose forward pass it stands; "" is the model itself.
        args: Its arguments in a flat list, tensors as `Value`.
        outs: The values that it made.
        writes: Whether it writes into its first argument.
        through: Whether it does so through a view; its first argument is then the view's base.
        random: The states of the generators before it, if it drew random numbers.
        autocast: The setting of autocast around it, or None.
        custom: The class of a custom autograd Function, or None.
    """

    name: str
    func: Callable[..., Any]
    module: str
    args: list[Any]
    spec: Any
    writes: bool = False
    through: bool = False
    random: torch.Tensor | None = None
    autocast: tuple[str, Any] | None = None
    custom: type | None = None
    outs: list[Value] = field(default_factory=list)
    number: int = 0  # of the calls of this name in this module, from 0

    def reads(self) -> Iterator[Value]:
        """Return each value that it reads and that has a derivative, once."""
        seen: set[int] = set()
        for arg in self.args:
            if isinstance(arg, Value) and arg.edge is not None and id(arg) not in seen:
                seen.add(id(arg))
                yield arg

    def run(self, change: Callable[[Value], torch.Tensor]) -> Any:
        """Call the function again, on what ``change`` makes of its tensors."""
        flat = [change(arg) if isinstance(arg, Value) else arg for arg in self.args]
        args, kwargs = unflatten(flat, self.spec)
        out = self.func(*args, **kwargs)
        return args[0] if out is None and self.writes else out  # x[i] = y returns nothing


@dataclass(eq=False, slots=True)
class Cut:
    """A call that reads values with a derivative and returns something without one."""

    name: str
    module: str
    reads: list[int]  # ids of values, or of tensors that came out of another cut
    makes: list[int]
    no_grad: bool


@dataclass(eq=False, slots=True)
class Gap:
    """A tensor in autograd's graph that no recorded call made."""

    module: str
    shape: tuple[int, ...]
    node: str


def tensors(tree: Any) -> list[torch.Tensor]:
    """Return the tensors of a result in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, (tuple, list)) and all(isinstance(t, torch.Tensor) for t in tree):
        return list(tree)
    return [t for t in tree_flatten(tree)[0] if isinstance(t, torch.Tensor)]


_NESTED = (list, tuple, dict, slice)


def flatten(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """Return the arguments of a call as one list, and how to build them again."""
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, _NESTED):
            return tree_flatten((args, kwargs))
    return [*args, *kwargs.values()], (len(args), tuple(kwargs))


def unflatten(flat: list[Any], spec: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Build the arguments of a call again."""
    if isinstance(spec, tuple):
        count, keys = spec
        return tuple(flat[:count]), dict(zip(keys, flat[count:], strict=True))
    args, kwargs = tree_unflatten(flat, spec)
    return args, kwargs


def said_of_cuts(cuts: Sequence[Cut]) -> str:
    """Return the calls that cut gradients off, in words."""
    said = []
    for cut in cuts:
        where = f" in {cut.module}" if cut.module else ""
        if cut.name in ("detach", "data", "detach_"):
            what = ".data" if cut.name == "data" else f"{cut.name}()"
        elif cut.no_grad:
            what = f"{cut.name} under torch.no_grad()"
        else:
            what = f"{cut.name}, which has no derivative,"
        said.append((what + where).rstrip(","))
    return " and ".join(dict.fromkeys(said))

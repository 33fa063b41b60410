"""Targets: what a text such as "fc1.weight[3,7]" names in a run, and the text of a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import torch

from chainrule.foreign.asked import Asked, check_index, listed, parse, unknown
from chainrule.foreign.torch.calls import Value
from chainrule.foreign.torch.run import Index, Run


def check_name(asked: Asked, model: torch.nn.Module, inputs: Iterable[str]) -> None:
    """Raise ValueError if the model has nothing of that name; nothing has run yet."""
    name = asked.name
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
    inputs = list(inputs)
    if asked.call is not None:
        if name not in modules:
            raise unknown(asked, name, modules)
        return
    if name in parameters:
        check_index(asked, name, tuple(parameters[name].shape))
    elif name in dict(model.named_buffers(remove_duplicate=False)):
        raise ValueError(
            f"{name} is a buffer, which no gradient reaches; expected a parameter, an input or an "
            "output of a module"
        )
    elif name in modules and name:
        if asked.index is not None:
            own = [p for p, _ in modules[name].named_parameters(recurse=False)]
            hint = f"{name}.{own[0]}[...]" if own else f"{name}:output[...]"
            raise ValueError(f"{name} is a module; expected {name} alone, or {hint}")
    elif name not in inputs:
        raise unknown(asked, name, [*parameters, *modules, *inputs])


__all__ = ["Asked", "Labels", "check_index", "check_name", "parse", "unwrapped"]


class Labels:
    """The texts that name the values of a run, both ways."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.names: dict[int, str] = {}
        self.values: dict[str, Value] = {}
        for name, value in run.named.items():
            if value is not None:
                self._name(name, value)
        for name, value in run.input_values.items():
            if value is not None:
                self._name(name, value)
        for name, found in run.tape.outputs.items():
            for i, value in enumerate(found):
                self._name(f"{name}:output" + (f"#{i + 1}" if i else ""), value)
        for call in run.calls:
            number = f"#{call.number + 1}" if call.number else ""
            for slot, value in enumerate(call.outs):
                which = f".{slot}" if len(call.outs) > 1 else ""
                self._name(f"{call.module}:{call.name}{number}{which}", value)

    def _name(self, name: str, value: Value) -> None:
        self.values.setdefault(name, value)
        self.names.setdefault(id(value), name)

    def of(self, value: Value) -> str:
        """Return the name of a value."""
        if value is self.run.loss_value:
            return "C"
        return self.names.get(id(value), "a value of no name")

    def element(self, value: Value, index: Index) -> str:
        """Return the name of one element."""
        name = self.of(value)
        return f"{name}[{','.join(map(str, index))}]" if index else name

    def find(self, asked: Asked) -> Value:
        """Return the value that a target with a colon names.

        Raises ValueError where the run has none, and says what it has.
        """
        name = f"{asked.name}:{asked.call}"
        if name in self.values:
            return self.values[name]
        there = sorted({n for n in self.values if n.partition(":")[0] == asked.name and ":" in n})
        close = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or there[:6]
        where = asked.name or "the model itself"
        if not close:
            raise ValueError(
                f"target is {asked.text!r}; no call in {where} has a result that the loss could "
                "depend on. It did not run, or none of its parameters requires a gradient"
            )
        raise ValueError(f"target is {asked.text!r}; this run of {where} made {listed(close)}")


def unwrapped(model: Any) -> torch.nn.Module:
    """Return the model inside what torch.compile or a data-parallel wrapper made of it.

    Raises TypeError for what is not a module, or cannot be seen into.
    """
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        inner = getattr(model, "_orig_mod", None)
        if isinstance(inner, torch.nn.Module):
            model = inner
        elif isinstance(model, parallel):
            model = model.module
        else:
            break
    for module in model.modules():
        kind = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f"model holds a {kind}, whose calls PyTorch runs outside of Python; expected the "
                "module that it was scripted or traced from"
            )
        if kind == "FullyShardedDataParallel":
            raise TypeError(
                "model is sharded (FullyShardedDataParallel): no process holds all its weights; "
                "expected the model before it was wrapped"
            )
        if kind == "OptimizedModule":
            raise TypeError(
                "model holds a part that torch.compile made; compile the whole model, or explain "
                "the model before it was compiled"
            )
    return model

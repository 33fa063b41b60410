"""Asking: from a target and a model to the explanation that answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from chainrule.explain.notation import Notation
from chainrule.foreign.torch import targets
from chainrule.foreign.torch.calls import Value
from chainrule.foreign.torch.explanation import TorchExplanation
from chainrule.foreign.torch.overview import TorchGradients
from chainrule.foreign.torch.plain import as_network
from chainrule.foreign.torch.run import Run, named_inputs
from chainrule.foreign.torch.targets import Asked, Labels


def explain(
    model: Any,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    target: object,
    notation: Notation,
) -> Any:
    """Run the model, and explain a number of it."""
    asked = targets.parse(target)
    model = targets.unwrapped(model)
    _check_loss(loss_fn)
    inputs = _inputs(x)
    targets.check_name(asked, model, inputs)
    of_input = asked.call is None and asked.name in inputs
    if of_input:
        t = inputs[asked.name]
        if not t.is_floating_point():
            raise ValueError(
                f"{asked.name} holds {str(t.dtype).removeprefix('torch.')}, which has no "
                "derivative; expected the output of the embedding that reads it"
            )
        targets.check_index(asked, asked.name, tuple(t.shape))
    frozen: tuple[str, ...] = ()
    parameter = dict(model.named_parameters(remove_duplicate=False)).get(asked.name)
    if asked.call is None and parameter is not None and not parameter.requires_grad:
        frozen = (asked.name,)
    run = Run(model, loss_fn, x, y, trace_input=of_input, frozen=frozen)
    found = Answers(run, Labels(run), notation).answer(asked)
    if asked.call is None and isinstance(found, TorchExplanation):
        network = as_network(model, loss_fn, x, y, found, notation)
        if network is not None:
            return network
    return found


def recorded(
    model: Any, loss_fn: Callable[..., Any] | None, x: Any, y: Any, notation: Notation
) -> Answers:
    """Run the model once, with derivatives of its inputs and of frozen parameters, too."""
    model = targets.unwrapped(model)
    _check_loss(loss_fn)
    trace = any(t.is_floating_point() for t in _inputs(x).values())
    frozen = tuple(
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.is_floating_point() and not parameter.requires_grad
    )
    run = Run(model, loss_fn, x, y, trace_input=trace, frozen=frozen)
    return Answers(run, Labels(run), notation)


def _check_loss(loss_fn: Any) -> None:
    if loss_fn is not None and not callable(loss_fn):
        raise TypeError(f"loss_fn is a {type(loss_fn).__name__}; expected a function or None")


def _inputs(x: Any) -> dict[str, torch.Tensor]:
    inputs = dict(named_inputs(x))
    if not inputs:
        raise TypeError(
            f"x is a {type(x).__name__}; expected a tensor, or a tuple or dictionary of tensors"
        )
    return inputs


class Answers:
    """The explanations that one run can give."""

    def __init__(self, run: Run, labels: Labels, notation: Notation) -> None:
        self.run, self.labels, self.notation = run, labels, notation

    def again(self, target: str) -> Any:
        """Explain a number of this run.

        Raises ValueError if the run has none of that name.
        """
        asked = targets.parse(target)
        targets.check_name(asked, self.run.model, self.run.inputs)
        of_input = asked.call is None and asked.name in self.run.inputs
        if of_input and self.run.input_values.get(asked.name) is None:
            raise ValueError(
                f"target is {target!r}; this run has no derivatives of its inputs. Call "
                "explain_torch for it"
            )
        return self.answer(asked)

    def answer(self, asked: Asked) -> Any:
        """Explain what a target asks for, whose name is known to the model."""
        run = self.run
        value: Value | None
        if asked.call is not None:
            value = self.labels.find(asked)
            shape, name = tuple(value.data.shape), self.labels.of(value)
            index = targets.check_index(asked, f"{asked.name}:{asked.call}", shape)
            name = f"{asked.name}:{asked.call}"
        elif asked.name in run.parameters:
            value, name = run.named[asked.name], asked.name
            index = targets.check_index(asked, name, tuple(run.parameters[name].shape))
        elif asked.name in run.inputs:
            value, name = run.input_values[asked.name], asked.name
            index = targets.check_index(asked, name, tuple(run.inputs[name].shape))
        else:
            return TorchGradients(run, asked.name, self.notation, self.again)
        text = f"{name}[{','.join(map(str, index))}]" if index else name
        return TorchExplanation(run, self.labels, value, index, text, self.notation, self.again)

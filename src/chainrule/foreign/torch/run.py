"""Run: one run of a model with a loss, recorded, and the derivative of the loss at every value."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.utils._pytree import tree_map

from chainrule.foreign.torch.calls import Call, Value, said_of_cuts
from chainrule.foreign.torch.columns import Column, columns
from chainrule.foreign.torch.kept import Kept, version
from chainrule.foreign.torch.tape import Tape

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Use:
    """What one call makes of one element of a value that it reads.

    Attributes:
        call: The call.
        column: The elements of its output that move, and how much.
        adjoint: ∂C/∂output at each of them, float64, (m,).
        parts: The contribution of each: adjoint times derivative, (m,).
    """

    call: Call
    column: Column
    adjoint: torch.Tensor
    parts: torch.Tensor


class Run:
    """One recorded run.

    Args:
        model: The model, not wrapped.
        loss_fn: The function from (output, y) to the loss, from (output) if ``y`` is None, or None
            for an output that carries its ``loss``.
        x: The input: a tensor, a tuple of arguments, or a dictionary of named ones.
        y: The target, or None.
        trace_input: Whether the inputs get derivatives too.
        frozen: The names of parameters that get a derivative although they are frozen.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[..., Any] | None,
        x: Any,
        y: Any,
        *,
        trace_input: bool = False,
        frozen: tuple[str, ...] = (),
    ) -> None:
        self.model, self.loss_fn, self.frozen = model, loss_fn, frozen
        self.parameters = dict(model.named_parameters(remove_duplicate=False))
        self.x, self.y = _copied(x), _copied(y)
        self.inputs = dict(named_inputs(self.x))
        with (
            warnings.catch_warnings(),
            Kept(model) as kept,
            torch.inference_mode(False),
            torch.enable_grad(),
            _eager(),
        ):
            warnings.simplefilter("ignore")
            _load_forward_mode()
            for name in frozen:
                self.parameters[name].requires_grad_()
            for t in self.inputs.values():
                if trace_input and (t.is_floating_point() or t.is_complex()):
                    t.requires_grad_()
            self.tape = Tape(model, kept)
            with self.tape:
                given = self.x
                if trace_input:  # a copy, as a model may write into its input
                    given = tree_map(_passed, given)
                loss = _loss(loss_fn, _forward(model, given), self.y)
            self._check(loss)
            self.loss = float(loss)
            self.loss_value = self.tape.value(loss)
            self._differentiate(loss)
            self.input_values = {
                name: self.tape.values.get((id(t), version(t))) for name, t in self.inputs.items()
            }
            self.named = {
                name: self.tape.values.get((id(p), version(p)))
                for name, p in self.parameters.items()
            }
        self.calls = self.tape.calls

    @property
    def n_samples(self) -> int:
        """Return the number of samples: the size of the first dimension of the first input."""
        for t in self.inputs.values():
            if t.dim():
                return int(t.shape[0])
        return 1

    def _check(self, loss: Any) -> None:
        if not isinstance(loss, torch.Tensor):
            raise TypeError(
                f"loss_fn returned {type(loss).__name__}; expected a tensor with one number"
            )
        if loss.numel() != 1:
            raise ValueError(
                f"loss_fn returned a tensor of shape {tuple(loss.shape)}; expected one number. "
                "Take its mean or sum, or use reduction='mean'"
            )
        if not loss.requires_grad:
            cuts = self.tape.cuts
            made = {each for cut in cuts for each in cut.makes}  # by a cut: cut off already
            last = said_of_cuts([cut for cut in cuts if not made.issuperset(cut.reads)][-1:])
            raise ValueError(
                "the loss has no gradient: it does not depend on any parameter that requires one. "
                + (f"The last call that cuts it off is {last}. " if last else "")
                + "Look for detach(), .data, .item(), torch.no_grad() or frozen parameters"
            )

    def _differentiate(self, loss: torch.Tensor) -> None:
        values = [v for v in self.tape.values.values() if v.edge is not None]
        grads = torch.autograd.grad(
            loss, [v.edge for v in values], torch.ones_like(loss), allow_unused=True
        )
        for value, grad in zip(values, grads, strict=True):
            value.grad = grad
            value.edge = _LEAF if value.maker is None else _MADE  # let the graph go
        self.values = values
        self.tape.release()

    def uses(self, value: Value, index: Index) -> list[Use]:
        """Return what each call makes of one element, for calls that the loss depends on."""
        found = []
        for call in value.users:
            if all(out.grad is None for out in call.outs):
                continue
            for column in columns(call, value, index):
                grad = column.out.grad
                if grad is None:
                    continue
                adjoint = grad.reshape(-1)[column.at].double()
                found.append(Use(call, column, adjoint, adjoint * column.local))
        return found

    def value_at(self, value: Value, index: Index) -> float:
        """Return ∂C/∂ of one element: exactly autograd's number, 0 where there is none."""
        return 0.0 if value.grad is None else float(value.grad[index])


def _load_forward_mode() -> None:
    """Let PyTorch load its rules of forward mode, at which some versions warn."""
    with forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(1), torch.ones(1))


_LEAF: Any = "leaf"
_MADE: Any = "made"


def _copied(tree: Any) -> Any:
    return tree_map(lambda t: t.detach().clone() if isinstance(t, torch.Tensor) else t, tree)


def _passed(t: Any) -> Any:
    return t.clone() if isinstance(t, torch.Tensor) and t.requires_grad else t


def named_inputs(x: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Return the tensors of an input with their names."""
    if isinstance(x, torch.Tensor):
        yield "input", x
    elif isinstance(x, dict):
        yield from ((f"input.{k}", t) for k, t in x.items() if isinstance(t, torch.Tensor))
    elif isinstance(x, (tuple, list)):
        yield from ((f"input.{i}", t) for i, t in enumerate(x) if isinstance(t, torch.Tensor))


def _forward(model: torch.nn.Module, x: Any) -> Any:
    if isinstance(x, dict):
        return model(**x)
    if isinstance(x, (tuple, list)):
        return model(*x)
    return model(x)


def _loss(loss_fn: Callable[..., Any] | None, output: Any, y: Any) -> Any:
    if loss_fn is not None:
        return loss_fn(output) if y is None else loss_fn(output, y)
    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", output)
    if loss is None:
        raise ValueError(
            "loss_fn is None and the model's output has no loss; pass loss_fn, or the labels in x"
        )
    return loss


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Run what is compiled as it was written, so that each of its calls is seen."""
    stance = getattr(torch.compiler, "set_stance", None)  # from PyTorch 2.6 on
    if stance is None:
        yield
        return
    with stance("force_eager"):
        yield

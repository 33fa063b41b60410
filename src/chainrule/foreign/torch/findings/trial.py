"""Trial: the recorded run that all rules read, with its output, its losses and its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from chainrule.foreign.torch.calls import Call, Value, tensors, unflatten
from chainrule.foreign.torch.entries.losses import ENTRIES
from chainrule.foreign.torch.run import Run

# Calls whose numbers are those of their first argument, at other places or in another dtype.
MOVES = frozenset((
    "view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "transpose", "t",
    "permute", "movedim", "T", "mT", "contiguous", "clone", "__getitem__", "narrow", "select",
    "to", "float", "double", "half", "bfloat16", "type_as", "identity", "view_as", "reshape_as",
    "squeeze_", "unsqueeze_", "alias",
))  # fmt: skip
LOSSES: dict[str, tuple[str, ...]] = {
    name: entry.parameters for entry in ENTRIES for name in entry.calls
} | {
    "poisson_nll_loss": ("input", "target"),
    "soft_margin_loss": ("input", "target"),
    "hinge_embedding_loss": ("input", "target"),
    "multi_margin_loss": ("input", "target"),
}


class Trial:
    """One recorded run of a model with a loss.

    Args:
        model: The model, not wrapped.
        loss_fn: The loss, as for `Run`.
        x: The input.
        y: The target.
        rows: The row number of each sample, or None to count from 0.
        optimizer: The optimiser, or None.

    Attributes:
        run: The run.
        output: What the model returned to ``loss_fn``, detached, or None where there is none.
        target: What ``loss_fn`` was given as the target.
        failed: The error that the loss raised, or None; there is no ``run`` then.
    """

    run: Run

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[..., Any] | None,
        x: Any,
        y: Any,
        rows: Sequence[Any] | None,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self.model, self.loss_fn, self.x, self.y = model, loss_fn, x, y
        self.optimizer = optimizer
        self.output: Any = None
        self.target: Any = None
        self.failed: Exception | None = None
        self._rows = rows

        def watched(output: Any, *target: Any) -> Any:
            self.output, self.target = output, target[0] if target else None
            assert loss_fn is not None
            return loss_fn(output, *target)

        called = None if loss_fn is None else watched
        try:
            self.run = Run(model, called, x, y, trace_input=True)
        except (IndexError, RuntimeError) as error:
            if not tensors(self.output):
                raise  # not the loss but the model failed
            self.failed = error
        self.output = _detached(self.output)
        self.n = len(rows) if rows is not None else sample_count(x)

    def row(self, i: int) -> Any:
        """Return the row number of a sample."""
        return i if self._rows is None else self._rows[i]

    def rows(self, indices: Sequence[int]) -> tuple[Any, ...]:
        """Return the row numbers of some samples."""
        return tuple(self.row(i) for i in indices)

    def has_rows(self, t: torch.Tensor) -> bool:
        """Return whether the first dimension of a tensor may count the samples."""
        return t.dim() > 0 and t.shape[0] == self.n

    def element(self, t: torch.Tensor, at: tuple[int, ...]) -> str:
        """Return where an element stands, in words: "[3,1] of sample 77"."""
        place = f"[{','.join(map(str, at))}]"
        return f"{place} of sample {self.row(at[0])}" if at and self.has_rows(t) else place

    def losses(self) -> Iterator[tuple[Call, dict[str, Any]]]:
        """Return the calls of losses of PyTorch, with their arguments by name."""
        for call in self.run.calls:
            if call.name in LOSSES and self.matters(call):
                yield call, arguments(call, LOSSES[call.name])

    def matters(self, call: Call) -> bool:
        """Return whether the loss depends on what a call returned."""
        return any(out is self.run.loss_value or out.grad is not None for out in call.outs)


def sample_count(x: Any) -> int:
    """Return the size of the first dimension of the first tensor."""
    for t in tensors(x):
        if t.dim():
            return int(t.shape[0])
    return 1


def arguments(call: Call, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    args, kwargs = unflatten(call.args, call.spec)
    return {**dict(zip(names, args, strict=False)), **kwargs}


def number_of(value: Any) -> torch.Tensor:
    """Return the numbers of an argument."""
    return value.data if isinstance(value, Value) else torch.as_tensor(value)


def source(value: Any) -> Call | None:
    """Return the call that computed the numbers of a value, before they were moved."""
    while isinstance(value, Value):
        maker = value.maker
        if maker is None or maker.name not in MOVES or maker.custom is not None:
            return maker
        value = maker.args[0] if maker.args else None
    return None


def place(call: Call) -> str:
    """Return where a call stands, in words."""
    return f"{call.name} in {call.module}" if call.module else call.name


def _detached(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.detach()
    if isinstance(output, (tuple, list)):
        return type(output)(map(_detached, output)) if type(output) in (tuple, list) else output
    return output

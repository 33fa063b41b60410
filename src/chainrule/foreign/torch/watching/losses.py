"""Losses: C_i, the loss of each sample of a batch, from the output that the loop had."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from chainrule.foreign.torch.calls import tensors

_LIGHT = 1 << 16  # numbers of an output and its targets that may be kept for a while
_PER_SAMPLE = 1e-3  # how far a mean of C_i may be from C, as a share, and still be it


class SampleLosses:
    """Compute C and C_i of a batch: what ``loss_fn`` returns for all samples, and for each alone.

    Args:
        loss_fn: The function from (output, y) to the loss, or from the output if ``y`` is None, or
            None for an output that carries its ``loss``, which has no C_i.
    """

    def __init__(self, loss_fn: Callable[..., Any] | None) -> None:
        self.loss_fn = loss_fn
        self._each = _unreduced(loss_fn)
        self._sums = getattr(loss_fn, "reduction", "mean") == "sum"

    @property
    def known(self) -> bool:
        """Return whether it is a loss of PyTorch's own, which draws no random numbers."""
        return self._each is not None

    def attached(self, output: Any, y: Any) -> torch.Tensor:
        """Return C of the batch, with its graph. Hooks of the loss are not called."""
        call = self.loss_fn.forward if isinstance(self.loss_fn, torch.nn.Module) else self.loss_fn
        if call is None:
            named = isinstance(output, dict)
            loss = output.get("loss") if named else getattr(output, "loss", output)
        else:
            loss = call(output) if y is None else call(output, y)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else repr(loss)
            raise ValueError(
                f"loss_fn returned {what}; expected a tensor with one number. Take its mean or sum"
            )
        return loss.reshape(())

    def each(self, output: Any, y: Any, n: int) -> torch.Tensor | None:
        """Return C_i, (n,), or None where the output has no rows of n samples."""
        if self.loss_fn is None or not _has_rows(output, n) or not _has_rows(y, n):
            return None
        if self._each is not None and not self._masks(y):
            values = self._each(output, y)
            if isinstance(values, torch.Tensor) and values.dim() and len(values) == n:
                rows = values.reshape(n, -1)
                return rows.sum(1) if self._sums else rows.mean(1)
        return self._alone(output, y, n)

    def _masks(self, y: Any) -> bool:
        """Return whether the mean weighs the parts of a sample, so that C_i is not a plain mean."""
        loss_fn = self.loss_fn
        if getattr(loss_fn, "weight", None) is not None and not isinstance(
            loss_fn, torch.nn.BCELoss | torch.nn.BCEWithLogitsLoss
        ):
            return True
        ignored = getattr(loss_fn, "ignore_index", None)
        return (
            ignored is not None
            and isinstance(y, torch.Tensor)
            and y.dim() > 1
            and not y.is_floating_point()
            and bool((y == ignored).any())
        )

    def _alone(self, output: Any, y: Any, n: int) -> torch.Tensor:
        """Compute the loss of batches of one sample."""

        def one(part: Any, target: Any) -> torch.Tensor:
            return self.attached(_batch(part), None if y is None else _batch(target))

        try:
            return torch.func.vmap(one)(output, torch.zeros(n) if y is None else y)
        except Exception:  # what vmap cannot do: branches on values, item(), ...
            rows = [
                one(_row(output, i), None if y is None else _row(y, i)).double() for i in range(n)
            ]
            return torch.stack(rows)


class Each:
    """The losses of a step, without a trace in the graph and in the generators.

    Attributes:
        whole: C of the batch.
    """

    def __init__(self, losses: SampleLosses, output: Any, y: Any, n: int) -> None:
        self._losses, self._y, self._n = losses, y, n
        with torch.no_grad():
            if isinstance(output, torch.Tensor):
                self._output: Any = output.detach()
            else:
                self._output = tree_map(_apart, output)
            self.whole = self._quietly(lambda: losses.attached(self._output, y))

    @property
    def is_light(self) -> bool:
        """Return whether output and targets can be kept, for the losses of many steps at once."""
        output, y = self._output, self._y
        return (
            self._losses.known
            and isinstance(output, torch.Tensor)
            and isinstance(y, torch.Tensor)
            and output.device.type == "cpu"
            and len(output) == len(y) == self._n
            and output.numel() + y.numel() <= _LIGHT
            and (y.dim() == 1 or y.is_floating_point())
            and getattr(self._losses.loss_fn, "weight", None) is None
        )

    def losses(self) -> np.ndarray[Any, Any] | None:
        """Return C_i, (n,), float64, or None where the loss has none."""
        with torch.no_grad():
            each = self._quietly(lambda: self._losses.each(self._output, self._y, self._n))
        return None if each is None else each.double().cpu().numpy()

    def kept(self) -> Each:
        """Return the same with copies of the output and the targets."""
        self._output, self._y = self._output.clone(), self._y.clone()
        return self

    def fits(self, other: Each) -> bool:
        """Return whether `joined` can take both."""
        return all(
            a.shape[1:] == b.shape[1:] and a.dtype == b.dtype
            for a, b in ((self._output, other._output), (self._y, other._y))
        )

    @staticmethod
    def joined(found: list[Each]) -> np.ndarray[Any, Any]:
        """Return C_i of the samples of several steps, one after the other."""
        output = torch.cat([each._output for each in found])
        y = torch.cat([each._y for each in found])
        with torch.no_grad():
            losses = found[0]._losses.each(output, y, len(y))
        assert losses is not None
        return losses.double().numpy()

    def _quietly(self, call: Callable[[], Any]) -> Any:
        if self._losses.known:
            return call()
        before = torch.get_rng_state()
        found = call()
        if not torch.equal(before, torch.get_rng_state()):
            torch.set_rng_state(before)
        return found


def _apart(t: Any) -> Any:
    return t.detach() if isinstance(t, torch.Tensor) else t


def whole_of(whole: float, each: np.ndarray[Any, Any]) -> tuple[bool, bool]:
    """Return whether C is the sum of C_i rather than their mean, and whether it is one of the two.

    A loss that mixes samples is neither.
    """
    total = float(each.sum())
    mean = total / len(each)
    apart = abs(whole - total), abs(whole - mean)
    near = _PER_SAMPLE * max(abs(whole), float(np.abs(each).mean()))
    return apart[0] < apart[1] and len(each) > 1, min(apart) <= near


def _unreduced(loss_fn: Any) -> Callable[..., Any] | None:
    """Return the loss without its mean or sum, or None where that is not known."""
    if isinstance(loss_fn, torch.nn.Module):
        known = type(loss_fn).__module__ == "torch.nn.modules.loss"
        if known and getattr(loss_fn, "reduction", None) in ("mean", "sum"):
            each = copy.copy(loss_fn)
            each.reduction = "none"
            return each.forward
        return None
    of_torch = callable(loss_fn) and getattr(loss_fn, "__module__", "") == "torch.nn.functional"
    if of_torch and "reduction" in inspect.signature(loss_fn).parameters:
        return lambda output, y: loss_fn(output, y, reduction="none")
    return None


def _has_rows(tree: Any, n: int) -> bool:
    return all(len(t) == n for t in tensors(tree) if t.dim())


def _batch(tree: Any) -> Any:
    return tree_map(lambda t: t[None] if isinstance(t, torch.Tensor) else t, tree)


def _row(tree: Any, i: int) -> Any:
    return tree_map(lambda t: t[i] if isinstance(t, torch.Tensor) else t, tree)

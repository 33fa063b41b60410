"""All rules, and the report that they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from chainrule.diagnose.finding import Finding, times
from chainrule.explain.findings import Diagnosis
from chainrule.foreign.torch import targets
from chainrule.foreign.torch.findings import finite, gradients, loss, modes, samples, steps, units
from chainrule.foreign.torch.findings.trial import Trial, sample_count
from chainrule.foreign.torch.run import named_inputs

Rule = Callable[[Trial], Iterator[Finding]]

# Those of the first line hold for numbers that are not finite, too; the others need finite ones.
_ALWAYS: tuple[Rule, ...] = (
    finite.origin, loss.double_softmax, loss.target_broadcast, loss.target_range,
    steps.registered, gradients.unused, samples.unscaled_input,
)  # fmt: skip
_FINITE: tuple[Rule, ...] = (
    loss.sum_not_mean, steps.zero_grad, steps.updates, gradients.reach, gradients.wrong_backward,
    units.dead, units.saturated, units.identical, units.bias_before_norm,
    samples.constant_output, samples.mixed, samples.suspect_labels, modes.norm_mode,
)  # fmt: skip


def diagnose(
    model: Any,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    optimizer: Any,
    rows: Sequence[Any] | None,
) -> Diagnosis:
    """Run the model once, and apply all rules."""
    model = targets.unwrapped(model)
    _check(loss_fn, x, optimizer, rows)
    trial = Trial(model, loss_fn, x, y, rows, optimizer)
    if trial.failed is not None:
        found = list(loss.failed_loss(trial))
        if not found:
            raise trial.failed
        return Diagnosis(found, _setting(trial, None), float("nan"), trial.n)
    found = [finding for rule in _ALWAYS for finding in rule(trial)]
    if not any(finding.code == "nan-origin" for finding in found):
        found += [finding for rule in _FINITE for finding in rule(trial)]
    return Diagnosis(found, _setting(trial, trial.run.loss), trial.run.loss, trial.n)


def _check(loss_fn: object, x: Any, optimizer: object, rows: Sequence[Any] | None) -> None:
    if loss_fn is not None and not callable(loss_fn):
        raise TypeError(f"loss_fn is a {type(loss_fn).__name__}; expected a function or None")
    if not dict(named_inputs(x)):
        raise TypeError(
            f"x is a {type(x).__name__}; expected a tensor, or a tuple or dictionary of tensors"
        )
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}; expected a torch.optim.Optimizer or None"
        )
    if rows is not None and len(rows) != sample_count(x):
        raise ValueError(
            f"rows has {times(len(rows), 'number')}; expected one for each of the "
            f"{times(sample_count(x), 'sample')} of x"
        )


def _setting(trial: Trial, loss: float | None) -> str:
    named = "loss" if trial.loss_fn is None else getattr(
        trial.loss_fn, "__name__", type(trial.loss_fn).__name__
    )  # fmt: skip
    count = sum(p.numel() for p in trial.model.parameters() if not _is_lazy(p))
    parts = [f"Model {type(trial.model).__name__} ({times(count, 'parameter')})"]
    parts.append(f"loss {named}" + ("" if loss is None else f" = {loss:.6g}"))
    parts.append(times(trial.n, "sample"))
    if trial.optimizer is not None:
        parts.append(f"optimiser {type(trial.optimizer).__name__}")
    return ", ".join(parts) + "."


def _is_lazy(p: torch.Tensor) -> bool:
    return isinstance(p, torch.nn.parameter.UninitializedTensorMixin)

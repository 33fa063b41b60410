"""Rule about batch norm: whose statistics it takes, those of the batch or the running ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch

from chainrule.diagnose.finding import Finding, some, times
from chainrule.foreign.torch.findings.trial import Trial
from chainrule.foreign.torch.kept import Kept
from chainrule.foreign.torch.run import Run

_NORMS = torch.nn.modules.batchnorm._BatchNorm


def norm_mode(trial: Trial) -> Iterator[Finding]:
    """Find batch norms whose mode may not be the one that is meant."""
    running = {
        name: module
        for name, module in trial.model.named_modules()
        if isinstance(module, _NORMS) and isinstance(module.running_mean, torch.Tensor)
    }
    of_batch = [name for name, module in running.items() if module.training]
    if of_batch and trial.optimizer is None:
        yield _of_batch(trial, of_batch)
    untouched = [
        name for name, module in running.items() if not module.training and _is_untouched(module)
    ]
    if untouched:
        yield _untouched(untouched)


def _is_untouched(module: torch.nn.modules.batchnorm._BatchNorm) -> bool:
    """Return whether the running statistics are those of the start."""
    mean, variance, count = module.running_mean, module.running_var, module.num_batches_tracked
    if mean is None or variance is None or count is None:
        return False
    return not bool(count) and not bool(mean.any()) and bool((variance == 1).all())


def _of_batch(trial: Trial, names: list[str]) -> Finding:
    other = _loss_in_eval(trial)
    compared = "" if other is None else (
        f" The loss is {trial.run.loss:.6g} in this mode and {other:.6g} in eval mode."
    )  # fmt: skip
    return Finding(
        "norm-mode", "note", some(names, 3),
        f"{times(len(names), 'batch norm')} {'takes' if len(names) == 1 else 'take'} mean and "
        f"variance from this batch, so that the output of a sample depends on the others."
        f"{compared}",
        "∂C_i/∂x_k is not 0 for k ≠ i: the mean and the variance hold all samples.",
        "No fault in training. Call model.eval() to predict. If the loss is far larger there, the "
        "running statistics lag behind: train on, or raise the momentum of the norm.",
        {"norms": len(names)} | ({} if other is None else {
            "loss": trial.run.loss, "loss in eval mode": other}),
    )  # fmt: skip


def _untouched(names: list[str]) -> Finding:
    return Finding(
        "norm-mode", "warning", some(names, 3),
        f"{times(len(names), 'batch norm')} in eval mode {'has' if len(names) == 1 else 'have'} "
        "the running mean 0 and variance 1 of the start: no forward pass in training mode has "
        "updated them, so nothing is normalised.",
        "∂a/∂z = γ/√(variance + ε), and the variance is not that of the data.",
        "Call model.train() before the training loop, or load the statistics with the weights.",
        {"norms": len(names)},
    )  # fmt: skip


def _loss_in_eval(trial: Trial) -> float | None:
    """Return the loss of the batch in eval mode, or None where the model does not run there."""
    with warnings.catch_warnings(), Kept(trial.model):
        warnings.simplefilter("ignore")
        try:
            trial.model.eval()
            return Run(trial.model, trial.loss_fn, trial.x, trial.y).loss
        except Exception:  # a model that has another output there says nothing here
            return None

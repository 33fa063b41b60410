"""Rules about samples: the input's columns, equal outputs, mixed samples, suspect labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_map

from chainrule.diagnose import arrays, said
from chainrule.diagnose.finding import Finding
from chainrule.diagnose.thresholds import ROUNDING
from chainrule.foreign.torch.calls import Value, tensors
from chainrule.foreign.torch.findings.trial import MOVES, Trial, number_of
from chainrule.foreign.torch.kept import Kept
from chainrule.foreign.torch.run import named_inputs

_NORMS = torch.nn.modules.batchnorm._NormBase


def unscaled_input(trial: Trial) -> Iterator[Finding]:
    """Find input columns that a linear call reads as they are, far from standardised."""
    for name, value in trial.run.input_values.items():
        if value is None or value.data.dim() < 2:
            continue
        for each in _moved(value):
            for call in each.users:
                if call.name not in ("linear", "addmm", "matmul", "mm") or call.args[0] is not each:
                    continue
                t = each.data.detach().double()
                found = arrays.unscaled(t.reshape(-1, t.shape[-1]).cpu().numpy())
                if found:
                    yield said.unscaled_input(name, found, t.shape[-1])
                    return
        yield from _unscaled_image(name, value)


def _unscaled_image(name: str, value: Value) -> Iterator[Finding]:
    """Find images that a convolution reads in 0 to 255: its units are the channels."""
    for each in _moved(value):
        if any(c.name.startswith("conv") and c.args[0] is each for c in each.users):
            t = each.data.detach().double()
            if t.dim() > 2:
                found = arrays.unscaled(t.movedim(1, -1).reshape(-1, t.shape[1]).cpu().numpy())
                if found:
                    yield said.unscaled_input(name, found, t.shape[1])
                    return


def _moved(value: Value) -> list[Value]:
    """Return a value, and what calls that only move its numbers make of it."""
    found = [value]
    for each in found:
        for call in each.users:
            if call.name in MOVES and call.args[0] is each:
                found += call.outs
    return found


def constant_output(trial: Trial) -> Iterator[Finding]:
    """Find a model that gives all samples the same output."""
    output = trial.output
    if not isinstance(output, torch.Tensor) or not trial.has_rows(output):
        return
    inputs = [t for _, t in named_inputs(trial.x) if trial.has_rows(t)]
    X = inputs[0].detach().cpu().numpy() if inputs else None
    values = output.double().cpu().numpy()
    if X is None or not arrays.is_constant(values, X) or _starts_at_zero(trial):
        return
    shown = ", ".join(f"{v:.4g}" for v in values[0].reshape(-1)[:4].tolist())
    more = ", ..." if values[0].size > 4 else ""
    yield said.constant_output(
        "output", f"[{shown}{more}]", trial.n,
        "∂a/∂x = 0: no factor of it carries what is different about a sample.",
    )  # fmt: skip


def _starts_at_zero(trial: Trial) -> bool:
    """Return whether weights of 0 that have a gradient make the output, so that a step ends it."""
    return any(
        v is not None and v.grad is not None and v.data.dim() > 1
        and not bool(v.data.any()) and bool(v.grad.any())
        for v in trial.run.named.values()
    )  # fmt: skip


def mixed(trial: Trial) -> Iterator[Finding]:
    """Find outputs of a sample that move when another sample is replaced."""
    output = trial.output
    if not isinstance(output, torch.Tensor) or not trial.has_rows(output) or trial.n < 3:
        return
    inputs = [t for _, t in named_inputs(trial.x)]
    if not inputs or not all(trial.has_rows(t) for t in inputs) or _may_be_time(trial):
        return
    plain = _outputs(trial, trial.x)
    if plain is None:
        return
    for j, other in ((0, 1), (trial.n - 1, 0)):
        moved = _outputs(trial, tree_map(lambda t: _replaced(t, j, other, trial.n), trial.x))  # noqa: B023
        if moved is None or set(moved) != set(plain):
            return
        for name in plain:  # in the order of the run
            changed = _rows_that_differ(plain[name], moved[name], j)
            if name == "" and changed:
                where = _first(plain, moved, j)
                i = changed[0]
                yield Finding(
                    "mixed-samples", "error", where or "model",
                    f"The outputs of {len(changed)} of the other {trial.n - 1} samples change when "
                    f"row {trial.row(j)} of the batch is replaced, row {trial.row(i)} among them. "
                    f"{f'Module {where}' if where else 'The model'} is the first to do so.",
                    "∂C_i/∂x_k is not 0 for k ≠ i: gradients of one sample flow into another.",
                    "Look for view or reshape in place of transpose, for a softmax, mean or norm "
                    "over dimension 0, and for batch_first. A model of a graph is meant to do so.",
                    {"rows that change": len(changed)}, rows=trial.rows([i, j]),
                )  # fmt: skip
                return


def _may_be_time(trial: Trial) -> bool:
    """Return whether the first dimension may count time steps: targets have two such, too."""
    y = trial.y
    return isinstance(y, torch.Tensor) and y.dim() > 1 and any(
        isinstance(m, torch.nn.RNNBase | torch.nn.MultiheadAttention)
        and not m.batch_first for m in trial.model.modules()
    )  # fmt: skip


def _replaced(t: Any, j: int, other: int, n: int) -> Any:
    if not isinstance(t, torch.Tensor) or not t.dim() or t.shape[0] != n:
        return t
    t = t.detach().clone()
    t[j] = t[other]
    return t


def _outputs(trial: Trial, x: Any) -> dict[str, torch.Tensor] | None:
    """Return the result of each module, batch norms in eval mode, the model's own as ""."""
    found: dict[str, torch.Tensor] = {}
    handles = []
    x = tree_map(lambda t: t.detach().clone() if isinstance(t, torch.Tensor) else t, x)
    with warnings.catch_warnings(), Kept(trial.model), torch.no_grad():
        warnings.simplefilter("ignore")
        for name, module in trial.model.named_modules():
            if isinstance(module, _NORMS):
                module.training = False

            def keep(module: Any, args: Any, out: Any, name: str = name) -> None:
                first = next(iter(tensors(out)), None)
                if first is not None and trial.has_rows(first):
                    found.setdefault(name, first.detach().clone())

            handles.append(module.register_forward_hook(keep))
        try:
            if isinstance(x, dict):
                trial.model(**x)
            elif isinstance(x, (tuple, list)):
                trial.model(*x)
            else:
                trial.model(x)
        except Exception:  # a batch that the model does not take says nothing here
            return None
        finally:
            for handle in handles:
                handle.remove()
    return found if "" in found else None


def _rows_that_differ(one: torch.Tensor, other: torch.Tensor, j: int) -> list[int]:
    if one.shape != other.shape or not (one.is_floating_point() or one.is_complex()):
        return []
    a, b = (t.double().reshape(len(t), -1) for t in (one, other))
    size = float(a.abs().max())
    if not size or not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return []
    far = (a - b).abs().amax(1) > ROUNDING * size
    far[j] = False
    return [int(i) for i in far.nonzero().flatten()]


def _first(plain: dict[str, torch.Tensor], moved: dict[str, torch.Tensor], j: int) -> str:
    return next(
        (name for name in plain if name and _rows_that_differ(plain[name], moved[name], j)), ""
    )


def suspect_labels(trial: Trial) -> Iterator[Finding]:
    """Find samples whose target a model that is right on most others contradicts."""
    for call, given in trial.losses():
        value, y = given.get("input"), given.get("target")
        if value is None or y is None:
            continue
        x, t = number_of(value).double(), number_of(y)
        if not bool(torch.isfinite(x).all()) or not trial.has_rows(x) or not trial.has_rows(t):
            continue
        if call.name in ("cross_entropy", "nll_loss") and x.dim() == 2 and t.dim() == 1:
            a = torch.softmax(x, 1)
            labels = t.cpu().numpy()
            if int(t.min()) < 0:
                continue
            classes = arrays.suspect_classes(a.cpu().numpy(), labels)
        elif call.name.startswith("binary") and x.numel() == t.numel() == trial.n:
            p = (
                x.reshape(-1)
                if call.name == "binary_cross_entropy"
                else torch.sigmoid(x).reshape(-1)
            )
            labels = t.reshape(-1).double().cpu().numpy()
            if not set(labels.tolist()) <= {0.0, 1.0}:
                continue
            labels = labels.astype(int)
            classes = arrays.suspect_classes(torch.stack([1 - p, p], 1).cpu().numpy(), labels)
        elif call.name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            if x.shape == t.shape and x.numel() == trial.n:
                numbers = arrays.suspect_numbers(
                    x.reshape(-1).cpu().numpy(), t.reshape(-1).double().cpu().numpy()
                )
                if numbers:
                    yield said.suspect_numbers(numbers, trial.row)
            continue
        else:
            continue
        if classes:
            yield said.suspect_classes(classes, labels, trial.row)

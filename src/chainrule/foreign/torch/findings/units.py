"""Rules about units: dead, saturated, identical, and biases that a norm takes out."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from chainrule.diagnose import arrays
from chainrule.diagnose.finding import Finding, some, times
from chainrule.diagnose.thresholds import FLAT, FLAT_SHARE, FLAT_UNITS, OBSERVED, ROUNDING
from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.findings.trial import Trial, arguments, number_of, place, source

_RELU = frozenset(("relu", "relu_", "relu6", "relu6_"))
_CURVED = {"tanh": 1.0, "tanh_": 1.0, "sigmoid": 0.25, "sigmoid_": 0.25}  # the steepest slope
_CHANNELS = ("conv1d", "conv2d", "conv3d", "conv_transpose", "batch_norm", "group_norm",
             "instance_norm", "max_pool", "avg_pool")  # fmt: skip


def _dimension(call: Call) -> int:
    """Return which dimension of a call's result counts the units."""
    out = call.outs[0].data
    before = source(call.args[0]) if isinstance(call.args[0], Value) else None
    by_channel = before is not None and before.name.startswith(_CHANNELS)
    return 1 if out.dim() > 1 and (by_channel or out.dim() == 4) else out.dim() - 1


def _by_unit(flat: torch.Tensor, d: int) -> torch.Tensor:
    """Return, (units, observations), a tensor whose dimension ``d`` counts the units."""
    return flat.movedim(d, 0).reshape(flat.shape[d], -1)


def dead(trial: Trial) -> Iterator[Finding]:
    """Find units of a ReLU that are 0 on every sample and position."""
    if trial.n < OBSERVED:
        return
    for call in trial.run.calls:
        if call.name not in _RELU or not trial.matters(call) or not call.outs[0].data.dim():
            continue
        out = call.outs[0].data
        observed = _by_unit(out, _dimension(call))
        units = (observed <= 0).all(1).nonzero().flatten().tolist()
        if not units:
            continue
        count = len(observed)
        z = call.args[0].data if isinstance(call.args[0], Value) else out
        is_fault = arrays.is_fault_of_dead(
            _by_unit(z.double(), _dimension(call)).T.cpu().numpy(), units
        )
        yield Finding(
            "dead-units", "warning" if is_fault else "note", place(call),
            f"{len(units)} of the {times(count, 'unit')} of {place(call)} "
            f"{'is' if len(units) == 1 else 'are'} 0 on all {times(trial.n, 'sample')}: "
            f"{some(units)}.",
            "g′(z) = 0: z ≤ 0 on every sample, so no gradient reaches the weights of these units.",
            "Lower the learning rate, start with smaller or He weights, or use a leaky ReLU; "
            "restart these units if training goes on.",
            {"units": len(units), "of": count, "observations": int(observed.shape[1])},
            units=tuple(units),
        )  # fmt: skip


def saturated(trial: Trial) -> Iterator[Finding]:
    """Find units of a tanh or sigmoid that stand on its flat ends."""
    if trial.n < OBSERVED:
        return
    for call in trial.run.calls:
        if call.name not in _CURVED or not trial.matters(call) or _is_output(call):
            continue
        out = call.outs[0].data.double()
        if not out.dim():
            continue
        slope = 1 - out**2 if call.name.startswith("tanh") else out * (1 - out)
        flat = slope < FLAT * _CURVED[call.name]
        observed = _by_unit(flat, _dimension(call))
        units = (observed.double().mean(1) >= FLAT_SHARE).nonzero().flatten().tolist()
        if not units:
            continue
        mean = float(slope.mean())
        yield Finding(
            "saturated-units", "warning" if len(units) >= FLAT_UNITS * len(observed) else "note",
            place(call),
            f"{len(units)} of the {times(len(observed), 'unit')} of {place(call)} "
            f"{'stands' if len(units) == 1 else 'stand'} on a flat end on almost every sample: "
            f"{some(units)}. The mean of g′ is {mean:.3g} in this layer.",
            f"g′(z): {call.name.rstrip('_')} is flat at z, and hardly any gradient passes.",
            "Scale the inputs, start with smaller weights, or lower the learning rate.",
            {"units": len(units), "of": len(observed), "mean slope": mean}, units=tuple(units),
        )  # fmt: skip


def _is_output(call: Call) -> bool:
    """Return whether a sigmoid goes into the cross-entropy that cancels its slope."""
    todo, seen = list(call.outs), set()
    while todo:
        value = todo.pop()
        for user in value.users:
            if user.name == "binary_cross_entropy":
                return True
            if id(user) not in seen and source(user.outs[0] if user.outs else None) is call:
                seen.add(id(user))
                todo += user.outs
    return False


def identical(trial: Trial) -> Iterator[Finding]:
    """Find units whose weights and gradients are equal, which therefore stay equal."""
    for name, module in trial.model.named_modules():
        weight = getattr(module, "weight", None)
        kinds = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
        if not isinstance(module, kinds) or not isinstance(weight, torch.nn.Parameter):
            continue
        if getattr(module, "transposed", False):  # its rows are inputs
            continue
        value = trial.run.named.get(f"{name}.weight" if name else "weight")
        if value is None or value.grad is None or len(weight) < 2:
            continue
        groups = _groups(weight.detach(), value.grad, _bias(trial, name))
        units = [j for group in groups for j in group]
        if not units:
            continue
        sizes = f"{times(len(groups), 'group')} of equal units" if len(groups) > 1 else "they"
        yield Finding(
            "identical-units", "error" if len(units) == len(weight) else "warning", name,
            f"{len(units)} of the {len(weight)} units of {name} have equal weights and equal "
            f"gradients, so {sizes} stay equal and learn as one: {some(units)}.",
            "∂C/∂z: it is the same for units that the next layer weighs the same.",
            "Start with random weights instead of a constant.",
            {"units": len(units), "of": len(weight)}, units=tuple(units),
        )  # fmt: skip


def _bias(trial: Trial, name: str) -> torch.Tensor | None:
    bias = trial.run.parameters.get(f"{name}.bias" if name else "bias")
    return None if bias is None else bias.detach()


def _groups(weight: torch.Tensor, grad: torch.Tensor, bias: torch.Tensor | None) -> list[list[int]]:
    rows = weight.reshape(len(weight), -1)
    if bias is not None and len(bias) == len(rows):
        rows = torch.cat([rows, bias[:, None]], 1)
    groups: dict[bytes, list[int]] = {}
    for j, row in enumerate((rows.double() + 0.0).cpu().numpy()):
        groups.setdefault(row.tobytes(), []).append(j)
    found = []
    for units in groups.values():
        g = grad[units].reshape(len(units), -1)
        near = (g - g[:1]).abs().max() <= ROUNDING * g.abs().max()
        # Zero weights without a gradient wait for a later layer that starts at 0, too.
        waits = not bool(g.any()) and not bool(weight[units].any())
        if len(units) > 1 and bool(near) and not waits:
            found.append(units)
    return found


def bias_before_norm(trial: Trial) -> Iterator[Finding]:
    """Find biases that a batch norm subtracts again: no fault, and a gradient of 0."""
    biases = {id(v): name for name, v in trial.run.named.items() if v is not None}
    for call in trial.run.calls:
        if call.name not in ("batch_norm", "instance_norm") or not trial.matters(call):
            continue
        if not _of_batch(call):
            continue
        maker = call.args[0].maker if isinstance(call.args[0], Value) else None
        if maker is None or not maker.name.startswith(("linear", "conv")):
            continue
        name = next(
            (biases[id(v)] for v in maker.reads() if id(v) in biases and v.data.dim() == 1), None
        )
        if name is None:
            continue
        value = trial.run.named[name]
        size = 0.0 if value is None or value.grad is None else float(value.grad.abs().max())
        yield Finding(
            "bias-before-norm", "note", name,
            f"The gradient of {name} is 0 but for rounding ({size:.2g}): {place(call)} subtracts "
            "the mean of each channel, and the bias with it.",
            "∂C/∂b = Σ ∂C/∂z: batch norm makes the sum over the samples 0.",
            "No fault. bias=False saves the parameters.",
            {"largest": size},
        )  # fmt: skip


def _of_batch(call: Call) -> bool:
    if call.name == "instance_norm":
        given = arguments(call, ("input", "mean", "var", "weight", "bias", "use_input_stats"))
        return bool(given.get("use_input_stats", True))
    given = arguments(call, ("input", "mean", "var", "weight", "bias", "training"))
    return bool(given.get("training", False)) or not _has_numbers(given.get("mean"))


def _has_numbers(value: object) -> bool:
    return value is not None and number_of(value).numel() > 0

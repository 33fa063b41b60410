"""Rules about gradients on their way back: vanishing, exploding, and those that never arrive."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from chainrule.diagnose.finding import Finding, some, times
from chainrule.diagnose.thresholds import EXPLODED, VANISHED
from chainrule.foreign.torch import custom, reasons
from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.findings.trial import Trial, place

_LEAST_LAYERS = 3  # between two layers nothing can vanish that one of them does not show


def reach(trial: Trial) -> Iterator[Finding]:
    """Find gradients that shrink or grow by orders of magnitude on their way back."""
    layers = _layers(trial)
    if len(layers) < _LEAST_LAYERS:
        return
    sizes = [size for _, size in layers]
    largest = max(sizes)
    if not math.isfinite(largest):
        return  # nan-origin says where
    if not largest:
        yield _nothing(trial)
        return
    reached = 0.0
    behind: list[Call] = []
    for call, size in layers[:-1]:  # from the first layer on, as long as none had a gradient
        reached = max(reached, size)
        if reached >= VANISHED * largest:
            break
        behind.append(call)
    if behind:
        if _waits(trial):
            return
        share = max(sizes[: len(behind)]) / largest
        part = "0" if not share else f"{share:.2g} of the largest"
        which = "the first layer" if len(behind) == 1 else f"the first {len(behind)} layers"
        yield Finding(
            "vanishing", "warning", place(behind[0]),
            f"The gradient at {which} is {part}: ‖∂C/∂z‖ is {sizes[0]:.3g} at "
            f"{place(behind[0])} and {largest:.3g} at {place(layers[sizes.index(largest)][0])}.",
            _blame(trial, smallest=True),
            "Use ReLU or another function with a steep slope, residual connections or a norm; "
            "start with weights that keep the size of the signal (He, Glorot).",
            {"first": sizes[0], "largest": largest, "share": share, "layers": len(behind)},
        )  # fmt: skip
        return
    last = sizes[-1]
    if last and sizes[0] > EXPLODED * last:
        yield Finding(
            "exploding", "warning", place(layers[0][0]),
            f"The gradient grows {sizes[0] / last:.3g} times on its way back: ‖∂C/∂z‖ is "
            f"{last:.3g} at {place(layers[-1][0])} and {sizes[0]:.3g} at {place(layers[0][0])}.",
            _blame(trial, smallest=False),
            "Start with smaller weights (He, Glorot), add a norm, or clip the gradient.",
            {"first": sizes[0], "last": last, "growth": sizes[0] / last},
        )  # fmt: skip


def _layers(trial: Trial) -> list[tuple[Call, float]]:
    """Return the calls that read a weight, in order, with ‖∂C/∂z‖ of their results."""
    weights = {id(v) for v in trial.run.named.values() if v is not None and v.data.dim() > 1}
    found = []
    for call in trial.run.calls:
        if any(id(v) in weights for v in call.reads()):
            grads = [o.grad for o in call.outs if o.grad is not None]
            size = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
            if grads:
                found.append((call, size))
    return found


def _waits(trial: Trial) -> bool:
    """Return whether weights that start at 0 hold the gradient back until their first step."""
    for value in trial.run.named.values():
        if value is None or value.grad is None or not bool(value.grad.any()):
            continue
        if not bool(value.data.any()) and _multiplies(value):
            return True
    return False


def _multiplies(value: Value) -> bool:
    """Return whether a parameter is a factor, not an addend."""
    if value.data.dim() > 1:
        return True
    return any(
        ("norm" in c.name and _position(c, value) == 3) or c.name in ("mul", "__mul__", "__rmul__")
        for c in value.users
    )


def _position(call: Call, value: Value) -> int:
    return next((i for i, arg in enumerate(call.args) if arg is value), -1)


def _nothing(trial: Trial) -> Finding:
    return Finding(
        "vanishing", "error", "",
        "Every gradient is 0, so no step changes anything.", _blame(trial, smallest=True),
        "Open the zero with explain_torch: it says which factor is 0.",
    )  # fmt: skip


def _blame(trial: Trial, smallest: bool) -> str:
    """Return the kind of call that shrinks or enlarges the gradient most on its way."""
    factors: dict[str, list[float]] = defaultdict(list)
    for call in trial.run.calls:
        read = next((v for v in call.reads() if v.maker is not None and v.grad is not None), None)
        out = next((o for o in call.outs if o.grad is not None), None)
        if read is None or out is None or len(read.users) > 1:
            continue
        above = float(out.grad.double().norm()) if out.grad is not None else 0.0
        below = float(read.grad.double().norm()) if read.grad is not None else 0.0
        if above:
            factors[call.name].append(below / above)
    if not factors:
        return "the product of all factors on the way."

    def weight(name: str) -> float:
        return math.fsum(math.log(max(f, 1e-300)) for f in factors[name])

    name = (min if smallest else max)(factors, key=weight)
    each = math.exp(weight(name) / len(factors[name]))
    what = {"linear": "W", "sigmoid": "g′ of sigmoid", "tanh": "g′ of tanh", "relu": "g′ of relu"}
    return (
        f"{what.get(name, name)}: the norm of the gradient is multiplied by {each:.3g} in "
        f"{'it' if len(factors[name]) == 1 else f'each of {len(factors[name])} calls'}."
    )


def wrong_backward(trial: Trial) -> Iterator[Finding]:
    """Find custom autograd Functions whose backward is not the derivative of their forward."""
    try:
        found = custom.faults(trial.run)
    except Exception:  # a Function that cannot run once more says nothing here
        return
    for fault in found:
        yield Finding(
            "wrong-backward", "warning", place(fault.call), fault.words + ".",
            f"the derivative of {fault.call.name}: every gradient before it has its fault.",
            "Correct the backward, and hold it to torch.autograd.gradcheck. No fault if it differs "
            "on purpose, as a straight-through estimator does.",
            {"backward": fault.found, "derivative": fault.right},
        )  # fmt: skip


def unused(trial: Trial) -> Iterator[Finding]:
    """Find parameters that want a gradient and get none."""
    by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen: set[int] = set()
    for name, parameter in trial.model.named_parameters():
        if not parameter.requires_grad or id(parameter) in seen:
            continue
        seen.add(id(parameter))
        value = trial.run.named.get(name)
        if value is None or value.grad is None:
            kind, why = reasons.of_missing(trial.run, name, value)
            by_kind[kind].append((name, why))
    for reason, found in by_kind.items():
        names = [name for name, _ in found]
        cut = reason == "cut off"
        yield Finding(
            "unused-parameters", "warning" if cut else "note", some(names, 3),
            f"{times(len(names), 'parameter')} {'gets' if len(names) == 1 else 'get'} no gradient "
            f"in this run: {some(names)}. The reason: {found[0][1]}.",
            "∂C/∂w: there is no path from these weights to the loss.",
            "Remove detach(), .data, .item() or no_grad() from the way."
            if cut else "Use them in forward, or remove them: DistributedDataParallel stops there.",
            {"parameters": len(names)},
        )  # fmt: skip

"""Rules about the optimiser: what is in .grad, what it updates, and how far a step goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from chainrule.diagnose.finding import Finding, some, times
from chainrule.diagnose.thresholds import ALIGNED, HELD, MOMENTUM, ROUNDING, SMALL_START, UPDATE
from chainrule.foreign.torch.findings.trial import Trial
from chainrule.foreign.torch.kept import Kept
from chainrule.foreign.torch.run import Run

_ADAM = (torch.optim.Adam, torch.optim.AdamW)


def zero_grad(trial: Trial) -> Iterator[Finding]:
    """Find gradients of earlier batches in .grad."""
    held = {
        name: p.grad.detach().double()
        for name, p in trial.run.parameters.items()
        if p.grad is not None and not p.grad.is_sparse
    }
    own = _own(trial.run, held)
    ratio, alike = _compare(held, own)
    if ratio is None or (abs(ratio - 1) <= ROUNDING and alike):
        return
    whole = round(ratio)
    if alike and whole >= 2 and abs(ratio - whole) <= ROUNDING * whole:
        yield _held(
            "error", f".grad holds exactly {whole} times the gradient of this batch: backward ran "
            f"{whole} times without zero_grad", ratio,
        )  # fmt: skip
        return
    if trial.optimizer is None or _size(held) < HELD * _size(own):
        return
    follows = _follows_the_steps(trial, held)
    if ratio < HELD and not follows:
        return
    before = _before_the_step(trial)
    if before is None or _size(held) < HELD * _size(before):
        return
    share, _ = _compare(held, before)
    holds = share is not None and share >= HELD
    if holds or follows:
        says = f"holds it {share:.3g} times" if holds else "points where the last steps went"
        times_as_large = _size(held) / _size(before)
        yield _held(
            "warning", f".grad is {times_as_large:.3g} times as large as the gradient of this "
            f"batch, and {says}: it looks like the sum of several batches",
            share if holds and share is not None else times_as_large,
        )  # fmt: skip


def _follows_the_steps(trial: Trial, held: dict[str, torch.Tensor]) -> bool:
    """Return whether .grad is what the optimiser was given in all of its last steps.

    A sum of batches hardly changes from step to step, so that momentum points where it does and
    has several times its size. Gradients of single batches differ, and a batch with a far larger
    one than those before it stands in momentum once.
    """
    assert trial.optimizer is not None
    found: dict[str, torch.Tensor] = {}
    names = {id(p): name for name, p in trial.run.parameters.items()}
    for group in trial.optimizer.param_groups:
        for p in group["params"]:
            state, name = trial.optimizer.state.get(p, {}), names.get(id(p))
            if name not in held:
                continue
            if isinstance(first := state.get("exp_avg"), torch.Tensor) and "betas" in group:
                found[name] = first.double() / (1 - float(group["betas"][0]))
            elif isinstance(first := state.get("momentum_buffer"), torch.Tensor):
                found[name] = first.double()
    one = {name: held[name] for name in found}
    if not found or not _size(one) or _size(found) < MOMENTUM * _size(one):
        return False
    product = sum(float((one[name] * found[name]).sum()) for name in found)
    return product >= ALIGNED * _size(one) * _size(found)


def _held(level: Any, words: str, ratio: float) -> Finding:
    return Finding(
        "missing-zero-grad", level, ".grad", words + ".",
        "∂C/∂w: each step uses the sum over all batches so far, so steps grow and go on in old "
        "directions.",
        "Call optimizer.zero_grad() before loss.backward(). To add up micro-batches on purpose, "
        "divide each loss by their number.",
        {"times": ratio},
    )  # fmt: skip


def _own(run: Run, held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name in held:
        value = run.named.get(name)
        if value is not None and value.grad is not None and not value.grad.is_sparse:
            found[name] = value.grad.double()
    return found


def _size(grads: dict[str, torch.Tensor]) -> float:
    return float(sum(float(g.square().sum()) for g in grads.values()) ** 0.5)


def _compare(
    held: dict[str, torch.Tensor], own: dict[str, torch.Tensor]
) -> tuple[float | None, bool]:
    """Return how many times ``held`` contains ``own``, and whether it contains nothing else."""
    square = _size(own) ** 2
    if not square or not own:
        return None, False
    ratio = sum(float((held[n] * own[n]).sum()) for n in own) / square
    rest = {n: held[n] - ratio * own[n] for n in own}
    return ratio, _size(rest) <= ROUNDING * _size(held)


def _before_the_step(trial: Trial) -> dict[str, torch.Tensor] | None:
    """Return the gradient of the batch at the parameters before the last step of the optimiser.

    A step that lowers the loss much also lowers the gradient, which proves nothing. None where the
    step cannot be taken back.
    """
    optimizer = trial.optimizer
    assert optimizer is not None
    names = {id(p): name for name, p in trial.run.parameters.items()}
    with Kept(trial.model), torch.no_grad():
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None or id(p) not in names:
                    continue
                earlier = _earlier(optimizer, group, p)
                if earlier is None:
                    return None
                p.copy_(earlier)
        with contextlib.suppress(Exception), torch.enable_grad():
            run = Run(trial.model, trial.loss_fn, trial.x, trial.y)
            return _own(run, {name: torch.empty(0) for name in trial.run.parameters})
    return None


def _earlier(optimizer: Any, group: dict[str, Any], p: torch.Tensor) -> torch.Tensor | None:
    """Return a parameter before the last step."""
    if group.get("maximize") or group.get("amsgrad") or isinstance(group["lr"], torch.Tensor):
        return None
    step = step_of(optimizer, group, p)
    if step is None:
        return None
    rate, decay = float(group["lr"]), float(group.get("weight_decay", 0.0))
    if isinstance(optimizer, torch.optim.AdamW):
        return (p + step) / (1 - rate * decay)
    if type(optimizer) is torch.optim.SGD and not group["momentum"]:
        return (p + step) / (1 - rate * decay)
    return p + step


def step_of(optimizer: Any, group: dict[str, Any], p: torch.Tensor) -> torch.Tensor | None:
    """Return what the last step took from a parameter, beside weight decay, or None."""
    rate, state = float(group["lr"]), optimizer.state.get(p, {})
    if type(optimizer) is torch.optim.SGD:
        assert p.grad is not None
        buffer = state.get("momentum_buffer")
        if not group["momentum"]:
            return rate * p.grad
        if buffer is None:
            return None
        return rate * (p.grad + group["momentum"] * buffer if group["nesterov"] else buffer)
    if type(optimizer) in _ADAM and "exp_avg" in state:
        one, two = (float(b) for b in group["betas"])
        t = float(state["step"])
        spread = (state["exp_avg_sq"] / (1 - two**t)).sqrt() + group["eps"]
        return rate * (state["exp_avg"] / (1 - one**t)) / spread
    return None


def updates(trial: Trial) -> Iterator[Finding]:
    """Find weights that the next step changes by a large share of their size."""
    optimizer = trial.optimizer
    if optimizer is None:
        return
    names = {id(p): name for name, p in trial.run.parameters.items()}
    worst: list[tuple[float, str, float, float]] = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            value = trial.run.named.get(names.get(id(p), ""))
            if p.dim() < 2 or value is None or value.grad is None or value.grad.is_sparse:
                continue
            size = float(p.detach().double().norm())
            fan_in = p[0].numel()
            if size < SMALL_START * (p.numel() / fan_in) ** 0.5:
                continue
            step = _next(optimizer, group, p, value.grad)
            if step is not None and step > UPDATE * size:
                worst.append((step / size, names[id(p)], step, size))
    if not worst:
        return
    ratio, name, step, size = max(worst)
    others = "" if len(worst) == 1 else f" {times(len(worst), 'weight')} move that far: "
    listed = others + (
        some(n for _, n, _, _ in sorted(worst, reverse=True)) + "." if others else ""
    )
    yield Finding(
        "exploding", "error", name,
        f"The next step changes {name} by {ratio:.3g} times its own size (step {step:.3g}, weights "
        f"{size:.3g}).{listed}",
        "η ∂C/∂w: the step is too large for the loss to follow its tangent.",
        "Lower the learning rate, clip the gradient, or scale the inputs and targets.",
        {"step": step, "size": size, "ratio": ratio},
    )  # fmt: skip


def _next(optimizer: Any, group: dict[str, Any], p: torch.Tensor, grad: torch.Tensor) -> Any:
    """Return the norm of the next step of SGD or Adam with this gradient, or None."""
    rate = float(group["lr"])
    grad = grad.double()
    state = optimizer.state.get(p, {})
    if isinstance(optimizer, torch.optim.SGD):
        buffer = state.get("momentum_buffer")
        step = grad if buffer is None else grad + group["momentum"] * buffer.double()
        return rate * float(step.norm())
    if isinstance(optimizer, _ADAM):
        one, two = (float(b) for b in group["betas"])
        t = float(state.get("step", 0.0)) + 1
        first = one * state.get("exp_avg", torch.zeros_like(p)).double() + (1 - one) * grad
        second = two * state.get("exp_avg_sq", torch.zeros_like(p)).double() + (1 - two) * grad**2
        spread = (second / (1 - two**t)).sqrt() + group["eps"]
        return rate * float((first / (1 - one**t) / spread).norm())
    return None


def registered(trial: Trial) -> Iterator[Finding]:
    """Find parameters that no step changes: not in the optimiser, or not in the model."""
    run, optimizer = trial.run, trial.optimizer
    groups = [] if optimizer is None else optimizer.param_groups
    stepped = {id(p) for group in groups for p in group["params"]}
    if optimizer is not None:
        by_id: dict[int, str] = {}
        for name, p in trial.model.named_parameters():
            by_id.setdefault(id(p), name)
        trained = {i: n for i, n in by_id.items() if _has_gradient(run, n)}
        left = [n for i, n in trained.items() if i not in stepped]
        if left and len(left) < len(trained):
            yield _unregistered(
                some(left, 3),
                f"{times(len(left), 'parameter')} of {len(trained)} with a gradient "
                f"{'is' if len(left) == 1 else 'are'} not in the optimiser: {some(left)}",
                "Build the optimiser from model.parameters() after the model is complete.",
            )
        if left and len(left) == len(trained):
            yield _unregistered(
                "optimizer",
                "The optimiser has none of the parameters with a gradient: the model was made "
                "again, or copied, after the optimiser",
                "Build the optimiser from model.parameters() of the model that you train.",
            )  # fmt: skip
        frozen = [
            n for i, n in by_id.items() if i in stepped and not run.parameters[n].requires_grad
        ]
        if frozen:
            yield Finding(
                "frozen-or-unregistered", "note", some(frozen, 3),
                f"{times(len(frozen), 'parameter')} of the optimiser "
                f"{'is' if len(frozen) == 1 else 'are'} frozen (requires_grad=False): "
                f"{some(frozen)}.",
                "∂C/∂w is not computed.", "No fault if it is meant.", {"parameters": len(frozen)},
            )  # fmt: skip
    yield from _outside(trial, stepped)


def _has_gradient(run: Run, name: str) -> bool:
    value = run.named.get(name)
    return value is not None and value.grad is not None


def _of_loss(trial: Trial) -> set[int]:
    if isinstance(trial.loss_fn, torch.nn.Module):
        return {id(p) for p in trial.loss_fn.parameters()}
    return set()


def _outside(trial: Trial, stepped: set[int]) -> Iterator[Finding]:
    """Find weights that the run used and differentiated, but that the model does not list."""
    hidden = _hidden(trial.model)
    listed = {id(p) for p in trial.model.parameters()} | _of_loss(trial) | stepped
    found = {name: p for name, p in hidden.items() if id(p) not in listed and p.requires_grad}
    if found:
        names = list(found)
        yield _unregistered(
            some(names, 3),
            f"{times(len(names), 'tensor')} of the model {'is' if len(names) == 1 else 'are'} not "
            f"registered, so model.parameters() leaves {'it' if len(names) == 1 else 'them'} out: "
            f"{some(names)}",
            "Hold modules in nn.ModuleList or nn.ModuleDict, and tensors in nn.Parameter or "
            "nn.ParameterList.",
        )


def _hidden(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights in plain lists, tuples, dictionaries and attributes of modules."""
    found: dict[str, torch.Tensor] = {}
    for path, module in model.named_modules():
        for key, held in vars(module).items():
            if key.startswith("_"):
                continue
            start = f"{path}.{key}" if path else key
            for name, item in _items(start, held, 0):
                if isinstance(item, torch.nn.Module):
                    for inner, p in item.named_parameters():
                        found[f"{name}.{inner}"] = p
                elif isinstance(item, torch.Tensor) and item.is_leaf and item.requires_grad:
                    found[name] = item
    return found


def _items(name: str, held: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(held, (list, tuple)) and depth < 3 and len(held) <= 1000:
        for i, item in enumerate(held):
            yield from _items(f"{name}[{i}]", item, depth + 1)
    elif isinstance(held, dict) and depth < 3 and len(held) <= 1000:
        for key, item in held.items():
            yield from _items(f"{name}[{key!r}]", item, depth + 1)
    else:
        yield name, held


def _unregistered(where: str, words: str, advice: str) -> Finding:
    return Finding(
        "frozen-or-unregistered", "error", where, words + ".",
        "w ← w − η ∂C/∂w: the derivative is there, but no step uses it.", advice,
    )  # fmt: skip

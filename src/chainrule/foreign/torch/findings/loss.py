"""Rules about the loss: what is passed to it, and what it makes of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch

from chainrule.diagnose.finding import Finding, some, times
from chainrule.diagnose.thresholds import ROUNDING
from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.findings.trial import Trial, arguments, number_of, place, source
from chainrule.foreign.torch.kept import Kept

_CLASSES = ("cross_entropy", "cross_entropy_loss", "nll_loss")
_LOGITS = "binary_cross_entropy_with_logits"
_SUBTRACTS = frozenset(("sub", "__sub__", "rsub", "__rsub__", "subtract"))
_PAIRED = frozenset((
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "kl_div",
    "soft_margin_loss",
))  # fmt: skip
_RANGES = {  # of the outputs of a function
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0), "relu": (0.0, float("inf")), "softplus": (0.0, float("inf")),
}  # fmt: skip
_SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def double_softmax(trial: Trial) -> Iterator[Finding]:
    """Find a softmax or sigmoid whose result goes into a loss that applies one, or expects logs."""
    for call, given in trial.losses():
        value = given.get("input")
        maker = source(value)
        if maker is None:
            continue
        into = "cross_entropy" if call.name.startswith("cross") else call.name
        if call.name in _CLASSES[:2] and maker.name == "softmax":
            words = (
                f"{place(maker)} makes probabilities, and {into} applies a softmax to them again: "
                f"a probability cannot exceed {_cap(value):.3g}, so the loss of a sample cannot "
                f"fall below {_least(value):.3g}"
            )
            advice = "Return the logits from the model, and apply softmax only to predict."
            factor = "∂C/∂z: the Jacobian of the softmax stands in it twice, and shrinks it"
        elif call.name == "nll_loss" and maker.name == "softmax":
            words = (
                f"nll_loss expects logarithms of probabilities, and {place(maker)} returns the "
                "probabilities themselves"
            )
            advice = "Use log_softmax, or return the logits and use cross_entropy."
            factor = "∂C/∂a: it is −1 instead of −1/a"
        elif call.name == _LOGITS and maker.name in ("sigmoid", "sigmoid_"):
            words = f"{place(maker)} makes probabilities, and {into} applies a sigmoid again"
            advice = "Return z from the model, or use binary_cross_entropy."
            factor = "∂C/∂z: σ′(z) stands in it once more, and is at most 0.25"
        else:
            continue
        yield Finding("double-softmax", "error", place(maker), words + ".", factor + ".", advice)


def _cap(value: Any) -> float:
    """Return the largest probability that a softmax of probabilities can reach."""
    classes = _n_classes(value)
    e = float(torch.e)
    return e / (e + classes - 1)


def _least(value: Any) -> float:
    return float(-torch.log(torch.tensor(_cap(value), dtype=torch.float64)))


def _n_classes(value: Any) -> int:
    t = number_of(value)
    return int(t.shape[1] if t.dim() > 1 else t.shape[0])


def target_broadcast(trial: Trial) -> Iterator[Finding]:
    """Find an output and a target that broadcast to all pairs of samples."""
    for call in trial.run.calls:
        if (call.name not in _PAIRED and call.name not in _SUBTRACTS) or not trial.matters(call):
            continue
        pair = call.args[:2]
        if len(pair) < 2 or not all(isinstance(v, Value) for v in pair):
            continue
        if call.name in _SUBTRACTS and not _with_target(trial, pair):
            continue
        one, other = (tuple(v.data.shape) for v in pair)
        both = _broadcast(one, other)
        size = max(v.data.numel() for v in pair)
        if both is None or torch.Size(both).numel() <= size:
            continue
        yield Finding(
            "target-broadcast", "error", place(call),
            f"{place(call)} is given shapes {_shape(one)} and {_shape(other)}, which broadcast to "
            f"{_shape(both)}: every output is compared with the target of every sample, "
            f"{torch.Size(both).numel():,} pairs instead of {size:,}.",
            "∂C/∂a: it is the mean over all targets, so that each output is pulled to their mean.",
            "Give both the same shape, such as output.squeeze(1) or y.unsqueeze(1).",
            {"output": str(one), "target": str(other), "pairs": torch.Size(both).numel()},
        )  # fmt: skip


def _with_target(trial: Trial, pair: list[Any]) -> bool:
    """Return whether one of a pair is the target, and only the other has a derivative."""
    follows = [v.edge is not None for v in pair]
    if sum(follows) != 1 or not isinstance(trial.target, torch.Tensor):
        return False
    constant = pair[follows.index(False)].data
    return constant.numel() == trial.target.numel() and bool(
        (constant.reshape(-1).double() == trial.target.reshape(-1).double()).all()
    )


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(torch.broadcast_shapes(one, other))
    except RuntimeError:
        return None


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def target_range(trial: Trial) -> Iterator[Finding]:
    """Find targets that a loss does not take as they are meant, or that no output can reach."""
    for call, given in trial.losses():
        y = number_of(given["target"]) if "target" in given else None
        if y is None or not y.numel():
            continue
        if call.name in _CLASSES and y.is_floating_point():
            yield from _probabilities(trial, call, y)
        elif call.name in ("binary_cross_entropy", _LOGITS):
            yield from _outside(trial, call, y, 0.0, 1.0, "probabilities between 0 and 1")
        elif call.name == "poisson_nll_loss":
            yield from _outside(trial, call, y, 0.0, float("inf"), "counts from 0 on")
        elif call.name in ("soft_margin_loss", "hinge_embedding_loss"):
            yield from _signs(trial, call, y)
        elif call.name in _SQUARED:
            maker = source(given.get("input"))
            if maker is not None and maker.name in _RANGES:
                yield from _unreachable(trial, maker, y)


def _outside(
    trial: Trial, call: Call, y: torch.Tensor, low: float, high: float, expected: str
) -> Iterator[Finding]:
    bad = (y < low) | (y > high)
    if bool(bad.any()):
        yield _range(
            trial, place(call), y, bad, f"{call.name} expects {expected}",
            "∂C/∂z = σ(z) − y does not reach 0, so z grows without end"
            if high == 1.0 else "∂C/∂a has no root",
            "Map the targets, such as (y + 1) / 2 for targets of −1 and 1."
            if high == 1.0 else "Use targets that are counts.", "error",
        )  # fmt: skip


def _signs(trial: Trial, call: Call, y: torch.Tensor) -> Iterator[Finding]:
    bad = (y != 1) & (y != -1)
    if bool(bad.any()):
        yield _range(
            trial, place(call), y, bad, f"{call.name} expects −1 and 1",
            "∂C/∂z has the factor y: where y is 0 the sample has no gradient",
            "Map classes 0 and 1 with 2 * y - 1.", "error",
        )  # fmt: skip


def _probabilities(trial: Trial, call: Call, y: torch.Tensor) -> Iterator[Finding]:
    d = 1 if y.dim() > 1 else 0
    mass = y.double().sum(d)
    bad = ((mass - 1).abs() > ROUNDING) | (y < 0).any(d)
    if bool(bad.any()):
        yield _range(
            trial, place(call), mass, bad,
            f"{call.name} expects probabilities that sum to 1 in each row; the sums are",
            "∂C/∂z = a Σy − y does not sum to 0, so it scales with the sum of the row",
            "Divide each row by its sum, or pass integer classes.", "error",
        )  # fmt: skip


def _unreachable(trial: Trial, maker: Call, y: torch.Tensor) -> Iterator[Finding]:
    low, high = _RANGES[maker.name]
    if maker.name == "hardtanh":
        given = arguments(maker, ("input", "min_val", "max_val"))
        low, high = float(given.get("min_val", low)), float(given.get("max_val", high))
    slack = ROUNDING * max(1.0, float(y.abs().max()))
    bad = (y < low - slack) | (y > high + slack)
    if bool(bad.any()):
        limits = f"from {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        yield _range(
            trial, place(maker), y, bad, f"the output of {place(maker)} is {limits}",
            f"g′ of {maker.name}: the outputs go to its flat end, where g′ is 0 and no gradient "
            "passes",
            f"Scale the targets into that range, or leave {maker.name} out of the last layer.",
            "warning",
        )  # fmt: skip


def _range(
    trial: Trial, where: str, y: torch.Tensor, bad: torch.Tensor, expects: str, factor: str,
    advice: str, level: Any,
) -> Finding:  # fmt: skip
    at = sorted({int(i) for i in bad.nonzero()[:, 0]}) if bad.dim() else [0]
    rows = trial.rows(at) if trial.has_rows(bad) else ()
    which = f", such as in {'row' if len(rows) == 1 else 'rows'} {some(rows)}" if rows else ""
    return Finding(
        "wrong-target-range", level, where,
        f"{times(int(bad.sum()), 'target')} of {bad.numel():,} cannot be right: {expects}, and "
        f"targets go from {float(y.min()):.4g} to {float(y.max()):.4g}{which}.",
        factor + ".", advice,
        {"smallest": float(y.min()), "largest": float(y.max()), "outside": int(bad.sum())},
        rows=rows,
    )  # fmt: skip


def failed_loss(trial: Trial) -> Iterator[Finding]:
    """Find class numbers that made the loss raise an error."""
    output, y = trial.output, trial.target
    if not isinstance(output, torch.Tensor) or not isinstance(y, torch.Tensor):
        return
    if output.dim() < 1 or y.dtype == torch.bool or not y.numel():
        return
    if y.is_floating_point():
        yield from _floats(trial, output, y)
        return
    if y.shape == output.shape and output.dim() > 1 and "floating point" in str(trial.failed):
        yield _of_wrong_dtype(
            trial, y, f"as many integers as the output has numbers, {_shape(tuple(y.shape))}",
            "probabilities of classes as floats", "Pass y.float(), or the classes y.argmax(1).",
        )  # fmt: skip
        return
    classes = output.shape[1] if output.dim() > 1 else output.shape[0]
    ignored = int(getattr(trial.loss_fn, "ignore_index", -100))
    bad = ((y < 0) | (y >= classes)) & (y != ignored)
    if not bool(bad.any()):
        return
    shift = int(y.min()) == 1 and int(y.max()) == classes
    advice = "Subtract 1: classes count from 0." if shift else (
        f"Give the last layer {int(y.max()) + 1} outputs, or renumber the classes."
    )  # fmt: skip
    yield _range(
        trial, "loss", y, bad,
        f"the model has {classes} outputs, so classes are 0 to {classes - 1}",
        "C: −ln a of a class that has no output does not exist", advice, "error",
    )  # fmt: skip


def _floats(trial: Trial, output: torch.Tensor, y: torch.Tensor) -> Iterator[Finding]:
    """Find class numbers that are not integers."""
    fits = output.dim() > 1 and y.shape == (output.shape[0], *output.shape[2:])
    if not fits or "Long" not in str(trial.failed) or bool((y != y.round()).any()):
        return
    dtype = str(y.dtype).removeprefix("torch.")
    yield _of_wrong_dtype(
        trial, y, f"whole numbers from {float(y.min()):.4g} to {float(y.max()):.4g} in {dtype}",
        "class numbers as integers", "Pass y.long().",
    )  # fmt: skip


def _of_wrong_dtype(trial: Trial, y: torch.Tensor, holds: str, takes: str, advice: str) -> Finding:
    return Finding(
        "wrong-target-range", "error", "loss",
        f"The targets hold {holds}; the loss takes {takes}, and raised an error: {trial.failed}.",
        "C: −ln a of a class, whose number is an index, or its mean over probabilities.", advice,
        {"smallest": float(y.min()), "largest": float(y.max())},
    )  # fmt: skip


def _kept(loss_fn: Any) -> Any:
    """Return what puts the random generators back, and a loss that has a state of its own."""
    return Kept(loss_fn if isinstance(loss_fn, torch.nn.Module) else torch.nn.Module())


def sum_not_mean(trial: Trial) -> Iterator[Finding]:
    """Find a loss that doubles when each sample stands in the batch twice."""
    output, y = trial.output, trial.target
    if trial.loss_fn is None or not isinstance(output, torch.Tensor) or not trial.has_rows(output):
        return
    if y is not None and not (isinstance(y, torch.Tensor) and len(y) == len(output)):
        return
    with warnings.catch_warnings(), torch.no_grad(), _kept(trial.loss_fn):
        warnings.simplefilter("ignore")
        try:
            doubled = [] if y is None else [torch.cat([y, y])]
            once = float(trial.loss_fn(output, *([] if y is None else [y])))
            twice = float(trial.loss_fn(torch.cat([output, output]), *doubled))
        except Exception:  # a loss that is made for one size of batch says nothing here
            return
    if not once or abs(twice / once - 2) > ROUNDING:
        return
    yield Finding(
        "loss-sum-not-mean", "warning", "loss",
        f"The loss is a sum over the {times(trial.n, 'sample')}: it doubles when every sample "
        f"stands in the batch twice ({once:.6g} becomes {twice:.6g}). The mean is "
        f"{once / trial.n:.6g}.",
        f"∂C/∂C_i: it is 1 instead of 1/{trial.n}, so each gradient is {trial.n} times that of "
        "the mean, and the learning rate fits one batch size only.",
        "Use reduction='mean', or divide the loss by the number of samples.",
        {"loss": once, "loss of the doubled batch": twice, "samples": trial.n},
    )  # fmt: skip

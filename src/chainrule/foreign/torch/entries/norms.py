"""Entries of calls that normalise: batch, instance, group, layer and RMS norm, softmax."""

from __future__ import annotations

import math

import torch

from chainrule.foreign.entries import ZERO, Found, Index
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _normalised(
    b: Bound, which: str, i: Index, o: Index, group: tuple[slice | int, ...], at: Index | None,
    eps: float, statistics: tuple[float, float] | None = None,
) -> Found:  # fmt: skip
    """Return ∂out/∂in of out = γ (x - μ) / s + β, μ and s² being the mean and variance of a group.

    ``at`` is the element of γ and β that belongs to the place; ``statistics`` are a mean and a
    variance that do not depend on x.
    """
    x = b.data("input").double()
    members = x[group]
    mean, variance = statistics or (float(members.mean()), float(members.var(unbiased=False)))
    s, w = math.sqrt(variance + eps), b.tensor("weight")
    gamma = 1.0 if w is None or at is None else number(w, at)
    u, v = (number(x, o) - mean) / s, 0.0
    if which == "weight":
        return ("u", {"u": u}) if i == at else ZERO
    if which == "bias":
        return ("1", {}) if i == at else ZERO
    if which != "input":
        return "", {}
    if statistics is not None:
        return ("c / s", {"c": gamma, "s": s}) if i == o else ZERO
    inside = torch.zeros_like(x, dtype=torch.bool)
    inside[group] = True
    if not bool(inside[i]):
        return ZERO
    v = (number(x, i) - mean) / s
    same = "1 - 1 / m" if i == o else "-1 / m"
    names = {"c": gamma, "s": s, "m": float(members.numel()), "u": u, "v": v}
    return f"c / s * ({same} - u * v / m)", names


def _batch(b: Bound, which: str, i: Index, o: Index) -> Found:
    eps, channel = float(b.option("eps", 1e-5)), o[1]
    group = (slice(None), channel)
    training = bool(b.option("training", False))
    fixed = None
    if not training:
        mean, variance = b.data("running_mean"), b.data("running_var")
        fixed = (number(mean, (channel,)), number(variance, (channel,)))
    return _normalised(b, which, i, o, group, (channel,), eps, fixed)


def _instance(b: Bound, which: str, i: Index, o: Index) -> Found:
    if b.option("use_input_stats", True) is False:
        return "", {}
    return _normalised(b, which, i, o, (o[0], o[1]), (o[1],), float(b.option("eps", 1e-5)))


def _group(b: Bound, which: str, i: Index, o: Index) -> Found:
    size = b.data("input").shape[1] // int(b.option("num_groups", 1))
    first = o[1] // size * size
    group = (o[0], slice(first, first + size))
    return _normalised(b, which, i, o, group, (o[1],), float(b.option("eps", 1e-5)))


def _layer(b: Bound, which: str, i: Index, o: Index) -> Found:
    shape = b.option("normalized_shape", ())
    rows = len(o) - len(shape)
    return _normalised(b, which, i, o, o[:rows], o[rows:], float(b.option("eps", 1e-5)))


def _rms(b: Bound, which: str, i: Index, o: Index) -> Found:
    shape = b.option("normalized_shape", ())
    rows = len(o) - len(shape)
    x = b.data("input").double()
    members = x[o[:rows]]
    eps = b.option("eps", None)
    eps = torch.finfo(b.data("input").dtype).eps if eps is None else eps
    s = math.sqrt(float(members.square().mean()) + eps)
    u = number(x, o) / s
    if which == "weight":
        return ("u", {"u": u}) if i == o[rows:] else ZERO
    if i[:rows] != o[:rows]:
        return ZERO
    w = b.tensor("weight")
    gamma = 1.0 if w is None else number(w, o[rows:])
    names = {"c": gamma, "s": s, "m": float(members.numel()), "u": u, "v": number(x, i) / s}
    return f"c / s * ({'1' if i == o else '0'} - u * v / m)", names


def dimension(b: Bound, name: str = "dim") -> int:
    """Return the dimension along which a call works, from the front."""
    dims = b.out.dim() or 1
    given = b.option(name, None)
    if given is None:
        raise LookupError(name)
    return int(given) % dims


def along(i: Index, o: Index, d: int) -> bool:
    """Return whether two elements stand in one line along a dimension."""
    return i[:d] == o[:d] and i[d + 1 :] == o[d + 1 :]


def _softmax(b: Bound, which: str, i: Index, o: Index) -> Found:
    if which != "input" or not along(i, o, dimension(b)):
        return ZERO
    a = number(b.out, o)
    if i == o:
        return "a * (1 - a)", {"a": a}
    return "-a * q", {"a": a, "q": number(b.out, i)}


def _log_softmax(b: Bound, which: str, i: Index, o: Index) -> Found:
    if which != "input" or not along(i, o, dimension(b)):
        return ZERO
    q = math.exp(number(b.out, i))
    return ("1 - q" if i == o else "-q"), {"q": q}


def _normalize(b: Bound, which: str, i: Index, o: Index) -> Found:
    d = int(b.option("dim", 1)) % b.out.dim()
    if float(b.option("p", 2.0)) != 2 or not along(i, o, d):
        return ("", {}) if float(b.option("p", 2.0)) != 2 else ZERO
    x = b.data("input").double()
    n = float(x[(*o[:d], slice(None), *o[d + 1 :])].norm())
    if n <= float(b.option("eps", 1e-12)):
        return "", {}
    names = {"n": n, "u": number(b.out, o), "v": number(b.out, i)}
    return f"({'1' if i == o else '0'} - u * v) / n", names


_SAYS = "out = γ (x - μ) / s + β"
_ALL = "γ, β and all elements of"
ENTRIES = (
    Entry(("batch_norm",), ("input", "running_mean", "running_var", "weight", "bias", "training",
                            "momentum", "eps"),
          _SAYS, f"{_ALL} its channel (μ and s are theirs, or those stored in eval mode)", _batch),
    Entry(("instance_norm",), ("input", "running_mean", "running_var", "weight", "bias",
                               "use_input_stats", "momentum", "eps"),
          _SAYS, f"{_ALL} its channel in its sample (μ and s are theirs)", _instance),
    Entry(("group_norm",), ("input", "num_groups", "weight", "bias", "eps"),
          _SAYS, f"{_ALL} its group of channels in its sample (μ and s are theirs)", _group),
    Entry(("layer_norm",), ("input", "normalized_shape", "weight", "bias", "eps"),
          _SAYS, f"{_ALL} its row (μ and s are theirs)", _layer),
    Entry(("rms_norm",), ("input", "normalized_shape", "weight", "eps"),
          "out = γ x / s", f"{_ALL} its row (s is the root of their mean square)", _rms),
    Entry(("softmax", "_softmax"), ("input", "dim"), "a = exp(x) / Σ exp(x)",
          "all elements of its line", _softmax),
    Entry(("log_softmax",), ("input", "dim"), "a = x - ln Σ exp(x)", "all elements of its line",
          _log_softmax),
    Entry(("normalize",), ("input", "p", "dim", "eps"), "out = x / √(Σ x²)",
          "all elements of its line", _normalize),
)  # fmt: skip

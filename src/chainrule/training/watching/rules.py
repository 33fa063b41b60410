"""Rules: our optimisers in the words of `chainrule.diagnose.rules`, which are PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.diagnose.moves import before
from chainrule.diagnose.rules import Memory
from chainrule.equations import optimizers
from chainrule.equations.optimizers import Optimizer

_KINDS: dict[str, type[Optimizer]] = {
    kind.__name__: kind
    for kind in (
        optimizers.GradientDescent, optimizers.AdaGrad, optimizers.RMSProp, optimizers.Adam,
        optimizers.AdamW,
    )
}  # fmt: skip
_WORDS = {"decay": "alpha", "epsilon": "eps"}


def rule_of(optimizer: Optimizer) -> str | None:
    """Return the name of an optimiser whose steps can be split, or None of a custom one."""
    kind = type(optimizer)
    return kind.__name__ if _KINDS.get(kind.__name__) is kind else None


def settings_of(optimizer: Optimizer) -> dict[str, Any]:
    """Return the hyperparameters of an optimiser but its learning rate, as rules read them."""
    if rule_of(optimizer) is None:
        return {}
    held = {key: value for key, value in vars(optimizer).items() if key != "learning_rate"}
    if "beta1" in held:
        held["betas"] = [held.pop("beta1"), held.pop("beta2")]
    return {_WORDS.get(key, key): value for key, value in held.items()}


def optimizer_of(plain: Mapping[str, Any]) -> Optimizer | None:
    """Return the optimiser that `checkpoints.plain` described, without its learning rate.

    None stands for a custom one, which the description does not make.
    """
    kind = _KINDS.get(plain["name"])
    if kind is None:
        return None
    held = {key: value for key, value in plain.items() if key not in ("name", "learning_rate")}
    return kind(learning_rate=1.0, **held)  # type: ignore[call-arg]


def memory_of(slots: Mapping[str, Any], place: int, rule: str, count: int, fresh: bool) -> Memory:
    """Return what an optimiser remembers of one parameter after so many steps."""
    if fresh:
        return Memory(count)
    names = ("m", "v") if rule in ("Adam", "AdamW") else ("v", "s")
    momentum, squares = (float(slots[n][place]) if n in slots else None for n in names)
    return Memory(count, before(momentum), {} if squares is None else {None: squares})

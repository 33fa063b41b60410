"""Plain models: a Sequential of Linear layers and activations is explained as a network is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from chainrule._exports import exported
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.targets import Bias, Target, Weight
from chainrule.explain import notation as notations
from chainrule.explain.explanation import Explanation, explain
from chainrule.explain.notation import Notation
from chainrule.foreign.torch import converting
from chainrule.foreign.torch.explanation import TorchExplanation

if TYPE_CHECKING:
    from chainrule.foreign.torch.reasons import Kind
    from chainrule.verify import Certificate


@exported("chainrule")
class TorchNetworkExplanation(Explanation):
    """The explanation of a weight or bias of a plain Sequential, as `Network.explain` makes it.

    Attributes:
        recorded: The `TorchExplanation` of the same number: the calls of PyTorch.
    """

    recorded: TorchExplanation

    @property
    def value(self) -> float:
        """Return the derivative: exactly the number that PyTorch computes, in the model's dtype."""
        return self.recorded.value

    @property
    def certificate(self) -> Certificate:
        """Return the certificate of the number in float64, which the terms show."""
        from chainrule.verify import certify

        return certify(self.network, self.target, self.gradient.forward.a[0], self.y)

    @property
    def reason(self) -> str:
        """Return why the derivative is 0 or missing, in a sentence, or ""."""
        return self.recorded.reason

    @property
    def kind(self) -> Kind:
        """Return the kind of `reason`, in a word or two, or ""."""
        return self.recorded.kind

    def explain(self, target: str) -> Any:
        """Explain another number of the same run of the model, call by call.

        Args:
            target: As for `explain_torch`.
        """
        return self.recorded.explain(target)

    def in_notation(self, notation: Notation | str) -> TorchNetworkExplanation:
        """Return the same explanation in another notation.

        Args:
            notation: A `Notation`, or the name of one that ships.
        """
        return _of(super().in_notation(notations.get(notation)), self.recorded)


def _of(why: Explanation, recorded: TorchExplanation) -> TorchNetworkExplanation:
    made = TorchNetworkExplanation(
        why.network, why.target, why.gradient, why.y, sample_weight=None, dropout_step=None,
        learning_rate=None, focus=why.focus, notation=why.notation,
    )  # fmt: skip
    made.recorded = recorded
    return made


def as_network(
    model: nn.Module,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    recorded: TorchExplanation,
    notation: Notation,
) -> TorchNetworkExplanation | None:
    """Return the explanation of the network that a model is, or None if it is none."""
    if loss_fn is None or not (isinstance(x, torch.Tensor) and x.dim() == 2):
        return None
    if not isinstance(y, torch.Tensor):
        return None
    try:
        parts = converting.parts(model)
        net = converting.network(model, loss_fn, FeedForward)
    except ValueError:
        return None
    target = _target(parts, recorded.target)
    if target is None or parts.dropping or recorded.kind == "frozen":
        return None
    same_shape = y.shape == (len(x), net.sizes[-1])
    if not same_shape and (net.loss.name != "cross_entropy" or y.dim() != 1):
        return None  # PyTorch spreads one against the other
    if net.loss.name == "cross_entropy" and y.dim() == 1 and bool((y < 0).any()):
        return None  # a class that is ignored
    try:
        X, rows = (t.detach().cpu().numpy() for t in (x, y))
        why = explain(net, target, X, rows, notation=notation)
    except (TypeError, ValueError):
        return None
    return _of(why, recorded)


def _target(parts: converting.Parts, text: str) -> Target | None:
    name, _, rest = text.partition("[")
    index = [int(i) for i in rest.rstrip("]").split(",") if i]
    for l, (path, _) in enumerate(parts.linear, start=1):
        before = f"{path}." if path else ""
        if name == f"{before}weight":
            return Weight(l, *index)
        if name == f"{before}bias":
            return Bias(l, *index)
    return None

"""Converting: a Sequential of Linear layers and activations as a network, and a network as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import Loss
from chainrule.foreign.averaged import averaged

N = TypeVar("N", bound=FeedForward)

# Modules without options, by the name of the activation.
_PLAIN: dict[type[nn.Module], str] = {
    nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.ReLU: "relu", nn.SiLU: "silu",
    nn.Identity: "identity",
}  # fmt: skip
_LOSSES: dict[Any, str] = {
    nn.MSELoss: "squared_error", nn.L1Loss: "absolute_error", nn.HuberLoss: "huber",
    nn.SmoothL1Loss: "huber", nn.CrossEntropyLoss: "cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy", nn.BCELoss: "binary_cross_entropy",
    nn.NLLLoss: "cross_entropy",
    F.mse_loss: "squared_error", F.l1_loss: "absolute_error", F.huber_loss: "huber",
    F.smooth_l1_loss: "huber", F.cross_entropy: "cross_entropy",
    F.binary_cross_entropy_with_logits: "binary_cross_entropy",
    F.binary_cross_entropy: "binary_cross_entropy", F.nll_loss: "cross_entropy",
}  # fmt: skip
_LOGITS = {
    "CrossEntropyLoss": "softmax", "cross_entropy": "softmax", "BCEWithLogitsLoss": "sigmoid",
    "binary_cross_entropy_with_logits": "sigmoid",
}  # fmt: skip


@dataclass
class Parts:
    """What a Sequential is made of.

    Attributes:
        linear: Its Linear layers with their names.
        activations: The activation after each, "" where none follows yet.
        dropout: The rate of dropout after each.
        dropping: Whether a Dropout is in training mode.
    """

    linear: list[tuple[str, nn.Linear]] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    dropout: list[float] = field(default_factory=list)
    dropping: bool = False


def parts(model: nn.Module) -> Parts:
    """Return the parts of a model.

    Raises ValueError with all that cannot be converted, layer by layer.
    """
    found, faults = Parts(), []
    for name, module in _flat("", model):
        fault = _take(found, name, module)
        if fault:
            faults.append(f"{name or 'the model'} ({type(module).__name__}) {fault}")
    if not faults and not found.linear:
        faults.append("there is no Linear layer")
    biases = [layer.bias is not None for _, layer in found.linear]
    if len(set(biases)) > 1:
        with_, without = (
            next(n for (n, _), has in zip(found.linear, biases, strict=True) if has is wanted)
            for wanted in (True, False)
        )
        faults.append(f"{with_} has a bias and {without} has none; all or no layers need one")
    for (a, first), (b, second) in zip(found.linear, found.linear[1:], strict=False):
        if first.out_features != second.in_features:
            faults.append(
                f"{a} has {first.out_features} outputs and {b} {second.in_features} inputs"
            )
    weights = [id(layer.weight) for _, layer in found.linear]
    if len(set(weights)) < len(weights):
        faults.append("two Linear layers share one weight")
    if faults:
        raise ValueError(
            "the model cannot become a network of fully connected layers: "
            + "; ".join(faults)
            + ". explain_torch explains it as it is"
        )
    return found


def _flat(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential:
        for key, child in module.named_children() if not _repeats(module) else _all(module):
            yield from _flat(f"{name}.{key}" if name else key, child)
    else:
        yield name, module


def _repeats(module: nn.Sequential) -> bool:
    return len({id(child) for child in module}) < len(module)


def _all(module: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Return the children with those that occur twice, which ``named_children`` leaves out."""
    for i, child in enumerate(module):
        yield str(i), child


def _take(found: Parts, name: str, module: nn.Module) -> str:
    """Add a module to the parts; return what speaks against it, or ""."""
    if module._forward_hooks or module._forward_pre_hooks:
        return "has a hook that may change its result"
    if type(module) is nn.Linear:
        if module.weight.dtype not in (torch.float32, torch.float64):
            return f"is of {str(module.weight.dtype).removeprefix('torch.')}"
        found.linear.append((name, module))
        found.activations.append("")
        found.dropout.append(0.0)
        return ""
    if type(module) is nn.Flatten and not found.linear:
        return ""
    if type(module) is nn.Dropout:
        if not found.linear or found.dropout[-1]:
            return "does not follow a hidden layer"
        found.dropout[-1] = float(module.p)
        found.dropping |= module.training and module.p > 0
        return ""
    activation = _activation(module)
    if not activation:
        return "is neither a Linear layer nor an activation that chainrule has"
    if not found.linear:
        return "stands before the first Linear layer"
    if found.activations[-1]:
        return f"follows another activation ({found.activations[-1]})"
    if found.dropout[-1]:
        return "follows a Dropout; expected it before"
    found.activations[-1] = activation
    return ""


def _activation(module: nn.Module) -> str:
    if type(module) in _PLAIN:
        return _PLAIN[type(module)]
    match module:
        case nn.LeakyReLU(negative_slope=0.01):
            return "leaky_relu"
        case nn.ELU(alpha=1.0):
            return "elu"
        case nn.GELU(approximate="none"):
            return "gelu"
        case nn.Softplus(beta=1.0):
            return "softplus"
        case nn.Softmax(dim=-1 | 1):
            return "softmax"
        case nn.LogSoftmax(dim=-1 | 1):
            return "log_softmax"
    return ""


def network(model: Any, loss: Any, make: Callable[..., N]) -> N:
    """Return a network with the parameters of a model.

    ``make`` is the class of networks; ``loss`` a loss of PyTorch, a name, a `Loss` or None.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    found = parts(model)
    output = found.activations[-1] or "identity"
    output, chosen = _loss(loss, output, found.linear[-1][1].out_features)
    if found.dropout[-1]:
        raise ValueError("the last Linear layer is followed by a Dropout, which no network has")
    layers = [layer for _, layer in found.linear]
    biases = layers[0].bias is not None
    options: dict[str, Any] = {} if chosen is None else {"loss": chosen}
    return make(
        [layers[0].in_features, *(layer.out_features for layer in layers)],
        hidden=[name or "identity" for name in found.activations[:-1]],
        output=output,
        biases=biases,
        dtype=str(layers[0].weight.dtype).removeprefix("torch."),
        seed=0,
        W=[_array(layer.weight) for layer in layers],
        b=[_array(layer.bias) for layer in layers] if biases else None,
        dropout=found.dropout[:-1],
        **options,
    )


def _array(t: torch.Tensor) -> Any:
    return t.detach().cpu().numpy()


def _loss(loss: Any, output: str, units: int) -> tuple[str, Any]:
    """Return the output activation and the loss that a loss of PyTorch stands for."""
    if loss is None or isinstance(loss, (str, Loss)):
        if output == "log_softmax":
            raise ValueError("the model ends in LogSoftmax; pass loss=nn.NLLLoss() with it")
        return output, loss
    key = loss if loss in _LOSSES else type(loss)
    name = _LOSSES.get(key)
    called = getattr(key, "__name__", type(loss).__name__)
    if name is None:
        raise ValueError(
            f"loss is {called}; expected MSELoss, L1Loss, HuberLoss, CrossEntropyLoss, NLLLoss, "
            "BCELoss, BCEWithLogitsLoss, or a loss of chainrule"
        )
    for option, plain in (("reduction", "mean"), ("weight", None), ("pos_weight", None),
                          ("label_smoothing", 0.0), ("delta", 1.0), ("beta", 1.0)):  # fmt: skip
        if getattr(loss, option, plain) != plain:
            raise ValueError(
                f"loss is {called} with {option}={getattr(loss, option)}; a network has it with "
                f"{option}={plain} alone"
            )
    after = _LOGITS.get(called)
    if after is not None:
        if output != "identity":
            raise ValueError(
                f"{called} applies {after} by itself, and the model ends in {output}; expected "
                "one of the two"
            )
        output = after
    elif called in ("NLLLoss", "nll_loss"):
        if output != "log_softmax":
            raise ValueError(f"{called} expects a model that ends in LogSoftmax, not in {output}")
        output = "softmax"
    elif output == "log_softmax":
        raise ValueError(f"the model ends in LogSoftmax; expected NLLLoss with it, not {called}")
    if units > 1 and name == "binary_cross_entropy":
        raise ValueError(
            f"{called} averages over the {units} outputs, and the loss of a network sums; expected "
            "a model with one output"
        )
    if units > 1 and name in ("squared_error", "absolute_error", "huber"):
        return output, averaged(name, units)
    return output, name


def module(net: FeedForward, logits: bool) -> nn.Sequential:
    """Return a Sequential with the parameters of a network."""
    made: list[nn.Module] = []
    dtype = torch.float64 if net.dtype == np.float64 else torch.float32
    last = len(net.sizes) - 1
    for l, layer in enumerate(net.weighted_layers, start=1):
        units, fan_in = layer.W.shape
        linear = nn.Linear(fan_in, units, bias=layer.b is not None, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.W))
            if layer.b is not None:
                linear.bias.copy_(torch.tensor(layer.b))
        made.append(linear)
        name = layer.activation.name
        if not (l == last and (logits or name == "identity")) and name != "identity":
            made.append(_module(name, l))
        if layer.dropout:
            made.append(nn.Dropout(layer.dropout))
    return nn.Sequential(*made)


def _module(name: str, layer: int) -> nn.Module:
    for kind, known in _PLAIN.items():
        if known == name:
            return kind()
    match name:
        case "leaky_relu":
            return nn.LeakyReLU(0.01)
        case "elu":
            return nn.ELU()
        case "gelu":
            return nn.GELU()
        case "softplus":
            return nn.Softplus(threshold=40)  # above, ln(1 + exp(z)) is z in float64
        case "softmax":
            return nn.Softmax(dim=-1)
    raise ValueError(
        f"layer {layer} has the activation {name!r}, for which PyTorch has no module; expected one "
        "that ships with chainrule, other than step"
    )

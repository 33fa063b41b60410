"""The functions that users call: explain a model of PyTorch, carry a network there."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation


def needed(what: str) -> ModuleType:
    """Return PyTorch.

    Raises ImportError, with what to do, where it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{what} needs PyTorch, which is not installed: pip install 'chainrule[torch]'"
        ) from error
    return torch


def explain_torch(
    model: Any,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    target: str,
    *,
    notation: Notation | str = "default",
) -> Any:
    """Explain one number of a PyTorch model: the derivative of the loss with respect to it.

    The model runs once, as it is, in its mode (training or eval), and is left as it was: its
    parameters, buffers, gradients, flags and the random generators.

    Args:
        model: The `torch.nn.Module`.
        loss_fn: The function from (output, y) to one number, such as ``nn.CrossEntropyLoss()``. It
            is called with the output alone if y is None. None takes the ``loss`` of the output.
        x: The input: a tensor, a tuple of arguments, or a dictionary of named arguments.
        y: The target, or None.
        target: What to explain: "fc1.weight[3,7]" (an element of a parameter), "fc1" (a module: the
            gradients of its parameters), "input[0,2]" ("input.1[...]" and "input.name[...]" of
            several), "layer1.0.relu:output[3,1,4,4]" (of a module's output), or
            "block:softmax[0,1]" (of the result of any call in a module).
        notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".

    Returns:
        The explanation: a `TorchExplanation`, or `TorchGradients` for a module. For a weight or
        bias of a Sequential of Linear layers and activations, it is the `Explanation` of the
        network that `from_torch` makes, with PyTorch's number.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: The model is not a module, or is scripted or sharded; the loss is not a tensor.
        ValueError: The model has no such number, or the loss is not one number or has no gradient.

    Examples:
        >>> import torch  # doctest: +SKIP
        >>> from torch import nn  # doctest: +SKIP
        >>> import chainrule as cr  # doctest: +SKIP
        >>> model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten())  # doctest: +SKIP
        >>> x, y = torch.ones(4, 1, 5), torch.zeros(4, 6)  # doctest: +SKIP
        >>> loss_fn, target = nn.MSELoss(), "0.weight[1,0,2]"  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, target)  # doctest: +SKIP
        >>> loss_fn(model(x), y).backward()  # doctest: +SKIP
        >>> why.value == float(model[0].weight.grad[1, 0, 2])  # doctest: +SKIP
        True
        >>> why.certificate.verdict  # doctest: +SKIP
        'pass'
        >>> why.terms[0].call, len(why.terms[0].contributions)  # doctest: +SKIP
        ('conv1d', 12)
    """
    needed("explain_torch")
    from chainrule.foreign.torch.asking import explain

    return explain(model, loss_fn, x, y, target, notations.get(notation))

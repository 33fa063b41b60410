"""The function that users call to diagnose a model of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.foreign.torch.explaining import needed

if TYPE_CHECKING:
    from chainrule.explain.findings import Diagnosis


def diagnose(
    model: Any,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    optimizer: Any = None,
    rows: Sequence[Any] | None = None,
) -> Diagnosis:
    """Return what is wrong with a PyTorch model, its loss, its batch or its optimiser.

    The model runs on the batch, as it is and in its mode, and is left as it was: its parameters,
    buffers, gradients, hooks, flags and the random generators. Call it where the model should learn
    and does not, best after ``loss.backward()``.

    Args:
        model: The `torch.nn.Module`.
        loss_fn: The function from (output, y) to one number, such as ``nn.CrossEntropyLoss()``. It
            is called with the output alone if y is None. None takes the ``loss`` of the output.
        x: The input: a tensor, a tuple of arguments, or a dictionary of named arguments.
        y: The target, or None.
        optimizer: The optimiser, for what it updates and how far its next step goes.
        rows: The row number of each sample, for findings that name samples. None counts from 0.

    Returns:
        The findings. The report is true if there is no error and no warning.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: An argument is not what is expected, or the loss is not a tensor.
        ValueError: The loss is not one number or has no gradient, or ``rows`` does not fit x.

    Examples:
        >>> import torch  # doctest: +SKIP
        >>> from torch import nn  # doctest: +SKIP
        >>> import chainrule as cr  # doctest: +SKIP
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))  # doctest: +SKIP
        >>> x, y = torch.randn(32, 4), torch.randn(32)  # doctest: +SKIP
        >>> report = cr.diagnose(model, nn.MSELoss(), x, y)  # doctest: +SKIP
        >>> report.ok, report.codes  # doctest: +SKIP
        (False, ('target-broadcast',))
        >>> report["target-broadcast"][0].advice  # doctest: +SKIP
        'Give both the same shape, such as output.squeeze(1) or y.unsqueeze(1).'
    """
    needed("diagnose")
    from chainrule.foreign.torch.findings import rules

    return rules.diagnose(model, loss_fn, x, y, optimizer, rows)

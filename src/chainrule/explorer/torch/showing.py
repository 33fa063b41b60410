"""What users call to explore a PyTorch model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from chainrule._exports import exported
from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation
from chainrule.explorer import load
from chainrule.explorer.serving import Served
from chainrule.foreign.torch.explaining import needed
from chainrule.storage.atomic import write_atomically


def explore_torch(
    model: Any,
    loss_fn: Callable[..., Any] | None,
    x: Any,
    y: Any,
    *,
    notation: Notation | str = "default",
) -> TorchExplorer:
    """Explore a PyTorch model: all modules with the sizes of their gradients, any number opened.

    The model runs once, as in `explain_torch`, and is left as it was. Frozen parameters get the
    gradient that they would have.

    Args:
        model: The `torch.nn.Module`.
        loss_fn: The function from (output, y) to one number, as for `explain_torch`.
        x: The input: a tensor, a tuple of arguments, or a dictionary of named arguments.
        y: The target, or None.
        notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".

    Returns:
        The explorer: `TorchExplorer.serve` opens it in a browser, `TorchExplorer.save` writes a
        file, and a notebook shows the modules.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: The model is not a module, or is scripted or sharded; the loss is not a tensor.
        ValueError: The loss is not one number or has no gradient.

    Examples:
        >>> import torch  # doctest: +SKIP
        >>> from torch import nn  # doctest: +SKIP
        >>> import chainrule as cr  # doctest: +SKIP
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))  # doctest: +SKIP
        >>> x, y = torch.ones(5, 3), torch.zeros(5, 1)  # doctest: +SKIP
        >>> explorer = cr.explore_torch(model, nn.MSELoss(), x, y)  # doctest: +SKIP
        >>> explorer.serve()  # doctest: +SKIP
    """
    needed("explore_torch")
    from chainrule.explorer.torch.desk import Desk

    return TorchExplorer(Desk(model, loss_fn, x, y, notations.get(notation)))


@exported("chainrule")
class TorchExplorer(Served):
    """A page about one run of a PyTorch model, which `explore_torch` makes.

    It lists all modules with their parameters, gradients and results; every tensor can be looked
    through by index, and every number opened to its derivation.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> explorer = cr.explore_torch(model, loss_fn, x, y)  # doctest: +SKIP
        >>> explorer.save("net.html", ["fc1.weight[3,7]"])  # doctest: +SKIP
    """

    def __init__(self, desk: Any) -> None:
        super().__init__()
        self._desk = desk

    def explain(self, target: str) -> Any:
        """Explain a number of this run, or the gradients of a module.

        Args:
            target: As for `explain_torch`, such as "fc1.weight[3,7]" or "fc1:output[0,2]".

        Returns:
            A `TorchExplanation`, or `TorchGradients` for a module.

        Raises:
            ValueError: The run has nothing of that name.
        """
        return self._desk.explain(target)

    def to_dict(self) -> dict[str, Any]:
        """Return the modules with their sizes as plain data for JSON."""
        found: dict[str, Any] = self._desk.found.root.to_dict()
        return found

    def _make_app(self, *known: Any) -> Any:
        return load("torch.host").create_app(self._desk, *known)

    def save(self, path: str | os.PathLike[str], targets: Iterable[str] = ()) -> None:
        """Write one HTML file with all modules, and the derivations of some numbers.

        Args:
            path: The file to write.
            targets: The numbers whose derivations go into it, such as ["fc1.weight[3,7]"].

        Raises:
            OSError: The file cannot be written.
            TypeError: ``targets`` is a text; pass a list.
            ValueError: The run has nothing of a name, or a target is a module.
        """
        if isinstance(targets, str):
            raise TypeError(
                f"targets is the text {targets!r}; expected a list such as [{targets!r}]"
            )
        write_atomically(path, self._desk.saved(targets).encode())

    def __repr__(self) -> str:
        root = self._desk.found.root
        return f"TorchExplorer({root.kind}, {root.count:,} parameters)"

    def _repr_html_(self) -> str:
        shown: str = self._desk.fragment()
        return shown

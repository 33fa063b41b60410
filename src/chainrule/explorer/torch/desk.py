"""Desk: the pages of one recorded run, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from chainrule import _forks as forks
from chainrule.explain.notation import Notation
from chainrule.explorer.torch import pages
from chainrule.explorer.torch.tree import Tensor, Tree
from chainrule.foreign.torch import asking, targets
from chainrule.foreign.torch.explanation import TorchExplanation

_LONGEST = 300  # characters of a target that comes from a page


class Desk:
    """A recorded run, its tree and the pages about them.

    Args:
        model: The model.
        loss_fn: The loss, as for `explain_torch`.
        x: The input.
        y: The target, or None.
        notation: The notation.
    """

    def __init__(
        self, model: Any, loss_fn: Callable[..., Any] | None, x: Any, y: Any, notation: Notation
    ) -> None:
        self._answers = asking.recorded(model, loss_fn, x, y, notation)
        self.found = Tree(self._answers)
        self._modules = {module.name for module in self.found.root.walk() if module.name}
        self._one = forks.Lock()  # forward mode has one level for all threads

    def explain(self, target: str) -> Any:
        """Explain a number of the run, or the gradients of a module."""
        with self._one:
            return self._answers.again(target)

    def tree(self) -> str:
        """Return the page of all modules."""
        return pages.served(self.found.root.kind, pages.tree(self.found, pages.address))

    def fragment(self) -> str:
        """Return all modules as one element, for a notebook."""
        return pages.element(pages.tree(self.found, pages.nowhere))

    def place(self, target: str) -> str:
        """Return the address of a target that stands in the page of all modules, or ""."""
        name = target.strip()
        return f"/#{quote(pages.anchor(name))}" if name in self._modules else ""

    def open(self, asked: Mapping[str, str]) -> str:
        """Return the page of a tensor or of a number.

        Raises ValueError if the run has no such thing.
        """
        target = asked.get("target", "")[:_LONGEST]
        read = targets.parse(target)
        name = read.name if read.call is None else f"{read.name}:{read.call}"
        tensor = self.found.tensor(name)
        if tensor is not None and tensor.data.is_complex():
            raise ValueError(f"{name} holds complex numbers; expected real ones")
        if tensor is not None and tensor.shape and read.index is None:
            return pages.served(name, self._tensor(tensor, asked))
        with self._one:
            why = self._answers.again(target)
            body = pages.opened(why, self.found, pages.address, "prove" in asked)
        return pages.served(why.target, body)

    def _tensor(self, tensor: Tensor, asked: Mapping[str, str]) -> str:
        lead, (height, width) = tensor.shape[:-2], (1, 1, *tensor.shape)[-2:]
        if not tensor.data.numel():
            raise ValueError(f"{tensor.name} has shape {tensor.shape}: it holds no numbers")
        at = tuple(_number(asked, f"at{d}", size) for d, size in enumerate(lead))
        row, column = _number(asked, "row", height), _number(asked, "column", width)
        return pages.tensor(tensor, at, row, column)

    def saved(self, chosen: Iterable[str]) -> str:
        """Return one page with all modules and the derivations of chosen numbers."""
        with self._one:
            opened = [self._answers.again(target) for target in dict.fromkeys(chosen)]
        for why in opened:
            if not isinstance(why, TorchExplanation):
                raise ValueError(
                    f"target is {why.target!r}, a module; expected a number such as "
                    f"'{why.target}.weight[0,0]'"
                )
        places = {why.target: f"#number-{i}" for i, why in enumerate(opened)}
        parts = [pages.tree(self.found, pages.nowhere)]
        if opened:
            items = "".join(
                f'<li><a href="{where}">{pages.text(target)}</a></li>'
                for target, where in places.items()
            )
            parts.append(f"<h2>Numbers that are opened here</h2>\n<ul>{items}</ul>")
        for why in opened:
            with self._one:
                body = pages.opened(why, self.found, lambda t: places.get(t, ""), proof=True)
            body = body.replace("<h1>", "<h2>").replace("</h1>", "</h2>")
            parts.append(f'<section id="{places[why.target][1:]}">{body}</section>')
        return pages.saved(self.found.root.kind, "\n".join(parts))


def _number(asked: Mapping[str, str], name: str, size: int) -> int:
    """Return where a window begins, 0 if it is not asked for."""
    text = asked.get(name, "0")
    if not text.isdigit() or int(text[:12]) >= size:
        raise ValueError(f"{name} is {text[:20]!r}; expected a whole number from 0 to {size - 1}")
    return int(text)

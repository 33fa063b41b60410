"""The gradients of a module of PyTorch: its parameters, with the size of the gradient of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chainrule._exports import exported
from chainrule.equations.formulas import Num
from chainrule.equations.numbers import plain
from chainrule.explain.document import Section
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import Word
from chainrule.explain.terms import Equation
from chainrule.foreign import rendering
from chainrule.foreign.torch import reasons
from chainrule.foreign.torch.run import Run


@dataclass(frozen=True)
class TorchParameter:
    """The gradient of one parameter.

    Attributes:
        name: Its name in the model.
        shape: Its shape.
        norm: The Euclidean norm of its gradient, or None where it has none.
        weight_norm: The norm of the parameter itself.
        largest: The element with the largest derivative, such as "fc1.weight[3,7]", or "".
        value: That derivative.
        reason: Why it has no gradient, or "".
    """

    name: str
    shape: tuple[int, ...]
    norm: float | None
    weight_norm: float
    largest: str
    value: float
    reason: str


@exported("chainrule")
class TorchGradients:
    """The gradients of a module's parameters, those of its parts among them.

    Attributes:
        target: The module.
        value: The Euclidean norm of all of them together.
        terms: One `TorchParameter` for each parameter.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1")  # doctest: +SKIP
        >>> [term.name for term in why.terms]  # doctest: +SKIP
        ['fc1.weight', 'fc1.bias']
    """

    certificate = None

    def __init__(
        self, run: Run, module: str, notation: Notation, again: Callable[[str], Any]
    ) -> None:
        self._run, self._again = run, again
        self.target, self.notation = module, notation
        prefix = f"{module}."
        names = [name for name in run.parameters if name.startswith(prefix)]
        self.terms = tuple(self._parameter(name) for name in names)
        self.value = math.sqrt(math.fsum(t.norm**2 for t in self.terms if t.norm is not None))

    def _parameter(self, name: str) -> TorchParameter:
        parameter, value = self._run.parameters[name].detach(), self._run.named[name]
        shape, size = tuple(parameter.shape), float(parameter.double().norm())
        if value is None or value.grad is None:
            if not parameter.requires_grad and not self._run.parameters[name].requires_grad:
                why = f"{name} is frozen"
            else:
                _, why = reasons.of_missing(self._run, name, value)
            return TorchParameter(name, shape, None, size, "", 0.0, why)
        grad = value.grad
        at = torch.unravel_index(grad.abs().argmax(), grad.shape) if grad.dim() else ()
        index = tuple(int(i) for i in at)
        label = f"{name}[{','.join(map(str, index))}]" if index else name
        norm = float(grad.double().norm())
        return TorchParameter(name, shape, norm, size, label, float(grad[index]), "")

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return self._run.n_samples

    def explain(self, target: str) -> Any:
        """Explain a number of the same run, as `explain_torch` does.

        Args:
            target: As for `explain_torch`.
        """
        return self._again(target)

    def setting(self) -> str:
        """Return the module and its parameters, in words."""
        module = self._run.model.get_submodule(self.target)
        count = sum(math.prod(t.shape) for t in self.terms)
        return f"{self.target} is {type(module).__name__}, {count:,} parameters"

    def sections(self, depth: int = 1) -> list[Section]:
        """Return the parameters with the norms of their gradients.

        Args:
            depth: Not used: a list has one level.
        """
        made: list[Equation] = []
        for term in self.terms:
            if term.norm is None:
                made.append(Equation((Word(f"‖∂C/∂{term.name}‖"), Word("none")), term.reason + ":"))
                continue
            shape = " × ".join(map(str, term.shape)) or "one number"
            lead = f"{term.name} ({shape}), whose own norm is {term.weight_norm:.6g}:"
            made.append(Equation((Word(f"‖∂C/∂{term.name}‖"), Num(term.norm)), lead))
            made.append(Equation((Word(f"largest: ∂C/∂{term.largest}"), Num(term.value))))
        return [Section("The gradients", made)] if made else []

    def text(self, width: int = 100, depth: int = 1) -> str:
        """Return the list as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
            depth: Not used: a list has one level.
        """
        return rendering.text(self, width, depth)

    def latex(self, standalone: bool = False) -> str:
        """Return the list as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
        """
        return rendering.latex(self, standalone, 1)

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        return rendering.html(self, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        rows: Sequence[dict[str, Any]] = [
            {
                "name": t.name, "shape": list(t.shape),
                "norm": None if t.norm is None else plain(t.norm),
                "weight_norm": plain(t.weight_norm), "largest": t.largest,
                "value": plain(t.value), "reason": t.reason,
            }
            for t in self.terms
        ]  # fmt: skip
        return {"target": self.target, "value": plain(self.value), "terms": list(rows)}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"TorchGradients({self.target}, norm={self.value:.6g}, {len(self.terms)} parameters)"

    def _repr_html_(self) -> str:
        return rendering.fragment(self, 1)

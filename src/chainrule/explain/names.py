"""Names: what the inputs and outputs of a network are called outside, for words beside formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chainrule.explain.symbols import Quantity
from chainrule.explain.terms import Equation
from chainrule.formulas import Expr, Num

if TYPE_CHECKING:
    from chainrule.explain.explanation import Explanation


@dataclass(frozen=True)
class Names:
    """One name for each input, output and target of a network; none at all, where it is empty.

    ``origins`` say how the number of an input or target comes from what stands in the data of the
    sample in focus: x₃ from (41 - 38.6) / 13.6.
    """

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    targets: Sequence[str] = ()
    origins: Mapping[Expr, Expr] = field(default_factory=dict)

    def check(self, sizes: Sequence[int]) -> Names:
        """Raise ValueError where there are not as many names as units; else give the names."""
        for what, names, units in (
            ("inputs", self.inputs, sizes[0]),
            ("outputs", self.outputs, sizes[-1]),
            ("targets", self.targets, sizes[-1]),
        ):
            if names and len(names) != units:
                raise ValueError(f"names.{what} has {len(names)} names; the network has {units}")
        return self

    def of_unit(self, layer: int, unit: int, last: int) -> str | None:
        """Give the name of a unit of the first or the last layer, or None."""
        names = self.inputs if layer == 0 else self.outputs if layer == last else ()
        return names[unit] if names else None

    def of(self, q: Quantity, last: int) -> str | None:
        """Give the name of a quantity, x, a of the last layer or y, or None."""
        (unit,) = q.units if len(q.units) == 1 else ("",)
        if not isinstance(unit, int):
            return None
        if q.letter == "y":
            return self.targets[unit] if self.targets else None
        if q.letter == "a" and isinstance(q.layer, int):
            return self.of_unit(q.layer, unit, last)
        return None


def equations(why: Explanation, shown: Sequence[Equation]) -> list[Equation]:
    """Say of each named quantity in some equations what it is, and its number."""
    found: dict[Quantity, str] = {}
    last = len(why.network.sizes) - 1
    for equation in shown:
        for side in equation.sides:
            for q in _quantities(side):
                if name := why.names.of(q, last):
                    found[q] = name
    made = []
    for q in sorted(found, key=_order):
        origin = why.names.origins.get(q)
        sides = [q, *([] if origin is None else [origin]), Num(why.value_of(q))]
        made.append(Equation(tuple(sides), f"{found[q]}:"))
    return made


def _order(q: Quantity) -> tuple[bool, int, str]:
    return q.letter == "y", q.layer if isinstance(q.layer, int) else 0, f"{q.units[0]:>9}"


def _quantities(expr: Expr) -> Iterator[Quantity]:
    if isinstance(expr, Quantity):
        yield expr
    for child in expr.children():
        yield from _quantities(child)

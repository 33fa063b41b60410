"""Names: the user's names for inputs and outputs, shown beside the formulas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chainrule.equations.checks import guess, listed
from chainrule.equations.formulas import Expr
from chainrule.explain.symbols import Quantity


@dataclass(frozen=True)
class Names:
    """A name for each input, output and target of a network, or an empty list for no names.

    ``origins`` has, for an input or target, how its value follows from the data of the sample in
    focus: x₃ = (41 - 38.6) / 13.6.
    """

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    targets: Sequence[str] = ()
    origins: Mapping[Expr, Expr] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs or self.targets or self.origins)

    def check(self, sizes: Sequence[int]) -> Names:
        """Return the names; raise ValueError where there are not as many as units."""
        for what, names, units in (
            ("inputs", self.inputs, sizes[0]),
            ("outputs", self.outputs, sizes[-1]),
            ("targets", self.targets, sizes[-1]),
        ):
            if names and len(names) != units:
                raise ValueError(
                    f"names.{what} has {len(names)} names; the network has {units} {what}"
                )
        return self

    def of_unit(self, layer: int, unit: int, last: int) -> str | None:
        """Return the name of a unit of the first or the last layer, or None."""
        names = self.inputs if layer == 0 else self.outputs if layer == last else ()
        return names[unit] if names else None

    def of(self, q: Quantity, last: int) -> str | None:
        """Return the name of x, of a in the last layer, or of y; None for any other quantity."""
        (unit,) = q.units if len(q.units) == 1 else ("",)
        if not isinstance(unit, int):
            return None
        if q.letter == "y":
            return self.targets[unit] if self.targets else None
        if q.letter == "a" and isinstance(q.layer, int):
            return self.of_unit(q.layer, unit, last)
        return None


_NAMED = re.compile(
    r"\s*(?P<start>x\[|w\[1\]\[\s*\d+\s*,|[bza]\[(?P<layer>\d+)\]\[)(?P<name>.*)\]\s*"
)


def by_index(
    target: str, last: int, inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]
) -> str:
    """Return a target that names a unit, x[age] or b[2][yes], with the unit's index instead.

    A whole number is an index already. ``inputs`` and ``outputs`` (the units of layer ``last``)
    are lists of names to search, the shortest names first. Raises ValueError for an unknown name.
    """
    match = _NAMED.fullmatch(target)
    if match is None or re.fullmatch(r"\s*-?\d+\s*", match["name"]):
        return target
    choices: Sequence[Sequence[str]] = inputs
    if match["layer"] is not None:
        choices = outputs if int(match["layer"]) == last else ()
    name = match["name"].strip()
    for known in choices:
        if name in known:
            return f"{match['start']}{known.index(name)}]"
    if not any(choices):
        return target
    meant = guess(name, choices[0])
    raise ValueError(f"{target}: there is no {name!r}; there are {listed(choices[0])}{meant}")

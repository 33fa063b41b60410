"""The face of paths: the largest ways from a quantity to the loss, with the rest as one number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from chainrule._forks import cached_property
from chainrule.diagnose.paths import Link, Path, Through, Ways, at_kinks
from chainrule.equations.checks import whole
from chainrule.equations.formulas import Expr, Num, mul
from chainrule.equations.numbers import plain
from chainrule.equations.targets import UnitOutput
from chainrule.explain.counts import sum_of_others, the_others
from chainrule.explain.document import Section
from chainrule.explain.sheet import Sheet
from chainrule.explain.symbols import Factor, LossSymbol, Partial, Word, quantity
from chainrule.explain.terms import Equation
from chainrule.explain.words import setting

if TYPE_CHECKING:
    from chainrule.explain.derivative import Derivative

By = Literal["path", "unit"]
_MOST_HIDDEN = 2  # hidden layers on the way up to which single paths are listed


class Paths:
    """The largest paths from a quantity to the loss, for the sample in focus, and the exact rest.

    `Explanation.paths` makes it. A path goes through one unit of each layer, and ends in ∂C/∂z of
    an output. Its product is made of the weights and the g′(z) on the way. All paths together are
    the product of the explanation's terms. With more than two hidden layers on the way, paths are
    so many that a single one means little; then the paths through each unit are added up, layer by
    layer.

    Args:
        why: The explanation.
        count: How many paths, or units in each layer, to hold.
        by: "path" or "unit".

    Attributes:
        by: "path" if single paths are held, "unit" if the paths through each unit are added up.
        count: The number of all paths.
        value: The sum of all paths: the derivative of C_i of the sample in focus, times s_i / s̄
            if samples are weighted, without the penalty.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 4, 1], hidden="tanh", seed=0)
        >>> why = net.explain("w[1][2,0]", [[0.5, -1.0]], [1.0])
        >>> found = why.paths(2)
        >>> found
        Paths(w[1][2,0]: 2 of 4 paths)
        >>> bool(abs(sum(path.value for path in found.paths) + found.rest - why.value) < 1e-15)
        True
    """

    def __init__(self, why: Derivative, count: int = 10, by: By | None = None) -> None:
        self._shown = whole(count, "count")
        if by not in (None, "path", "unit"):
            raise ValueError(f"by is {by!r}; expected 'path', 'unit' or None")
        self._why = why
        weights = None if why.sample_weight is None else why.gradient.shares * why.n_samples
        self._ways: Ways | None = None
        if not (
            isinstance(why.target, UnitOutput) and why.target.layer == len(why.network.sizes) - 1
        ):
            self._ways = Ways(why.network, why.gradient, why.target, weights)
        deep = self._ways is not None and self._ways.hidden_layers > _MOST_HIDDEN
        self.by: By = by or ("unit" if deep else "path")
        self.count = 1 if self._ways is None else self._ways.count
        self.value = float(why.products[why.focus])

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Return the largest paths in size, the largest first; none with ``by="unit"``."""
        why = self._why
        if self._ways is None:  # ∂C/∂a of an output is one number
            return (Path(why.target.layer, (why.target.j,), (), why.products, why.focus),)
        if self.by == "unit":
            return ()
        return tuple(self._ways.largest(min(self._shown, self.count), why.focus))

    @cached_property
    def layers(self) -> tuple[Through, ...]:
        """Return the paths through each unit added up, layer by layer, whatever ``by`` is."""
        return () if self._ways is None else tuple(self._ways.through())

    @cached_property
    def rest(self) -> float:
        """Return the sum of all paths that `paths` does not hold."""
        if len(self.paths) == self.count:
            return 0.0
        return math.fsum([self.value, *(-path.value for path in self.paths)])

    @cached_property
    def size(self) -> float:
        """Return Σ |path| over all paths; where it is far above |value|, paths cancel."""
        return abs(self.value) if self._ways is None else self._ways.size(self._why.focus)

    # --- the document -----------------------------------------------------------------------------

    def sections(self) -> list[Section]:
        """Return the paths, or the units of each layer, as titled equations."""
        if self.by == "unit" and self._ways is not None:
            return [self._units(through) for through in self.layers]
        shown, count = len(self.paths), self.count
        title = f"The {shown} largest of {count:,} paths" if shown < count else f"All {count} paths"
        title = "The one path" if count == 1 else title
        equations = [self._equation(path) for path in self.paths]
        if shown < count:
            equations.append(Equation((Word(sum_of_others(count - shown)), Num(self.rest))))
        if count > 1:
            equations.append(Equation((self._derivative, Num(self.value)), "All paths together:"))
        return [Section(title, equations)]

    @property
    def _derivative(self) -> Expr:
        why = self._why
        partial: Expr = Partial(LossSymbol(why.focus), why.symbol)
        return partial if why.sample_weight is None else mul(why.terms[-1].symbol, partial)

    def _equation(self, path: Path) -> Equation:
        why = self._why
        factors, numbers = [], []
        for link in path.links:
            factors.append(Factor(_symbol(link, why.focus)))
            numbers.append(Factor(Num(float(link.values[why.focus]))))
        if why.sample_weight is not None and path.links:
            factors.append(Factor(why.terms[-1].symbol))
            numbers.append(Factor(Num(why.terms[-1].value)))
        if not path.links:
            return Equation((self._derivative, Num(path.value)))
        return Equation((mul(*factors), mul(*numbers), Num(path.value)), self._words(path))

    def _words(self, path: Path) -> str:
        first = self._why.notation.first_index
        last = len(self._why.network.sizes) - 1
        stops = [
            f"output {unit + first}" if l == last else f"unit {unit + first} of layer {l}"
            for l, unit in enumerate(path.units, start=path.first_layer)
        ]
        return f"Through {', '.join(stops)}:"

    def _units(self, through: Through) -> Section:
        why, l = self._why, through.layer
        units, rest = through.largest(self._shown, why.focus)
        count = through.values.shape[1]
        last = l == len(why.network.sizes) - 1
        kind = "outputs" if last else "units"
        title = f"Layer {l}: the {len(units)} largest of {count} {kind}"
        if len(units) == count:
            title = f"Layer {l}: the one {kind[:-1]}" if count == 1 else f"Layer {l}: all {kind}"
        equations = []
        for unit in units:
            z = quantity("z", l, unit)
            symbols = [Factor(Partial(LossSymbol(why.focus), z)), Factor(Partial(z, why.symbol))]
            numbers = [Factor(Num(float(part[why.focus, unit])))
                       for part in (through.adjoint, through.tangent)]  # fmt: skip
            if why.sample_weight is not None:
                symbols.append(Factor(why.terms[-1].symbol))
                numbers.append(Factor(Num(why.terms[-1].value)))
            value = Num(float(through.values[why.focus, unit]))
            equations.append(Equation((mul(*symbols), mul(*numbers), value)))
        if left := count - len(units):
            equations.append(Equation((Word(sum_of_others(left)), Num(rest))))
        return Section(title, equations)

    def summary(self) -> str:
        """Return in words how many paths there are, how much is shown and how much cancels."""
        why = self._why
        sample = f"for sample {why.printed(why.focus)}"
        if self.by == "unit" and self._ways is not None:
            hidden = self._ways.hidden_layers
            layers = "1 hidden layer" if hidden == 1 else f"{hidden} hidden layers"
            return (
                f"{self.count:,} paths through {layers}, {sample}: too many for a single one to "
                "mean much, so the paths through each unit are added up. Each layer adds up to the "
                "whole."
            )
        if self.count == 1:
            return f"1 path, {sample}."
        words = f"{self.count:,} paths, {sample}."
        if not self.size:
            return f"{words} All are 0."
        if (shown := len(self.paths)) < self.count:
            part = math.fsum(abs(path.value) for path in self.paths) / self.size
            words += f" The {shown} largest have {part:.1%} of the size of all, Σ |path|"
            words += f"; {the_others(self.count - shown)} the rest."
        kept = abs(self.value) / self.size
        if kept < 0.99:
            words += f" Paths of both signs cancel: {kept:.1%} of Σ |path| is left."
        return words

    def sheet(self) -> Sheet:
        """Return what is written down: the setting, the paths and their sum."""
        why = self._why
        first = 1 if self._ways is None else self._ways.first
        said = [
            f"{setting(why)}.",
            self.summary(),
            *at_kinks(why.network, why.gradient, first, why.focus),
        ]
        return Sheet(
            f"paths of {why.target}", "\n".join(said), self.sections(), why.notation,
            why.network.sizes, why.n_samples,
            headline=Equation((self._derivative, Num(self.value))), first_sample=why.first_sample,
        )  # fmt: skip

    def text(self, width: int = 100) -> str:
        """Return the paths as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
        """
        from chainrule.explain.page_text import written

        return written(self.sheet(), width)

    def latex(self, standalone: bool = False) -> str:
        """Return the paths as LaTeX, which needs the package amsmath.

        Args:
            standalone: Return a whole document, not only its body.
        """
        from chainrule.explain.page_latex import written

        return written(self.sheet(), standalone)

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        from chainrule.explain.page_html import written

        return written(self.sheet())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; units count from 0."""
        why = self._why
        i = why.focus
        layers = []
        for through in self.layers if self.by == "unit" else ():
            units, rest = through.largest(self._shown, i)
            largest = [
                {"unit": unit, "adjoint": plain(float(through.adjoint[i, unit])),
                 "tangent": plain(float(through.tangent[i, unit])),
                 "value": plain(float(through.values[i, unit]))}
                for unit in units
            ]  # fmt: skip
            layers.append({"layer": through.layer, "units": through.values.shape[1],
                           "largest": largest, "rest": plain(rest)})  # fmt: skip
        return {
            "target": str(why.target), "focus": i, "first_sample": why.first_sample,
            "by": self.by, "count": self.count, "value": plain(self.value),
            "size": plain(self.size), "summary": self.summary(),
            "paths": [
                {"first_layer": path.first_layer, "units": list(path.units),
                 "factors": [plain(float(link.values[i])) for link in path.links],
                 "value": plain(path.value), "mean": plain(float(path.values.mean()))}
                for path in self.paths
            ],
            "rest": None if self.by == "unit" else plain(self.rest),
            "layers": layers,
        }  # fmt: skip

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        held = (
            "units by layer" if self.by == "unit" else f"{len(self.paths)} of {self.count:,} paths"
        )
        return f"Paths({self._why.target}: {held})"

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import written_fragment

        return written_fragment(self.sheet())


def _symbol(link: Link, focus: int) -> Expr:
    match link.letter:
        case "delta":
            return Partial(LossSymbol(focus), quantity("z", link.layer, *link.units))
        case "slope":
            return Partial(
                quantity("a", link.layer, *link.units), quantity("z", link.layer, *link.units)
            )
    return quantity(link.letter, link.layer, *link.units)

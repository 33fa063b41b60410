"""Explanation: one derivative, taken apart into terms, put together again, and proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule import data
from chainrule.backprop import Gradient
from chainrule.explain import notation as notations
from chainrule.explain.derivation import Derivation
from chainrule.explain.notation import Notation
from chainrule.explain.symbols import Factor, LossSymbol, Partial, Quantity, Sum, quantity
from chainrule.explain.terms import Equation, Term
from chainrule.formulas import Div, Expr, Name, Neg, Num, add, mul
from chainrule.targets import Bias, PreActivation, Target, UnitOutput, Weight, resolve

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.verify import Certificate

_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")


@dataclass(frozen=True)
class SampleRow:
    """One sample: the value of each term, in order, and their product."""

    index: int
    terms: tuple[float, ...]
    product: float


@dataclass(frozen=True, eq=False)
class Section:
    """A heading with its equations; the term that they derive, if it is one."""

    title: str
    symbol: Expr | None
    equations: tuple[Equation, ...]
    term: Term | None = None


class Explanation:
    """The derivative of the loss C with respect to one quantity, explained.

    ``value`` is the derivative: for a weight or bias exactly the number in `Network.gradient`.
    ``terms`` are the factors of the chain rule in order (with sample weights, s_i / s̄ is the last);
    ``penalty`` is the part λ w of the L2 penalty, or None. ``samples`` has a row for each sample;
    the mean of the products, plus the penalty, is ``value``. The terms show the numbers of the
    sample in ``focus``.

    Made by `Network.explain`. The network is copied, so that an explanation stays as it is when
    training goes on.
    """

    def __init__(
        self,
        network: Network,
        target: Target,
        gradient: Gradient,
        y: NDArray[Any],
        *,
        sample_weight: NDArray[np.float64] | None,
        dropout_step: int | None,
        learning_rate: float | None,
        focus: int,
        notation: Notation,
    ) -> None:
        self.network, self.target, self.gradient, self.y = network, target, gradient, y
        self.sample_weight, self.dropout_step = sample_weight, dropout_step
        self.learning_rate, self.focus, self.notation = learning_rate, focus, notation
        self._derivation = Derivation(network, gradient, y, focus, notation)

    # --- numbers --------------------------------------------------------------------------------

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return len(self.y)

    @cached_property
    def value(self) -> float:
        """The derivative of C: the mean of the products, plus the penalty."""
        g = self.gradient
        match self.target:
            case Weight(l, j, k):
                return float(g.dW[l][j, k])
            case Bias(l, j):
                db = g.db[l]
                assert db is not None  # a bias that does not exist is refused before
                return float(db[j])
        return float(self.products.mean())

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The factors in order."""
        terms = self._derivation.chain(self.target)
        if self.sample_weight is not None:
            terms.append(self._derivation.weight_of_sample())
        return tuple(terms)

    @cached_property
    def penalty(self) -> Term | None:
        """The part of the L2 penalty, λ w, or None."""
        return self._derivation.penalty(self.target)

    @cached_property
    def products(self) -> NDArray[np.float64]:
        """The product of the terms for every sample, (n,)."""
        product = np.ones(self.n_samples)
        for term in self.terms:
            product = product * term.values
        return product

    @cached_property
    def samples(self) -> Sequence[SampleRow]:
        """A row for each sample."""
        columns = np.array([term.values for term in self.terms])
        return [
            SampleRow(i, tuple(map(float, columns[:, i])), float(self.products[i]))
            for i in range(self.n_samples)
        ]

    @cached_property
    def certificate(self) -> Certificate:
        """The value beside finite differences, high precision and, if installed, PyTorch or JAX."""
        from chainrule.verify import certify

        return certify(
            self.network, self.target, self.gradient.forward.a[0], self.y,
            sample_weight=self.sample_weight, dropout_step=self.dropout_step, analytic=self.value,
        )  # fmt: skip

    def in_notation(self, notation: Notation | str) -> Explanation:
        """Give the same explanation in another notation."""
        return Explanation(
            self.network, self.target, self.gradient, self.y, sample_weight=self.sample_weight,
            dropout_step=self.dropout_step, learning_rate=self.learning_rate, focus=self.focus,
            notation=notations.get(notation),
        )  # fmt: skip

    # --- the derivation, as a document ----------------------------------------------------------

    @property
    def symbol(self) -> Expr:
        """The quantity that the derivative is taken with respect to."""
        match self.target:
            case Weight(l, j, k):
                return quantity("w", l, j, k)
            case Bias(l, j):
                return quantity("b", l, j)
            case PreActivation(l, j):
                return quantity("z", l, j)
            case UnitOutput(l, j):
                return quantity("a", l, j)

    def sections(self) -> list[Section]:
        """Give the whole derivation: chain rule, terms, combination, numbers, mean, update."""
        terms, C = self._numbered(), LossSymbol(self.focus)
        of_sample: Expr = Partial(C, self.symbol)
        if self.sample_weight is not None:
            of_sample = mul(self.terms[-1].symbol, of_sample)
        chain = mul(*(Factor(term.symbol) for term in terms))
        several = len(terms) > 1
        sections: list[Section] = []
        if several:
            sections.append(Section("The chain rule", None, (Equation((of_sample, chain)),)))
        for ordinal, term in zip(_ORDINALS, terms, strict=False):
            title = f"{ordinal} term" if several else "The derivative"
            sections.append(Section(title, term.symbol, term.derivation, term))
        results = mul(*(Factor(term.formula, True) for term in terms))
        values = mul(*(Factor(Num(term.value)) for term in terms))
        product = Num(float(self.products[self.focus]))
        if several:
            sections.append(
                Section(
                    "Combining the terms",
                    None,
                    (Equation((of_sample, chain, results), self._hence(terms)),),
                )
            )
        numbers = [term.numbers for term in terms]
        if several:
            numbers.append(Equation((of_sample, values, product), "and so"))
        sections.append(Section(self._numbers_title(), None, tuple(numbers)))
        sections += self._mean() + self._update()
        return sections

    def _numbered(self) -> list[Term]:
        """Give the terms, their results numbered (1), (2), ... if the notation asks for it."""
        numbered = []
        for number, term in enumerate(self.terms, start=1):
            tag = f"({number})" if self.notation.tags else ""
            steps = tuple(replace(e, tag=tag if e.is_result else "") for e in term.derivation)
            numbered.append(replace(term, derivation=steps))
        return numbered

    def _hence(self, terms: list[Term]) -> str:
        if not self.notation.tags:
            return "Combining all terms, we have"
        numbers = [f"({i})" for i in range(1, len(terms) + 1)]
        return f"Hence, from expressions {', '.join(numbers[:-1])} and {numbers[-1]}, we get"

    def _numbers_title(self) -> str:
        if self.n_samples == 1:
            return "The numbers"
        return f"The numbers of sample {self.focus + self.notation.first_index}"

    def _mean(self) -> list[Section]:
        whole = Partial(LossSymbol(), self.symbol)
        n, value = self.n_samples, Num(self.value)
        if n == 1 and self.penalty is None:
            return []
        sections: list[Section] = []
        of_i: Expr = Partial(LossSymbol("sample"), self.symbol)
        if self.sample_weight is not None:
            of_i = mul(Div(quantity("s", None, "sample"), Name("mean_s")), of_i)
        count: Expr = Name("n") if self.notation.counts == "n" else Num(n)
        mean: Expr = (
            mul(Div(Num(1), count), Sum("sample", None, n, of_i))
            if n > 1
            else Partial(LossSymbol(self.focus), self.symbol)
        )
        mean_value = Num(float(self.products.mean()))
        if self.penalty is None:
            equations = [Equation((whole, mean, value))]
        else:
            sections.append(
                Section(
                    "The penalty",
                    self.penalty.symbol,
                    (*self.penalty.derivation, self.penalty.numbers),
                    self.penalty,
                )
            )
            equations = [
                Equation(
                    (
                        whole,
                        add(mean, self.penalty.symbol),
                        add(mean_value, Num(self.penalty.value)),
                        value,
                    )
                )
            ]
        title = f"The mean over {n} samples" if n > 1 else "The derivative of the loss"
        sections.append(Section(title, None, tuple(equations)))
        return sections

    def _update(self) -> list[Section]:
        if not isinstance(self.target, Weight | Bias):
            return []
        eta = Name("eta")
        general: Quantity = (
            quantity("w", "l", "to", "from")
            if isinstance(self.target, Weight)
            else quantity("b", "l", "to")
        )
        arrow = self.notation.assign

        def rule(q: Expr) -> Equation:
            step = add(q, Neg(mul(eta, Partial(LossSymbol(), q))))
            return Equation((q, step), relation=arrow)

        specific = rule(self.symbol)
        equations = [
            Equation(
                rule(general).sides,
                "Gradient descent with learning rate η updates every parameter by",
                relation=arrow,
            ),
            Equation(specific.sides, "and so this one by", relation=arrow),
        ]
        if self.learning_rate is not None:
            old = self._derivation.value_of(self.symbol)  # type: ignore[arg-type]
            product = mul(Num(self.learning_rate), Factor(Num(self.value)))
            new = old - self.learning_rate * self.value
            equations.append(
                Equation(
                    (self.symbol, add(Num(old), Neg(product)), Num(new)),
                    "in numbers",
                    relation=arrow,
                )
            )
        return [Section("The update", None, tuple(equations))]

    # --- renderings -----------------------------------------------------------------------------

    def text(self, width: int = 100, depth: int = 1) -> str:
        """Give Unicode text of at most ``width`` columns; ``depth`` opens contributions further."""
        from chainrule.explain.page_text import page

        return page(self, width, depth)

    def latex(self, standalone: bool = False) -> str:
        """Give LaTeX (amsmath): the sections' text and formulas, or a whole document."""
        from chainrule.explain.page_latex import page

        return page(self, standalone)

    def mathml(self) -> str:
        """Give one MathML element with all equations in order."""
        from chainrule.explain.page_html import equations_only

        return equations_only(self)

    def html(self, depth: int = 3) -> str:
        """Give a self-contained HTML page, without scripts; contributions open down to ``depth``."""
        from chainrule.explain.page_html import page

        return page(self, depth)

    def to_dict(self, depth: int = 1) -> dict[str, Any]:
        """Give everything as plain data for JSON; formulas as text, LaTeX and MathML."""
        from chainrule.explain.page_dict import as_dict

        return as_dict(self, depth)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Explanation({self.target}, value={self.value!r}, {self.n_samples} samples)"

    def _repr_html_(self) -> str:
        from chainrule.explain.page_html import fragment

        return fragment(self, depth=3)

    def _repr_latex_(self) -> str:
        from chainrule.explain.page_latex import summary

        return f"$\\displaystyle {summary(self)}$"


def explain(
    network: Network,
    target: Target | str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    dropout_step: int | None = None,
    learning_rate: float | None = None,
    focus: int = 0,
    notation: Notation | str = "default",
) -> Explanation:
    """Explain the derivative of the loss with respect to one quantity.

    ``target`` is a text such as "w[2][1,2]", "b[2][1]", "z[1][0]", "a[1][3]" or "x[0]", or a
    `Weight`, `Bias`, `PreActivation` or `UnitOutput`. X is (n, units_0), y as for `Network.fit`;
    the terms show the numbers of sample ``focus``. Of z, a and x, which differ from sample to
    sample, the value is the mean of ∂C_i/∂z: what a shift that is the same in all samples causes.
    ``dropout_step`` applies the dropout masks of that training step. With ``learning_rate`` the
    update is shown in numbers. Raises ValueError or TypeError for a target, data, focus or
    notation that does not fit.
    """
    resolved = resolve(target, network.sizes, network.biases)
    chosen = notations.get(notation)
    if learning_rate is not None:
        from chainrule.schedules import positive

        positive(learning_rate, "learning_rate")
    gradient = network.gradient(X, y, sample_weight=sample_weight, dropout_step=dropout_step)
    n = len(gradient.sample_losses)
    if isinstance(focus, bool) or not isinstance(focus, int | np.integer):
        raise TypeError(f"focus must be the index of a sample, got {focus!r}")
    if not 0 <= focus < n:
        raise ValueError(f"focus is {focus}; there are samples 0 to {n - 1}")
    units = network.sizes[-1]
    rows = data.one_hot(data.targets(y, n, units, network.loss), units, np.float64)
    return Explanation(
        network.copy(), resolved, gradient, rows, sample_weight=data.weights(sample_weight, n),
        dropout_step=dropout_step, learning_rate=learning_rate, focus=int(focus), notation=chosen,
    )  # fmt: skip

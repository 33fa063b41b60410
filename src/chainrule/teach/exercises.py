"""Practice: exercises from the current network.

The right answer is the library's number. An exercise also knows the numbers that common mistakes
lead to, and it is only set where these differ from the right answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Expr, Name, Neg, Num, add, mul
from chainrule.equations.targets import UnitOutput, Weight
from chainrule.explain import Equation, Explanation, Notation, explain
from chainrule.explain.scribe import EquationView, Scribe
from chainrule.explain.symbols import LossSymbol, Partial, quantity
from chainrule.teach import chains, formulas
from chainrule.teach.exercise import NEAR, Exercise, Mistake, QuestionView, near

Array = NDArray[Any]
_TRIES = 60  # weights drawn before giving up
_SAMPLES = 4  # in an exercise about the mean
_KINK = 1e-6  # a z this close to a kink is at it
_FACTORS = {  # by their number
    2: "Multiply two factors: the derivative that arrives at z, and the activation at the start of "
    "the weight.",
    3: "Multiply three factors: the derivative that arrives at a, the slope g′(z), and the "
    "activation at the start of the weight.",
}
_MOST_UNITS = 6  # given in an exercise about a sum


class Examiner:
    """A maker of exercises for a network and samples.

    Losses of samples are counted from the sample itself, or, if ``counted``, as in X.
    """

    def __init__(
        self, network: FeedForward, X: Array, y: Array, sample: int, notation: Notation,
        eta: float, counted: bool = False,
    ) -> None:  # fmt: skip
        self.network, self.X, self.y, self.sample = network, X, y, sample
        self.notation, self.eta = notation, eta
        self.counted = counted
        self.scribe = Scribe(notation, network.sizes, 1, sample if counted else 0)

    def ask(
        self, about: str, rng: np.random.Generator, layers: Sequence[int] | None = None
    ) -> Exercise:
        """Return an exercise about a "term", a "gradient", an "update" or "any" of these numbers.

        Of a "formula", the answer is the chain rule in symbols. With ``layers`` it is about a
        weight of one of these layers.

        Raises ValueError where the network allows none, for example because all gradients are 0.
        """
        kinds: dict[str, list[Callable[[Weight], Exercise | None]]] = {
            "term": [self._slope, self._arriving],
            "gradient": [self._gradient, self._mean],
            "update": [self._update],
        }
        makers = [m for kind, list_ in kinds.items() if about in (kind, "any") for m in list_]
        makers = makers or [self._formula]
        for _ in range(_TRIES):
            exercise = makers[rng.integers(len(makers))](self.draw(rng, layers))
            if exercise is not None and _can_be_told_apart(exercise):
                return exercise
        raise ValueError(
            "No exercise can be made here: the gradients are too close to 0, a unit stands on a "
            "kink, or mistakes lead to the right number. Choose another sample or network."
        )

    def draw(self, rng: np.random.Generator, layers: Sequence[int] | None = None) -> Weight:
        """Draw a weight, of one of these layers."""
        choices = range(1, len(self.network.sizes)) if layers is None else layers
        l = int(choices[int(rng.integers(len(choices)))])
        return Weight(
            l,
            int(rng.integers(self.network.sizes[l])),
            int(rng.integers(self.network.sizes[l - 1])),
        )

    # --- exercises ------------------------------------------------------------------------------

    def explain_sample(self, target: Weight | str, rows: slice | None = None) -> Explanation:
        """Explain the derivative of this sample's loss, or of the mean over some samples."""
        chosen = slice(self.sample, self.sample + 1) if rows is None else rows
        return explain(
            self.network,
            target,
            self.X[chosen],
            self.y[chosen],
            notation=self.notation,
            learning_rate=self.eta,
            first_sample=chosen.start or 0 if self.counted else 0,
        )

    def _slope(self, w: Weight) -> Exercise | None:
        """Return an exercise about ∂a/∂z."""
        why = self.explain_sample(w)
        if len(why.terms) < 3:
            return None
        term = why.terms[1]
        z, a = self._number(why, "z", w.layer, w.j), self._number(why, "a", w.layer, w.j)
        mistakes = [
            Mistake("sign", -term.value, "The size is right, but the sign is wrong."),
            Mistake("value", a, "That is a = g(z) itself. The question is about its slope, g′(z)."),
            Mistake("input", z, "That is z. The question is about the slope of g at this z."),
        ]
        name = self.network.layers[w.layer].activation.name
        return self._exercise(
            f"What is this term of the chain rule? The activation is {name}.",
            why, term.symbol, term.value, mistakes, [("z", w.layer, w.j), ("a", w.layer, w.j)],
            "It depends only on z (or on a, where g′ can be written in terms of a).",
            [term.derivation[-1].sides, term.numbers.sides],
        )  # fmt: skip

    def _arriving(self, w: Weight) -> Exercise | None:
        """Return an exercise about ∂C/∂a of a hidden unit: the sum over the units that it feeds."""
        if w.layer == len(self.network.sizes) - 1:
            return None
        why = self.explain_sample(f"a[{w.layer}][{w.j}]")
        (term,) = why.terms
        l, units = w.layer + 1, self.network.sizes[w.layer + 1]
        delta = why.gradient.delta[l][0]
        W = np.asarray(self.network.layers[l].W, dtype=np.float64)
        mistakes = [Mistake("sign", -term.value, "The size is right, but the sign is wrong.")]
        if units == W.shape[1] and units > 1:
            mistakes.append(Mistake("transposed", float(delta @ W[w.j]), self._transposed(l, w.j)))
        if units > 1:
            first = self.notation.first_index
            mistakes += [
                Mistake(
                    "sum",
                    float(delta[m] * W[m, w.j]),
                    f"That is only the part through unit {m + first}. The unit feeds all {units} "
                    f"units of layer {l}: add their parts.",
                )
                for m in range(units)
            ]
        given: list[Any] = [("delta", l, m) for m in range(min(units, _MOST_UNITS))]
        given += [("w", l, m, w.j) for m in range(min(units, _MOST_UNITS))]
        if units > _MOST_UNITS:
            return None
        return self._exercise(
            "What is the derivative of the loss with respect to this activation?",
            why, term.symbol, term.value, mistakes, given,
            "The loss depends on it through every unit of the next layer: sum ∂C/∂z of each unit "
            "times the weight that leads there.",
            [term.derivation[-1].sides, term.numbers.sides],
        )  # fmt: skip

    def _gradient(self, w: Weight) -> Exercise | None:
        """Return an exercise about ∂C_i/∂w of one sample."""
        why = self.explain_sample(w)
        given: list[Any] = [("a", w.layer - 1, w.k), ("z", w.layer, w.j), ("a", w.layer, w.j)]
        L = len(self.network.sizes) - 1
        if w.layer == L:
            if self.network.layers[L].activation.name == "softmax":
                given = [("a", L - 1, w.k), ("a", L, w.j)]
            given.append(("y", None, w.j))
        elif self.network.sizes[w.layer + 1] <= 4:
            units = range(self.network.sizes[w.layer + 1])
            given += [("delta", w.layer + 1, m) for m in units]
            given += [("w", w.layer + 1, m, w.j) for m in units]
        else:
            given.append(("dC_da", w.layer, w.j))
        name = self.network.layers[w.layer].activation.name
        return self._exercise(
            f"What is the derivative of the loss ({self.network.loss.name}) with respect to this "
            f"weight, for this sample? The activation is {name}.",
            why, self._symbol(why), why.value, list(self._chain_mistakes(why, w)), given,
            _FACTORS[len(why.terms)],
            [s for e in why.sections() if e.title.startswith("The numbers")
             for s in [e.equations[-1].sides]],
        )  # fmt: skip

    def _mean(self, w: Weight) -> Exercise | None:
        """Return an exercise about ∂C/∂w, the mean over some samples."""
        start = max(min(self.sample, len(self.X) - _SAMPLES), 0)
        why = self.explain_sample(w, slice(start, start + _SAMPLES))
        n = why.n_samples
        if n < 2:
            return None
        first = self.notation.first_index
        total = float(why.products.sum())
        mistakes = [
            Mistake("sum", total, f"That is the sum over the samples. The loss is a mean, so its "
                                  f"derivative is a mean, too: divide by {n}."),
            Mistake("sign", -why.value, "The size is right, but the sign is wrong."),
            Mistake("one", float(why.products[0]), "That is one sample. Take the mean over all."),
        ]  # fmt: skip
        given = [
            Equation((Partial(LossSymbol(i), why.symbol), Num(float(p))))
            for i, p in enumerate(why.products)
        ]
        words = (
            f"The loss is the mean over {n} samples ({start + first} to {start + n - 1 + first}). "
            "What is its derivative with respect to this weight?"
        )
        return self._exercise(
            words, why, Partial(LossSymbol(), why.symbol), why.value, mistakes, given,
            "C is the mean of the losses of the samples, so take the mean of their derivatives.",
            [why.sections()[-2].equations[0].sides],
        )  # fmt: skip

    def _update(self, w: Weight) -> Exercise | None:
        """Return an exercise about w - η ∂C/∂w."""
        why = self.explain_sample(w)
        old, step = why.target_value, self.eta * why.value
        mistakes = [
            Mistake("sign", old + step, "That climbs the gradient. Gradient descent subtracts: "
                                        "w − η ∂C/∂w."),
            Mistake("step", -step, "That is the step. The question is about the weight after it."),
            Mistake("step", step, "That is η ∂C/∂w. The question is about the weight after it."),
        ]  # fmt: skip
        if self.eta != 1:
            words = "The factor η is missing: the step is η times the derivative."
            mistakes.append(Mistake("rate", old - why.value, words))
        given: list[Any] = [
            ("w", w.layer, w.j, w.k),
            Equation((Partial(LossSymbol(), why.symbol), Num(why.value))),
            Equation((Name("eta"), Num(self.eta))),
        ]
        rule = add(why.symbol, Neg(mul(Name("eta"), Partial(LossSymbol(), why.symbol))))
        return self._exercise(
            "Take one step of gradient descent. What is the weight after it?",
            why, rule, old - step, mistakes, given,
            "The weight moves against its derivative, by η times the derivative.",
            [why.sections()[-1].equations[-1].sides[1:]],
        )  # fmt: skip

    def _formula(self, w: Weight) -> Exercise | None:
        """Return an exercise whose answer is the chain rule of a weight, in symbols."""
        found = chains.product(self.network, w)
        if found is None:
            return None
        right, wrong = found
        key = formulas.key(self.network, self.notation, right, wrong)
        if key is None:
            return None
        why = self.explain_sample(w)
        words = chains.ASKED.format(loss=self.network.loss.name)
        symbol = self._symbol(why)
        return self._exercise(
            words, why, symbol, why.value, (), (), chains.HINT, [(symbol, right)], key
        )

    # --- parts ----------------------------------------------------------------------------------

    def _chain_mistakes(self, why: Explanation, w: Weight) -> Iterator[Mistake]:
        yield Mistake("sign", -why.value, "The size is right, but the sign is wrong. Follow the "
                                          "sign of the residual through the factors.")  # fmt: skip
        value, a_k = why.value, why.terms[-1].value
        if len(why.terms) == 3:
            arriving, slope, _ = (term.value for term in why.terms)
            if slope != 1:  # a factor of 1 can be left out
                yield Mistake("slope", arriving * a_k, "The factor ∂a/∂z = g′(z) is missing: the "
                              "derivative must pass through the activation.")  # fmt: skip
            yield Mistake("input", arriving * slope, self._without_input(why))
        else:
            yield Mistake("input", why.terms[0].value, self._without_input(why))
            g = self.network.layers[w.layer].activation
            if g.name != "softmax":
                z, a = why.gradient.forward.z[w.layer], why.gradient.forward.a[w.layer]
                slope = float(g.derivative(z, a)[0, w.j])
                yield Mistake("slope", value * slope, "The factor g′(z) is there twice: with this "
                              "loss, ∂C/∂z is already a − y.")  # fmt: skip
        check = "the right number. Check the factor in front of the loss."
        yield Mistake("factor", 2 * value, f"That is twice {check}")
        yield Mistake("factor", value / 2, f"That is half {check}")
        l = w.layer
        if w.j != w.k and max(w.j, w.k) < min(self.network.sizes[l], self.network.sizes[l - 1]):
            other = float(why.gradient.dW[l][w.k, w.j])
            yield Mistake("transposed", other, self._transposed(l, w.j, w.k))
        if l < len(self.network.sizes) - 1:
            W = np.asarray(self.network.layers[l + 1].W, dtype=np.float64)
            after = W - self.eta * why.gradient.dW[l + 1]
            g = self.network.layers[l].activation
            z, a = why.gradient.forward.z[l], why.gradient.forward.a[l]
            slope = float(g.derivative(z, a)[0, w.j])
            late = float(why.gradient.delta[l + 1][0] @ after[:, w.j]) * slope * a_k
            yield Mistake("after", late, "That uses the weights after the update. The "
                          "gradient uses the weights before it.")  # fmt: skip
            if W.shape[0] == W.shape[1] > 1:
                turned = float(why.gradient.delta[l + 1][0] @ W[w.j]) * slope * a_k
                yield Mistake("transposed", turned, self._transposed(l + 1, w.j))

    def _without_input(self, why: Explanation) -> str:
        symbol = self.scribe.text(why.terms[-1].symbol)
        return f"The factor {symbol} is missing: the activation at the start of the weight."

    def _transposed(self, l: int, j: int, k: int | None = None) -> str:
        one = self.scribe.text(quantity("w", l, "to", "from"))
        return (
            f"The indices are the wrong way round: {one} leads from unit "
            f"{self.notation.from_index} to unit {self.notation.to_index}."
        )

    def _symbol(self, why: Explanation) -> Expr:
        return Partial(LossSymbol(why.focus), why.symbol)

    @staticmethod
    def _number(why: Explanation, letter: str, l: int, j: int) -> float:
        arrays: Any = why.gradient.forward.z if letter == "z" else why.gradient.forward.a
        return float(arrays[l][0, j])

    def _exercise(
        self,
        words: str,
        why: Explanation,
        symbol: Expr,
        value: float,
        mistakes: Sequence[Mistake],
        given: Sequence[Any],
        hint: str,
        solution: Sequence[Sequence[Expr]],
        key: formulas.FormulaKey | None = None,
    ) -> Exercise:
        known = tuple(self._given(why, g) if isinstance(g, tuple) else g for g in given)
        scribe = Scribe(self.notation, self.network.sizes, why.n_samples, why.first_sample)
        views = [scribe.view(equation) for equation in known]
        view: QuestionView = {
            "kind": "question", "words": words, "mathml": scribe.mathml(symbol),
            "target": str(why.target), "given": views, "hint": hint,
            "hints": self._hints(why, symbol, scribe),
            "names": [] if key is None else sorted({*key.names.values()}),
        }  # fmt: skip
        steps = "".join(scribe.equation(*sides)["mathml"] for sides in solution)
        return Exercise(view, float(value), tuple(mistakes), steps, why, symbol, known, key)

    @staticmethod
    def _hints(why: Explanation, symbol: Expr, scribe: Scribe) -> list[EquationView]:
        """Return the factors that an exercise is about, each as its formula."""
        if symbol == Partial(LossSymbol(why.focus), why.symbol):
            return [scribe.equation(term.symbol, term.formula) for term in why.terms]
        return [
            scribe.equation(term.symbol, term.formula)
            for term in why.terms
            if term.symbol == symbol
        ]

    def _given(self, why: Explanation, what: tuple[Any, ...]) -> Equation:
        letter, l, *units = what
        if letter in ("delta", "dC_da"):
            q = quantity("z" if letter == "delta" else "a", l, *units)
            symbol: Expr = Partial(LossSymbol(why.focus), q)
            if letter == "delta":
                number = float(why.gradient.delta[l][why.focus, units[0]])
            else:
                number = why.terms[0].value
            return Equation((symbol, Num(number)))
        q = quantity(letter, l, *units)
        return Equation((q, Num(why.value_of(q))))


def _can_be_told_apart(exercise: Exercise) -> bool:
    """Return whether the answer is far enough from 0, and no mistake leads to it."""
    if exercise.key is not None:
        return True  # formulas differ, whatever their values are
    if not math.isfinite(exercise.value) or abs(exercise.value) < 1e-4 or _is_at_kink(exercise.why):
        return False
    return not any(
        m.fault not in ("after", "one", "input") and near(m.value, exercise.value, 3 * NEAR)
        for m in exercise.mistakes
    )


def _is_at_kink(why: Explanation) -> bool:
    """Return whether the derivative goes through a kink, where it has another value on each side.

    A bias of 0 and an input of 0 put a unit exactly there.
    """
    network, target, passed = why.network, why.target, why.gradient.forward
    first = target.layer + isinstance(target, UnitOutput)
    for l in range(max(first, 1), len(network.sizes)):
        z = passed.z[l] if l > target.layer else passed.z[l][:, [target.j]]
        if any(np.any(np.abs(z - kink) < _KINK) for kink in network.layers[l].activation.kinks):
            return True
    residual = np.abs(passed.a[-1] - why.y)
    return any(np.any(np.abs(residual - abs(kink)) < _KINK) for kink in network.loss.kinks)

"""Practice: an exercise from the network as it is, and what a wrong answer says about its maker.

The right answer is the library's number. Beside it stand the numbers that the usual mistakes lead
to; an exercise is only asked where these can be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.feedforward import FeedForward
from chainrule.equations.formulas import Expr, Name, Neg, Num, add, mul
from chainrule.equations.targets import Weight
from chainrule.explain import Explanation, Notation, explain
from chainrule.explain.scribe import EquationView, Scribe
from chainrule.explain.symbols import LossSymbol, Partial, quantity

Array = NDArray[Any]
_NEAR = 0.01  # an answer is right, or a mistake found, within this share
_TRIES = 60
_SAMPLES = 4  # in an exercise about the mean


class QuestionView(TypedDict):
    """An exercise."""

    kind: Literal["question"]
    words: str
    mathml: str
    target: str
    given: list[EquationView]
    hint: str


class VerdictView(TypedDict):
    """What is said about an answer."""

    kind: Literal["verdict"]
    right: bool
    fault: str  # "", "sign", "slope", "transposed", "sum", "after", "input", "units" or "other"
    words: str
    solution: str
    target: str


@dataclass(frozen=True)
class Mistake:
    """What a mistake leads to: its name, the number, and what is said about it."""

    fault: str
    value: float
    words: str


@dataclass(frozen=True)
class Exercise:
    """A question with its answer and the mistakes that are looked for."""

    view: QuestionView
    value: float
    mistakes: tuple[Mistake, ...]
    solution: str

    def judge(self, answer: float) -> VerdictView:
        """Return whether an answer is right, and what went wrong if it is not."""
        if _near(answer, self.value):
            return self._verdict(True, "", "Right.")
        found = [m for m in self.mistakes if _near(answer, m.value)]
        if found:
            nearest = min(found, key=lambda m: abs(m.value - answer))
            return self._verdict(False, nearest.fault, nearest.words)
        if _near(abs(answer), abs(self.value), 0.1) and answer * self.value > 0:
            words = "Close, but not within 1 %: work with more digits."
            return self._verdict(False, "digits", words)
        words = (
            "Not this, and none of the usual mistakes either. Write the chain rule down factor by "
            "factor; the hint names them."
        )
        return self._verdict(False, "other", words)

    def _verdict(self, right: bool, fault: str, words: str) -> VerdictView:
        return {
            "kind": "verdict", "right": right, "fault": fault, "words": words,
            "solution": self.solution if right else "", "target": self.view["target"],
        }  # fmt: skip


class Examiner:
    """Makes exercises for a network and samples."""

    def __init__(
        self, network: FeedForward, X: Array, y: Array, sample: int, notation: Notation, eta: float
    ) -> None:
        self.network, self.X, self.y, self.sample = network, X, y, sample
        self.notation, self.eta = notation, eta
        self.scribe = Scribe(notation, network.sizes)

    def ask(self, about: str, rng: np.random.Generator) -> Exercise:
        """Make an exercise about "term", "gradient", "update" or "any" of them.

        Raises ValueError where the network's numbers allow none (all gradients 0, say).
        """
        kinds: dict[str, list[Callable[[Weight], Exercise | None]]] = {
            "term": [self._slope, self._arriving],
            "gradient": [self._gradient, self._mean],
            "update": [self._update],
        }
        makers = [m for kind, list_ in kinds.items() if about in (kind, "any") for m in list_]
        for _ in range(_TRIES):
            exercise = makers[rng.integers(len(makers))](self._draw(rng))
            if exercise is not None and _can_be_told_apart(exercise):
                return exercise
        raise ValueError(
            "no exercise can be made here: gradients are too close to 0, or mistakes would lead "
            "to the right number; choose another sample or network"
        )

    def _draw(self, rng: np.random.Generator) -> Weight:
        l = int(rng.integers(1, len(self.network.sizes)))
        return Weight(
            l,
            int(rng.integers(self.network.sizes[l])),
            int(rng.integers(self.network.sizes[l - 1])),
        )

    # --- exercises ------------------------------------------------------------------------------

    def _explain(self, target: Weight | str, rows: slice | None = None) -> Explanation:
        chosen = slice(self.sample, self.sample + 1) if rows is None else rows
        return explain(
            self.network,
            target,
            self.X[chosen],
            self.y[chosen],
            notation=self.notation,
            learning_rate=self.eta,
        )

    def _slope(self, w: Weight) -> Exercise | None:
        """∂a/∂z."""
        why = self._explain(w)
        if len(why.terms) < 3:
            return None
        term = why.terms[1]
        z, a = self._number(why, "z", w.layer, w.j), self._number(why, "a", w.layer, w.j)
        mistakes = [
            Mistake("sign", -term.value, "The size is right, the sign is not."),
            Mistake("value", a, "That is a = g(z) itself. Asked is the slope there, g′(z)."),
            Mistake("input", z, "That is z. Asked is the slope of g at this z."),
        ]
        name = self.network.layers[w.layer].activation.name
        return self._exercise(
            f"What is this term of the chain rule? The activation is {name}.",
            why, term.symbol, term.value, mistakes, [("z", w.layer, w.j), ("a", w.layer, w.j)],
            "It depends on z alone (or on a, where g′ can be written in a).",
            [term.derivation[-1].sides, term.numbers.sides],
        )  # fmt: skip

    def _arriving(self, w: Weight) -> Exercise | None:
        """∂C/∂a of a hidden unit: the sum over the units that it feeds."""
        if w.layer == len(self.network.sizes) - 1:
            return None
        why = self._explain(f"a[{w.layer}][{w.j}]")
        (term,) = why.terms
        l, units = w.layer + 1, self.network.sizes[w.layer + 1]
        delta = why.gradient.delta[l][0]
        W = np.asarray(self.network.layers[l].W, dtype=np.float64)
        mistakes = [Mistake("sign", -term.value, "The size is right, the sign is not.")]
        if units == W.shape[1] and units > 1:
            mistakes.append(Mistake("transposed", float(delta @ W[w.j]), self._transposed(l, w.j)))
        if units > 1:
            first = self.notation.first_index
            mistakes += [
                Mistake(
                    "sum",
                    float(delta[m] * W[m, w.j]),
                    f"That is the part through unit {m + first} alone. The unit feeds all {units} "
                    f"units of layer {l}: add up their parts.",
                )
                for m in range(units)
            ]
        given: list[Any] = [("delta", l, m) for m in range(min(units, 6))]
        given += [("w", l, m, w.j) for m in range(min(units, 6))]
        if units > 6:
            return None
        return self._exercise(
            "How much does the loss change with this activation?",
            why, term.symbol, term.value, mistakes, given,
            "The loss depends on it through every unit of the next layer: a sum of ∂C/∂z times "
            "the weight on the way there.",
            [term.derivation[-1].sides, term.numbers.sides],
        )  # fmt: skip

    def _gradient(self, w: Weight) -> Exercise | None:
        """∂C_i/∂w of one sample."""
        why = self._explain(w)
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
            "Three factors: what arrives at a, the slope g′(z), and the activation at the "
            "weight's start.",
            [s for e in why.sections() if e.title.startswith("The numbers")
             for s in [e.equations[-1].sides]],
        )  # fmt: skip

    def _mean(self, w: Weight) -> Exercise | None:
        """∂C/∂w, the mean over some samples."""
        start = max(min(self.sample, len(self.X) - _SAMPLES), 0)
        why = self._explain(w, slice(start, start + _SAMPLES))
        n = why.n_samples
        if n < 2:
            return None
        first = self.notation.first_index
        total = float(why.products.sum())
        mistakes = [
            Mistake("sum", total, f"That is the sum over the samples. The loss is their mean, so "
                                  f"its derivative is the mean: divide by {n}."),
            Mistake("sign", -why.value, "The size is right, the sign is not."),
            Mistake("one", float(why.products[0]), "That is one sample. Take the mean of all."),
        ]  # fmt: skip
        rows = Scribe(self.notation, self.network.sizes, n)
        given = [
            rows.equation(Partial(LossSymbol(i), why.symbol), Num(float(p)))
            for i, p in enumerate(why.products)
        ]
        words = (
            f"The loss is the mean over {n} samples ({start + first} to {start + n - 1 + first}). "
            "What is its derivative with respect to this weight?"
        )
        return self._exercise(
            words, why, Partial(LossSymbol(), why.symbol), why.value, mistakes, given,
            "C is the mean of the losses of the samples.",
            [why.sections()[-2].equations[0].sides],
        )  # fmt: skip

    def _update(self, w: Weight) -> Exercise | None:
        """w - η ∂C/∂w."""
        why = self._explain(w)
        old, step = why.target_value, self.eta * why.value
        mistakes = [
            Mistake("sign", old + step, "That goes up the gradient. Descent subtracts: "
                                        "w − η ∂C/∂w."),
            Mistake("rate", old - why.value, "η is missing: the step is η times the derivative."),
            Mistake("step", -step, "That is the step. Asked is the weight after it."),
            Mistake("step", step, "That is η ∂C/∂w. Asked is the weight after the step."),
        ]  # fmt: skip
        given: list[Any] = [
            ("w", w.layer, w.j, w.k),
            self.scribe.equation(Partial(LossSymbol(), why.symbol), Num(why.value)),
            self.scribe.equation(Name("eta"), Num(self.eta)),
        ]
        rule = add(why.symbol, Neg(mul(Name("eta"), Partial(LossSymbol(), why.symbol))))
        return self._exercise(
            "One step of gradient descent: what is the weight after it?",
            why, rule, old - step, mistakes, given,
            "The weight moves against its derivative, by η times it.",
            [why.sections()[-1].equations[-1].sides[1:]],
        )  # fmt: skip

    # --- parts ----------------------------------------------------------------------------------

    def _chain_mistakes(self, why: Explanation, w: Weight) -> Iterator[Mistake]:
        yield Mistake("sign", -why.value, "The size is right, the sign is not. Follow the sign of "
                                          "the residual through the factors.")  # fmt: skip
        value, a_k = why.value, why.terms[-1].value
        if len(why.terms) == 3:
            arriving, slope, _ = (term.value for term in why.terms)
            yield Mistake("slope", arriving * a_k, "The factor ∂a/∂z = g′(z) is missing: the "
                          "derivative has to pass the activation.")  # fmt: skip
            yield Mistake("input", arriving * slope, self._without_input(why))
        else:
            yield Mistake("input", why.terms[0].value, self._without_input(why))
            g = self.network.layers[w.layer].activation
            if g.name != "softmax":
                z, a = why.gradient.forward.z[w.layer], why.gradient.forward.a[w.layer]
                slope = float(g.derivative(z, a)[0, w.j])
                yield Mistake("slope", value * slope, "g′(z) is in twice: for this loss, ∂C/∂z is "
                              "already a − y.")  # fmt: skip
        yield Mistake("factor", 2 * value, "Twice the right number: look at the loss's factor.")
        yield Mistake("factor", value / 2, "Half the right number: look at the loss's factor.")
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
            yield Mistake("after", late, "That uses the weights from after the update. The "
                          "gradient is taken with those from before.")  # fmt: skip
            if W.shape[0] == W.shape[1] > 1:
                turned = float(why.gradient.delta[l + 1][0] @ W[w.j]) * slope * a_k
                yield Mistake("transposed", turned, self._transposed(l + 1, w.j))

    def _without_input(self, why: Explanation) -> str:
        symbol = self.scribe.text(why.terms[-1].symbol)
        return f"The factor {symbol} is missing: the activation at the weight's start."

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
    ) -> Exercise:
        views = [self._given(why, g) if isinstance(g, tuple) else g for g in given]
        scribe = Scribe(self.notation, self.network.sizes, why.n_samples)
        view: QuestionView = {
            "kind": "question", "words": words, "mathml": scribe.mathml(symbol),
            "target": str(why.target), "given": views, "hint": hint,
        }  # fmt: skip
        steps = "".join(scribe.equation(*sides)["mathml"] for sides in solution)
        return Exercise(view, float(value), tuple(mistakes), steps)

    def _given(self, why: Explanation, what: tuple[Any, ...]) -> EquationView:
        letter, l, *units = what
        if letter in ("delta", "dC_da"):
            q = quantity("z" if letter == "delta" else "a", l, *units)
            symbol: Expr = Partial(LossSymbol(why.focus), q)
            if letter == "delta":
                number = float(why.gradient.delta[l][why.focus, units[0]])
            else:
                number = why.terms[0].value
            return self.scribe.equation(symbol, Num(number))
        q = quantity(letter, l, *units)
        return self.scribe.equation(q, Num(why.value_of(q)))


def _near(value: float, other: float, share: float = _NEAR) -> bool:
    return math.isclose(value, other, rel_tol=share, abs_tol=1e-9)


def _can_be_told_apart(exercise: Exercise) -> bool:
    """Return whether no mistake leads to the right answer, which is a number worth asking for."""
    if not math.isfinite(exercise.value) or abs(exercise.value) < 1e-4:
        return False
    return not any(
        m.fault not in ("after", "one", "input") and _near(m.value, exercise.value, 3 * _NEAR)
        for m in exercise.mistakes
    )

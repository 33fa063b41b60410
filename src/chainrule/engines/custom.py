"""Custom functions in the core: their formulas as programs, where they are what the code computes.

The core computes the formula of a custom activation or loss, not its code. So the two are compared
first, on numbers of every size; where they differ, or where a class does more than its formula says
(an activation that mixes units, say), the network stays with the reference engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule import _forks as forks
from chainrule.engines.programs import Program, TooLongError, computed, program
from chainrule.equations.activations import Activation, Softmax
from chainrule.equations.formulas import Add, Call, Expr, Mul, Name, Neg, names_in, parse
from chainrule.equations.losses import Loss, LossFromZ, Poisson
from chainrule.equations.weighted import WeightedOutputs

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
_POINTS = np.concatenate(
    [[0.0], *(sign * np.linspace(0.01, 30, 120) for sign in (1, -1)),
     *(sign * np.logspace(-6, 3, 28) for sign in (1, -1)), np.arange(-10, 10.5, 0.5)]
)  # fmt: skip
_TARGETS = ([-2.5, 0.0, 0.3, 1.0, 2.5], [0.0, 0.3, 1.0, 2.5], [0.0, 0.3, 1.0])
_TOLERANCE = {"f": 2e-5, "d": 1e-11}  # relative, or absolute below 1
_ORDINARY = 100.0  # up to which code that gives NaN means it; beyond, it may just overflow
_A, _Y = Name("a"), Name("y")


class NotCompiledError(ValueError):
    """What the core can't take, and why."""


@dataclass(frozen=True)
class Custom:
    """What the core needs to know of custom functions.

    ``formulas`` has for each layer (z to a, z to a and g'(z)), or None for an activation of the
    core's own. ``output`` is z, y to a, c, ∂c/∂z, or after a softmax a, y to c, ∂c/∂a; ``weights``
    are those of the outputs.
    """

    formulas: tuple[tuple[Program, Program] | None, ...] = ()
    output: Program | None = None
    weights: tuple[float, ...] | None = None


class Compiler:
    """Makes programs of custom functions, and keeps them."""

    def __init__(self, activations: Sequence[type], losses: Sequence[type]) -> None:
        self._activations, self._losses = frozenset(activations), frozenset(losses)
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._lock = forks.Lock()

    def of(self, network: FeedForward) -> Custom | None:
        """Return what is custom of a network, or None if nothing is.

        Raises `NotCompiledError` with what the core can't take.
        """
        layers, loss = network.layers, network.loss
        own = [type(layer.activation) in self._activations for layer in layers[1:]]
        if all(own) and type(loss) in self._losses:
            return None
        weights = None
        if isinstance(loss, WeightedOutputs):
            weights = tuple(map(float, loss.weights))
            loss = loss.loss
        formulas = list[tuple[Program, Program] | None]()
        char = network.dtype.char
        for l, (layer, known) in enumerate(zip(layers[1:], own, strict=True), start=1):
            g = layer.activation
            formulas.append(
                None if known else self._keep(_activation, (g, char), f"{g.name!r} (layer {l})")
            )
        last, output = layers[-1].activation, None
        if not own[-1] or type(loss) not in self._losses:
            output = self._keep(_output, (last, loss, char), f"{loss.name!r} after {last.name!r}")
        elif weights and isinstance(loss, Poisson) and isinstance(last, Softmax):
            raise NotCompiledError(
                "cannot take weights of outputs with loss 'poisson' after a softmax"
            )
        return Custom(tuple(formulas), output, weights)

    def _keep(self, make: Callable[..., Any], given: tuple[Any, ...], named: str) -> Any:
        key = (make, *(_identity(part) for part in given))
        with self._lock:
            if key not in self._kept:
                if len(self._kept) > 256:
                    self._kept.clear()
                try:
                    self._kept[key] = make(*given)
                except (NotCompiledError, TooLongError) as error:
                    self._kept[key] = str(error)
            found = self._kept[key]
        if isinstance(found, str):
            kind = "activation" if make is _activation else "loss"
            raise NotCompiledError(f"cannot take {kind} {named}: {found}")
        return found


def _identity(part: Any) -> Any:
    """Return what a program depends on: the class, its formulas, and what an object holds."""
    if isinstance(part, str):
        return part
    texts = (part.formula, part.derivative_formula, getattr(part, "log_derivative_formula", None))
    return type(part), texts, repr(getattr(part, "__dict__", None))


def _activation(g: Activation, char: str) -> tuple[Program, Program]:
    if type(g).pull_back is not Activation.pull_back:
        raise NotCompiledError("it has a pull_back of its own")
    z = _POINTS.astype(char)
    a = _called(lambda: g.value(z), z)
    slope = _called(lambda: g.derivative(z, a), z)
    where = [f"z = {number:.6g}" for number in z]
    value = _agreeing("value", _forms(g.formula), [z], [a], char, where)
    pairs = [(value, form) for form in _forms(g.derivative_formula, value)]
    _, derivative = _agreeing("derivative", pairs, [z], [a, slope], char, where)
    return program([value], "z"), program([value, derivative], "z")


def _output(g: Activation, loss: Loss, char: str) -> Program:
    y, first = _targets(loss, char), _POINTS[::3]
    if isinstance(g, Softmax):
        if isinstance(loss, LossFromZ):
            raise NotCompiledError("it is computed from z")
        a = np.repeat(np.concatenate([np.logspace(-6, 0, 60), first[abs(first) < 1]]), len(y))
        a, y = abs(a).astype(char), np.tile(y, len(a) // len(y))
        C, slope = _called(lambda: loss.value(a, y), a), _called(lambda: loss.derivative(a, y), a)
        pairs = [(c, d) for c in _forms(loss.formula) for d in _forms(loss.derivative_formula)]
        where = [f"a = {u:.6g}, y = {v:.6g}" for u, v in zip(a, y, strict=True)]
        return program(_agreeing("code", pairs, [a, y], [C, slope], char, where, "ay"), "ay")
    if type(g).pull_back is not Activation.pull_back:
        raise NotCompiledError("its output has a pull_back of its own")
    z, y = np.repeat(first, len(y)).astype(char), np.tile(y, len(first))
    a = _called(lambda: g.value(z), z)
    columns = z[:, None], a[:, None], y[:, None]
    if isinstance(loss, LossFromZ):
        C = _called(lambda: loss.value_from_z(g, columns[0], columns[2]), z)
        delta = _called(lambda: loss.delta(g, *columns)[:, 0], z)
    else:
        C = _called(lambda: loss.value(a, y), z)
        delta = _called(lambda: g.pull_back(loss.derivative(a, y), z, a), z)
    where = [f"z = {u:.6g}, y = {v:.6g}" for u, v in zip(z, y, strict=True)]
    forms = list(_of_output(g, loss))
    return program(_agreeing("code", forms, [z, y], [a, C, delta], char, where, "zy"), "zy")


def _of_output(g: Activation, loss: Loss) -> Iterator[tuple[Expr, Expr, Expr]]:
    """Yield a, c and ∂c/∂z in z and y, in the forms that the formulas have."""
    for a in _forms(g.formula):
        if isinstance(loss, Poisson) and g.log_derivative_formula is not None:
            c: Expr = Add((a, Neg(Mul((_Y, Call("ln", (a,)))))))
            for slope in _forms(g.log_derivative_formula, a):
                yield a, c, Mul((slope, Add((a, Neg(_Y)))))
            continue
        for c in _forms(loss.formula):
            for outer in _forms(loss.derivative_formula):
                for inner in _forms(g.derivative_formula, a):
                    yield a, _with_a(c, a), Mul((_with_a(outer, a), inner))


def _forms(text: str, a: Expr | None = None) -> list[Expr]:
    """Return the forms of a formula, with an expression for the letter a where there is one."""
    if a is not None:
        return [_with_a(form, a) for form in parse(text)]
    return [form for i, form in enumerate(parse(text)) if not i or _A.name not in names_in(form)]


def _with_a(form: Expr, a: Expr) -> Expr:
    return form.replace(lambda node: a if node == _A else None)


def _targets(loss: Loss, char: str) -> Array:
    """Return targets that a loss takes."""
    for numbers in _TARGETS:
        try:
            loss.check_targets(np.array(numbers)[:, None])
        except ValueError:
            continue
        return np.array(numbers, char)
    raise NotCompiledError("it takes targets of its own")


def _called(function: Callable[[], Any], like: Array) -> Array:
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(function())
            return np.broadcast_to(found, like.shape).astype(like.dtype)
    except Exception as error:
        raise NotCompiledError(f"its code raises {type(error).__name__}: {error}") from None


def _agreeing(
    what: str,
    forms: Sequence[Any],
    inputs: list[Array],
    code: list[Array],
    char: str,
    where: list[str],
    letters: str = "z",
) -> Any:
    """Return the first of some forms that computes what the code does."""
    place = 0
    for form in forms:
        exprs = form if isinstance(form, tuple) else (form,)
        found = computed(program(exprs, letters), inputs, char)
        wrong = np.zeros(inputs[0].shape, bool)
        for ours, theirs in zip(found, code, strict=True):
            with np.errstate(all="ignore"):
                near = abs(ours - theirs) <= _TOLERANCE[char] * np.maximum(1, abs(theirs))
            wrong |= np.isfinite(theirs) & ~near
            wrong |= np.isnan(theirs) & np.isfinite(ours) & (abs(inputs[0]) <= _ORDINARY)
        if not wrong.any():
            return form
        place = int(np.argmax(wrong))
    raise NotCompiledError(f"its {what} is not what its formula says at {where[place]}")

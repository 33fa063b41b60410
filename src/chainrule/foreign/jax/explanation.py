"""The explanation of one number of a function of JAX: its derivative as a sum over operations."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation
from chainrule.foreign import document
from chainrule.foreign.asked import Asked, Index, check_index, listed, parse
from chainrule.foreign.certificate import REVERSE, STEP, CallCertificate, central, verdict_of
from chainrule.foreign.explanation import CallExplanation
from chainrule.foreign.jax import formulas
from chainrule.foreign.jax.tape import Operation, Tape, adjoints, column, is_real
from chainrule.foreign.terms import (
    CallContribution,
    CallContributions,
    CallTerm,
    sample_axis,
    samples_of,
)


class Run:
    """A function with its arguments, traced and computed once, and ∂C/∂ of every value."""

    def __init__(self, loss: Callable[..., Any], arguments: Any) -> None:
        if not callable(loss):
            raise TypeError(f"loss is a {type(loss).__name__}; expected a function")
        if not isinstance(arguments, tuple) or not arguments:
            raise TypeError(
                f"arguments is a {type(arguments).__name__}; expected a tuple of the arguments of "
                "loss, the parameters first"
            )
        self.function, self.arguments = loss, arguments
        leaves, self._tree = jax.tree_util.tree_flatten(arguments)
        self.leaves = [jnp.asarray(leaf) for leaf in leaves]
        shape = jax.eval_shape(loss, *arguments)
        if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
            got = f"shape {shape.shape}" if hasattr(shape, "shape") else type(shape).__name__
            raise ValueError(f"loss returns {got}; expected one real number. Take its mean or sum")
        self.tape = Tape(loss, arguments)
        value, self.values = self.tape.run(self.leaves, lambda _, v: v)
        self.loss = float(value)
        self.adjoints = adjoints(self.tape, self.leaves, self.values)
        self.names = self._named()
        self.of_name = {name: slot for slot, name in self.names.items()}

    @property
    def n_samples(self) -> int:
        """The size of the first dimension of the first array after the parameters."""
        for leaf in jax.tree_util.tree_leaves(self.arguments[1:]):
            if jnp.ndim(leaf):
                return int(jnp.shape(leaf)[0])
        return 1

    def _named(self) -> dict[int, str]:
        try:
            called = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            called = []
        names: dict[int, str] = {}
        for slot, (path, _) in enumerate(jax.tree_util.tree_flatten_with_path(self.arguments)[0]):
            argument, parts = path[0].idx, [_part(key) for key in path[1:]]
            if argument or not parts:
                own = called[argument] if argument < len(called) else f"args.{argument}"
                parts.insert(0, own)
            name = ".".join(parts)
            names[slot] = name if name not in names.values() else f"args.{argument}.{name}"
        for operation in self.tape.operations:
            number = f"#{operation.number + 1}" if operation.number else ""
            for i, slot in enumerate(operation.makes):
                which = f".{i}" if len(operation.makes) > 1 else ""
                names[slot] = f"{operation.scope}:{operation.name}{number}{which}"
        return names

    def slot(self, asked: Asked) -> int:
        """Return the value that a target names, or raise ValueError."""
        name = asked.name if asked.call is None else f"{asked.name}:{asked.call}"
        if name not in self.of_name:
            known = list(self.of_name)
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:5]
            raise ValueError(
                f"target is {asked.text!r}; there is no {name!r}. Did you mean {listed(close)}?"
            )
        slot = self.of_name[name]
        if not is_real(self.values[slot]):
            dtype = jnp.result_type(self.values[slot])
            raise ValueError(f"{name} holds {dtype}, which has no derivative")
        return slot

    @cached_property
    def gradient(self) -> list[Any]:
        """Return the derivatives of the loss with respect to the leaves, as `jax.grad` does."""
        real = [i for i, leaf in enumerate(self.leaves) if is_real(leaf)]

        def loss(chosen: list[Any]) -> Any:
            leaves = list(self.leaves)
            for i, leaf in zip(real, chosen, strict=True):
                leaves[i] = leaf
            return self.function(*jax.tree_util.tree_unflatten(self._tree, leaves))

        found = dict(zip(real, jax.grad(loss)([self.leaves[i] for i in real]), strict=True))
        return [found.get(i) for i in range(len(self.leaves))]

    def wide(self, slot: int, index: Index) -> tuple[Callable[[float], float], float] | None:
        """Return the loss in float64 as a function of a shift, or None if it has none.

        The second number is the spacing of the coarsest numbers on the way: a function may cast.
        """
        with float64():
            leaves = [_widened(leaf) for leaf in self.leaves]
            tape = Tape(self.function, jax.tree_util.tree_unflatten(self._tree, leaves))
            if slot >= len(leaves) and len(tape.operations) != len(self.tape.operations):
                return None

        def loss(step: float) -> float:
            def change(at: int, v: Any) -> Any:
                return v.at[index].add(step) if at == slot else v

            with float64():
                return float(tape.run(leaves, change)[0])

        with float64():
            values = tape.run(leaves, lambda _, v: v)[1]
        return loss, _coarsest(values)


def _coarsest(values: list[Any]) -> float:
    """Return the largest relative spacing of the numbers of values."""
    return max(float(jnp.finfo(jnp.result_type(v)).eps) for v in values if is_real(v))


def _part(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _widened(leaf: Any) -> Any:
    return jnp.asarray(np.asarray(leaf, dtype=np.float64)) if is_real(leaf) else leaf


def float64() -> contextlib.AbstractContextManager[Any]:
    """Return a block in which JAX computes in float64."""
    if hasattr(jax, "enable_x64"):
        context: contextlib.AbstractContextManager[Any] = jax.enable_x64(True)
    else:
        context = jax.experimental.enable_x64()  # JAX before 0.8
    return context


@exported("chainrule")
class JaxExplanation(CallExplanation):
    """The derivative of the loss C with respect to one number of a function of JAX, explained.

    `explain_jax` makes it. It is a sum: over the operations that read the number, and over the
    elements that each of them makes of it. ``str(why)`` is the explanation as text, and a notebook
    shows it with its formulas.

    Attributes:
        target: The number, such as "dense.kernel[3,7]".
        value: Its derivative: for an argument exactly the number that `jax.grad` computes.
        number: The number itself.
        notation: The notation.

    Examples:
        >>> import jax, chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_jax(loss, (parameters, x, y), "dense.kernel[3,7]")  # doctest: +SKIP
        >>> gradient = jax.grad(loss)(parameters, x, y)  # doctest: +SKIP
        >>> why.value == float(gradient["dense"]["kernel"][3, 7])  # doctest: +SKIP
        True
    """

    library = "JAX"

    def __init__(self, run: Run, slot: int, index: Index, notation: Notation) -> None:
        self._run, self._slot, self._index, self.notation = run, slot, index, notation
        self.target = self._element(slot, index)
        self.number = float(run.values[slot][index])
        exact = run.gradient[slot] if slot < len(run.leaves) else run.adjoints[slot]
        self.value = float(exact[index])

    def _element(self, slot: int, index: Index) -> str:
        name = self._run.names[slot]
        if slot == self._run.tape.outputs[0]:
            name = "C"
        return f"{name}[{','.join(map(str, index))}]" if index else name

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return self._run.n_samples

    @property
    def loss(self) -> float:
        """Return the loss of the run."""
        return self._run.loss

    @cached_property
    def terms(self) -> tuple[CallTerm, ...]:
        """Return one term for each operation that reads the number; their sum is `value`."""
        return self._terms(self._slot, self._index)

    def _terms(self, slot: int, index: Index) -> tuple[CallTerm, ...]:
        return tuple(
            self._term(operation, slot, index, out, moves)
            for operation in self._run.tape.readers(slot)
            for out, moves in column(operation, self._run.values, slot, index)
        )

    def _term(
        self, operation: Operation, slot: int, index: Index, out: int, moves: Any
    ) -> CallTerm:
        entry = formulas.find(operation)
        where = np.argwhere(moves) if moves.ndim else np.zeros((int(moves != 0), 0), dtype=int)
        at = tuple(where.T)
        local = moves[at] if moves.ndim else moves.reshape(-1)[: len(where)]
        adjoint = np.asarray(self._run.adjoints[out], dtype=np.float64)
        behind = adjoint[at] if moves.ndim else adjoint.reshape(-1)[: len(where)]
        samples = samples_of(where, moves.shape, self.n_samples)

        def contribution(i: int) -> CallContribution:
            place = tuple(int(k) for k in where[i])
            return CallContribution(
                self._element(out, place), None if samples is None else int(samples[i]),
                float(behind[i]), float(local[i]), lambda: self._terms(out, place),
                lambda: formulas.local(operation, self._run.values, slot, index, out, place),
            )  # fmt: skip

        axis, rows = sample_axis(moves.shape, self.n_samples)
        return CallTerm(
            operation.name, operation.scope, self._run.names[out],
            "" if entry is None else entry.says, "" if entry is None else entry.depends,
            "forward mode",
            CallContributions(behind * local, contribution), where, samples, axis, rows,
        )  # fmt: skip

    @property
    def reason(self) -> str:
        """Return why the derivative is 0; "" where there is nothing to say."""
        if self.kind == "not used":
            return f"{self.target} is not used: no operation reads it"
        if self.kind == "cut off":
            names = " and ".join(dict.fromkeys(o.name for o in self._cuts[:3]))
            return f"{self.target} is reached only through {names}: no gradient comes back"
        if self.kind == "zero":
            return "zero because the loss does not depend on what comes of it at this point"
        return ""

    @property
    def kind(self) -> str:
        """Return the kind of `reason`: "not used", "cut off", "zero" or ""."""
        if not self._run.tape.readers(self._slot):
            return "" if self._slot == self._run.tape.outputs[0] else "not used"
        if self.value != 0:
            return ""
        return "cut off" if self._cuts else "zero"

    @cached_property
    def _cuts(self) -> list[Operation]:
        """Return the operations that let no gradient through, if no way to the loss is without."""
        run, reached = self._run, {self._slot}
        cuts = []
        for operation in run.tape.operations:
            if reached.isdisjoint(r for r in operation.reads if isinstance(r, int)):
                continue
            real = any(is_real(run.values[slot]) for slot in operation.makes)
            if operation.name == "stop_gradient" or not real:
                cuts.append(operation)
            else:
                reached.update(operation.makes)
        return [] if run.tape.outputs[0] in reached else cuts

    @cached_property
    def certificate(self) -> CallCertificate:
        """Return the value beside forward mode and a difference quotient in float64."""
        run, number = self._run, self.value
        parts = [float(part) for term in self.terms for part in term.contributions.values]
        total, size = math.fsum(parts), math.fsum(map(abs, parts)) + abs(number)
        last_place = _coarsest(run.values)
        allowed = REVERSE * last_place * size
        if not self.terms:
            return CallCertificate(0.0, 0.0, None, 0.0, 0.0, "no gradient", (), "JAX")
        wide = run.wide(self._slot, self._index)
        if wide is None:
            notes = ("in float64 the function has other operations, so nothing was differenced",)
            verdict = verdict_of(
                number, abs(total - number), allowed, (number, 0.0, False), 0.0, last_place, size
            )
            return CallCertificate(number, total, None, 0.0, allowed, verdict, notes, "JAX")
        loss, eps = wide
        coarser = eps / float(np.finfo(np.float64).eps)
        step = STEP * max(1.0, abs(self.number)) * coarser ** (1 / 3)
        found = central(loss, step, eps)
        of_loss = 64 * eps * abs(run.loss) / step
        verdict = verdict_of(number, abs(total - number), allowed, found, of_loss, last_place, size)
        said: dict[str, tuple[str, ...]] = {
            "kink": ("a piece of the loss has a kink at this point; this is JAX's choice there",),
            "not resolved": ("the differences have no digits of this value",),
        }
        about = said.get(str(verdict), ())
        if coarser > 1:
            about += ("the function casts to coarser numbers: the difference has few digits",)
        return CallCertificate(number, total, found[0], found[1], allowed, verdict, about, "JAX")

    def explain(self, target: str) -> JaxExplanation:
        """Explain another number of the same run.

        Args:
            target: As for `explain_jax`.
        """
        return _answer(self._run, target, self.notation)

    def in_notation(self, notation: Notation | str) -> JaxExplanation:
        """Return the same explanation in another notation.

        Args:
            notation: A `Notation`, or the name of one that ships.
        """
        return JaxExplanation(self._run, self._slot, self._index, notations.get(notation))

    def setting(self) -> str:
        """Return the number, the function, the loss and the samples, in words."""
        count = sum(v.size for v in jax.tree_util.tree_leaves(self._run.arguments[0]))
        name = getattr(self._run.function, "__name__", type(self._run.function).__name__)
        return document.setting(self, f"function {name} of JAX ({count:,} parameters), loss")

    def __repr__(self) -> str:
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples} samples"
        return f"JaxExplanation({self.target}, value={self.value!r}, {samples})"


def explain(
    loss: Callable[..., Any], arguments: tuple[Any, ...], target: str, notation: Notation
) -> JaxExplanation:
    """Run the function, and explain a number of it."""
    parse(target)
    return _answer(Run(loss, arguments), target, notation)


def _answer(run: Run, target: str, notation: Notation) -> JaxExplanation:
    asked = parse(target)
    slot = run.slot(asked)
    index = check_index(asked, run.names[slot], tuple(run.values[slot].shape))
    return JaxExplanation(run, slot, index, notation)

"""The tape: a jaxpr as a flat list of operations, the numbers of a run, and ∂C/∂ of each value."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

_OPENED = frozenset(("jit", "pjit", "closed_call", "core_call"))


@dataclass(eq=False)
class Operation:
    """One operation of a run.

    Attributes:
        name: The primitive, or the name of a function with a derivative of its own.
        scope: The names of the functions in which it stands, from outside.
        number: Which of that name and scope it is, from 0.
        function: Computes its results.
        reads: For each argument the slot of its value, or a constant.
        makes: The slots of its results.
        arguments: The arguments as the primitive has them: again where one stands twice, and
            numbers of the program.
        params: What else the primitive was told.
        custom: Whether it is a function with a derivative of its own.
        places: What was found of where its elements go, by argument and result.
    """

    name: str
    scope: str
    number: int
    function: Callable[..., Sequence[Any]]
    reads: list[int | Constant]
    makes: list[int]
    arguments: list[int | Constant]
    params: Mapping[str, Any]
    custom: bool
    places: dict[tuple[int, int], Any] = field(default_factory=dict)

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Compute the results, as JAX does."""
        return list(self.function(*values))


@dataclass(frozen=True, eq=False)
class Constant:
    """An argument that does not come from another value."""

    value: Any


class Tape:
    """A function's operations, in order.

    Args:
        function: The function.
        arguments: Its arguments.
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        closed = jax.make_jaxpr(function)(*arguments)
        self.operations: list[Operation] = []
        self._counts: dict[tuple[str, str], int] = {}
        self.inputs = list(range(len(closed.jaxpr.invars)))
        self._slots = len(self.inputs)
        known: dict[Any, int | Constant] = dict(zip(closed.jaxpr.invars, self.inputs, strict=True))
        known |= {
            v: Constant(c) for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True)
        }
        self.outputs = self._open(closed.jaxpr, known, "")

    def _open(self, jaxpr: Any, known: dict[Any, int | Constant], scope: str) -> list[Any]:
        def read(v: Any) -> int | Constant:
            return Constant(v.val) if isinstance(v, Literal) else known[v]

        for equation in jaxpr.eqns:
            reads = [read(v) for v in equation.invars]
            inner = equation.params.get("jaxpr")
            if equation.primitive.name in _OPENED and inner is not None:
                there = dict(zip(inner.jaxpr.invars, reads, strict=True))
                there |= {
                    v: Constant(c) for v, c in zip(inner.jaxpr.constvars, inner.consts, strict=True)
                }
                name = str(equation.params.get("name", ""))
                made = self._open(inner.jaxpr, there, f"{scope}.{name}".strip("."))
                known |= dict(zip(equation.outvars, made, strict=True))
                continue
            name = equation.primitive.name
            custom = name.startswith("custom_")
            if custom:
                name = _name_of(equation) or name
            number = self._counts.get((scope, name), 0)
            self._counts[scope, name] = number + 1
            # JAX itself runs the equation, as a program of its own
            given = list(dict.fromkeys(v for v in equation.invars if not isinstance(v, Literal)))
            kept = [v for v in equation.outvars if type(v).__name__ != "DropVar"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it has no debug information
                alone = Jaxpr((), given, kept, [equation], equation.effects)
            function = jaxpr_as_fun(ClosedJaxpr(alone, ()))
            makes = list(range(self._slots, self._slots + len(kept)))
            self._slots += len(makes)
            known |= dict(zip(kept, makes, strict=True))
            unique = [read(v) for v in given]
            self.operations.append(
                Operation(
                    name, scope, number, function, unique, makes, reads, equation.params, custom
                )
            )
        return [read(v) for v in jaxpr.outvars]

    def run(
        self, leaves: Sequence[Any], change: Callable[[int, Any], Any]
    ) -> tuple[Any, list[Any]]:
        """Return the first output and the value of every slot; ``change`` may replace each."""
        values: list[Any] = [change(slot, leaf) for slot, leaf in enumerate(leaves)]
        for operation in self.operations:
            given = [r.value if isinstance(r, Constant) else values[r] for r in operation.reads]
            made = operation.run(given)
            values += [change(s, v) for s, v in zip(operation.makes, made, strict=True)]
        out = self.outputs[0]
        return (out.value if isinstance(out, Constant) else values[out]), values

    def readers(self, slot: int) -> list[Operation]:
        """Return the operations that read a value."""
        return [o for o in self.operations if slot in [r for r in o.reads if isinstance(r, int)]]


def _name_of(equation: Any) -> str:
    """Return the name of a function with a derivative of its own, or ""."""
    inner = equation.params.get("call_jaxpr")
    for inside in inner.jaxpr.eqns if hasattr(inner, "jaxpr") else ():
        return str(inside.params.get("name", ""))
    return ""


def is_real(value: Any) -> bool:
    """Return whether a value holds numbers that a derivative can be taken by."""
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.floating))


def adjoints(tape: Tape, leaves: Sequence[Any], values: Sequence[Any]) -> dict[int, Any]:
    """Return ∂C/∂ of every real value, by one reverse pass: each is shifted by 0."""
    shifts = {slot: jnp.zeros_like(v) for slot, v in enumerate(values) if is_real(v)}

    def loss(shifts: dict[int, Any]) -> Any:
        return tape.run(leaves, lambda slot, v: v + shifts[slot] if slot in shifts else v)[0]

    return dict(jax.grad(loss)(shifts))


def column(
    operation: Operation, values: Sequence[Any], slot: int, index: tuple[int, ...]
) -> list[tuple[int, Any]]:
    """Return how each real result of an operation moves with one element of an argument."""

    def run(moved: Any) -> list[Any]:
        given = [
            r.value if isinstance(r, Constant) else moved if r == slot else values[r]
            for r in operation.reads
        ]
        return [v for v in operation.run(given) if is_real(v)]

    tangent = jnp.zeros_like(values[slot]).at[index].set(1)
    _, moves = jax.jvp(run, (values[slot],), (tangent,))
    real = [s for s in operation.makes if is_real(values[s])]
    return [(s, np.asarray(t, dtype=np.float64)) for s, t in zip(real, moves, strict=True)]

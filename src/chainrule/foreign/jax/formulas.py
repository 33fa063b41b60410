"""Formulas: the table of what JAX's operations compute, and their derivatives in symbols.

An operation without an entry still has its numbers, which are JAX's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import numpy as jnp

from chainrule.foreign.entries import ONE, PLAIN, TWO, ZERO, Found, Index, spread
from chainrule.foreign.jax.tape import Constant, Operation, is_real
from chainrule.foreign.local import Local


@dataclass(frozen=True)
class Bound:
    """The arguments of an operation, in order, and its result.

    Attributes:
        args: The numbers of each argument.
        out: The numbers of the result.
        params: What else the operation was told.
        moved: Returns the result where the elements of the argument in question are counted.
    """

    args: list[Any]
    out: Any
    params: Mapping[str, Any]
    moved: Callable[[], Any]

    def at(self, k: int, index: Index) -> float:
        """Return one number of an argument."""
        return float(self.args[k][index])

    def operand(self, k: int, place: Index) -> float:
        """Return the number of an argument that stands at a place of the result."""
        return float(self.args[k][spread(place, self.args[k].shape)])


_Derivative = Callable[[Bound, int, Index, Index], Found]


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        says: What an element of the result is.
        depends: What it depends on.
        local: Returns ∂out/∂in for an argument, an element of it and one of the result.
    """

    says: str
    depends: str
    local: _Derivative


_SAME = "the element at the same place"
_BOTH = "the elements of both arguments at its place"


def _plain(name: str) -> Entry:
    result, derivative = PLAIN[name]

    def local(b: Bound, k: int, i: Index, o: Index) -> Found:
        return (derivative, {"x": b.at(0, i), "a": float(b.out[o]), "p": np.pi}) if i == o else ZERO

    return Entry(f"a = {result}", _SAME, local)


def _integer_pow(b: Bound, k: int, i: Index, o: Index) -> Found:
    if i != o:
        return ZERO
    return "y * x**(y - 1)", {"x": b.at(0, i), "y": float(b.params["y"])}


def _cbrt(b: Bound, k: int, i: Index, o: Index) -> Found:
    return ("1 / (3 * a**2)", {"a": float(b.out[o])}) if i == o else ZERO


def _exp2(b: Bound, k: int, i: Index, o: Index) -> Found:
    return ("a * ln(2)", {"a": float(b.out[o])}) if i == o else ZERO


def _two(name: str) -> Entry:
    says, *derivatives = TWO[name]

    def local(b: Bound, k: int, i: Index, o: Index) -> Found:
        if spread(o, b.args[k].shape) != i:
            return ZERO
        return derivatives[k], {"x": b.operand(0, o), "y": b.operand(1, o)}

    return Entry(says, _BOTH, local)


def _extreme(larger: bool) -> _Derivative:
    def local(b: Bound, k: int, i: Index, o: Index) -> Found:
        if spread(o, b.args[k].shape) != i:
            return ZERO
        x, y = b.operand(0, o), b.operand(1, o)
        if x == y:
            return "1 / 2", {}
        return ONE if ((x > y) == larger) == (k == 0) else ZERO

    return local


def _clamp(b: Bound, k: int, i: Index, o: Index) -> Found:
    if k != 1 or i != o:
        return ("", {}) if k != 1 else ZERO
    return ONE if b.operand(0, o) < b.at(1, i) < b.operand(2, o) else ZERO


def _select(b: Bound, k: int, i: Index, o: Index) -> Found:
    return ONE if i == o and int(b.operand(0, o)) == k - 1 else ZERO


def _dot_general(b: Bound, k: int, i: Index, o: Index) -> Found:
    (contracted, batch) = b.params["dimension_numbers"]
    free = [
        [d for d in range(b.args[s].ndim) if d not in contracted[s] and d not in batch[s]]
        for s in (0, 1)
    ]
    count, left = len(batch[0]), len(batch[0]) + len(free[0])
    places = (o[count:left], o[left:])
    if tuple(i[d] for d in batch[k]) != o[:count] or tuple(i[d] for d in free[k]) != places[k]:
        return ZERO
    other = [0] * b.args[1 - k].ndim
    for d, p in zip(batch[1 - k], o[:count], strict=True):
        other[d] = p
    for d, p in zip(free[1 - k], places[1 - k], strict=True):
        other[d] = p
    for d, mine in zip(contracted[1 - k], contracted[k], strict=True):
        other[d] = i[mine]
    letter = "xy"[1 - k]
    return letter, {letter: b.at(1 - k, tuple(other))}


def _convolution(b: Bound, k: int, i: Index, o: Index) -> Found:
    """Out(n, j, p) is the sum over c and t of x(n, c, q) w(j, c, t), q = (s p + d t - pad) / e."""
    told = b.params
    numbers, groups = told["dimension_numbers"], told["feature_group_count"]
    if told["batch_group_count"] != 1:
        return "", {}
    x, w = b.args[0], b.args[1]
    n, j, *p = (o[d] for d in numbers.out_spec)
    inputs = w.shape[numbers.rhs_spec[1]]
    first = j // (w.shape[numbers.rhs_spec[0]] // groups) * inputs  # channel of its group
    along = list(zip(
        p, told["window_strides"], told["padding"], told["lhs_dilation"], told["rhs_dilation"],
        strict=True,
    ))  # fmt: skip
    if k == 1:
        own, c, *t = (i[d] for d in numbers.rhs_spec)
        q = [s * at + r * u - low for (at, s, (low, _), _, r), u in zip(along, t, strict=True)]
        place = [n, first + c]
        for (*_, e, _), at, d in zip(along, q, numbers.lhs_spec[2:], strict=True):
            if at % e or not 0 <= at // e < x.shape[d]:
                return ZERO
            place.append(at // e)
        if own != j:
            return ZERO
        return "x", {"x": b.at(0, _in_order(place, numbers.lhs_spec))}
    own, c, *q = (i[d] for d in numbers.lhs_spec)
    place = [j, c - first]
    if own != n or not 0 <= c - first < inputs:
        return ZERO
    for (at, s, (low, _), e, r), u, d in zip(along, q, numbers.rhs_spec[2:], strict=True):
        t_at = e * u + low - s * at
        if t_at % r or not 0 <= t_at // r < w.shape[d]:
            return ZERO
        place.append(t_at // r)
    return "w", {"w": b.at(1, _in_order(place, numbers.rhs_spec))}


def _in_order(place: Sequence[int], spec: Sequence[int]) -> Index:
    """Return an index in the order of an array's dimensions."""
    found = [0] * len(place)
    for d, p in zip(spec, place, strict=True):
        found[d] = p
    return tuple(found)


def _over(derivative: Callable[[float, float, Any], Found]) -> _Derivative:
    def local(b: Bound, k: int, i: Index, o: Index) -> Found:
        axes = b.params["axes"]
        if tuple(p for d, p in enumerate(i) if d not in axes) != o:
            return ZERO
        group = b.args[0][tuple(slice(None) if d in axes else p for d, p in enumerate(i))]
        return derivative(b.at(0, i), float(b.out[o]), group)

    return local


def _largest(x: float, a: float, group: Any) -> Found:
    count = int((group == a).sum())
    if x != a:
        return ZERO
    return ("1 / n", {"n": float(count)}) if count > 1 else ONE


def _product(x: float, a: float, group: Any) -> Found:
    return ("a / x", {"a": a, "x": x}) if x else ("", {})


def _cumulated(b: Bound, k: int, i: Index, o: Index) -> Found:
    d = b.params["axis"]
    if i[:d] != o[:d] or i[d + 1 :] != o[d + 1 :]:
        return ZERO
    return ONE if (i[d] >= o[d] if b.params["reverse"] else i[d] <= o[d]) else ZERO


def _moved(b: Bound, k: int, i: Index, o: Index) -> Found:
    shape = b.args[k].shape
    flat = int(np.ravel_multi_index(i, shape)) if shape else 0
    return ONE if float(b.moved()[o]) == _FIRST + flat else ZERO


# Elements are counted from here, so that no number of the program is one of them, and up to twice
# as many, which float32 tells apart to a quarter.
_FIRST, _MOST_MOVED = 2.0**20 + 0.25, 1 << 20
_MOVES = (
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "rev", "slice",
    "concatenate", "pad", "gather", "dynamic_slice", "dynamic_update_slice", "split", "copy",
    "copy_p",
)  # fmt: skip
_ALL = "all elements that it is taken over"
TABLE: dict[str, Entry] = {
    **{name: _plain(name) for name in (
        "tanh", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "abs", "neg", "sin",
        "cos", "erf", "atan", "sinh", "cosh", "sign", "floor", "round",
    )},
    "logistic": _plain("sigmoid"),
    "ceil": Entry("a = the least whole number not below x", _SAME, lambda b, k, i, o: ZERO),
    "cbrt": Entry("a = the third root of x", _SAME, _cbrt),
    "exp2": Entry("a = 2 to the power of x", _SAME, _exp2),
    "integer_pow": Entry("a = x to the power of y", _SAME, _integer_pow),
    "convert_element_type": Entry("a = x in another dtype", _SAME,
                                  lambda b, k, i, o: ONE if i == o else ZERO),
    **{name: _two(name) for name in ("add", "sub", "mul", "div", "pow")},
    "add_any": _two("add"),
    "max": Entry("a = max(x, y)", "the larger of both", _extreme(True)),
    "min": Entry("a = min(x, y)", "the smaller of both", _extreme(False)),
    "clamp": Entry("a = min(max(low, x), high)", _SAME, _clamp),
    "select_n": Entry("a = the case that is chosen", "the element at its place of one case",
                      _select),
    "dot_general": Entry("out = Σ_k x_k y_k", "a row of one argument and a column of the other",
                         _dot_general),
    "conv_general_dilated": Entry("out = Σ w x over the window",
                                  "the window of its place, and one kernel", _convolution),
    "reduce_sum": Entry("out = Σ x", _ALL, _over(lambda x, a, group: ONE)),
    "reduce_max": Entry("out = max x", _ALL, _over(_largest)),
    "reduce_min": Entry("out = min x", _ALL, _over(_largest)),
    "reduce_prod": Entry("out = Π x", _ALL, _over(_product)),
    "cumsum": Entry("out[k] = x[0] + … + x[k]", "the elements before it in its line", _cumulated),
    **dict.fromkeys(_MOVES, Entry("out = x of another place",
                                  "the one element that stands there", _moved)),
}  # fmt: skip


def find(operation: Operation) -> Entry | None:
    """Return the entry of an operation, or None."""
    return None if operation.custom else TABLE.get(operation.name)


def local(
    operation: Operation, values: Sequence[Any], slot: int, index: Index, out: int, place: Index
) -> Local | None:
    """Return ∂out/∂in of one element of the result of an operation by one of an argument.

    None where the operation has no entry, or the entry does not cover how it was called.
    """
    entry = find(operation)
    asked = [k for k, a in enumerate(operation.arguments) if isinstance(a, int) and a == slot]
    if entry is None or len(asked) != 1:  # x * x: the formula of neither argument alone
        return None
    args = [
        np.asarray(a.value if isinstance(a, Constant) else values[a]) for a in operation.arguments
    ]
    which = operation.makes.index(out)

    def moved() -> Any:
        return _places(operation, values, slot, which)

    bound = Bound(args, np.asarray(values[out]), operation.params, moved)
    try:
        found = Local(*entry.local(bound, asked[0], index, place))
        return found if found.formula else None
    except (LookupError, TypeError, ArithmeticError, ValueError):
        return None


def _places(operation: Operation, values: Sequence[Any], slot: int, which: int) -> Any:
    """Return a result where the elements of a value are counted, from `_FIRST` on."""
    if (slot, which) not in operation.places:
        size = int(np.size(values[slot]))
        if size >= _MOST_MOVED or jnp.finfo(jnp.result_type(values[slot])).bits < 32:
            raise ValueError("there are more elements than its dtype counts")

        def counted(read: int | Constant) -> Any:
            value = read.value if isinstance(read, Constant) else values[read]
            if read == slot:
                return _FIRST + jnp.arange(size, dtype=value.dtype).reshape(value.shape)
            return jnp.full_like(value, -1) if is_real(value) else value

        found = operation.run([counted(read) for read in operation.reads])
        operation.places[slot, which] = np.asarray(found[which])
    return operation.places[slot, which]

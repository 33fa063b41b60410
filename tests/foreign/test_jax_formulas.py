"""The table of formulas of JAX: each entry against the columns that JAX's forward mode gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import chainrule as cr

pytestmark = pytest.mark.needs("jax")


def disagreements(function: Callable[..., Any], *inputs: Any) -> tuple[list[str], Counter[str]]:
    """Compare the formula of every pair of elements with forward mode, for some of each value.

    The result is weighted, so that each element counts. Everything is in float64.
    """
    import jax
    from jax import numpy as jnp

    from chainrule.foreign.jax import formulas
    from chainrule.foreign.jax.explanation import Run, float64
    from chainrule.foreign.jax.tape import column

    def loss(*x: Any) -> Any:
        leaves = jax.tree_util.tree_leaves(function(*x))
        return sum((v * jnp.linspace(0.5, 1.5, v.size).reshape(v.shape)).sum() for v in leaves)

    wrong: list[str] = []
    covered: Counter[str] = Counter()
    with float64():
        run = Run(loss, tuple(jnp.asarray(x) for x in inputs))
        for slot, value in enumerate(run.values):
            for operation in run.tape.readers(slot) if slot in run.adjoints else ():
                for flat in {0, value.size // 2, value.size - 1}:
                    index = tuple(int(p) for p in np.unravel_index(flat, value.shape))
                    for out, moves in column(operation, run.values, slot, index):
                        for place in np.ndindex(moves.shape):
                            found = formulas.local(operation, run.values, slot, index, out, place)
                            covered[operation.name] += found is not None
                            covered[f"not {operation.name}"] += found is None
                            if found is None:
                                continue
                            right = float(moves[place])
                            if not abs(found.value - right) <= 1e-11 * (abs(right) + 1e-3):
                                wrong.append(f"{operation.name} {found} {found.value} {right}")
                            found.sides()
    return wrong, covered


def check(name: str, function: Callable[..., Any], *inputs: Any) -> None:
    wrong, covered = disagreements(function, *inputs)
    assert wrong == []
    # Older JAX has no primitive of its own for a square.
    assert covered[name] or (name == "square" and covered["integer_pow"]), covered
    assert not covered[f"not {name}"], covered


def numbers(draw: Callable[..., Any], *shape: int, positive: bool = False) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.uniform(0.2, 2.5, shape) if positive else rng.normal(size=shape)


def few(examples: int) -> settings:
    """Settings for examples each of which JAX compiles: shrinking them would take minutes."""
    return settings(max_examples=examples, deadline=None, phases=[Phase.explicit, Phase.generate])


shapes = st.lists(st.integers(1, 3), min_size=0, max_size=3).map(tuple)
UNARY = ("tanh", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "abs", "neg", "sin",
         "cos", "erf", "atan", "sinh", "cosh", "sign", "floor", "ceil", "cbrt", "exp2",
         "logistic")  # fmt: skip
POSITIVE = ("log", "log1p", "sqrt", "rsqrt", "cbrt")


@few(2)
@pytest.mark.parametrize("name", UNARY)
@given(data=st.data())
def test_operations_element_by_element(name: str, data: st.DataObject) -> None:
    from jax import lax

    x = numbers(data.draw, *data.draw(shapes), positive=name in POSITIVE)
    check(name, getattr(lax, name), x)


@few(2)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "max", "min"])
@given(data=st.data())
def test_operations_of_two(name: str, data: st.DataObject) -> None:
    from jax import lax

    shape = data.draw(shapes)
    x, y = (numbers(data.draw, *shape, positive=True) for _ in range(2))
    check(name, getattr(lax, name), x, y)
    check(name, lambda x: getattr(lax, name)(x, np.full(shape, 1.25)), x)


@few(4)
@given(st.data())
def test_ties_powers_choices_and_limits(data: st.DataObject) -> None:
    from jax import lax
    from jax import numpy as jnp

    shape = data.draw(shapes)
    x, y = numbers(data.draw, *shape), numbers(data.draw, *shape)
    check("max", lax.max, x, x.copy())
    power = data.draw(st.sampled_from([-2, 2, 3]))
    check("integer_pow", lambda x: lax.integer_pow(x, power), y)
    check("select_n", lambda x, y: jnp.where(x > 0, x, y), x, y)
    chosen = x > 0
    check("select_n", lambda x, y: lax.select_n(chosen, x, y), x, y)
    check("convert_element_type", lambda x: x.astype("float32"), x.astype("float32"))


@few(4)
@given(st.data())
def test_products(data: st.DataObject) -> None:
    from jax import lax

    b, m, n, k, l = (data.draw(st.integers(1, 3)) for _ in range(5))
    x, y = numbers(data.draw, k, b, m, l), numbers(data.draw, n, l, b, k)
    told = (((0, 3), (3, 1)), ((1,), (2,)))
    check("dot_general", lambda x, y: lax.dot_general(x, y, told), x, y)
    vector = numbers(data.draw, k)
    check("dot_general", lambda v, w: v @ w, vector, numbers(data.draw, k, n))
    check("dot_general", lambda v, w: v @ w, vector, vector + 1)


@few(5)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    from jax import lax

    dims = data.draw(st.integers(1, 2))
    groups, per, after = (data.draw(st.integers(1, 2)) for _ in range(3))
    size, kernel = data.draw(st.integers(3, 5)), data.draw(st.integers(1, 3))
    x = numbers(data.draw, 2, groups * per, *[size] * dims)
    w = numbers(data.draw, groups * after, per, *[kernel] * dims)
    last = data.draw(st.booleans())
    letters = "HW"[:dims]
    specs = ("N" + letters + "C", letters + "IO", "N" + letters + "C") if last else (
        "NC" + letters, "OI" + letters, "NC" + letters
    )  # fmt: skip
    if last:
        x, w = np.moveaxis(x, 1, -1), np.moveaxis(np.moveaxis(w, 1, -1), 0, -1)
    low, high = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    stride, spread, dilated = (data.draw(st.integers(1, 2)) for _ in range(3))

    def run(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, [stride] * dims, [(low, high)] * dims, [spread] * dims, [dilated] * dims,
            specs, feature_group_count=groups,
        )  # fmt: skip

    if min(run(x, w).shape):
        check("conv_general_dilated", run, x, w)


@few(4)
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_min", "reduce_prod"])
@given(data=st.data())
def test_reductions(name: str, data: st.DataObject) -> None:
    from jax import numpy as jnp

    x = numbers(data.draw, *(data.draw(st.integers(1, 3)) for _ in range(3)))
    axes = data.draw(st.sampled_from([(0,), (1, 2), (0, 2), (0, 1, 2)]))
    function = getattr(jnp, name.removeprefix("reduce_"))
    check(name, lambda x: function(x, axes), x)
    if name in ("reduce_max", "reduce_min"):
        check(name, lambda x: function(x, axes), np.round(x))


@few(2)
@given(st.data())
def test_operations_that_move_numbers(data: st.DataObject) -> None:
    from jax import lax
    from jax import numpy as jnp

    a, b, c = (data.draw(st.integers(1, 3)) for _ in range(3))
    x = numbers(data.draw, a, b, c)
    at, reverse = data.draw(st.integers(0, a - 1)), data.draw(st.booleans())
    for name, function in {
        "broadcast_in_dim": lambda x: lax.broadcast_in_dim(x, (a, 2, b, c), (0, 2, 3)),
        "reshape": lambda x: x.reshape(c, a * b),
        "transpose": lambda x: x.transpose(2, 0, 1),
        "squeeze": lambda x: lax.squeeze(x[None], (0,)),
        "rev": lambda x: lax.rev(x, (0, 2)),
        "slice": lambda x: lax.slice(x, (at, 0, 0), (a, b, c), (1, 1, 2)),
        "concatenate": lambda x: jnp.concatenate([x, jnp.sin(x)], 1),
        "pad": lambda x: lax.pad(x, 0.5, ((1, 0, 1), (0, 2, 0), (0, 0, 0))),
        "gather": lambda x: x[jnp.array([at, 0, at])],
        "dynamic_slice": lambda x: lax.dynamic_slice(x, (at, 0, 0), (1, b, c)),
        "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, jnp.cos(x[:1]), (at, 0, 0)),
        "cumsum": lambda x: lax.cumsum(x, 1, reverse=reverse),
    }.items():
        check(name, function, x)


def test_what_has_no_formula_says_so() -> None:
    import jax
    from jax import numpy as jnp

    x = jnp.array([0.5, -1.0])
    for name, loss in {
        "relu": lambda x: jax.nn.relu(x).sum(),  # it has a derivative of its own
        "mul": lambda x: (x * x).sum(),  # neither argument alone
        "sort": lambda x: (jnp.sort(x) * jnp.arange(2.0)).sum(),
    }.items():
        why = cr.explain_jax(loss, (x,), "x[0]")
        term = next(term for term in why.terms if term.call == name)
        assert term.contributions[0].formula is None
        assert "its numbers are JAX's" in str(why) or name == "mul"


def test_formulas_stand_in_the_explanation() -> None:
    from jax import numpy as jnp

    def loss(w: Any, x: Any) -> Any:
        return jnp.tanh(x @ w).sum()

    x = jnp.array([[1.0, 2.0], [0.5, -1.0]])
    why = cr.explain_jax(loss, (jnp.array([0.5, 0.25]), x), "w[1]")
    (term,) = why.terms
    assert term.definition == "out = Σ_k x_k y_k"
    largest, _ = term.contributions.largest(1)
    assert largest[0].formula is not None
    assert largest[0].formula.value == pytest.approx(largest[0].local)
    (inner,) = largest[0].terms
    assert inner.contributions[0].formula is not None
    assert inner.contributions[0].formula.formula == "1 - a**2"
    assert "no formula here" not in str(why)

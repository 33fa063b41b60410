"""Paths from a quantity to the loss, beside all of them written out one by one."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import paths as room
from tests.equations.test_gradients import GROUPS, Array, Setting, build

SETTINGS = [group[(5 * i + 1) % len(group)] for i, group in enumerate(GROUPS)]


def brute_force(why: cr.Explanation, i: int) -> dict[tuple[int, ...], float]:
    """Every path with its product, from the equations alone."""
    net, g, target = why.network, why.gradient, why.target
    W: Any = [None, *(np.float64(layer.W) for layer in net.weighted_layers)]
    L = len(net.sizes) - 1
    head: Any
    starts: Any
    match target:
        case cr.Weight(l, j, k):
            first, starts, head = l, [j], lambda _: g.forward.a[l - 1][i, k]
        case cr.UnitOutput(l, j):
            first, starts, head = l + 1, range(net.sizes[l + 1]), lambda m: W[l + 1][m, j]
        case cr.Bias(l, j) | cr.PreActivation(l, j):
            first, starts, head = l, [j], lambda _: 1.0
    found = {}
    for units in product(starts, *(range(size) for size in net.sizes[first + 1 :])):
        value = head(units[0]) * g.delta[L][i, units[-1]]
        for at, (m, after) in enumerate(pairwise(units), start=first):
            layer, z, mask = net.layers[at], g.forward.z[at][i], g.forward.masks[at]
            slope = layer.activation.derivative(z, layer.activation.value(z))[m]
            value *= W[at + 1][after, m] * slope * (1 if mask is None else mask[i, m])
        found[units] = float(value)
    return found


def targets(net: cr.Network) -> list[str]:
    names = ["x[0]", "w[1][0,0]", "z[1][0]"]
    if len(net.sizes) > 2:
        names += ["a[1][0]", "w[2][0,0]"]
    return [*names, "b[1][0]"] if net.biases else names


def assert_paths(why: cr.Explanation, i: int, count: int) -> None:
    everything = brute_force(why, i)
    s = why.gradient.shares[i] * why.n_samples
    found = why.paths(count, by="path")
    assert found.count == len(everything)
    assert len(found.paths) == min(count, len(everything))
    scale = sum(map(abs, everything.values())) * s
    largest = sorted((abs(v) * s for v in everything.values()), reverse=True)[:count]
    np.testing.assert_allclose(
        [abs(path.value) for path in found.paths], largest, rtol=1e-12, atol=1e-15 * scale
    )
    assert len({path.units for path in found.paths}) == len(found.paths)
    for path in found.paths:
        assert path.value == pytest.approx(everything[path.units] * s, rel=1e-12, abs=1e-300)
    assert found.size == pytest.approx(scale, rel=1e-12, abs=1e-300)
    left = sum(everything.values()) * s - sum(path.value for path in found.paths)
    assert found.rest == pytest.approx(left, rel=1e-9, abs=1e-14 * max(scale, 1e-3))
    assert found.value == float(why.products[i])


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_largest_paths_and_the_rest(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    i = setting.n - 1
    for target in targets(net):
        why = net.explain(target, X, y, sample_weight=weights, focus=i)
        assert_paths(why, i, 4)
        assert_paths(why, i, 10**6)


def test_dropout_is_on_the_way() -> None:
    net = cr.Network([3, 8, 6, 2], hidden="tanh", dropout=0.5, seed=1)
    rng = np.random.default_rng(0)
    why = net.explain("w[1][2,1]", rng.normal(size=(4, 3)), rng.normal(size=(4, 2)),
                      dropout_step=3, focus=2)  # fmt: skip
    assert_paths(why, 2, 5)


def test_many_units_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    net = cr.Network([2, 7, 5, 6, 3], hidden="silu", seed=1)
    why = net.explain("x[1]", [[0.3, -0.4]], [[1.0, 0.0, 2.0]])
    whole = why.paths(9, by="path").to_dict()
    monkeypatch.setattr(room, "_NUMBERS", 30)
    assert why.paths(9, by="path").to_dict() == whole
    assert_paths(why, 0, 9)


def test_values_are_of_every_sample() -> None:
    net = cr.Network([2, 3, 2], hidden="tanh", seed=0)
    X, y = [[0.5, -1.0], [2.0, 0.3], [1.0, 1.0]], [[1.0, 0.0]] * 3
    for path in net.explain("w[1][1,0]", X, y).paths().paths:
        for i in range(3):
            why = net.explain("w[1][1,0]", X, y, focus=i)
            assert path.values[i] == pytest.approx(brute_force(why, i)[path.units], rel=1e-12)


def by_units(why: cr.Explanation, i: int) -> dict[int, Array]:
    """Layer by layer, all paths through each unit added up."""
    net = why.network
    everything = brute_force(why, i)
    first = len(net.sizes) - len(next(iter(everything)))
    sums = {l: np.zeros(net.sizes[l]) for l in range(first, len(net.sizes))}
    for units, value in everything.items():
        for l, unit in enumerate(units, start=first):
            sums[l][unit] += value
    return sums


@pytest.mark.parametrize("target", ["w[1][2,0]", "x[1]", "b[1][0]", "a[1][1]", "z[2][3]"])
def test_through_each_unit(target: str) -> None:
    net = cr.Network([2, 3, 4, 5, 2], hidden="tanh", output="softmax", loss="cross_entropy", seed=1)
    why = net.explain(target, [[0.5, -1.0], [1.0, 2.0]], [1, 0], sample_weight=[1, 3], focus=1)
    expected = by_units(why, 1)
    found = why.paths(3, by="unit").layers
    assert [through.layer for through in found][-1] == 4
    for through in found:
        np.testing.assert_allclose(through.values[1], 1.5 * expected[through.layer], rtol=1e-12,
                                   atol=1e-15)  # fmt: skip
        assert through.values[1].sum() == pytest.approx(why.products[1], rel=1e-12)
        units, rest = through.largest(3, 1)
        assert through.values[1, units].sum() + rest == pytest.approx(why.products[1], rel=1e-12)
        assert (
            list(np.abs(through.values[1, units]))
            == sorted(np.abs(through.values[1]), reverse=True)[: len(units)]
        )


@pytest.mark.parametrize(
    ("sizes", "target", "by"),
    [
        ([2, 3, 4, 1], "w[1][0,0]", "path"),
        ([2, 3, 4, 1], "x[0]", "path"),
        ([2, 3, 4, 2, 1], "w[1][0,0]", "unit"),
        ([2, 3, 4, 2, 1], "x[0]", "unit"),
        ([2, 3, 4, 2, 1], "w[2][0,0]", "path"),
        ([2, 3, 4, 2, 1], "a[1][0]", "path"),
        ([2, 3, 4, 2, 1], "a[4][0]", "path"),
    ],
)
def test_more_than_two_hidden_layers_are_by_unit(sizes: list[int], target: str, by: str) -> None:
    net = cr.Network(sizes, hidden="tanh", seed=0)
    found = net.explain(target, [[0.5, -1.0]], [1.0]).paths()
    assert found.by == by
    assert ("too many for a single one" in found.text()) == (by == "unit")


def test_text_says_what_is_shown_and_what_is_left() -> None:
    net = cr.Network([2, 3, 4, 1], hidden="tanh", seed=0)
    text = net.explain("w[1][2,0]", [[0.5, -1.0]], [1.0]).paths(3).text()
    assert "The 3 largest of 4 paths" in text
    assert "Through unit 2 of layer 1, unit" in text
    assert "the other one" in text
    assert "All paths together:" in text
    assert max(map(len, text.splitlines())) <= 100


def test_notation_and_first_sample() -> None:
    net = cr.Network([2, 2, 1], hidden="tanh", seed=0)
    X, y = [[0.5, -1.0], [1.0, 2.0]], [1.0, 0.0]
    why = net.explain("w[1][1,0]", X, y, notation="L-h", first_sample=4, focus=1)
    text = why.paths(1).text()
    assert "Through unit 2 of layer 1, output 1:" in text
    assert "for sample 6." in text


def test_every_rendering() -> None:
    net = cr.Network([2, 3, 2], hidden="relu", output="softmax", loss="cross_entropy", seed=0)
    for target in ("w[1][0,0]", "a[2][0]", "b[2][1]", "x[1]"):
        for by in ("path", "unit"):
            found = net.explain(target, [[0.5, -1.0]], [1]).paths(2, by=by)
            assert found.text() == str(found)
            assert "<math" in found.html()
            assert found._repr_html_() in found.html()
            assert r"\begin{document}" in found.latex(standalone=True)
            assert json.loads(json.dumps(found.to_dict()))["target"] == target


def test_kinks_are_said() -> None:
    net = cr.Network([1, 2, 1], hidden="relu", W=[[[1.0], [2.0]], [[1.0, 1.0]]], b=[[0, 1], [0]])
    text = net.explain("w[1][1,0]", [[0.0]], [1.0]).paths().text()
    assert "In layer 1, 1 unit is at a kink of relu, where g′(z) = 0 is taken." in text
    assert "kink" not in net.explain("w[1][1,0]", [[0.5]], [1.0]).paths().text()


def test_paths_that_are_all_0_say_so() -> None:
    net = cr.Network([1, 2, 2, 2], hidden="step", seed=0)
    assert "All are 0." in net.explain("w[1][1,0]", [[0.5]], [[1.0, 2.0]]).paths(1).text()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 2.0}, TypeError, "count must be an integer"),
        ({"by": "layer"}, ValueError, "by is 'layer'; expected 'path', 'unit' or None"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], words: str) -> None:
    why = cr.Network([2, 1], seed=0).explain("x[0]", [[0.5, -1.0]], [1.0])
    with pytest.raises(error, match=words):
        why.paths(**arguments)

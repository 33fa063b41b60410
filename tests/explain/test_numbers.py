"""The numbers of an explanation: against the gradient, finite differences, and each other."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import chainrule as cr
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.formulas import Num
from chainrule.equations.losses import LOSSES, LossFromZ
from chainrule.equations.targets import Target
from chainrule.explain import Explanation, Term
from tests.settings import HIDDEN, outputs_for, targets_for

Array = NDArray[Any]

CLOSE = 1e-12  # relative to the largest number in a sum; sums here are short


# --- settings -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A network with samples; everything follows from the fields."""

    sizes: tuple[int, ...]
    hidden: str
    output: str
    loss: str
    biases: bool = True
    weighted: bool = False
    l2: float = 0.0
    dropout: float = 0.0
    n: int = 3
    seed: int = 0

    def network(self) -> cr.Network:
        net = cr.Network(
            self.sizes, hidden=self.hidden, output=self.output, loss=self.loss, biases=self.biases,
            l2=self.l2, dropout=self.dropout, seed=self.seed,
        )  # fmt: skip
        rng = np.random.default_rng(self.seed + 1)
        net.parameters[...] = rng.normal(size=net.parameters.size) * 0.8
        return net

    def given(self) -> dict[str, Any]:
        """What explain and gradient take besides the target."""
        rng = np.random.default_rng(self.seed + 2)
        y = targets_for(self.loss, rng, self.n, self.sizes[-1])
        return {
            "X": rng.normal(size=(self.n, self.sizes[0])),
            "y": y,
            "sample_weight": rng.uniform(0.2, 3.0, size=self.n) if self.weighted else None,
            "dropout_step": 5 if self.dropout else None,
        }

    def __str__(self) -> str:
        marks = [f"{k}={v}" for k, v in (("l2", self.l2), ("dropout", self.dropout)) if v]
        marks += ["weighted"] * self.weighted + ["no biases"] * (not self.biases)
        sizes = "-".join(map(str, self.sizes))
        return " ".join([sizes, self.hidden, self.output, self.loss, f"n={self.n}", *marks])


def table() -> list[Setting]:
    """Every loss after every output that it may follow; the rest goes around."""
    pairs = [(output, loss) for loss in LOSSES for output in outputs_for(loss)]
    hidden = itertools.cycle(HIDDEN)
    sizes = itertools.cycle(
        [(3, 2), (2, 3, 2), (3, 2, 3, 2), (1, 1, 1), (2, 1, 3, 1), (4, 3), (2, 3, 1)]
    )
    biases = itertools.cycle([True, True, False])
    weighted = itertools.cycle([False, True, True, False])
    l2 = itertools.cycle([0.0, 0.0, 0.0, 0.3, 0.1])
    dropout = itertools.cycle([0.0, 0.4])
    count = itertools.cycle([1, 4, 3])
    return [
        Setting(next(sizes), g, output, loss, next(biases), next(weighted), next(l2), next(dropout),
                next(count), seed)
        for seed, ((output, loss), g) in enumerate(zip(pairs + pairs[::2], hidden, strict=False))
    ]  # fmt: skip


TABLE = table()
each_setting = pytest.mark.parametrize("setting", TABLE, ids=str)


def test_the_table_has_everything() -> None:
    for field, values in {
        "hidden": set(ACTIVATIONS) - {"softmax"},
        "output": set(ACTIVATIONS),
        "loss": set(LOSSES),
        "biases": {True, False},
        "weighted": {True, False},
        "n": {1, 3, 4},
    }.items():
        assert {getattr(s, field) for s in TABLE} == values
    assert {len(s.sizes) for s in TABLE} == {2, 3, 4}
    assert len({(bool(s.l2), bool(s.dropout), s.weighted) for s in TABLE}) == 8


def targets(net: cr.Network) -> Iterator[str]:
    """Every w, b, z, a and x of a network."""
    for l, layer in enumerate(net.layers):
        for j in range(layer.units):
            if l == 0:
                yield f"x[{j}]"
                continue
            yield f"z[{l}][{j}]"
            yield f"a[{l}][{j}]"
            if net.biases:
                yield f"b[{l}][{j}]"
            yield from (f"w[{l}][{j},{k}]" for k in range(net.sizes[l - 1]))


def explanations(setting: Setting) -> Iterator[Explanation]:
    net, given = setting.network(), setting.given()
    for target in targets(net):
        yield net.explain(target, **given, focus=setting.n - 1)


def assert_close(a: Any, b: Any, size: Any = 1.0, tolerance: float = CLOSE) -> None:
    """Compare numbers relative to the size of what was added up."""
    difference = np.abs(np.asarray(a) - np.asarray(b))
    assert np.all(difference <= tolerance * np.maximum(np.abs(size), np.abs(b)) + 1e-300), (a, b)


# --- an independent forward pass, with one quantity shifted -------------------------------------


def shifted_loss(net: cr.Network, given: dict[str, Any], target: Target, h: float) -> float:
    """The loss where the target is larger by h, in every sample."""
    X, y, s = np.array(given["X"]), given["y"], given["sample_weight"]
    n, penalty = len(X), 0.0
    masks = net.masks(given["dropout_step"])
    a = X
    if isinstance(target, cr.UnitOutput) and target.layer == 0:
        a[:, target.j] += h
    for l, layer in enumerate(net.layers[1:], start=1):
        W, b = layer.W.copy(), np.zeros(layer.units) if layer.b is None else layer.b.copy()
        if isinstance(target, cr.Weight) and target.layer == l:
            W[target.j, target.k] += h
        if isinstance(target, cr.Bias) and target.layer == l:
            b[target.j] += h
        z = np.einsum("jk,ik->ij", W, a) + b
        if isinstance(target, cr.PreActivation) and target.layer == l:
            z[:, target.j] += h
        a = layer.activation.value(z)
        if masks is not None and layer.dropout:
            a = a * masks(l, a)
        if isinstance(target, cr.UnitOutput) and target.layer == l:
            a[:, target.j] += h
        penalty += net.l2 / 2 * float((W**2).sum())
    C_i = net.loss.value(a, y).sum(axis=1)
    weights = np.ones(n) if s is None else s
    return float((weights * C_i).sum() / weights.sum()) + penalty


def difference(net: Any, given: dict[str, Any], target: Any, h: float = 2e-4) -> float:
    """Five points around: the error is that of h⁴."""
    f = [shifted_loss(net, given, target, step * h) for step in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)


def assert_slope(why: Explanation, given: dict[str, Any]) -> None:
    """Compare the value with the difference of the loss."""
    slope = difference(why.network, given, why.target)
    size = why.gradient.loss + np.abs(why.products).max() + abs(slope)
    if abs(why.value - slope) > 1e-10 * size:  # a steep place: a larger step tells the error
        error = abs(slope - difference(why.network, given, why.target, 4e-4))
        assert abs(why.value - slope) <= 2 * error < 1e-3 * size


def near_kink(net: cr.Network, passed: cr.Forward, y: Array) -> bool:
    """Whether a number stands so near to a kink that a difference may reach across it."""
    distances = [1.0]
    for z, layer in zip(passed.z, net.weighted_layers, strict=True):
        distances += [np.abs(z - kink).min() for kink in layer.activation.kinks]
    distances += [np.abs(passed.a[-1] - y - kink).min() for kink in net.loss.kinks]
    return min(distances) < 5e-3


# --- the table ----------------------------------------------------------------------------------


@each_setting
def test_numbers_of_every_target(setting: Setting) -> None:
    net, given = setting.network(), setting.given()
    gradient = net.gradient(**given)
    kink = near_kink(net, gradient.forward, given["y"])
    for why in explanations(setting):
        kind, l, j = type(why.target).__name__, why.target.layer, why.target.j
        rows = np.array([row.product for row in why.samples])
        columns = np.array([row.terms for row in why.samples])
        # terms multiply to the row's product, rows average to the value
        assert_close(columns.prod(axis=1), rows, columns.prod(axis=1))
        assert [row.index for row in why.samples] == list(range(setting.n))
        part = 0.0 if why.penalty is None else why.penalty.value
        assert_close(rows.mean() + part, why.value, np.abs(rows).max() + abs(part))
        for term, values in zip(why.terms, columns.T, strict=True):
            assert np.array_equal(term.values, values)
            assert term.value == values[setting.n - 1]
        # the value is the number that training uses
        if isinstance(why.target, cr.Weight):
            assert why.value == gradient.dW[l][j, why.target.k]
        elif kind == "Bias":
            assert why.value == gradient.db[l][j]
        elif kind == "PreActivation":
            delta = (gradient.delta[l][:, j] * gradient.shares).sum()
            assert_close(why.value, delta, np.abs(gradient.delta[l]).max())
            if net.biases:
                assert_close(why.value, gradient.db[l][j], np.abs(gradient.delta[l]).max())
        # and the derivative of the loss
        if not kink:
            assert_slope(why, given)


@each_setting
def test_weights_and_penalty_are_terms(setting: Setting) -> None:
    net, given = setting.network(), setting.given()
    last = len(setting.sizes) - 1
    some = ["x[0]", "z[1][0]", "a[1][0]", "w[1][0,0]", f"z[{last}][0]", f"w[{last}][0,0]"]
    for why in (net.explain(target, **given) for target in some):
        assert (why.penalty is not None) == (setting.l2 > 0 and isinstance(why.target, cr.Weight))
        if isinstance(why.target, cr.Weight) and why.penalty is not None:
            w = why.network.layers[why.target.layer].W[why.target.j, why.target.k]
            assert why.penalty.value == setting.l2 * w
            assert np.array_equal(why.penalty.values, np.full(setting.n, why.penalty.value))
        if setting.weighted:
            s = given["sample_weight"]
            assert_close(why.terms[-1].values, s / s.mean())
        kinds = {cr.Weight: 3, cr.Bias: 3, cr.PreActivation: 2, cr.UnitOutput: 1}
        count = kinds[type(why.target)] + setting.weighted
        reduced = why.network.loss.name in ("cross_entropy", "binary_cross_entropy", "poisson")
        reduced |= setting.output == "softmax"
        if reduced and why.target.layer == last and kinds[type(why.target)] > 1:
            count -= 1
        assert len(why.terms) == count


def open_down(terms: tuple[Term, ...], depth: int = 0) -> int:
    """Check every level of contributions; give the depth reached."""
    deepest = depth
    for term in terms:
        parts = term.contributions
        if parts is None:
            continue
        size = np.abs(parts.values).max()
        assert_close(parts.values.sum(axis=1), term.values, size)
        assert len(parts) == parts.values.shape[1]
        for part in parts:
            assert part.value == part.values[term.focus]
            product = np.prod([inner.values for inner in part.terms], axis=0)
            assert_close(product, part.values, size)
            deepest = max(deepest, open_down(part.terms, depth + 1))
    return deepest


@each_setting
def test_contributions_open_down_to_the_loss(setting: Setting) -> None:
    """Sums agree at each level; at the end stand terms without contributions, ∂C/∂a or ∂a/∂z."""
    net, given = setting.network(), setting.given()
    L = len(setting.sizes) - 1
    reduced = net.loss.name in ("cross_entropy", "binary_cross_entropy", "poisson")
    reduced |= setting.output == "softmax"
    for target in ["x[0]", *(f"w[{l}][0,0]" for l in range(1, L + 1))]:
        why = net.explain(target, **given)
        layer = why.target.layer
        assert open_down(why.terms) == L - layer + reduced


@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    hidden=st.sampled_from(["tanh", "sigmoid", "silu", "gelu", "softplus", "elu", "relu"]),
    pair=st.sampled_from([(s.output, s.loss) for s in TABLE]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    data_of=st.data(),
)
@settings(max_examples=60)
def test_any_setting(
    sizes: list[int],
    hidden: str,
    pair: tuple[str, str],
    flags: tuple[bool, bool, bool, bool],
    n: int,
    seed: int,
    data_of: st.DataObject,
) -> None:
    biases, weighted, l2, dropout = flags
    setting = Setting(
        tuple(sizes), hidden, *pair, biases, weighted, 0.2 * l2, 0.5 * dropout, n, seed
    )
    net, given = setting.network(), setting.given()
    target = data_of.draw(st.sampled_from(list(targets(net))))
    focus = data_of.draw(st.integers(0, n - 1))
    why = net.explain(target, **given, focus=focus)
    part = 0.0 if why.penalty is None else why.penalty.value
    size = np.abs(why.products).max() + abs(part)
    assert_close(why.products.mean() + part, why.value, size)
    open_down(why.terms)
    if not near_kink(net, why.gradient.forward, given["y"]):
        assert_slope(why, given)


# --- long sums ----------------------------------------------------------------------------------


def test_512_units_wide() -> None:
    rng = np.random.default_rng(0)
    net = cr.Network([20, 512, 512, 10], output="softmax", loss="cross_entropy", seed=0)
    X, y = rng.normal(size=(8, 20)), rng.integers(0, 10, 8)
    why = net.explain("w[1][100,7]", X, y, focus=3)
    assert why.value == net.gradient(X, y).dW[1][100, 7]
    parts = why.terms[0].contributions
    assert parts is not None
    assert len(parts) == 512
    for count in (0, 1, 8, 511, 512, 600):
        shown, rest = parts.largest(count)
        assert len(shown) == min(count, 512)
        sizes = [abs(part.value) for part in shown]
        assert sizes == sorted(sizes, reverse=True)
        left = sorted(set(range(512)) - {part.unit for part in shown})
        assert rest == math.fsum(parts.values[3, left])  # exact, as one rounding
        if shown and left:
            assert min(sizes) >= np.abs(parts.values[3, left]).max()
    assert_close(math.fsum(parts.values[3]), why.terms[0].value, np.abs(parts.values[3]).max())
    inner = shown[0].terms[0].contributions
    assert inner is not None
    assert len(inner) == 10


def test_contributions_are_a_sequence() -> None:
    net = cr.Network([2, 3, 4], hidden="tanh", seed=0)
    parts = net.explain("a[1][1]", [0.1, 0.2], [0, 0, 0, 0.0]).terms[0].contributions
    assert parts is not None
    assert parts[-1] is parts[3]
    assert [part.unit for part in parts[1:3]] == [1, 2]
    assert [part.unit for part in parts] == [0, 1, 2, 3]
    assert repr(parts[2]) == f"Contribution(unit=2, value={parts[2].value:.6g})"
    with pytest.raises(IndexError, match=r"^contribution 4 does not exist; expected 0 to 3$"):
        parts[4]


# --- saturated outputs --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_certificate")
@pytest.mark.parametrize("target", ["w[1][0,0]", "b[1][1]", "z[1][1]", "x[0]", "w[1][1,0]"])
@pytest.mark.parametrize("label", [0, 1])
def test_saturated_softmax(target: str, label: int) -> None:
    W, b = [[1000.0], [-1000.0]], [0.0, 0.0]
    net = cr.Network([1, 2], output="softmax", loss="cross_entropy", W=[W], b=[b])
    assert_finite(net, target, [[1.0], [0.5]], [label, 1 - label])


@pytest.mark.usefixtures("no_certificate")
@pytest.mark.parametrize("target", ["w[1][0,0]", "b[1][1]", "z[1][1]", "x[0]", "w[1][1,0]"])
@pytest.mark.parametrize("label", [0.0, 1.0, 0.25])
def test_saturated_sigmoid(target: str, label: float) -> None:
    W, b = [[1000.0], [-1000.0]], [0.0, 0.0]
    net = cr.Network([1, 2], output="sigmoid", loss="binary_cross_entropy", W=[W], b=[b])
    assert_finite(net, target, [[1.0], [0.5]], [[label, label], [1 - label, 0.5]])


@pytest.mark.usefixtures("no_certificate")
@pytest.mark.parametrize("output", ["softplus", "sigmoid", "softmax"])
@pytest.mark.parametrize("target", ["w[1][0,0]", "b[1][1]", "z[1][1]", "x[0]", "w[1][1,0]"])
def test_poisson_where_an_output_is_0(output: str, target: str) -> None:
    net = cr.Network([1, 2], output=output, loss="poisson", W=[[[800.0], [-800.0]]], b=[[0, 0]])
    assert_finite(net, target, [[1.0], [-1.0]], [[3.0, 2.0], [0.0, 1.0]])


@pytest.mark.parametrize("z", [0.3, 5.0, 17.3, 36.9, 37.5, 60.0, 350.0, 600.0, 709.5, 744.0, 800.0])
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"), ("softmax", "poisson"), ("softmax", "squared_error"),
        ("sigmoid", "binary_cross_entropy"), ("sigmoid", "poisson"), ("softplus", "poisson"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("y", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5]])
def test_contributions_near_saturation_add_up(
    output: str, loss: str, z: float, y: list[float]
) -> None:
    """Each product of terms is its contribution, and they sum to δ, in 16 digits of the largest."""
    net = cr.Network([1, 3], output=output, loss=loss, W=[[[z], [0.1], [-z]]], b=[[0, 0, 0]])
    for x in (1.0, -1.0):
        for j in range(3):
            why = net.explain(f"z[1][{j}]", [x], [y])
            (term,) = why.terms
            assert term.contributions is not None
            size = np.abs(term.contributions.values).max()
            assert_close(term.contributions.values.sum(axis=1), term.values, size, 4e-16)
            for part in term.contributions:
                product = np.prod([factor.values for factor in part.terms], axis=0)
                summands = np.abs(part.terms[-1].values).max()  # those of 1 - y/a are near 1
                assert_close(product, part.values, max(size, summands), 1e-15)


WITHOUT = SimpleNamespace(text=lambda width=100: "", to_dict=dict)  # in the place of a certificate


@pytest.fixture
def no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the certificates, which have tests of their own."""
    monkeypatch.setattr(Explanation, "certificate", WITHOUT)


def assert_finite(net: cr.Network, target: str, X: Any, y: Any) -> None:
    why = net.explain(target, X, y, focus=1)
    assert math.isfinite(why.value)
    assert np.isfinite(why.products).all()
    for term in why.terms:
        assert np.isfinite(term.values).all()
        if term.contributions is not None:
            assert np.isfinite(term.contributions.values).all()
            assert_close(term.contributions.values.sum(axis=1), term.values)
    for text in (why.text(), why.latex(), why.html(), why.mathml()):
        assert "nan" not in text.replace("tanh", "")
    json.dumps(why.to_dict(depth=3), allow_nan=False)


# --- focus, notation, training ------------------------------------------------------------------


def numbers_of(why: Explanation) -> Any:
    """All numbers that do not depend on the sample in focus."""
    return (why.value, [(*row.terms, row.product) for row in why.samples])


def test_focus_changes_only_the_numbers_shown() -> None:
    setting = Setting((3, 4, 2), "tanh", "sigmoid", "huber", True, True, 0.1, 0.0, 5)
    net, given = setting.network(), setting.given()
    whys = [net.explain("w[1][2,1]", **given, focus=i) for i in range(5)]
    for i, why in enumerate(whys):
        assert numbers_of(why) == numbers_of(whys[0])
        assert [term.value for term in why.terms] == list(why.samples[i].terms)
        for term, other in zip(why.terms, whys[0].terms, strict=True):
            assert np.array_equal(term.values, other.values)
        parts = why.terms[0].contributions
        assert parts is not None
        assert [p.value for p in parts] == list(parts.values[i])
    assert whys[-1].focus == 4


@pytest.mark.parametrize("notation", ["C-a-L", "L-h", cr.explain.Notation(first_index=1)])
def test_notation_keeps_all_numbers(notation: Any) -> None:
    setting = Setting((3, 4, 2), "tanh", "softmax", "cross_entropy", True, True, 0.1, 0.0, 5)
    net, given = setting.network(), setting.given()
    why = net.explain("w[1][2,1]", **given, focus=2, learning_rate=0.1)
    other = why.in_notation(notation)
    assert numbers_of(other) == numbers_of(why)
    assert [t.value for t in other.terms] == [t.value for t in why.terms]
    assert (other.target, other.focus) == (why.target, why.focus)
    assert other.learning_rate == 0.1
    assert other.penalty is not None
    assert why.penalty is not None
    assert other.penalty.value == why.penalty.value
    assert why.notation.name == "default"  # the first one stays as it is


@pytest.mark.usefixtures("no_certificate")
def test_training_does_not_change_an_explanation() -> None:
    setting = Setting((3, 4, 2), "tanh", "softmax", "cross_entropy", True, True, 0.1, 0.3, 5)
    net, given = setting.network(), setting.given()
    options = {**given, "learning_rate": 0.1}
    before = net.explain("w[1][2,1]", **options).to_dict(depth=3)
    why = net.explain("w[1][2,1]", **options)  # nothing of it has been looked at
    net.fit(given["X"], given["y"], epochs=2, verbose=0)
    net.l2 = 0.0
    for name in ("X", "y", "sample_weight"):
        given[name][...] = 0.5  # a buffer that the next batch is read into
    assert why.to_dict(depth=3) == before
    assert net.explain("w[1][2,1]", **options).value != why.value


@pytest.mark.parametrize("target", ["w[1][2,1]", "b[1][0]", "w[2][1,3]", "b[2][1]"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_update_is_the_one_that_training_makes(target: str, dropout: float) -> None:
    setting = Setting((3, 4, 2), "tanh", "sigmoid", "squared_error", True, True, 0.1, dropout, 5)
    net, given = setting.network(), setting.given()
    given["dropout_step"] = 0 if dropout else None
    why = net.explain(target, **given, learning_rate=0.25)
    new = why.sections()[-1].equations[-1].sides[-1]
    assert isinstance(new, Num)
    net.fit(
        given["X"], given["y"], sample_weight=given["sample_weight"], shuffle=False, epochs=1,
        optimizer=cr.GradientDescent(learning_rate=0.25), batch_size=5, verbose=0,
    )  # fmt: skip
    unit: Any = why.target
    layer = net.layers[unit.layer]
    trained = layer.W[unit.j, unit.k] if "w" in target else layer.b[unit.j]
    assert new.value == pytest.approx(float(trained), rel=1e-14, abs=0)
    assert why.target_value != trained


def test_float32_network_is_explained_in_float64() -> None:
    rng = np.random.default_rng(0)
    net = cr.Network([3, 4, 2], hidden="tanh", dtype="float32", seed=1, l2=0.1)
    X, y = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    for target in targets(net):
        why = net.explain(target, X, y)
        part = 0.0 if why.penalty is None else why.penalty.value
        assert_close(why.products.mean() + part, why.value, np.abs(why.products).max() + abs(part))
        assert all(term.values.dtype == np.float64 for term in why.terms)


def test_integer_classes_and_one_sample() -> None:
    net = cr.Network([2, 3], output="softmax", loss="cross_entropy", seed=0)
    by_class = net.explain("w[1][2,0]", [[0.3, -1.0]], [2])
    by_row = net.explain("w[1][2,0]", [0.3, -1.0], [0.0, 0.0, 1.0])
    assert numbers_of(by_class) == numbers_of(by_row)


def test_named_targets_are_what_the_texts_say() -> None:
    setting = Setting((3, 4, 2), "tanh", "sigmoid", "squared_error")
    net, given = setting.network(), setting.given()
    named: list[tuple[Any, str]] = [
        (cr.Weight(layer=2, j=1, k=3), "w[2][1,3]"),
        (cr.Bias(layer=1, j=2), "b[1][2]"),
        (cr.PreActivation(layer=1, j=0), "z[1][0]"),
        (cr.UnitOutput(layer=2, j=1), "a[2][1]"),
        (cr.UnitOutput(layer=0, j=2), "x[2]"),
        (cr.UnitOutput(layer=0, j=2), "a[0][2]"),
    ]
    for target, text in named:
        assert net.explain(target, **given).value == net.explain(text, **given).value
        assert net.explain(text, **given).target == target


# --- a user's own functions ---------------------------------------------------------------------


class Gaussian(cr.Activation):
    """g(z) = e^(-z²)."""

    name = "gaussian"
    formula = "exp(-z**2)"
    derivative_formula = "-2*z*exp(-z**2) = -2*z*a"

    def value(self, z: Array) -> Array:
        return np.exp(-(z**2))

    def derivative(self, z: Array, a: Array) -> Array:
        return -2 * z * a


class LogCosh(cr.Loss):
    """C_i = Σ_j ln cosh(a_j - y_j)."""

    name = "log_cosh"
    formula = "ln(cosh(a - y))"
    derivative_formula = "tanh(a - y)"

    def value(self, a: Array, y: Array) -> Array:
        return np.log(np.cosh(a - y))

    def derivative(self, a: Array, y: Array) -> Array:
        return np.tanh(a - y)


@pytest.mark.usefixtures("no_certificate")
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_own_activation_and_loss(dropout: float) -> None:
    net = cr.Network([2, 3, 2], hidden=Gaussian(), output=Gaussian(), loss=LogCosh(), seed=0,
                     dropout=dropout)  # fmt: skip
    given = Setting((2, 3, 2), "tanh", "tanh", "huber", dropout=dropout).given()
    gradient = net.gradient(**given)
    for target in targets(net):
        why = net.explain(target, **given)
        assert_close(why.products.mean(), why.value, np.abs(why.products).max())
        assert_close(why.value, difference(net, given, why.target), gradient.loss, 3e-8)
        open_down(why.terms)
    text = net.explain("w[2][0,1]", **given).text()
    assert "tanh(a₀⁽²⁾ − y₀)" in text
    assert "−2 z₀⁽²⁾ a₀⁽²⁾" in text
    assert "ln(cosh(aⱼ⁽²⁾ − yⱼ))" in text


class PoissonFromZ(LossFromZ):
    """Computed from z, but what is left of its ∂C/∂a · ∂a/∂z is not a - y."""

    name = "poisson_from_z"
    formula = "a - y*ln(a)"
    derivative_formula = "1 - y/a"
    output = "softplus"

    def value(self, a: Array, y: Array) -> Array:
        return a - y * np.log(a)

    def derivative(self, a: Array, y: Array) -> Array:
        return 1 - y / a

    def value_from_z(self, g: cr.Activation, z: Array, y: Array) -> Array:
        return self.value(np.logaddexp(0, z), y).sum(axis=-1)

    def delta(self, g: cr.Activation, z: Array, a: Array, y: Array) -> Array:
        return (1 - y / a) * -np.expm1(-a)


@pytest.mark.usefixtures("no_certificate")
def test_own_loss_from_z_keeps_its_two_factors() -> None:
    net = cr.Network([2, 3, 2], hidden="tanh", output="softplus", loss=PoissonFromZ(), seed=0)
    given = Setting((2, 3, 2), "tanh", "softplus", "poisson").given()
    for target in targets(net):
        why = net.explain(target, **given)
        assert_close(why.products.mean(), why.value, np.abs(why.products).max())
        open_down(why.terms)
    text = net.explain("w[2][0,1]", **given).text()
    assert "∂C₀/∂w₀₁⁽²⁾ = (∂C₀/∂a₀⁽²⁾)(∂a₀⁽²⁾/∂z₀⁽²⁾)(∂z₀⁽²⁾/∂w₀₁⁽²⁾)" in text
    assert "(a₀⁽²⁾ − y₀)" not in text

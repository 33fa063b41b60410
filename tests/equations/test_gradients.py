"""One table of settings, and every oracle that there is for the gradient of the loss as reported.

The table holds every output activation with every loss that it may precede, and every hidden
activation with every loss, in networks of several depths; each with and without biases, sample
weights and L2, with sizes of 1 and odd sizes, in float64 and float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Activation, GradientDescent, Network
from chainrule.equations.losses import LOSSES
from chainrule.verify import certify, check_gradient
from tests.settings import HIDDEN, POSITIVE, outputs_for, targets_for

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Setting:
    hidden: tuple[str, ...]
    output: str
    loss: str
    sizes: tuple[int, ...]
    n: int
    biases: bool = True
    weights: bool = False
    l2: float = 0.0
    dtype: str = "float64"

    def __str__(self) -> str:
        marks = ("" if self.biases else "-nobias") + ("-weights" if self.weights else "")
        marks += ("-l2" if self.l2 else "") + ("-f32" if self.dtype == "float32" else "")
        shape = "x".join(map(str, self.sizes))
        return "-".join((*self.hidden, self.output, self.loss, shape)) + marks


def table() -> list[Setting]:
    kinds: list[tuple[tuple[str, ...], str, str]] = []
    for loss in LOSSES:
        kinds += [((), output, loss) for output in outputs_for(loss)]
        kinds += [((g,), outputs_for(loss)[0], loss) for g in HIDDEN]
        kinds += [
            ((g, HIDDEN[i - 3], HIDDEN[i - 5]), outputs_for(loss)[-1], loss)
            for i, g in enumerate(HIDDEN)
        ]
    units = ((3, 5, 7, 1, 3), (1, 1, 1, 1, 1), (7, 3, 1, 5, 9), (1, 3, 5, 3, 1), (2, 4, 3, 4, 2))
    samples = (1, 3, 5)
    extras = list(product((True, False), (False, True), (0.0, 0.1)))
    result = []
    for number, ((hidden, output, loss), extra) in enumerate(product(kinds, extras)):
        L = len(hidden) + 1
        result.append(
            Setting(
                hidden,
                output,
                loss,
                (*units[number % 5][:L], units[number % 5][-1]),
                samples[number % 3],
                *extra,
                dtype="float32" if number % 7 == 6 else "float64",
            )
        )
    return result


TABLE = table()
GROUPS = [TABLE[i : i + 8] for i in range(0, len(TABLE), 8)]  # the same but for the extras
by_group = pytest.mark.parametrize("group", GROUPS, ids=lambda group: str(group[0]))


def build(s: Setting, seed: int = 1) -> tuple[Network, Array, Array, Array | None]:
    net = Network(
        s.sizes, hidden=list(s.hidden), output=s.output, loss=s.loss, biases=s.biases, l2=s.l2,
        dtype=s.dtype, seed=seed,  # type: ignore[arg-type]
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    net.parameters[...] += rng.normal(scale=0.3, size=net.parameters.shape)  # biases too
    K = s.sizes[-1]
    X = rng.normal(size=(s.n, s.sizes[0]))
    y = targets_for(s.loss, rng, s.n, K)
    weights = rng.uniform(0.5, 2, size=s.n) if s.weights else None
    return net, X, y, weights


def by_torch(
    net: Network, X: Array, y: Array, weights: Array | None
) -> tuple[float, list[Array], list[Array]]:
    """Give C, dW and db by PyTorch; written apart from the library's own use of it."""
    import torch
    from torch.nn import functional as nn

    activations = {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": nn.leaky_relu, "elu": nn.elu, "gelu": nn.gelu, "silu": nn.silu,
        "softplus": lambda z: nn.softplus(z, threshold=50), "softmax": lambda z: z.softmax(-1),
    }  # fmt: skip
    losses = {
        "squared_error": lambda z, a, y: (a - y) ** 2,
        "half_squared_error": lambda z, a, y: (a - y) ** 2 / 2,
        "absolute_error": lambda z, a, y: nn.l1_loss(a, y, reduction="none"),
        "huber": lambda z, a, y: nn.huber_loss(a, y, reduction="none"),
        "poisson": lambda z, a, y: nn.poisson_nll_loss(
            a, y, log_input=False, eps=0, reduction="none"
        ),
        "cross_entropy": lambda z, a, y: nn.cross_entropy(z, y, reduction="none")[:, None],
        "binary_cross_entropy": lambda z, a, y: nn.binary_cross_entropy_with_logits(
            z, y, reduction="none"
        ),
    }
    leaf = lambda array: torch.tensor(np.float64(array), requires_grad=True)  # noqa: E731
    W = [leaf(layer.W) for layer in net.weighted_layers]
    b = [leaf(layer.b) for layer in net.weighted_layers if layer.b is not None]
    a = z = torch.tensor(X)
    for l, layer in enumerate(net.weighted_layers):
        z = nn.linear(a, W[l], b[l] if b else None)
        a = activations[layer.activation.name](z)
    C_i = losses[net.loss.name](z, a, torch.tensor(y)).sum(-1)
    s = torch.ones(len(X), dtype=torch.float64) if weights is None else torch.tensor(weights)
    C = (s * C_i).sum() / s.sum() + net.l2 / 2 * sum((w * w).sum() for w in W)
    C.backward()
    return C.item(), [w.grad.numpy() for w in W], [v.grad.numpy() for v in b]


def assert_close(actual: Array, expected: Array, rtol: float) -> None:
    """Compare beside the largest entry: a sum may cancel to nothing but rounding."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * max(scale, 1e-3))


def assert_torch_agrees(net: Network, X: Array, y: Array, weights: Array | None) -> None:
    C, dW, db = by_torch(net, X, y, weights)
    g = net.gradient(X, y, sample_weight=weights)
    np.testing.assert_allclose(g.loss, C, rtol=1e-12)
    for l in range(1, len(net.layers)):
        assert_close(g.dW[l], dW[l - 1], 1e-11)
        if net.biases:
            assert_close(g.db[l], db[l - 1], 1e-11)
        else:
            assert g.db[l] is None


@pytest.mark.needs("torch")
@by_group
def test_automatic_differentiation(group: list[Setting]) -> None:
    for setting in group:
        assert_torch_agrees(*build(setting))


@by_group
def test_gradient_of_the_loss_as_reported(group: list[Setting]) -> None:
    """Along a random direction, the loss that `loss_value` reports changes as the gradient says."""
    for setting in group:
        assert_reported_loss_changes(setting)


def assert_reported_loss_changes(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    net = in_float64(net)
    g = net.gradient(X, y, sample_weight=weights)
    assert g.loss == pytest.approx(net.loss_value(X, y, sample_weight=weights), rel=1e-12)
    flat = flatten(g)
    theta = net.parameters.copy()
    rng = np.random.default_rng(2)
    direction = rng.normal(size=theta.shape) + np.sign(flat)
    slopes = []
    for step in (1e-5, 1e-6):  # one of them may carry a unit over a kink
        C = []
        for side in (-2, -1, 1, 2):
            net.parameters[...] = theta + side * step * direction
            C.append(net.loss_value(X, y, sample_weight=weights))
        slopes.append((C[0] - 8 * C[1] + 8 * C[2] - C[3]) / (12 * step))
    expected = float(flat @ direction)
    size = float(np.abs(flat) @ np.abs(direction))
    allowed = 1e-7 * size + 1e-8 * abs(g.loss)
    assert min(abs(slope - expected) for slope in slopes) <= allowed, (slopes, expected)


def in_float64(net: Network) -> Network:
    return Network(
        net.sizes, hidden=[g.activation for g in net.layers[1:-1]],
        output=net.layers[-1].activation, loss=net.loss, biases=net.biases, l2=net.l2,
        W=[layer.W for layer in net.weighted_layers],
        b=[layer.b for layer in net.weighted_layers] if net.biases else None,
    )  # fmt: skip


def flatten(g: Any) -> Array:
    parts = [part for pair in zip(g.dW, g.db, strict=True) for part in pair if part is not None]
    return np.concatenate([np.ravel(part) for part in parts])


@pytest.mark.parametrize("setting", TABLE[::7], ids=str)
def test_central_differences(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    report = check_gradient(net, X, y, sample_weight=weights)
    assert report.passed, report.text()
    assert report.checked == net.parameters.size
    assert not report.kinks


@pytest.mark.parametrize("setting", TABLE[1::13], ids=str)
def test_high_precision(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    rng = np.random.default_rng(len(str(setting)))
    target = draw_target(net, rng)
    certificate = certify(net, target, X, y, sample_weight=weights, autodiff="off")
    assert certificate.verdict == "pass", certificate.text()
    assert certificate.high_precision.agrees


def draw_target(net: Network, rng: np.random.Generator) -> str:
    l = int(rng.integers(1, len(net.sizes)))
    j, k = int(rng.integers(net.sizes[l])), int(rng.integers(net.sizes[l - 1]))
    forms = [f"w[{l}][{j},{k}]", f"z[{l}][{j}]", f"a[{l}][{j}]", f"x[{rng.integers(net.sizes[0])}]"]
    return str(rng.choice([*forms, f"b[{l}][{j}]"] if net.biases else forms))


@st.composite
def drawn_settings(draw: st.DrawFn) -> tuple[Setting, int]:
    loss = draw(st.sampled_from(list(LOSSES)))
    hidden = draw(st.lists(st.sampled_from(HIDDEN), max_size=4))
    sizes = draw(st.lists(st.integers(1, 9), min_size=len(hidden) + 2, max_size=len(hidden) + 2))
    setting = Setting(
        tuple(hidden), draw(st.sampled_from(outputs_for(loss))), loss, tuple(sizes),
        draw(st.integers(1, 6)), draw(st.booleans()), draw(st.booleans()),
        draw(st.sampled_from([0.0, 1e-3, 1.0])), draw(st.sampled_from(["float64", "float32"])),
    )  # fmt: skip
    return setting, draw(st.integers(0, 10_000))


@pytest.mark.needs("torch")
@settings(max_examples=40)
@given(drawn_settings())
def test_drawn_settings(drawn: tuple[Setting, int]) -> None:
    setting, seed = drawn
    net, X, y, weights = build(setting, seed)
    assert_torch_agrees(net, X, y, weights)
    target = draw_target(net, np.random.default_rng(seed))
    certificate = certify(net, target, X, y, sample_weight=weights)
    assert certificate.verdict == "pass", certificate.text()


# --- identities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [s for s in TABLE if s.n > 1][::9], ids=str)
def test_samples_average_to_the_mean(setting: Setting) -> None:
    net, X, y, weights = build(setting)
    g = net.gradient(X, y, sample_weight=weights)
    share = np.full(len(X), 1 / len(X)) if weights is None else weights / weights.sum()
    np.testing.assert_allclose(g.shares, share, rtol=1e-15)
    for l, layer in enumerate(net.weighted_layers, start=1):
        mean = np.tensordot(share, g.sample_dW(l), axes=1) + net.l2 * np.float64(layer.W)
        assert_close(g.dW[l], mean, 1e-13)
        if net.biases:
            assert_close(g.db[l], share @ g.sample_db(l), 1e-13)
    np.testing.assert_allclose(g.loss, share @ g.sample_losses + g.penalty, rtol=1e-14)


def test_a_weight_of_two_counts_a_sample_twice() -> None:
    net, X, y, _ = build(Setting(("tanh",), "identity", "squared_error", (3, 5, 2), 3, l2=0.1))
    twice = net.gradient(X[[0, 0, 1]], y[[0, 0, 1]])
    weighted = net.gradient(X, y, sample_weight=[2, 1, 0])
    assert weighted.loss == pytest.approx(twice.loss, rel=1e-14)
    np.testing.assert_allclose(flatten(weighted), flatten(twice), rtol=1e-13)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "huber"])
def test_softmax_does_not_see_a_shift(loss: str) -> None:
    net, X, y, _ = build(Setting(("tanh",), "softmax", loss, (3, 5, 4), 5))
    before = net.gradient(X, y)
    net.layers[2].b += 100.0
    after = net.gradient(X, y)
    assert after.loss == pytest.approx(before.loss, rel=1e-12)
    np.testing.assert_allclose(after.delta[2], before.delta[2], rtol=1e-10, atol=1e-14)
    # ... so that moving all of them together changes nothing
    np.testing.assert_allclose(before.delta[2].sum(axis=1), 0, atol=1e-14)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_integer_classes_are_one_hot_rows(n_classes: int) -> None:
    net, X, _, _ = build(Setting((), "softmax", "cross_entropy", (3, n_classes), 5))
    classes = np.arange(5) % n_classes
    by_class, by_row = net.gradient(X, classes), net.gradient(X, np.eye(n_classes)[classes])
    np.testing.assert_array_equal(flatten(by_class), flatten(by_row))


# --- edges --------------------------------------------------------------------------------------


def test_cross_entropy_is_exact_where_probabilities_round() -> None:
    net = Network([3, 3], output="softmax", loss="cross_entropy", W=[np.eye(3)], b=[[0, 0, 0]])
    X = np.array([[1000.0, 0, -1000], [-1000, 1000, 0], [0, 40, 0]])
    g = net.gradient(X, [2, 0, 1])
    np.testing.assert_allclose(g.sample_losses[:2], [2000, 2000], rtol=1e-15)
    np.testing.assert_allclose(g.sample_losses[2], 2 * np.exp(-40.0), atol=1e-15)
    np.testing.assert_array_equal(g.delta[1][0], [1, 0, -1])
    np.testing.assert_array_equal(g.delta[1][1], [-1, 1, 0])
    assert np.isfinite(flatten(g)).all()
    assert check_gradient(net, X, [2, 0, 1])
    for target in ("w[1][2,0]", "z[1][1]", "a[1][1]", "x[0]"):
        assert certify(net, target, X[2:], [1]).passed


def test_binary_cross_entropy_is_exact_where_probabilities_round() -> None:
    net = Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[1.0]]], b=[[0.0]])
    z = np.array([[1000.0], [1000], [-1000], [-1000], [-800]])
    g = net.gradient(z, [0, 1, 0, 1, 0.25])
    np.testing.assert_allclose(g.sample_losses, [1000, 0, 0, 1000, 200], rtol=1e-15)
    np.testing.assert_allclose(g.delta[1][:, 0], [1, 0, 0, -1, -0.25], rtol=1e-15)
    assert check_gradient(net, z, [0, 1, 0, 1, 0.25])
    for target in ("w[1][0,0]", "b[1][0]", "x[0]"):
        assert certify(net, target, z, [0, 1, 0, 1, 0.25]).verdict == "pass"


@pytest.mark.parametrize("z", [2.5, 20.0, 37.5, 40.0, 300.0, 744.0])
@pytest.mark.parametrize("y", [0.0, 0.25, 1.0])
def test_cross_entropies_keep_their_digits_where_probabilities_round(z: float, y: float) -> None:
    """δ = a - y, to its last digits also where a is close to y = 1."""
    with mpmath.workdps(700):
        expected = [float(1 / (1 + mpmath.exp(-v)) - y) for v in (mpmath.mpf(z), -mpmath.mpf(z))]
    net = Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[1.0]]], b=[[0.0]])
    delta = net.gradient([[z], [-z]], [y, y]).delta[1][:, 0]
    np.testing.assert_allclose(delta, expected, rtol=4e-15)
    net = Network([1, 2], output="softmax", loss="cross_entropy", W=[[[1.0], [0.0]]], b=[[0, 0]])
    delta = net.gradient([[z], [-z]], [[y, 1 - y]] * 2).delta[1]
    np.testing.assert_allclose(delta[:, 0], expected, rtol=4e-15)
    np.testing.assert_allclose(delta[:, 1], -np.array(expected), rtol=4e-15)


POISSON_Z = [-1e12, -800.0, -745.0, -709.0, -300.0, -37.0, -1e-3, 0.0, 2.0, 40.0, 700.0, 1e12]


@pytest.mark.parametrize("output", POSITIVE)
def test_poisson_is_exact_where_the_output_underflows(output: str) -> None:
    """δ = (1 - y/a) ∂a/∂z and C_i = a - y ln a, by 800 digits of the definitions."""
    loss = LOSSES["poisson"]
    for z, y in product(POISSON_Z, (0.0, 3.0)):
        rows = np.array([[z, 0.5]])
        net = Network([2, 2], output=output, loss="poisson", W=[np.eye(2)], b=[[0.0, 0.0]])
        g = net.gradient(rows, [[y, 1.0]])
        expected_C, expected_delta = poisson_by_hand(output, rows[0], (y, 1.0))
        np.testing.assert_allclose(g.sample_losses, [expected_C], rtol=1e-15)
        np.testing.assert_allclose(g.delta[1][0], expected_delta, rtol=1e-14, atol=1e-320)
        assert net.loss_value(rows, [[y, 1.0]]) == g.loss
        assert np.isfinite(flatten(g)).all()
    assert loss.value(np.zeros(1), np.ones(1))[0] == np.inf


def poisson_by_hand(output: str, z: Array, y: tuple[float, ...]) -> tuple[float, list[float]]:
    """Give C_i and δ; where e^z has too many digits for a sum, by its first term."""
    with mpmath.workdps(800):
        exact = [mpmath.mpf(float(v)) for v in z]
        if output == "softmax":
            largest = max(exact)
            powers = [mpmath.exp(v - largest) for v in exact]
            a = [p / mpmath.fsum(powers) for p in powers]
            delta = [p * sum(y) - q for p, q in zip(a, y, strict=True)]
        else:
            a, delta = [], []
            for v, q in zip(exact, y, strict=True):
                e = mpmath.exp(v)
                if output == "sigmoid":
                    a.append(1 / (1 + 1 / e))
                    slope = 1 / (1 + e)  # g'/g
                else:
                    a.append(e if v < -1500 else v if v > 1500 else mpmath.log1p(e))
                    slope = 1 / (1 + 1 / e) / a[-1]
                delta.append((a[-1] - q) * slope)
        C = mpmath.fsum(p - q * mpmath.ln(p) for p, q in zip(a, y, strict=True))
        return float(C), [float(d) for d in delta]


@pytest.mark.parametrize("output", POSITIVE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_poisson_trains_where_the_output_underflows(output: str, dtype: str) -> None:
    net = Network(
        [1, 2], output=output, loss="poisson", W=[[[800.0], [0.0]]], b=[[0, 0]], dtype=dtype,
        engine="reference",
    )  # fmt: skip
    history = net.fit(
        [[-1.0]], [[3.0, 1.0]], epochs=3, optimizer=GradientDescent(learning_rate=0.1), verbose=0
    )
    assert np.isfinite(history.loss).all()
    assert history.loss[-1] < history.loss[0]


def test_poisson_after_an_output_of_ones_own() -> None:
    """What knows nothing of its logarithm is multiplied out; what does is exact."""

    class Exp(Activation):
        name = "exp"
        formula = "exp(z)"
        derivative_formula = "exp(z) = a"
        positive = True

        def value(self, z: Array) -> Array:
            return np.exp(z)

        def derivative(self, z: Array, a: Array) -> Array:
            return a

    class LogExp(Exp):
        log_derivative_formula = "1"

        def log_value(self, z: Array) -> Array:
            return z

        def log_derivative(self, z: Array, a: Array) -> Array:
            return np.ones_like(z)

    for g, lowest in ((Exp(), -700.0), (LogExp(), -1e6)):
        net = Network([1, 1], output=g, loss="poisson", W=[[[1.0]]], b=[[0.0]])
        X, y = np.array([[lowest], [0.5], [2.0]]), np.array([[3.0], [0.0], [1.0]])
        delta = net.gradient(X, y).delta[1]
        np.testing.assert_allclose(delta, np.exp(X) - y, rtol=1e-14)
        assert net.explain("w[1][0,0]", X, y).certificate.verdict == "pass"


@pytest.mark.parametrize("g", ["relu", "tanh", "softplus"])
def test_a_hundred_layers(g: str) -> None:
    net = Network([2, *[3] * 99, 1], hidden=g, seed=3)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, 2)), rng.normal(size=2)
    for target in ("w[1][0,1]", "b[50][2]"):
        certificate = certify(net, target, X, y, autodiff="off")
        assert certificate.passed, certificate.text()
        assert certificate.high_precision.value is not None
    assert check_gradient(net, X, y, max_parameters=100)


@pytest.mark.parametrize("sizes", [[1, 10_000, 1], [10_000, 1], [1, 10_000]])
def test_ten_thousand_units(sizes: list[int]) -> None:
    net = Network(sizes, hidden="tanh", seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, sizes[0])), rng.normal(size=(2, sizes[-1]))
    certificate = certify(net, "w[1][0,0]", X, y, autodiff="off")
    assert certificate.verdict == "pass", certificate.text()
    report = check_gradient(net, X, y, max_parameters=60)
    assert report.passed, report.text()
    assert (report.checked, report.total) == (60, net.parameters.size)

"""Sample weights at the ends of floating-point numbers: the right mean everywhere, or refused.

The means are held against exact ones, in rational numbers.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.equations import data
from chainrule.sklearn import MLPClassifier, MLPRegressor
from chainrule.verify import certify

RNG = np.random.default_rng(11)
N = 8
X, Y = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 2))
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0, 1])
U = np.array([1.0, 0.3, 2.5, 0.0, 0.7, 1.1, 0.2, 1.9])
WEIGHTS: dict[str, Any] = {
    "1e-46": U * 1e-46,
    "subnormal": np.array([5e-324, 1e-323, 2e-323, 0, 5e-324, 4e-323, 1e-320, 5e-324]),
    "1e50": U * 1e50,
    "the largest": U / 2.5 * 1.7e308,
    "mixed": np.array([1e-200, 1.0, 1e80, 0, 3e-10, 5e79, 1e-46, 2e80]),
    "from end to end": np.array([1e-150, 1e-100, 1e-50, 0, 1.0, 1e50, 1e100, 1e149]),
    "one of many": np.array([1e-38, 1e-38, 1e-38, 0, 1e38, 1e-38, 1e-38, 1e-38]),
    "float32": (U * 1e-38).astype("float32"),
    "float16": (U * 1e-6).astype("float16"),
    "int64": np.array([1, 3, 2**62, 0, 2**61, 2**50, 7, 2**62]),
    "longdouble": U.astype("longdouble") * np.longdouble("1e-4000"),
    "list": [1e300, 1e299, 3, 0, 1e300, 1e298, 1e300, 1e300],
}
WEIGHTS["longdouble"] = WEIGHTS["longdouble"] if WEIGHTS["longdouble"].any() else U  # no wider type


def exact(weights: Any) -> list[Fraction]:
    """The shares s_i / Σ s as rational numbers."""
    fractions = [Fraction(*w.as_integer_ratio()) for w in np.asarray(weights).tolist()]
    if getattr(weights, "dtype", None) == np.longdouble:
        fractions = [Fraction(*w.as_integer_ratio()) for w in weights]
    return [w / sum(fractions) for w in fractions]


def mean(shares: list[Fraction], values: Any) -> tuple[Any, Any]:
    """The exact weighted mean over the first axis, and that of the sizes, in float64."""
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    found, size = [], []
    for column in flat.T.tolist():
        parts = [s * Fraction(v) for s, v in zip(shares, column, strict=True)]
        found.append(float(sum(parts)))
        size.append(float(sum(map(abs, parts))))
    return np.reshape(found, values.shape[1:]), np.reshape(size, values.shape[1:])


def close(found: Any, shares: list[Fraction], values: Any, dtype: Any = "float64") -> None:
    """Within the rounding of a sum of N products, each of two rounded factors."""
    expected, size = mean(shares, values)
    bound = 4 * N * np.finfo(dtype).eps * size
    assert (np.abs(np.asarray(found, dtype=np.float64) - expected) <= bound).all()


def network(**options: Any) -> cr.Network:
    return cr.Network([4, 6, 2], **({"hidden": "tanh", "seed": 3} | options))


def alone(net: cr.Network) -> tuple[Any, Any]:
    """C_i, (n,), and its gradient by the parameters, (n, parameters), of each sample by itself."""
    rows = [net.gradient(X[i], Y[i]) for i in range(N)]
    flat = [
        np.concatenate([part.ravel() for l in (1, 2) for part in (g.dW[l], g.db[l])]) for g in rows
    ]
    return np.array([g.loss for g in rows]), np.array(flat)


@pytest.mark.parametrize("name", WEIGHTS)
def test_means_are_exact_to_rounding(name: str) -> None:
    net, weights = network(), WEIGHTS[name]
    shares = exact(weights)
    losses, gradients = alone(net)
    close(net.loss_value(X, Y, sample_weight=weights), shares, losses)
    g = net.gradient(X, Y, sample_weight=weights)
    close(g.loss, shares, losses)
    flat = np.concatenate([part.ravel() for l in (1, 2) for part in (g.dW[l], g.db[l])])
    close(flat, shares, gradients)
    np.testing.assert_allclose(g.shares, [float(s) for s in shares], rtol=4e-16, atol=1e-300)

    why = net.explain("w[1][2,3]", X, Y, sample_weight=weights)
    assert why.value == g.dW[1][2, 3]
    close(why.products.mean(), shares, gradients[:, 2 * 4 + 3])
    z = net.explain("z[1][2]", X, Y, sample_weight=weights)
    close(z.value, shares, gradients[:, 6 * 4 + 2])
    np.testing.assert_allclose(
        why.terms[-1].values, [float(s * N) for s in shares], rtol=4e-16, atol=1e-299
    )
    assert str(why)
    assert net.check_gradient(X, Y, sample_weight=weights).passed
    assert certify(net, "w[1][2,3]", X, Y, sample_weight=weights, autodiff="off").passed


@pytest.mark.parametrize("engine", engines._ENGINES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_step_and_what_it_reports(name: str, dtype: str, engine: str) -> None:
    weights = WEIGHTS[name]
    shares = exact(weights)
    net = network(dtype=dtype, engine=engine)
    losses, gradients = alone(net)
    before = net.parameters.astype(np.float64)
    squares = np.square(net.predict(X).astype(np.float64) - Y).mean(axis=1)
    history = net.fit(
        X, Y, optimizer=cr.GradientDescent(1.0), epochs=1, batch_size=N, verbose=0,
        sample_weight=weights, validation_data=(X, Y, weights), metrics=["mean_squared_error"],
    )  # fmt: skip
    close(history.loss[0], shares, losses, dtype)
    close(history.mean_squared_error[0], shares, squares, dtype)
    moved = before - net.parameters
    expected, size = mean(shares, gradients)
    bound = 40 * np.finfo(dtype).eps * (size + np.abs(before) + 1e-3)
    assert (np.abs(moved - expected) <= bound).all()
    close(history.val_loss[0], shares, alone(net)[0], dtype)


@pytest.mark.parametrize("engine", engines._ENGINES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_every_batch_has_its_own_mean(name: str, dtype: str, engine: str) -> None:
    """Also a batch whose weights are as nothing beside those of another."""
    weights = np.asarray(WEIGHTS[name])
    net, twin = network(dtype=dtype, engine=engine), network()
    rate, order = 0.25, np.array([0, 1, 4, 6, 2, 3, 5, 7])
    twin.parameters = net.parameters
    for rows in (order[:4], order[4:]):
        g = twin.gradient(X[rows], Y[rows], sample_weight=weights[rows])
        for l in (1, 2):
            twin.layers[l].W -= rate * g.dW[l]
            twin.layers[l].b -= rate * g.db[l]
    net.fit(
        X[order], Y[order], optimizer=cr.GradientDescent(rate), epochs=1, batch_size=4,
        shuffle=False, sample_weight=weights[order], verbose=0,
    )  # fmt: skip
    rounding = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("engine", engines._ENGINES)
def test_weights_of_classes_and_of_samples(engine: str) -> None:
    """1e200 times 1e200 is no number; their ratios are."""

    def run(**options: Any) -> bytes:
        net = cr.Network(
            [4, 5, 3], output="softmax", loss="cross_entropy", seed=0, engine=engine
        )  # fmt: skip
        net.fit(X, CLASSES, epochs=2, batch_size=3, verbose=0, **options)
        return net.parameters.tobytes()

    of_classes = {0: 1.0, 1: 3.0, 2: 0.5}
    s = U + 0.25
    expected = run(class_weight=of_classes, sample_weight=s)
    for a, b in ((2.0**700, 2.0**700), (2.0**-700, 2.0**-700), (2.0**-1000, 2.0**900)):
        scaled = {label: a * w for label, w in of_classes.items()}
        assert run(class_weight=scaled, sample_weight=b * s) == expected
    assert run(class_weight={k: 2.0**1020 * w for k, w in of_classes.items()}) == run(
        class_weight=of_classes
    )


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (
            [1e-320, 1, 1e308, 1, 1, 1, 1, 1],
            r"sample_weight\[0\] is 9.99989e-321, sample_weight\[2\] is 1e\+308; weights may",
        ),
        ([1, 1, 1, np.inf, 1, 1, 1, 1], r"sample_weight\[3\] is inf; every number must be finite"),
        (
            [1, 1, 1, -1e-320, 1, 1, 1, 1],
            r"sample_weight\[3\] is -9.99989e-321; weights are 0 or m",
        ),
    ],
)
def test_refused_weights(weights: Any, complaint: str) -> None:
    net = network()
    before = net.parameters.copy()
    for ask in (net.gradient, net.loss_value, net.check_gradient):
        with pytest.raises(ValueError, match=complaint):
            ask(X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match=complaint):
        net.explain("w[1][0,0]", X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match=complaint):
        net.fit(X, Y, sample_weight=weights, verbose=0)
    with pytest.raises(ValueError, match=f"validation_data: {complaint}"):
        net.fit(X, Y, validation_data=(X, Y, weights), verbose=0)
    np.testing.assert_array_equal(net.parameters, before)


def test_refused_products_of_weights() -> None:
    net = cr.Network([4, 5, 3], output="softmax", loss="cross_entropy", seed=0)
    s = np.where(CLASSES == 0, 1e-200, 1.0)
    with pytest.raises(ValueError, match=r"\(class_weight · sample_weight\)\[0\] is 1e-"):
        net.fit(X, CLASSES, class_weight={0: 1e-200}, sample_weight=s, verbose=0)


def test_ratios() -> None:
    for weights in (U * 1e50, U * 1e-310, U):
        scaled, unit = data.ratios(weights, "w")
        assert 1 <= scaled.max() < 2
        np.testing.assert_array_equal(scaled * unit, weights)
    zeros, unit = data.ratios(np.zeros(3), "w")
    assert not zeros.any()
    assert unit == 1


# --- the estimators -------------------------------------------------------------------------------

SCALES = [2.0**k for k in (-1060, -1000, -150, 170, 1020)]


def fitted(make: Any, weights: Any, alpha: float, **options: Any) -> list[Any]:
    X32 = X.astype("float32") if options.pop("single", False) else X
    y = CLASSES if make is MLPClassifier else Y
    m = make(hidden_layer_sizes=(5,), alpha=alpha, max_iter=4, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        held = {"validation_data": (X, y, weights)} if options.get("solver") == "adam" else {}
        m.fit(X32, y, sample_weight=weights, **held)
    why = m.explain("w[1][2,1]", X, y, sample_weight=weights)
    score = m.score(X, y, sample_weight=weights)
    curve = m.validation_loss_curve_ if held and not alpha else []  # its penalty is α / rows
    return [*(c.tobytes() for c in m.coefs_), float(m.loss_), why.value, score, curve]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_estimators(make: Any, solver: str, single: bool, scale: float) -> None:
    """Weights times 2ᵏ with a penalty of 0, or with α times 2ᵏ, are the same, to the bit."""
    options = {"solver": solver, "single": single, "batch_size": 3}
    weights = np.array([1.25, 0.5, 2.5, 0.25, 0.75, 1, 0.5, 1.5])  # of few bits: exact if subnormal
    expected = fitted(make, weights, 0.0, **options)
    assert fitted(make, scale * weights, 0.0, **options) == expected
    if 1e-300 < 1e-3 * scale < 1e300:
        expected = fitted(make, weights, 1e-3, **options)
        assert fitted(make, scale * weights, 1e-3 * scale, **options) == expected


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_penalty_that_would_be_infinite_is_refused(solver: str) -> None:
    m = MLPRegressor(hidden_layer_sizes=(5,), solver=solver)
    with pytest.raises(ValueError, match=r"the penalty alpha / \(sum of the weights\) is infinite"):
        m.fit(X, Y, sample_weight=np.full(N, 1e-320))


def test_weights_of_labels_multiply() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    for w in (1e200, 1e-200):
        m = MLPClassifier(hidden_layer_sizes=(5,), class_weight=[{0: w, 1: w}] * 2, max_iter=2)
        with pytest.raises(ValueError, match="class_weight: the weights of the labels of sample 0"):
            m.fit(X, labels)

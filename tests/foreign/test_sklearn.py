"""Fitted estimators of scikit-learn as networks, and networks as fitted estimators."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import linear_model, neural_network
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
import chainrule.sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
CLASSES = np.array(["blue", "green", "red"])[RNG.integers(0, 3, 40)]
TARGETS: dict[str, Any] = {
    "binary": np.array(["no", "yes"])[RNG.integers(0, 2, 40)],
    "multiclass": CLASSES,
    "multilabel": RNG.integers(0, 2, (40, 3)),
    "number": RNG.normal(size=40),
    "numbers": RNG.normal(size=(40, 2)),
    "counts": RNG.poisson(2.0, 40).astype(float),
}
OF_KIND = {
    "binary": ("sigmoid", "binary_cross_entropy"),
    "multiclass": ("softmax", "cross_entropy"),
    "multilabel": ("sigmoid", "binary_cross_entropy"),
    "number": ("identity", "half_squared_error"),
    "numbers": ("identity", "half_squared_error"),
}


def fitted(kind: str, activation: str = "tanh", dtype: str = "float64") -> Any:
    classifies = kind in ("binary", "multiclass", "multilabel")
    made = neural_network.MLPClassifier if classifies else neural_network.MLPRegressor
    options = {"loss": "poisson"} if kind == "counts" else {}
    estimator = made(
        hidden_layer_sizes=(6, 4), activation=activation, max_iter=8, random_state=1, alpha=0,
        **options,
    )  # fmt: skip
    return estimator.fit(X.astype(dtype), TARGETS[kind])


def told(estimator: Any, y: Any) -> tuple[float, list[Any], list[Any]]:
    """The loss and the gradient that scikit-learn itself computes."""
    found: list[Any] = []

    class Told(type(estimator)):  # type: ignore[misc]
        def _backprop(self, *given: Any) -> Any:
            loss, coefs, intercepts = super()._backprop(*given)
            found.extend([loss, [c.copy() for c in coefs], [b.copy() for b in intercepts]])
            raise StopIteration

    Told.__init__ = type(estimator).__init__  # type: ignore[method-assign]
    twin = Told(**estimator.get_params())
    twin.__dict__.update(vars(estimator))
    twin.set_params(solver="lbfgs", warm_start=True)
    with pytest.raises(StopIteration):
        twin.fit(X, y)
    return found[0], found[1], found[2]


def encoded(estimator: Any, y: Any) -> Any:
    if hasattr(estimator, "classes_") and np.ndim(y) == 1:
        return np.searchsorted(estimator.classes_, y)
    return y


def same_gradient(net: cr.Network, theirs: Any, y: Any) -> None:
    _, coefs, intercepts = told(theirs, y)
    g = net.gradient(X, encoded(theirs, y))
    for l, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True), start=1):
        np.testing.assert_allclose(g.dW[l], coef.T, rtol=1e-12, atol=1e-14)
        if g.db[l] is not None:
            np.testing.assert_allclose(g.db[l], intercept, rtol=1e-12, atol=1e-14)


def outputs(estimator: Any) -> Any:
    """What the outputs of a network are in scikit-learn."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X)
    p = estimator.predict_proba(X)
    return p[:, 1] if len(estimator.classes_) == 2 and p.shape[1] == 2 else p


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_fitted_mlp_comes_in(kind: str, activation: str) -> None:
    theirs, y = fitted(kind, activation), TARGETS[kind]
    net = cr.from_sklearn(theirs)
    expected = outputs(theirs)
    np.testing.assert_allclose(net.predict(X).reshape(expected.shape), expected, rtol=1e-12)
    same_gradient(net, theirs, y)
    before = theirs.coefs_[0].copy()
    net.layers[1].W[...] = 0
    assert (theirs.coefs_[0] == before).all(), "the network has copies"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype: str) -> None:
    assert cr.from_sklearn(fitted("number", dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("hidden", ["identity", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", OF_KIND)
def test_a_network_goes_out_and_comes_back(kind: str, biases: bool, hidden: str) -> None:
    y = TARGETS[kind]
    units = {"binary": 1, "number": 1, "numbers": 2}.get(kind, 3)
    output, loss = OF_KIND[kind]
    net = cr.Network([5, 6, 4, units], hidden=hidden, output=output, loss=loss, biases=biases,
                     seed=3)  # fmt: skip
    names = np.unique(y) if kind in ("binary", "multiclass") else None
    theirs = net.to_sklearn(classes=names)
    assert type(theirs).__module__.startswith("sklearn.")
    expected = outputs(theirs)
    np.testing.assert_allclose(net.predict(X).reshape(expected.shape), expected, rtol=1e-12)
    if names is not None:
        assert (theirs.predict(X) == names[net.predict_classes(X)]).all()
    same_gradient(net, theirs, y)
    back = cr.from_sklearn(theirs)
    for mine, theirs_ in zip(net.weighted_layers, back.weighted_layers, strict=True):
        assert np.array_equal(mine.W, theirs_.W)
    assert (back.loss.name, back.layers[-1].activation.name) == (loss, output)
    theirs.partial_fit(X, y)
    assert theirs.n_iter_ == 1
    assert np.isfinite(theirs.score(X, y))
    assert (back.layers[1].W == net.layers[1].W).all(), "the estimator has copies"


def test_without_hidden_layers_and_with_the_poisson_loss() -> None:
    net = cr.Network([5, 1], seed=0)
    np.testing.assert_allclose(net.to_sklearn().predict(X), net.predict(X)[:, 0], rtol=1e-12)
    counts = cr.from_sklearn(fitted("counts"))
    again = counts.to_sklearn()
    assert again.loss == "poisson"
    np.testing.assert_allclose(again.predict(X), counts.predict(X)[:, 0], rtol=1e-12)


LINEAR = {
    "LinearRegression": "numbers", "Ridge": "numbers", "Lasso": "number", "ElasticNet": "number",
    "SGDRegressor": "number", "HuberRegressor": "number", "BayesianRidge": "number",
    "PoissonRegressor": "counts", "MultiTaskLasso": "numbers", "LogisticRegression": "multiclass",
    "SGDClassifier": "binary", "LogisticRegressionCV": "binary",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # versions differ in what they deprecate
@pytest.mark.parametrize(("name", "kind"), LINEAR.items())
def test_a_linear_model_is_a_network_of_one_layer(name: str, kind: str) -> None:
    options: dict[str, Any] = {"loss": "log_loss"} if name == "SGDClassifier" else {}
    theirs = getattr(linear_model, name)(**options).fit(X, TARGETS[kind])
    net = cr.from_sklearn(theirs)
    expected = outputs(theirs)
    np.testing.assert_allclose(net.predict(X).reshape(expected.shape), expected, rtol=1e-12)
    assert len(net.sizes) == 2
    np.testing.assert_array_equal(net.layers[1].W, np.atleast_2d(theirs.coef_))
    assert cr.from_sklearn(linear_model.Lasso(fit_intercept=False).fit(X, X[:, 0])).layers[1].b == 0


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "number", "counts"])
def test_our_estimators_go_out_and_come_in(kind: str) -> None:
    theirs, y = fitted(kind), TARGETS[kind]
    ours = getattr(chainrule.sklearn, type(theirs).__name__)(**theirs.get_params()).fit(X, y)
    net = cr.from_sklearn(ours)
    assert net is not ours.network_
    assert (net.parameters == ours.network_.parameters).all()
    out = ours.to_sklearn()
    assert type(out) is type(theirs)
    assert out.get_params() == theirs.get_params()
    np.testing.assert_allclose(outputs(out), outputs(ours), rtol=1e-12)
    assert (out.predict(X) == ours.predict(X)).all() or kind in ("number", "counts")
    assert out.n_iter_ == ours.n_iter_
    out.partial_fit(X, y)
    assert not np.array_equal(out.coefs_[0], ours.coefs_[0]), "the estimator has copies"


def test_what_cannot_go_out_is_named() -> None:
    def net(**options: Any) -> cr.Network:
        return cr.Network([5, 4, 4, 2], seed=0, **options)

    for wrong, words in (
        (net(hidden="gelu"), r"layer 1 has gelu, which scikit-learn lacks .*; layer 2 has gelu"),
        (net(hidden=["tanh", "relu"]), r"\(layer 1 tanh, layer 2 relu\); expected one"),
        (net(output="tanh"), "its output layer 3 has tanh with the loss half_squared_error"),
        (net(dropout=0.25), r"dropout 0.25"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong.to_sklearn()
    classifier = net(output="softmax", loss="cross_entropy")
    for classes, words in (
        (["a"], "expected 2 different labels"),
        (["a", "a"], "expected 2 different labels"),
        (["b", "a"], "expected them sorted"),
    ):
        with pytest.raises(ValueError, match=words):
            classifier.to_sklearn(classes=classes)
    with pytest.raises(ValueError, match="Leave classes out"):
        net().to_sklearn(classes=[0, 1])
    with pytest.raises(ValueError, match="Leave classes out"):
        net(output="sigmoid", loss="binary_cross_entropy").to_sklearn(classes=[0, 1])
    classifier.layers[2].W[0, 0] = np.nan
    with pytest.raises(ValueError, match="nan"):
        classifier.to_sklearn()
    options: dict[str, Any] = {"max_iter": 2, "random_state": 0}
    for estimator, words in (
        (chainrule.sklearn.MLPRegressor("huber", **options), "loss='huber'"),
        (chainrule.sklearn.MLPRegressor(activation="gelu", **options), "gelu"),
        (chainrule.sklearn.MLPRegressor(activation=["tanh"], **options), "activation"),
        (chainrule.sklearn.MLPRegressor(dropout=0.5, **options), "dropout=0.5"),
    ):
        with pytest.raises(ValueError, match=words):
            estimator.fit(X, TARGETS["number"]).to_sklearn()
    with pytest.raises(NotFittedError):
        chainrule.sklearn.MLPRegressor().to_sklearn()


def test_what_cannot_come_in_is_named() -> None:
    pipeline = make_pipeline(StandardScaler(), neural_network.MLPRegressor())
    for wrong, words in (
        (3, "fitted is a int; expected a fitted MLPClassifier"),
        (StandardScaler(), "fitted is a StandardScaler"),
        (linear_model.RidgeClassifier(), "fitted is a RidgeClassifier"),
        (pipeline, r"Pipeline; expected its last step. Pass fitted\[-1\]"),
    ):
        with pytest.raises(TypeError, match=words):
            cr.from_sklearn(wrong)
    for estimator in (neural_network.MLPClassifier(), linear_model.Ridge()):
        with pytest.raises(NotFittedError):
            cr.from_sklearn(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = linear_model.SGDClassifier(loss="log_loss").fit(X, CLASSES)
        hinge = linear_model.SGDClassifier(loss="hinge").fit(X, TARGETS["binary"])
    with pytest.raises(ValueError, match="SGDClassifier of 3 classes, each against the others"):
        cr.from_sklearn(each)
    with pytest.raises(ValueError, match="loss='hinge'"):
        cr.from_sklearn(hinge)

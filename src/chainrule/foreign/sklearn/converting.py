"""Converting: a fitted MLP or linear model as a network, and a network as a fitted MLP.

scikit-learn's ``coefs_[l - 1]`` is W^(l)ᵀ, and ``intercepts_[l - 1]`` is b^(l). A linear model is a
network of one layer, whose ``coef_`` is W^(1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model, neural_network
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from chainrule.equations.checks import listed
from chainrule.equations.feedforward import FeedForward
from chainrule.foreign.sklearn.exponential import Exp

N = TypeVar("N", bound=FeedForward)
Array = NDArray[Any]

_THEIRS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()} | {"softmax": "softmax"}
# Linear models whose prediction is X wᵀ + b, whatever loss found w.
_LINEAR = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
    "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "BayesianRidge", "ARDRegression",
    "HuberRegressor", "QuantileRegressor", "TheilSenRegressor", "SGDRegressor",
    "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "MultiTaskLasso",
    "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV",
)  # fmt: skip
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier")
_EXPECTED = (
    "expected a fitted MLPClassifier or MLPRegressor, a linear model such as LinearRegression, or "
    "a LogisticRegression"
)


def network(fitted: Any, make: Callable[..., N]) -> N:
    """Return a network with the parameters of a fitted estimator; ``make`` is its class."""
    if isinstance(fitted, Pipeline):
        raise TypeError(
            "fitted is a Pipeline; expected its last step. Pass fitted[-1], and give the network "
            "fitted[:-1].transform(X)"
        )
    if isinstance(fitted, neural_network.MLPClassifier | neural_network.MLPRegressor):
        return _of_mlp(fitted, make)
    name = type(fitted).__name__
    if type(fitted) is getattr(linear_model, name, None):
        if name in _LINEAR or name == "PoissonRegressor":
            return _of_linear(fitted, make)
        if name in _LOGISTIC:
            return _of_logistic(fitted, make)
    raise TypeError(f"fitted is a {name}; {_EXPECTED}")


def _of_mlp(fitted: Any, make: Callable[..., N]) -> N:
    check_is_fitted(fitted)
    if hasattr(type(fitted), "network_"):  # one of chainrule's
        return fitted.network_.copy()
    output = Exp() if fitted.out_activation_ == "exp" else _OURS[fitted.out_activation_]
    loss = {"exp": "poisson", "softmax": "cross_entropy", "logistic": "binary_cross_entropy"}.get(
        fitted.out_activation_, "half_squared_error"
    )
    W, b = [c.T for c in fitted.coefs_], list(fitted.intercepts_)
    return _made(make, W, b, output, loss, hidden=_OURS[fitted.activation])


def _of_linear(fitted: Any, make: Callable[..., N]) -> N:
    W, b = _one_layer(fitted)
    if isinstance(fitted, linear_model.PoissonRegressor):
        return _made(make, [W], [b], Exp(), "poisson")
    return _made(make, [W], [b], "identity", "half_squared_error")


def _of_logistic(fitted: Any, make: Callable[..., N]) -> N:
    W, b = _one_layer(fitted)
    if isinstance(fitted, linear_model.SGDClassifier) and fitted.loss != "log_loss":
        raise ValueError(
            f"fitted is an SGDClassifier with loss={fitted.loss!r}, which has no probabilities as "
            "a network has; expected loss='log_loss'"
        )
    if len(W) == 1:
        return _made(make, [W], [b], "sigmoid", "binary_cross_entropy")
    one_by_one = getattr(fitted, "multi_class", None) == "ovr"
    if isinstance(fitted, linear_model.SGDClassifier) or one_by_one or fitted.solver == "liblinear":
        raise ValueError(
            f"fitted is a {type(fitted).__name__} of {len(W)} classes, each against the others; "
            "no network divides their probabilities by their sum. Fit a LogisticRegression, which "
            "ends in a softmax"
        )
    return _made(make, [W], [b], "softmax", "cross_entropy")


def _one_layer(fitted: Any) -> tuple[Array, Array]:
    check_is_fitted(fitted)
    coef = fitted.coef_.toarray() if hasattr(fitted.coef_, "toarray") else fitted.coef_
    W = np.atleast_2d(np.asarray(coef))
    b = np.broadcast_to(np.asarray(fitted.intercept_, dtype=W.dtype).ravel(), len(W))
    return W, b


def _made(
    make: Callable[..., N], W: list[Array], b: list[Array], output: Any, loss: str,
    hidden: str = "identity",
) -> N:  # fmt: skip
    single = all(array.dtype == np.float32 for array in (*W, *b))
    return make(
        [W[0].shape[1], *map(len, W)], hidden=hidden, output=output, loss=loss, W=W, b=b,
        dtype="float32" if single else "float64", seed=0,
    )  # fmt: skip


def estimator(net: FeedForward, classes: Sequence[Any] | None) -> Any:
    """Return a fitted MLP of scikit-learn with the parameters of a network."""
    net.check_parameters()
    hidden = _hidden(net)
    *_, last = net.weighted_layers
    units, end = net.sizes[-1], last.activation.name
    dropout = [str(layer.dropout) for layer in net.layers[1:-1] if layer.dropout]
    if dropout:
        raise ValueError(
            f"the network has dropout {', '.join(dropout)}, and scikit-learn's MLPs have none. "
            "Predictions need none: pass a network with dropout=0"
        )
    classifies = (end, net.loss.name) in (
        ("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"),
    )  # fmt: skip
    options = {
        "hidden_layer_sizes": tuple(net.sizes[1:-1]), "activation": _THEIRS[hidden], "alpha": 0.0,
    }  # fmt: skip
    if classifies:
        made: Any = neural_network.MLPClassifier(**options)
        made.classes_ = _classes(classes, units, end)
        made._label_binarizer = _binarizer(made.classes_, units, end)
    else:
        made = _regressor(net, end, options)
        if classes is not None:
            raise ValueError(
                f"classes were passed, and the network ends in {end} with the loss "
                f"{net.loss.name}: a regressor has none. Leave classes out"
            )
    return _fitted(made, net, {"sigmoid": "logistic"}.get(end, end))


def _hidden(net: FeedForward) -> str:
    """Return the activation that all hidden layers have."""
    names = {l: layer.activation.name for l, layer in enumerate(net.layers[1:-1], start=1)}
    faults = [
        f"layer {l} has {name}, which scikit-learn lacks (it has {listed(list(_THEIRS))})"
        for l, name in names.items()
        if name not in _THEIRS
    ]
    different = {name: l for l, name in reversed(names.items())}
    if not faults and len(different) > 1:
        said = ", ".join(f"layer {l} {name}" for l, name in names.items())
        faults.append(f"its hidden layers have different activations ({said}); expected one")
    if faults:
        raise ValueError("the network cannot become an MLP of scikit-learn: " + "; ".join(faults))
    return next(iter(names.values()), "identity")


def _regressor(net: FeedForward, end: str, options: dict[str, Any]) -> Any:
    if (end, net.loss.name) == ("exp", "poisson"):
        return neural_network.MLPRegressor(loss="poisson", **options)
    if end != "identity":
        raise ValueError(
            "the network cannot become an MLP of scikit-learn: its output layer "
            f"{len(net.sizes) - 1} has {end} with the loss {net.loss.name}; expected softmax with "
            "cross_entropy, sigmoid with binary_cross_entropy, or identity"
        )
    return neural_network.MLPRegressor(**options)


def _classes(given: Sequence[Any] | None, units: int, end: str) -> Array:
    count = 2 if (end, units) == ("sigmoid", 1) else units
    if given is None:
        return np.arange(count)
    if end == "sigmoid" and units > 1:
        raise ValueError(
            f"classes is {given!r}, and each of the {units} outputs is a label of its own, which "
            "scikit-learn counts from 0. Leave classes out"
        )
    classes = np.asarray(given)
    if classes.shape != (count,) or len(set(classes.tolist())) < count:
        raise ValueError(f"classes is {given!r}; expected {count} different labels")
    if (np.sort(classes) != classes).any():
        raise ValueError(
            f"classes is {given!r}; expected them sorted, as scikit-learn has them: "
            f"{np.sort(classes).tolist()} is the order of the outputs"
        )
    return classes


def _binarizer(classes: Array, units: int, end: str) -> LabelBinarizer:
    if end == "sigmoid" and units > 1:  # several labels for each sample
        y: Array = np.eye(units, dtype=int)
        y[0] = 1
        return LabelBinarizer().fit(y)
    return LabelBinarizer().fit(classes)


def _fitted(made: Any, net: FeedForward, output: str) -> Any:
    """Set what ``fit`` sets, so that ``predict``, ``score`` and ``partial_fit`` work."""
    made.coefs_ = [np.array(layer.W.T, order="C") for layer in net.weighted_layers]
    made.intercepts_ = [
        np.zeros(len(layer.W), layer.W.dtype) if layer.b is None else layer.b.copy()
        for layer in net.weighted_layers
    ]
    made.out_activation_ = output
    made.n_features_in_, made.n_outputs_ = net.sizes[0], net.sizes[-1]
    made.n_layers_ = len(net.sizes)
    made.n_iter_ = made.t_ = 0
    made.loss_ = made.best_loss_ = np.inf
    made.loss_curve_ = []
    made.validation_scores_ = made.best_validation_score_ = None
    made._no_improvement_count = 0
    return made

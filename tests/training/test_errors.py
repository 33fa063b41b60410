"""What fit refuses, before anything is changed, and how it stops where numbers are not finite."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.equations.schedules import Schedule
from chainrule.network import Network
from chainrule.training.callbacks import EarlyStopping
from chainrule.training.errors import NonFiniteError

N = 23
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
NET = Network([3, 6, 3], hidden="tanh", output="softmax", loss="cross_entropy", seed=3)
ONES = np.ones(N)
HALF = np.full((N, 3), 1 / 3)
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"X": X[:, :2]}, ValueError, "X has 2 columns, the network expects 3"),
    ({"X": np.where(X[2, 1] == X, np.nan, X)}, ValueError, r"X\[2, 1\] is nan; every number"),
    ({"X": X[:0], "y": Y[:0]}, ValueError, "X has zero samples"),
    ({"X": X.astype(str)}, TypeError, "X has dtype <U"),
    ({"y": Y[1:]}, ValueError, "y has 22 samples, X has 23"),
    ({"y": np.where(Y == 2, 3, Y)}, ValueError, r"y\[\d+\] is class 3; 3 outputs have classes 0"),
    ({"y": Y / 2}, ValueError, "expects integer classes .y.astype.int.., or rows"),
    ({"y": 2 * HALF}, ValueError, r"y\[0\] sums to 2; loss 'cross_entropy' needs one-hot rows"),
    ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ({"epochs": 2.0}, TypeError, r"epochs must be an integer, got 2\.0"),
    ({"batch_size": -1}, ValueError, "batch_size must be at least 1, got -1"),
    ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
    ({"shuffle": "yes"}, TypeError, "shuffle must be True or False, got 'yes'"),
    ({"optimizer": "adam"}, TypeError, r"optimizer must be one such as Adam\(learn.*, got 'adam'"),
    ({"optimizer": Adam}, TypeError, "optimizer must be one such as Adam"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be above 0, got 0"),
    ({"clip_norm": "1"}, TypeError, "clip_norm must be a number, got '1'"),
    ({"verbose": "no"}, TypeError, "verbose must be 0 or 1, got 'no'"),
    ({"sample_weight": [1, 2]}, ValueError, r"sample_weight has shape \(2,\); expected \(23,\)"),
    ({"sample_weight": -ONES}, ValueError, r"sample_weight\[0\] is -1; weights are 0 or more"),
    ({"sample_weight": 0 * ONES}, ValueError, "sample_weight is 0 for every sample"),
    ({"sample_weight": np.inf * ONES}, ValueError, r"sample_weight\[0\] is inf"),
    ({"class_weight": {3: 1.0}}, ValueError, "class_weight names class 3; .* classes 0 to 2"),
    ({"class_weight": {"a": 1.0}}, TypeError, "class_weight: classes are integers, got 'a'"),
    ({"class_weight": {1: -1}}, ValueError, r"class_weight\[1\] must be 0 or more, got -1"),
    ({"class_weight": {1: "2"}}, TypeError, r"class_weight\[1\] must be a number, got '2'"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "class_weight leaves every sample"),
    ({"class_weight": "even"}, TypeError, "class_weight must be a dict or 'balanced', got 'even'"),
    ({"class_weight": [1, 2, 3]}, TypeError, r"class_weight must be a dict or 'balanced', got \[1"),
    (
        {"class_weight": "balanced", "y": HALF},
        ValueError,
        "class_weight needs integer or one-hot classes as y; y has other numbers",
    ),
    ({"validation_data": (X,)}, ValueError, r"validation_data must be \(X, y\) .*, got a tuple"),
    ({"validation_data": X}, TypeError, r"validation_data must be \(X, y\) or .*, got a ndarray"),
    ({"validation_data": (X, Y[:3])}, ValueError, "validation_data: y has 3 samples, X has 23"),
    ({"validation_data": (X[:0], Y[:0])}, ValueError, "validation_data: X has zero samples"),
    (
        {"validation_data": (X, Y, -ONES)},
        ValueError,
        r"validation_data: sample_weight\[0\] is -1; weights are 0 or more",
    ),
    ({"metrics": "accuracy"}, TypeError, r"metrics must be a list such as \['accuracy'\], got"),
    ({"metrics": ["f1"]}, ValueError, "unknown metric 'f1'; known: accuracy, mean_squared_error, "),
    ({"metrics": [3]}, TypeError, r"a metric is a name or a function .*, got 3"),
    ({"metrics": ["r2", "r2"]}, ValueError, "metrics: the name 'r2' is taken"),
    ({"callbacks": EarlyStopping()}, TypeError, "callbacks must be a list, got <"),
    ({"callbacks": [EarlyStopping]}, TypeError, r"callbacks\[0\] is the class EarlyStopping; make"),
    ({"callbacks": [print, 3]}, TypeError, r"callbacks\[1\] must be a Callback or a func"),
    (
        {"callbacks": [EarlyStopping("val_loss")]},
        ValueError,
        "EarlyStopping: no column 'val_loss' to monitor; this run has loss, accuracy; there is no",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED, ids=lambda x: str(x)[:40])
def test_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    before = NET.parameters.copy()
    arguments = dict[str, Any](X=X, y=Y, verbose=0) | arguments
    with pytest.raises(error, match=message):
        NET.fit(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert (NET.parameters == before).all()


def curve(**settings: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
    return Network([3, 5, 4, 2], hidden="tanh", seed=3, **settings), X.copy(), y


def test_class_weight_of_one_output_needs_0_and_1() -> None:
    net = Network([3, 1], output="sigmoid", loss="binary_cross_entropy", seed=0)
    with pytest.raises(
        ValueError, match="class_weight needs the classes 0 and 1 as y; y has other"
    ):
        net.fit(X, np.full(N, 0.5), class_weight={1: 2}, verbose=0)


@pytest.mark.parametrize("validated", [False, True])
def test_accuracy_needs_classes(validated: bool) -> None:
    net = Network([3, 1], output="tanh", seed=0)
    good, bad = np.arange(N) % 2, np.arange(N) % 2 - 0.5
    fit_to, validation = (good, (X, bad)) if validated else (bad, (X, good))
    with pytest.raises(
        ValueError, match="accuracy after the loss 'half_squared_error' needs integ"
    ):
        net.fit(X, fit_to, validation_data=validation, metrics=["accuracy"], verbose=0)


def test_a_softmax_of_one_unit_has_nothing_to_train() -> None:
    net = Network([2, 1], output="softmax", loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match="a softmax of one unit is always 1"):
        net.fit(np.ones((4, 2)), np.ones(4), epochs=1)


def test_a_number_too_large_for_the_dtype() -> None:
    net, X, y = curve(dtype="float32")
    X[3, 1] = 1e39
    with pytest.raises(ValueError, match=r"X\[3, 1\] is 1e\+39, too large for float32"):
        net.fit(X, y, verbose=0)


def test_parameters_that_are_not_finite() -> None:
    net, X, y = curve()
    net.layers[2].W[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"layers\[2\].W\[1, 0\] is nan; it must be finite"):
        net.fit(X, y, verbose=0)


def test_a_metric_that_gives_no_number() -> None:
    def shape(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
        return y_true.shape

    with pytest.raises(TypeError, match=r"metric 'shape' returned \(23,\); expected a number"):
        NET.copy().fit(X, Y, epochs=1, metrics=[shape], verbose=0)


def test_a_schedule_that_gives_no_learning_rate() -> None:
    class Downhill(Schedule):
        def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
            return 1 - epoch

    with pytest.raises(ValueError, match=r"returned the learning rate -0.25 for step 1 of epoch 2"):
        NET.copy().fit(X, Y, optimizer=Adam(Downhill()), batch_size=6, verbose=0)


# --- numbers that are not finite ----------------------------------------------------------------


class After(Schedule):
    """η = 1e-6 for some steps of four an epoch, then another."""

    def __init__(self, steps: int, then: float) -> None:
        self.steps, self.then = steps, then

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return 1e-6 if epoch * 4 < self.steps else self.then


def test_where_training_stopped() -> None:
    """η is 1e308 in the eighth step, the fourth of the second epoch: W of layer 1 overflows."""
    net, X, y = curve()
    y = 1e4 * y
    batches: list[np.ndarray] = []
    with pytest.raises(NonFiniteError) as raised:
        net.fit(
            X, y, optimizer=GradientDescent(After(7, 1e308)), epochs=3, batch_size=6, verbose=0,
            callbacks=[lambda run: batches.append(run.network.parameters.copy())],
        )  # fmt: skip
    error = raised.value
    assert str(error) == (
        "training stopped in epoch 2, step 7: a parameter of layer 1 after the update is not "
        "finite (learning rate 1e+308 may be too large, or the numbers of X or y); the parameters "
        "from before that step are kept"
    )
    assert (error.epoch, error.step, error.layer, error.what) == (2, 7, 1, "parameters")
    assert error.history.epoch == [1]
    assert error.history.stop_reason == "not finite: a parameter of layer 1 after the update"
    assert isinstance(error, FloatingPointError)

    twin, _, _ = curve()
    twin.fit(
        X, y, optimizer=GradientDescent(After(7, 0)), epochs=2, batch_size=6, verbose=0
    )  # fmt: skip
    assert (net.parameters == twin.parameters).all()
    assert (net.parameters != batches[-1]).any()  # the steps of epoch 2 before it count


def overflowing(what: str) -> tuple[Network, list[list[float]], list[list[float]]]:
    """A network, and data, with which the first step fails in a given place."""
    one: dict[str, Any] = {"hidden": "identity", "b": [[0.0], [0.0]], "seed": 0}
    match what:
        case "z":
            return Network([1, 1, 1], W=[[[1e200]], [[1e200]]], **one), [[1.0]], [[0.0]]
        case "loss":
            return Network([1, 1, 1], W=[[[1.0]], [[1e200]]], **one), [[1.0]], [[0.0]]
        case "gradient":
            return Network([1, 1, 1], W=[[[1e-170]], [[1e170]]], **one), [[1e150]], [[0.0]]
        case _:
            return Network([1, 1, 1], W=[[[1.0]], [[1.0]]], **one), [[1.0]], [[0.0]]


@pytest.mark.parametrize(
    ("what", "layer", "message"),
    [
        ("z", 2, "z of layer 2 is not finite"),
        ("loss", 2, "the loss is not finite"),
        ("gradient", 1, "the gradient of layer 1 is not finite"),
        ("parameters", 1, "a parameter of layer 1 after the update is not finite"),
    ],
)
def test_what_is_not_finite(what: str, layer: int, message: str) -> None:
    net, X, y = overflowing(what)
    before = net.parameters.copy()
    eta = 1e308 if what == "parameters" else 0.01
    optimizer = GradientDescent(eta, momentum=0.9)
    if what == "parameters":
        y = [[-10.0]]
    with pytest.raises(NonFiniteError, match=message) as raised:
        net.fit(X, y, optimizer=optimizer, epochs=1, verbose=0)
    assert (raised.value.what, raised.value.layer, raised.value.step) == (what, layer, 0)
    blames_the_rate = "learning rate" in str(raised.value)
    assert blames_the_rate == (what == "parameters")  # nothing else has used it yet
    assert (net.parameters == before).all()


def test_the_error_can_be_sent_to_another_process() -> None:
    net, X, y = overflowing("z")
    with pytest.raises(NonFiniteError) as raised:
        net.fit(X, y, verbose=0)
    twin = pickle.loads(pickle.dumps(raised.value))
    assert str(twin) == str(raised.value)
    assert (twin.epoch, twin.step, twin.layer, twin.what) == (1, 0, 2, "z")
    assert twin.history == raised.value.history


def test_the_validation_loss_may_be_infinite() -> None:
    net, X, y = curve()
    history = net.fit(X, y, epochs=2, validation_data=(X * 1e300, y * 1e300), verbose=0)
    assert history.val_loss == [math.inf, math.inf]

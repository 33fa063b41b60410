"""Estimators of chainrule in skl2onnx: onnxruntime predicts what they predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.sklearn import MLPClassifier, MLPRegressor, register_skl2onnx

pytestmark = [pytest.mark.needs("skl2onnx"), pytest.mark.filterwarnings("ignore")]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
TARGETS: dict[str, Any] = {
    "words": np.array(["blue", "green", "red"])[RNG.integers(0, 3, 60)],
    "binary": RNG.integers(0, 2, 60),
    "labels": RNG.integers(0, 2, (60, 3)),
    "number": RNG.normal(size=60),
    "numbers": RNG.normal(size=(60, 2)),
}
OPTIONS: dict[str, Any] = {"max_iter": 5, "random_state": 0}


@pytest.mark.parametrize("activation", ["relu", "gelu", ["silu", "elu"]], ids=str)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (kind, dtype)
        for kind in TARGETS
        for dtype in ("float32", "float64")
        # skl2onnx finds several labels by Binarizer, which onnxruntime has in float32 alone.
        if (kind, dtype) != ("labels", "float64")
    ],
)
def test_a_pipeline_is_converted(kind: str, dtype: str, activation: Any) -> None:
    import onnxruntime
    import skl2onnx

    register_skl2onnx()
    made = MLPRegressor if kind.startswith("number") else MLPClassifier
    estimator = made(hidden_layer_sizes=(6, 4), activation=activation, **OPTIONS)
    rows = X.astype(dtype)
    piped = make_pipeline(StandardScaler(), estimator).fit(rows, TARGETS[kind])
    options = {id(estimator): {"zipmap": False}} if made is MLPClassifier else None
    graph = skl2onnx.to_onnx(piped, rows[:1], options=options)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: rows})
    exact = dtype == "float64" and activation == "relu"  # erf is in float32 alone
    allowed = 1e-12 if exact else 2e-5
    if made is MLPRegressor:
        expected = piped.predict(rows).reshape(found[0].shape)
        np.testing.assert_allclose(found[0], expected, rtol=allowed, atol=allowed)
    else:
        assert (found[0] == piped.predict(rows)).all()
        np.testing.assert_allclose(found[1], piped.predict_proba(rows), rtol=allowed, atol=allowed)


def test_two_networks_in_one_graph() -> None:
    """Names of their nodes differ, and scikit-learn's own classes stay as they were."""
    import onnxruntime
    import skl2onnx
    from sklearn import neural_network
    from sklearn.ensemble import VotingRegressor

    register_skl2onnx()
    register_skl2onnx()
    both = VotingRegressor([
        ("ours", MLPRegressor(hidden_layer_sizes=(5,), activation="silu", **OPTIONS)),
        ("more", MLPRegressor(hidden_layer_sizes=(3,), **OPTIONS)),
        ("theirs", neural_network.MLPRegressor(hidden_layer_sizes=(3,), **OPTIONS)),
    ]).fit(X, TARGETS["number"])  # fmt: skip
    session = onnxruntime.InferenceSession(skl2onnx.to_onnx(both, X[:1]).SerializeToString())
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found[:, 0], both.predict(X), rtol=1e-4, atol=1e-5)

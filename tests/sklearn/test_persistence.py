"""Estimators in files without pickles, which skops writes and checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
from chainrule.equations.activations import Tanh
from chainrule.sklearn import MLPClassifier, MLPRegressor, trusted_types

pytestmark = [
    pytest.mark.needs("skops"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
RNG = np.random.default_rng(0)
X, CLASSES, NUMBERS = RNG.normal(size=(60, 4)), RNG.integers(0, 3, 60), RNG.random((60, 2))
OPTIONS: dict[str, Any] = {"max_iter": 5, "random_state": 0}


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier((5,), **OPTIONS),
        MLPClassifier((5, 3), ["gelu", "tanh"], solver="sgd", dropout=0.2, **OPTIONS),
        MLPClassifier((5,), Tanh(), callbacks=[cr.EarlyStopping("loss")], **OPTIONS),
        MLPClassifier((5,), solver="sgd", momentum=1.0, learning_rate_init=1e-4, **OPTIONS),
        MLPClassifier((5,), early_stopping=True, class_weight={0: 1, 1: 2, 2: 3}, **OPTIONS),
        MLPRegressor("huber", (5,), output_weight=[1, 2], **OPTIONS),
        MLPRegressor("poisson", (5,), solver="lbfgs", **OPTIONS),
    ],
    ids=["adam", "sgd", "callbacks", "momentum", "early stopping", "huber", "lbfgs"],
)
def test_an_estimator_comes_back_to_the_bit_and_goes_on(estimator: Any) -> None:
    import skops.io

    y = CLASSES if isinstance(estimator, MLPClassifier) else NUMBERS
    estimator.fit(X, y)
    content = skops.io.dumps(estimator)
    assert set(skops.io.get_untrusted_types(data=content)) <= set(trusted_types())
    back = skops.io.loads(content, trusted=trusted_types())
    assert type(back) is type(estimator)
    assert (back.network_.parameters == estimator.network_.parameters).all()
    assert (back.predict(X) == estimator.predict(X)).all()
    assert back.get_params().keys() == estimator.get_params().keys()
    assert getattr(back, "loss_curve_", None) == getattr(estimator, "loss_curve_", None)
    assert back.n_iter_ == estimator.n_iter_
    if estimator.solver != "lbfgs" and not estimator.callbacks:
        for one in (estimator, back):
            one.partial_fit(X, y, validation_data=(X, y))
        assert (back.network_.parameters == estimator.network_.parameters).all()


def test_nothing_else_is_trusted() -> None:
    """Without the list skops refuses; a custom object is never in it."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    content = skops.io.dumps(MLPClassifier((5,), **OPTIONS).fit(X, CLASSES))
    with pytest.raises(UntrustedTypesFoundException, match=r"chainrule\.sklearn\.MLPClassifier"):
        skops.io.loads(content)
    kinds = trusted_types()
    assert kinds == sorted(set(kinds))
    assert all(name.startswith("chainrule.") for name in kinds)


def test_a_pipeline_is_saved_whole() -> None:
    import skops.io

    piped = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(5,), **OPTIONS))
    piped.fit(X, NUMBERS)
    back = skops.io.loads(skops.io.dumps(piped), trusted=trusted_types())
    assert (back.predict(X) == piped.predict(X)).all()

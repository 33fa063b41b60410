"""MLPClassifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from chainrule._exports import exported
from chainrule.equations import losses
from chainrule.equations.arrays import taken
from chainrule.equations.checks import not_negative
from chainrule.equations.losses import LOSSES, Loss
from chainrule.sklearn import networks
from chainrule.sklearn.common import CONSTRAINTS, check_fitted, has_partial_fit, keep
from chainrule.sklearn.training import Training

Array = NDArray[Any]


@exported("chainrule.sklearn")
class MLPClassifier(Training, neural_network.MLPClassifier):  # type: ignore[misc]
    """An `MLPClassifier` of scikit-learn, trained by chainrule's engines.

    A subclass of ``sklearn.neural_network.MLPClassifier``, with its parameters, attributes,
    warnings and errors. With the same ``random_state``, weights and losses are scikit-learn's, to
    rounding. Described here is what is new or different; the rest is in scikit-learn's
    documentation.

    Args:
        hidden_layer_sizes: As in scikit-learn.
        activation: The name of an activation in scikit-learn or chainrule, an `Activation`, or a
            list with one for each hidden layer.
        solver: As in scikit-learn.
        alpha: As in scikit-learn.
        batch_size: As in scikit-learn.
        learning_rate: As in scikit-learn.
        learning_rate_init: As in scikit-learn.
        power_t: As in scikit-learn.
        max_iter: As in scikit-learn.
        shuffle: As in scikit-learn.
        random_state: As in scikit-learn.
        tol: As in scikit-learn.
        verbose: As in scikit-learn.
        warm_start: As in scikit-learn.
        momentum: As in scikit-learn.
        nesterovs_momentum: As in scikit-learn.
        early_stopping: As in scikit-learn; ``validation_data`` replaces the rows that are split
        off,
            also in ``partial_fit``.
        validation_fraction: As in scikit-learn.
        beta_1: As in scikit-learn.
        beta_2: As in scikit-learn.
        epsilon: As in scikit-learn.
        n_iter_no_change: As in scikit-learn.
        max_fun: As in scikit-learn.
        loss: "log_loss", the name of any of chainrule's losses, or a `Loss`, on the probabilities.
        class_weight: A dict of label and weight, or "balanced"; for multi-label y, a list of dicts.
            It multiplies ``sample_weight``.
        dropout: The rate of the hidden layers, or a list with one for each.
        output_weight: The weight of each output in the loss.
        callbacks: As for `Network.fit`. `EarlyStopping` works in ``fit`` only.
        watch: A folder or a `Watch`, in which ``fit`` records the run, as for `Network.fit`. Its
            rows are those of X.

    Attributes:
        validation_loss_curve_: The loss on ``validation_data`` after each epoch.
        stopped_: Whether the last call stopped because it had converged, or because a callback
            called ``run.stop``.
        history_: The rows of the last ``fit`` and of every ``partial_fit`` after it, NaN where
            there was no validation.
        coefs_: The weights, as views of ``network_``.
        intercepts_: The biases, as views of ``network_``.

    Examples:
        >>> from chainrule.sklearn import MLPClassifier
        >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes", "no"]
        >>> xor = MLPClassifier(8, "tanh", solver="lbfgs", random_state=1).fit(X, y)
        >>> xor.predict(X).tolist()
        ['no', 'yes', 'yes', 'no']
        >>> xor.network_
        Network(2-8-1: tanh, sigmoid; binary_cross_entropy; 33 parameters, float64)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss", *LOSSES}), Loss],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: str | Loss = "log_loss",
        class_weight: Any = None,
        dropout: float | Sequence[float] = 0.0,
        output_weight: Any = None,
        callbacks: Any = None,
        watch: Any = None,
    ) -> None:
        keep(self, locals())

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None
    ) -> MLPClassifier:
        """Train on samples.

        Args:
            X: The inputs, (n, features), dense or sparse, or a dataframe.
            y: The labels, (n,), or 0 and 1 for each label, (n, labels).
            sample_weight: The weight of each sample, (n,).
            validation_data: (X, y) or (X, y, sample_weight), measured after each epoch.

        Returns:
            The estimator.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A parameter or the data are not allowed, here or in scikit-learn.
        """
        self._check_class_weight()
        self._train(super().fit, X, y, sample_weight, validation_data)
        return self

    @available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, *,
        validation_data: Any = None,
    ) -> MLPClassifier:  # fmt: skip
        """Train on samples for one epoch.

        Args:
            X: The inputs, (n, features).
            y: The labels.
            sample_weight: The weight of each sample, (n,).
            classes: All classes; needed in the first call.
            validation_data: (X, y) or (X, y, sample_weight), measured after the epoch.

        Returns:
            The estimator.

        Raises:
            ValueError: The data do not fit, or ``class_weight`` is "balanced", which would need all
                of y.
        """
        self._check_for_partial_fit()
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported by partial_fit, which does not see all "
                "of y. Pass a dict of the weights that compute_class_weight('balanced', "
                "classes=..., y=...) returns for all of y."
            )
        self._check_class_weight()
        classes = taken(classes, "classes")
        self._train(super().partial_fit, X, y, sample_weight, validation_data, classes=classes)
        return self

    def predict(self, X: Any) -> Array:
        """Return the class of each row, (n,), or 0 and 1 for each label, (n, labels).

        Args:
            X: The inputs, (n, features).

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        check_fitted(self)
        return self._decoded(self._forward_pass_fast(X))

    def _decoded(self, a: Array) -> Array:
        kind = self._label_binarizer.y_type_
        if kind == "multiclass":
            return self.classes_[a.argmax(axis=1)]
        if kind == "binary" and len(self.classes_) == 2:
            return self.classes_[(a.ravel() > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(a.ravel() if self.n_outputs_ == 1 else a)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class or label, (n, classes).

        Args:
            X: The inputs, (n, features).

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        check_fitted(self)
        a = self._forward_pass_fast(X)
        if self.n_outputs_ > 1:
            return a
        return np.concatenate([1 - a, a], axis=1)

    def _output_name(self, count: int) -> str:
        name: str = self.out_activation_
        return name

    def _plain_loss(self) -> Loss:
        if self.loss == "log_loss":
            softmax = self.out_activation_ == "softmax"
            return LOSSES["cross_entropy" if softmax else "binary_cross_entropy"]
        return losses.get(self.loss)

    def _check_class_weight(self) -> None:
        """Check the weights, each a number of 0 or more; scikit-learn checks their labels."""
        given = self.class_weight
        if isinstance(given, list) and not all(isinstance(one, dict) for one in given):
            raise TypeError(
                f"class_weight is {given!r}; expected a dict, 'balanced', or for multi-label y a "
                "list with a dict for each label"
            )
        dicts = {"class_weight": given} if isinstance(given, dict) else {}
        if isinstance(given, list):
            dicts = {f"class_weight[{i}]": one for i, one in enumerate(given)}
        for name, weights in dicts.items():
            for label, weight in weights.items():
                not_negative(weight, f"{name}[{label!r}]")

    def _weights_of_classes(self, y: Array) -> Array | None:
        if self.class_weight is None:
            return None
        with np.errstate(over="ignore"):
            weights: Array = compute_sample_weight(self.class_weight, self._labels(y))
        lost = ~np.isfinite(weights)
        if isinstance(self.class_weight, list) and all(
            map(all, map(dict.values, self.class_weight))
        ):
            lost |= weights == 0  # the product of those of its labels
        if lost.any():
            i = int(np.argmax(lost))
            raise ValueError(
                f"class_weight: the weights of the labels of sample {i} multiply to "
                f"{weights[i]:g}, which is out of range. Use weights closer to 1."
            )
        return weights

    def _labels(self, y: Array) -> Array:
        labels: Array = self._label_binarizer.inverse_transform(y)
        return labels

    def _encoded(self, X: Any, y: Any) -> tuple[Any, Array]:
        X, y = validate_data(
            self, taken(X, "X"), taken(y, "y"), accept_sparse=["csr", "csc"], multi_output=True,
            dtype=(np.float64, np.float32), reset=False,
        )  # fmt: skip
        if issparse(y):
            y = y.toarray()
        if self._label_binarizer.y_type_.startswith("multilabel"):
            networks.check_shape(y, (self.n_outputs_,), "0 or 1 for each label")
            if (strange := y[(y != 0) & (y != 1)]).size:
                raise ValueError(f"y has the label {strange[0]}; expected 0 or 1")
            return X, y.astype(bool)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.ravel()
        networks.check_shape(y, (), "one class for each sample")
        known = set(self.classes_.tolist())
        for label in y.tolist():
            if label not in known:
                raise ValueError(f"y has the class {label!r}; expected one of {self.classes_}")
        return X, self._label_binarizer.transform(y).astype(bool)

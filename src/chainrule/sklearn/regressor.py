"""MLPRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from chainrule._exports import exported
from chainrule.equations import losses
from chainrule.equations.activations import Activation
from chainrule.equations.arrays import taken
from chainrule.equations.losses import LOSSES, Loss
from chainrule.sklearn import networks
from chainrule.sklearn.common import CONSTRAINTS, check_fitted, has_partial_fit, keep
from chainrule.sklearn.training import Training

Array = NDArray[Any]


@exported("chainrule.sklearn")
class MLPRegressor(Training, neural_network.MLPRegressor):  # type: ignore[misc]
    """An `MLPRegressor` of scikit-learn, trained by chainrule's engines.

    A subclass of ``sklearn.neural_network.MLPRegressor``, with its parameters, attributes, warnings
    and errors. With the same ``random_state``, weights and losses are scikit-learn's, to rounding.
    Described here is what is new or different; the rest is in scikit-learn's documentation.

    As in scikit-learn, ``loss="squared_error"`` is ½ (a − y)². With several outputs, the reported
    loss is their average, but training follows the gradient of their sum. Any other loss is
    reported as training follows it.

    Args:
        loss: The name of any of chainrule's losses, or a `Loss`.
        hidden_layer_sizes: As in scikit-learn.
        activation: The name of an activation in scikit-learn or chainrule, an `Activation`, or a
            list with one for each hidden layer, and optionally one more for the output layer.
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
        early_stopping: As in scikit-learn; ``validation_data`` replaces the rows that are
            split off, also in ``partial_fit``.
        validation_fraction: As in scikit-learn.
        beta_1: As in scikit-learn.
        beta_2: As in scikit-learn.
        epsilon: As in scikit-learn.
        n_iter_no_change: As in scikit-learn.
        max_fun: As in scikit-learn.
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
        >>> from chainrule.sklearn import MLPRegressor
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 4.0, 9.0]
        >>> fitted = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=0).fit(X, y)
        >>> fitted.network_.sizes
        (1, 8, 1)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
        "loss": [StrOptions(set(LOSSES)), Loss],
    }

    def __init__(
        self,
        loss: str | Loss = "squared_error",
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
        dropout: float | Sequence[float] = 0.0,
        output_weight: Any = None,
        callbacks: Any = None,
        watch: Any = None,
    ) -> None:
        keep(self, locals())

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None
    ) -> MLPRegressor:
        """Train on samples.

        Args:
            X: The inputs, (n, features), dense or sparse, or a dataframe.
            y: The numbers, (n,) or (n, outputs).
            sample_weight: The weight of each sample, (n,).
            validation_data: (X, y) or (X, y, sample_weight), measured after each epoch.

        Returns:
            The estimator.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A parameter or the data are not allowed, here or in scikit-learn.
        """
        self._train(super().fit, X, y, sample_weight, validation_data)
        return self

    @available_if(has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None
    ) -> MLPRegressor:
        """Train on samples for one epoch.

        Args:
            X: The inputs, (n, features).
            y: The numbers, (n,) or (n, outputs).
            sample_weight: The weight of each sample, (n,).
            validation_data: (X, y) or (X, y, sample_weight), measured after the epoch.

        Returns:
            The estimator.

        Raises:
            ValueError: The data do not fit.
        """
        self._check_for_partial_fit()
        self._train(super().partial_fit, X, y, sample_weight, validation_data)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted numbers, (n,) or (n, outputs).

        Args:
            X: The inputs, (n, features).

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        check_fitted(self)
        return self._decoded(self._forward_pass_fast(X))

    def _decoded(self, a: Array) -> Array:
        return a.ravel() if a.shape[1] == 1 else a

    def _output_name(self, count: int) -> str:
        if not isinstance(self.activation, str | Activation) and len(self.activation) > count:
            return networks.activation(self.activation[count]).name
        if self.loss in ("squared_error", "poisson"):
            name: str = self.out_activation_
            return name
        loss = losses.get(self.loss)
        return loss.output or ("exp" if loss.needs_positive_output else "identity")

    def _plain_loss(self) -> Loss:
        if self.loss == "squared_error":
            return LOSSES["half_squared_error"]
        return losses.get(self.loss)

    def _weights_of_classes(self, y: Array) -> None:
        return None

    def _labels(self, y: Array) -> Array:
        return y

    def _encoded(self, X: Any, y: Any) -> tuple[Any, Array]:
        X, y = validate_data(
            self, taken(X, "X"), taken(y, "y"), accept_sparse=["csr", "csc"], multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32), reset=False,
        )  # fmt: skip
        if y.dtype.kind not in "fiub":
            raise ValueError(f"y has dtype {y.dtype}; expected numbers")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.ravel()
        count = self.n_outputs_
        fitted = f"{count} output{'s' * (count != 1)} as in fit"
        networks.check_shape(y, (count,) if count > 1 else (), fitted)
        return X, y.reshape(len(y), -1)

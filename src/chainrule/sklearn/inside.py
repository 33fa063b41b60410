"""The network inside an estimator: built, kept in step with ``coefs_``, and explained."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.equations.activations import Activation, Softmax
from chainrule.equations.arrays import taken
from chainrule.equations.losses import Loss
from chainrule.equations.weighted import weighted
from chainrule.explain import Explanation
from chainrule.network import Network
from chainrule.sklearn import naming, networks, weights
from chainrule.sklearn.leaving import to_sklearn
from chainrule.sklearn.reported import Report
from chainrule.sklearn.solvers import Solver

Array = NDArray[Any]


class NetworkInside:
    """A mixin that goes before scikit-learn's estimators: forward passes and explanations.

    It inherits scikit-learn's parameters, checks, warnings and errors, and its draws of initial
    weights.
    """

    coefs_: list[Array]
    intercepts_: list[Array]
    _network: Network
    _held: tuple[Array, ...] = ()  # the views of the network
    _held_activation: Any = None

    to_sklearn = to_sklearn

    if TYPE_CHECKING:  # what scikit-learn's classes and the estimators bring

        def __getattr__(self, name: str) -> Any: ...

    @property
    def network_(self) -> Network:
        """Return the `Network` inside; its parameters are ``coefs_`` and ``intercepts_``.

        Its loss is the one whose gradient training follows, and its l2 is that of a full batch.

        Raises:
            NotFittedError: The estimator is not fitted.
        """
        check_is_fitted(self)
        return self._inner()

    def _inner(self) -> Network:
        """Return the network, with the current values of ``coefs_`` and ``intercepts_``."""
        network = getattr(self, "_network", None)
        arrays = (*self.coefs_, *self.intercepts_)
        if network is None or self._held_activation != self.activation:
            network = self._build()
        elif len(arrays) == len(self._held) and all(map(_is, arrays, self._held)):
            return network
        elif [np.shape(c) for c in self.coefs_] != [w.W.T.shape for w in network.weighted_layers]:
            network = self._build()
        else:  # a user has replaced the arrays
            networks.fill(network, self.coefs_, self.intercepts_)
        self._network, self._held_activation = network, self.activation
        return network

    def _adopt(self, dtype: Any = None) -> Network:
        """Build the network again from ``coefs_`` and ``intercepts_``, and make these its views."""
        self._network = network = self._build(dtype)
        # As in scikit-learn, where the best weights of a run that was stopped early are the ones
        # that a warm start goes on with, and changes.
        is_best = getattr(self, "_best_coefs", None) is self.coefs_
        self.coefs_, self.intercepts_ = networks.views(network)
        if is_best:
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
        self._held = (*self.coefs_, *self.intercepts_)
        self._held_activation = self.activation
        return network

    def _build(self, dtype: Any = None) -> Network:
        coefs = [np.asarray(c, dtype or self.coefs_[0].dtype) for c in self.coefs_]
        if coefs[0].dtype.kind != "f" or coefs[0].dtype.itemsize not in (4, 8):
            coefs = [c.astype(np.float64) for c in coefs]
        size = getattr(self, "_batch_size", None)
        count = len(coefs) - 1
        return networks.build(
            coefs, self.intercepts_, hidden=self._hidden(count), output=self._output(count),
            loss=self._loss(), dropout=self._dropout(count), l2=self.alpha / size if size else 0.0,
            seed=getattr(self, "_dropout_seed", 0),
        )  # fmt: skip

    def _hidden(self, count: int) -> list[Activation]:
        """Return the activation of each hidden layer."""
        given = self.activation
        if isinstance(given, str | Activation):
            given = [given] * count
        most = count + (not is_classifier(self))
        if len(given) not in (count, most):
            also = " (or one more, for the output layer)" if most > count else ""
            raise ValueError(
                f"activation has {len(given)} entries; hidden_layer_sizes has {count}{also}"
            )
        found = [networks.activation(g) for g in given[:count]]
        if any(isinstance(g, Softmax) for g in found):
            raise ValueError("activation 'softmax' is for the output layer, not for hidden ones")
        return found

    def _output(self, count: int) -> Activation:
        """Return the activation of the output layer."""
        if not isinstance(self.activation, str | Activation) and len(self.activation) > count:
            return networks.activation(self.activation[count])
        return networks.activation(self.out_activation_)

    def _loss(self) -> Loss:
        """Return the loss whose gradient is followed."""
        return weighted(self._plain_loss(), self._output_weights())

    def _output_weights(self) -> Array | None:
        if self.output_weight is None:
            return None
        weights = networks.numbers(self.output_weight, "output_weight", "one for each output")
        if weights.shape != (self.n_outputs_,):
            raise ValueError(
                f"output_weight has shape {weights.shape}; expected ({self.n_outputs_},), one "
                "for each output"
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"output_weight is {weights.tolist()}; expected finite numbers from 0 on, with one "
                "above 0"
            )
        return weights

    def _report(self) -> Report:
        kind: str | None = self.loss if isinstance(self.loss, str) else None
        u = self._output_weights()
        known = ("squared_error", "poisson") if not is_classifier(self) else ("log_loss",)
        if kind not in known or (kind == "log_loss" and u is not None):
            kind = None
        return Report(kind, self._loss(), self.n_outputs_, 1 if u is None else u)

    def _dropout(self, count: int) -> list[float]:
        """Return the dropout rate of each hidden layer."""
        if not isinstance(self.dropout, list | tuple):
            return [float(self.dropout)] * count
        rates = networks.numbers(self.dropout, "dropout", "one for each hidden layer").tolist()
        if len(rates) != count:
            raise ValueError(f"dropout has {len(rates)} entries; hidden_layer_sizes has {count}")
        return rates

    def _drops(self) -> bool:
        """Return whether any layer has dropout; the rates are checked later."""
        given = self.dropout
        return any(given) if isinstance(given, list | tuple) else bool(given)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}  # type: ignore[dict-item]
        for name in ("_network", "_held", "_held_activation", "_given_validation", "_unit"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if hasattr(self, "coefs_"):
            self._adopt()
        solver = getattr(self, "_optimizer", None)
        if isinstance(solver, Solver):  # joblib may have mapped them from a file, read-only
            slots = solver.state.slots
            slots.update({name: np.array(values) for name, values in slots.items()})

    # --- overridden: initial weights, and predictions ---------------------------------------------

    def _initialize(self, y: Array, layer_units: Sequence[int], dtype: Any) -> None:
        count = len(layer_units) - 2
        functions = self._hidden(count)
        if not functions and isinstance(self.activation, str):  # it still decides about the draws
            functions = [networks.activation(self.activation)]
        self._factors = [2.0 if g.name == "sigmoid" else 6.0 for g in functions]
        rates = self._dropout(count)
        super()._initialize(y, layer_units, dtype)  # type: ignore[misc]
        self.out_activation_ = self._output_name(count)
        self.validation_loss_curve_: list[float] | None = None
        self.stopped_ = False
        self._dropout_seed = 0
        if any(rates):
            self._dropout_seed = int(self._random_state.randint(2**31 - 1))
        try:
            self._build()
        except (TypeError, ValueError):  # parameters that do not fit together
            del self.coefs_, self.intercepts_
            raise

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[Array, Array]:
        """Draw weights as scikit-learn does; the bound depends on the layer's own activation."""
        layer = min(len(self.coefs_), len(self._factors) - 1)  # the output layer's: the last hidden
        factor = self._factors[layer] if self._factors else 6.0
        bound = np.sqrt(factor / (fan_in + fan_out))
        draw = self._random_state.uniform
        coef, intercept = draw(-bound, bound, (fan_in, fan_out)), draw(-bound, bound, fan_out)
        return coef.astype(dtype, copy=False), intercept.astype(dtype, copy=False)

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        network = self._inner()
        if check_input:
            plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype == network.dtype
            if plain and len(X) and "feature_names_in_" not in self.__dict__:
                with suppress(ValueError):  # scikit-learn's check raises its own error
                    return network.predict(X)
            X = validate_data(self, taken(X, "X"), accept_sparse=["csr", "csc"], reset=False)
        return networks.outputs(network, X)

    # --- explanation ------------------------------------------------------------------------------

    def explain(
        self, target: Any, X: Any, y: Any, *, sample_weight: Any = None, **options: Any
    ) -> Explanation:
        """Explain the derivative of the loss with respect to one quantity.

        The loss is the one whose gradient training follows, on these samples, with the penalty
        ½ α Σ w² / n.

        Args:
            target: The quantity to differentiate with respect to, as for `Network.explain`. If
                ``fit`` saw column names, a column may name an input, "x[age]", and a class a unit
                of the last layer, "b[2][yes]". A whole number is an index.
            X: The inputs, as for ``fit``.
            y: The labels or numbers, as for ``fit``.
            sample_weight: The weight of each sample in the mean, (n,).
            **options: The options of `Network.explain`.

        Returns:
            The explanation.

        Raises:
            NotFittedError: The estimator is not fitted.
            TypeError: An argument has the wrong type.
            ValueError: The network has no such quantity, or the data do not fit.
        """
        check_is_fitted(self)
        of_outputs = self._output_weights()
        if of_outputs is not None and not (of_outputs == 1).all():
            raise ValueError(
                "output_weight is set, and explain cannot state such a loss as a formula yet; "
                "explain an estimator that was fitted without it"
            )
        rows, encoded = self._encoded(X, y)
        if not isinstance(rows, np.ndarray):
            rows = rows.toarray()
        total = float(len(rows))
        sample_weight, unit = weights.scaled(sample_weight)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, rows)
            total = float(sample_weight.sum())
        network = self._inner().copy()
        network.l2 = weights.penalty(float(self.alpha), unit) / total if total else 0.0
        y = np.asarray(encoded, dtype=np.float64)
        options.setdefault("names", naming.names(self))
        target = naming.by_index(target, self)
        return network.explain(target, rows, y, sample_weight=sample_weight, **options)


def _is(a: object, b: object) -> bool:
    return a is b

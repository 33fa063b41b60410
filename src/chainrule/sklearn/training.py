"""What both estimators share: the network inside, and scikit-learn's runs on our engines.

The estimators inherit scikit-learn's classes: its parameters, checks, warnings and errors, and the
draws of initial weights. Overridden is what computes: forward passes, epochs and gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted, validate_data

from chainrule import callbacks as callback_room
from chainrule.activations import Activation, Softmax
from chainrule.callbacks import Callback, Run
from chainrule.explain import Explanation
from chainrule.history import History
from chainrule.losses import Loss
from chainrule.network import Network
from chainrule.sklearn import networks
from chainrule.sklearn.epochs import Diverged, Epochs, Part, loss_and_gradient
from chainrule.sklearn.reported import Report
from chainrule.sklearn.solvers import Solver

Array = NDArray[Any]
_CALLER = 8  # frames from _fit_stochastic up to who called fit, through scikit-learn's


class Validation:
    """Rows that are held out: for a loss, ``y`` encoded, and for a score, ``target`` as it was."""

    def __init__(self, part: Part, target: Array) -> None:
        self.part, self.target = part, target


class MLPOnEngines:
    """Mixed into scikit-learn's estimators, before them."""

    _network: Network
    _held: tuple[Array, ...] = ()
    _given_validation: tuple[Any, ...] | None = None

    # --- the network inside -----------------------------------------------------------------------

    @property
    def network_(self) -> Network:
        """The `chainrule.Network` inside; its parameters are ``coefs_`` and ``intercepts_``.

        Its loss is the one whose gradient training follows, its l2 that of a full batch.
        """
        check_is_fitted(self)
        return self._inner()

    def _inner(self) -> Network:
        """Give the network, with the values that ``coefs_`` and ``intercepts_`` have now."""
        network = getattr(self, "_network", None)
        arrays = (*self.coefs_, *self.intercepts_)
        if network is None:
            network = self._build()
        elif len(arrays) == len(self._held) and all(map(_is, arrays, self._held)):
            return network
        elif [np.shape(c) for c in self.coefs_] != [w.W.T.shape for w in network.weighted_layers]:
            network = self._build()
        else:  # someone has put arrays of their own in their place
            networks.fill(network, self.coefs_, self.intercepts_)
        self._network = network
        return network

    def _adopt(self, dtype: Any = None) -> Network:
        """Make the network anew, of ``coefs_`` and ``intercepts_``, and these its views."""
        self._network = network = self._build(dtype)
        # As in scikit-learn, where the best weights of a run that was stopped early are the ones
        # that a warm start goes on with, and changes.
        is_best = getattr(self, "_best_coefs", None) is self.coefs_
        self.coefs_, self.intercepts_ = networks.views(network)
        if is_best:
            self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_
        self._held = (*self.coefs_, *self.intercepts_)
        return network

    def _build(self, dtype: Any = None) -> Network:
        coefs = [np.asarray(c, dtype or self.coefs_[0].dtype) for c in self.coefs_]
        if coefs[0].dtype.kind != "f" or coefs[0].dtype.itemsize not in (4, 8):
            coefs = [c.astype(np.float64) for c in coefs]
        size = getattr(self, "_batch_size", None)
        return networks.build(
            coefs, self.intercepts_, hidden=self._hidden(len(coefs) - 1),
            output=self._output(len(coefs) - 1), loss=self._loss(), dropout=self._dropout(len(coefs) - 1),
            l2=self.alpha / size if size else 0.0, seed=getattr(self, "_dropout_seed", 0),
        )  # fmt: skip

    def _hidden(self, count: int) -> list[Activation]:
        """Give the activation of each hidden layer."""
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
        """Give the activation of the output layer."""
        if not isinstance(self.activation, str | Activation) and len(self.activation) > count:
            return networks.activation(self.activation[count])
        return networks.activation(self.out_activation_)

    def _loss(self) -> Loss:
        """Give the loss whose gradient is followed."""
        return networks.weighted(self._plain_loss(), self._output_weights())

    def _output_weights(self) -> Array | None:
        if self.output_weight is None:
            return None
        weights = np.asarray(self.output_weight, dtype=np.float64)
        if weights.shape != (self.n_outputs_,):
            raise ValueError(
                f"output_weight has shape {weights.shape}; expected ({self.n_outputs_},), one "
                "for each output"
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError("output_weight must be finite, 0 or more, and not 0 for every output")
        return weights

    def _report(self) -> Report:
        kind: str | None = self.loss if isinstance(self.loss, str) else None
        u = self._output_weights()
        known = ("squared_error", "poisson") if not is_classifier(self) else ("log_loss",)
        if kind not in known or (kind == "log_loss" and u is not None):
            kind = None
        return Report(kind, self._loss(), self.n_outputs_, 1 if u is None else u)

    def _dropout(self, count: int) -> list[float]:
        """Give the dropout rate of each hidden layer."""
        given = self.dropout
        rates = [given] * count if np.ndim(given) == 0 else list(given)
        if len(rates) != count:
            raise ValueError(
                f"dropout has {len(rates)} entries; hidden_layer_sizes has {count}"
            )
        return [float(p) for p in rates]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[misc]
        for name in ("_network", "_held", "_given_validation"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if hasattr(self, "coefs_"):
            self._adopt()

    # --- overridden: what computes ----------------------------------------------------------------

    def _initialize(self, y: Array, layer_units: Sequence[int], dtype: Any) -> None:
        count = len(layer_units) - 2
        self._factors = [2.0 if g.name == "sigmoid" else 6.0 for g in self._hidden(count)]
        super()._initialize(y, layer_units, dtype)  # type: ignore[misc]
        self.out_activation_ = self._output_name(count)
        self.validation_loss_curve_: list[float] | None = None
        self.stopped_ = False
        self._dropout_seed = 0
        if any(self._dropout(count)):
            self._dropout_seed = int(self._random_state.randint(2**31 - 1))

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[Array, Array]:
        """Draw as scikit-learn does; the bound follows the layer's own activation."""
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
                with suppress(ValueError):  # scikit-learn's check says it in its words
                    return network.predict(X)
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return networks.outputs(network, X)

    def _loss_grad_lbfgs(
        self, packed: Array, X: Any, y: Array, sample_weight: Array | None, *buffers: Any
    ) -> tuple[float, Array]:
        network = self._inner()
        coefs, intercepts = _unpacked(packed, network)
        networks.fill(network, coefs, intercepts)
        part = Part(X, y, sample_weight)
        loss, flat = loss_and_gradient(network, part, float(self.alpha), self._lbfgs_report)
        gradients = network._views(flat)
        ordered = [dW.T for dW, _ in gradients] + [db for _, db in gradients if db is not None]
        return loss, np.concatenate([np.ravel(g) for g in ordered])

    @property
    def _lbfgs_report(self) -> Report:
        return self._report()

    def _fit_lbfgs(self, X: Any, y: Array, sample_weight: Array | None, *rest: Any) -> None:
        for name, given in (
            ("validation_data", self._given_validation is not None),
            ("dropout", any(self._dropout(len(self.coefs_) - 1))),
            ("callbacks", bool(self.callbacks)),
        ):
            if given:
                raise ValueError(f"{name} needs solver='adam' or 'sgd'; solver='lbfgs' has no epochs")
        self._batch_size = X.shape[0]
        self._check_targets(y)
        weights = _product(sample_weight, self._weights_of_classes(y))
        self._adopt(np.float64)  # scikit-learn's lbfgs works in float64 whatever X is
        super()._fit_lbfgs(X, y, weights, *rest)  # type: ignore[misc]
        self._adopt()

    def _fit_stochastic(
        self, X: Any, y: Array, sample_weight: Array | None, activations: Any, deltas: Any,
        coef_grads: Any, intercept_grads: Any, layer_units: Any, incremental: bool,
    ) -> None:  # fmt: skip
        given = self._given_validation
        if self.early_stopping and incremental and given is None:
            raise ValueError(
                "partial_fit does not support early_stopping=True without validation_data: hand in "
                "partial_fit(X, y, validation_data=(X_val, y_val))"
            )
        self._check_targets(y)
        part, validation = self._parts(X, y, sample_weight)
        self._batch_size = self._size_of_batches(len(part))
        network = self._adopt()
        new = not incremental or not isinstance(getattr(self, "_optimizer", None), Solver)
        if new:
            self._optimizer = Solver(self, network)
        report = self._report()
        epochs = Epochs(network, part, self.alpha, self._batch_size, report, self._optimizer)
        if self.early_stopping and getattr(self, "validation_scores_", None) is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if validation is not None and getattr(self, "validation_loss_curve_", None) is None:
            self.validation_loss_curve_ = []
        run = self._new_run(network, validation, incremental)
        try:
            with ExitStack() as ends:
                called = callback_room.check(self.callbacks or ())
                for callback in called:
                    callback.on_start(run)
                    ends.callback(callback.on_end, run)
                self._run_epochs(epochs, validation, run, called, incremental)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_CALLER)
        if self.early_stopping and (not incremental or self.stopped_):
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts
            self._adopt()

    # --- a run ------------------------------------------------------------------------------------

    def _run_epochs(
        self, epochs: Epochs, validation: Validation | None, run: Run, called: list[Callback],
        incremental: bool,
    ) -> None:  # fmt: skip
        n, solver = len(epochs.part), self._optimizer
        order = np.arange(n)
        self.n_iter_, self.stopped_ = 0, False
        for _ in range(self.max_iter):
            begun, rate = perf_counter(), solver.learning_rate
            if self.shuffle:
                shuffled = np.arange(n)
                self._random_state.shuffle(shuffled)
                order = order[shuffled]
            self.loss_ = self._epoch(epochs, order if self.shuffle else None)
            self.n_iter_ += 1
            self.t_ += n
            self.loss_curve_.append(self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")  # noqa: T201
            row = {"loss": self.loss_, "learning_rate": rate}
            self._look_at(validation, epochs, row)
            solver.iteration_ends(self.t_)
            if self._no_improvement_count > self.n_iter_no_change:
                self.stopped_ = solver.trigger_stopping(self._no_improvement(), self.verbose)
                if self.stopped_:
                    run.stop("converged")
                else:
                    self._no_improvement_count = 0
            run.epoch += 1
            run.history.append({"epoch": run.epoch, "seconds": perf_counter() - begun, **row})
            for callback in called:
                callback.on_epoch_end(run)
            if incremental or run.history.stop_reason is not None:
                break
            if self.n_iter_ == self.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=_CALLER + 1,
                )

    def _epoch(self, epochs: Epochs, order: Array | None) -> float:
        """Take an epoch; where a number is not finite, parameters and loss are NaN from then on."""
        parameters = epochs.network.parameters
        try:
            if not np.isnan(parameters[-1]):
                return epochs.run(order)
        except Diverged:
            parameters[...] = np.nan
        return float("nan")

    def _look_at(self, validation: Validation | None, epochs: Epochs, row: dict[str, Any]) -> None:
        """Take the loss and, if it decides about stopping, the score of the held-out rows."""
        if validation is None:
            self._update_no_improvement_count(False, None, None, None)
            return
        part, network = validation.part, epochs.network
        with np.errstate(all="ignore"):
            data = epochs.report.data_loss(part.y, networks.outputs(network, part.X), part.weights)
        row["val_loss"] = data + network.penalty()
        assert self.validation_loss_curve_ is not None
        self.validation_loss_curve_.append(row["val_loss"])
        score = validation.target, part.weights
        self._update_no_improvement_count(self.early_stopping, part.X, *score)
        if self.early_stopping:
            row["val_score"] = self.validation_scores_[-1]

    def _no_improvement(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:d} "
            "consecutive epochs."
        )

    def _new_run(self, network: Network, validation: Validation | None, incremental: bool) -> Run:
        columns = ["epoch", "loss"]
        if validation is not None:
            columns += ["val_loss", *(["val_score"] if self.early_stopping else [])]
        history = History([*columns, "learning_rate", "seconds"])
        epoch = 0
        if incremental and hasattr(self, "history_") and list(self.history_)[:-2] == columns:
            history, epoch = self.history_, len(self.history_["epoch"])
            history.stop_reason = None
        self.history_ = history
        return Run(network, history, epoch + 1 if incremental else self.max_iter,
                   self._optimizer.state, epoch)  # fmt: skip

    # --- data -------------------------------------------------------------------------------------

    def _parts(self, X: Any, y: Array, sample_weight: Array | None) -> tuple[Part, Validation | None]:
        """Give the rows to train on, and those that are held out."""
        classes = self._weights_of_classes(y)
        if self._given_validation is not None:
            return Part(X, y, _product(sample_weight, classes)), self._validation()
        if not self.early_stopping:
            return Part(X, y, _product(sample_weight, classes)), None
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        columns = [c for c in (X, y, sample_weight, classes) if c is not None]
        split = train_test_split(
            *columns, random_state=self._random_state, test_size=self.validation_fraction,
            stratify=stratify,
        )  # fmt: skip
        train, held = split[0::2], split[1::2]
        if held[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        weights = held[2] if sample_weight is not None else None
        product = None
        for column in train[2:]:
            product = _product(product, column)
        validation = Part(held[0], held[1], weights)
        return Part(train[0], train[1], product), Validation(validation, self._labels(held[1]))

    def _validation(self) -> Validation:
        """Check the ``validation_data`` that was handed in."""
        assert self._given_validation is not None
        need = "validation_data must be (X, y) or (X, y, sample_weight)"
        given = self._given_validation
        if not isinstance(given, tuple | list):
            raise TypeError(f"{need}, got a {type(given).__name__}")
        if len(given) not in (2, 3):
            raise ValueError(f"{need}, got a {type(given).__name__} of {len(given)}")
        try:
            X, y = self._encoded(given[0], given[1])
            weights = self._checked_weights(given[2], X) if len(given) == 3 else None
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None
        return Validation(Part(X, y, weights), self._labels(y))

    def _size_of_batches(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=_CALLER + 1,
            )
        return int(np.clip(self.batch_size, 1, n))

    def _check_targets(self, y: Array) -> None:
        if self._report().kind is None:
            self._plain_loss().check_targets(np.asarray(y, dtype=np.float64))

    def _with_validation(self, validation_data: Any, fit: Any) -> Any:
        """Call scikit-learn's fit or partial_fit with the validation data at hand."""
        self._given_validation = validation_data
        try:
            return fit()
        finally:
            del self._given_validation

    # --- explanation ------------------------------------------------------------------------------

    def explain(
        self, target: Any, X: Any, y: Any, *, sample_weight: Any = None, **options: Any
    ) -> Explanation:
        """Explain the derivative of the loss on X and y by one quantity, "w[1][2,0]" say.

        y are labels, as in ``fit``. The loss is the one whose gradient training follows, on these
        samples, penalty (½ α Σ w² / n) included. ``options`` are those of `Network.explain`.
        Raises NotFittedError before ``fit``, ValueError or TypeError for bad arguments.
        """
        check_is_fitted(self)
        weights = self._output_weights()
        if weights is not None and not (weights == 1).all():
            raise ValueError("explain: a loss with output_weight can't be stated as a formula yet")
        rows, encoded = self._encoded(X, y)
        if not isinstance(rows, np.ndarray):
            rows = rows.toarray()
        total = len(rows)
        if sample_weight is not None:
            sample_weight = self._checked_weights(sample_weight, rows)
            total = float(sample_weight.sum())
        network = self._inner().copy()
        network.l2 = float(self.alpha) / total if total else 0.0
        y = np.asarray(encoded, dtype=np.float64)
        return network.explain(target, rows, y, sample_weight=sample_weight, **options)


def _is(a: object, b: object) -> bool:
    return a is b


def _product(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    product: Array = a * b
    return product


def _unpacked(packed: Array, network: Network) -> tuple[list[Array], list[Array]]:
    """Cut scikit-learn's flat vector, all coefs before all intercepts, into arrays."""
    coefs, intercepts, start = [], [], 0
    for layer in network.weighted_layers:
        units, fan_in = layer.W.shape
        coefs.append(packed[start : start + layer.W.size].reshape(fan_in, units))
        start += layer.W.size
    for layer in network.weighted_layers:
        intercepts.append(packed[start : start + layer.units])
        start += layer.units
    return coefs, intercepts


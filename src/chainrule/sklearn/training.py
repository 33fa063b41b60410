"""Runs of the estimators: scikit-learn decides, chainrule's engines take epochs and gradients."""

from __future__ import annotations

from contextlib import ExitStack
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight

from chainrule.diagnose.rows import checked
from chainrule.equations.arrays import taken
from chainrule.network import Network
from chainrule.sklearn import networks, together, weights
from chainrule.sklearn.epochs import Epochs, loss_and_gradient
from chainrule.sklearn.inside import NetworkInside
from chainrule.sklearn.part import Part
from chainrule.sklearn.solvers import Solver
from chainrule.sklearn.together import Course
from chainrule.sklearn.warned import warn
from chainrule.training import callbacks as callback_room
from chainrule.training.callbacks import Callback, EarlyStopping, Run
from chainrule.training.history import History
from chainrule.training.watching import settings

Array = NDArray[Any]
_COLUMNS = ("epoch", "loss", "val_loss", "val_score", "learning_rate", "seconds")
_NOTHING = dict.fromkeys(_COLUMNS, float("nan"))


class Validation:
    """Held-out rows: ``part`` with y encoded, for a loss, and ``target`` as passed, for a score."""

    def __init__(self, part: Part, target: Array) -> None:
        self.part, self.target = part, target


class Training(NetworkInside):
    """The runs of an estimator: chainrule takes the epochs, and scikit-learn decides about them."""

    history_: History
    loss_: Any
    loss_curve_: list[float]
    validation_scores_: Any
    t_: int
    _no_improvement_count: int
    _given_validation: tuple[Any, ...] | None = None
    _unit: float = 1.0  # of the sample weights that were passed
    _callback_states: tuple[list[str], list[Any]] | None  # their classes, and what each has saved

    def _loss_grad_lbfgs(
        self, packed: Array, X: Any, y: Array, sample_weight: Array | None, *buffers: Any
    ) -> tuple[float, Array]:
        network = self._inner()
        coefs, intercepts = _unpacked(packed, network)
        networks.fill(network, coefs, intercepts)
        part = Part(X, y, sample_weight, self._unit)
        loss, flat = loss_and_gradient(network, part, float(self.alpha), self._report())
        gradients = network.views_of(flat)
        ordered = [dW.T for dW, _ in gradients] + [db for _, db in gradients if db is not None]
        return loss, np.concatenate([np.ravel(g) for g in ordered])

    def _fit_lbfgs(self, X: Any, y: Array, sample_weight: Array | None, *rest: Any) -> None:
        self._batch_size = X.shape[0]
        self._check_targets(y)
        of_classes = self._weights_of_classes(y)
        sample_weight, self._unit = weights.multiplied(sample_weight, self._unit, of_classes)
        self._adopt(np.float64)  # scikit-learn's lbfgs works in float64 whatever X is
        super()._fit_lbfgs(X, y, sample_weight, *rest)  # type: ignore[misc]
        self.loss_ = np.float64(self.loss_)
        self._adopt()

    def _fit_stochastic(
        self, X: Any, y: Array, sample_weight: Array | None, activations: Any, deltas: Any,
        coef_grads: Any, intercept_grads: Any, layer_units: Any, incremental: bool,
    ) -> None:  # fmt: skip
        given = self._given_validation
        if self.early_stopping and incremental and given is None:
            raise ValueError(
                "partial_fit does not support early_stopping=True without validation_data. Pass "
                "it: partial_fit(X, y, validation_data=(X_val, y_val))"
            )
        self._check_targets(y)
        part, validation, rows = self._parts(X, y, sample_weight)
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
        recorder = None
        if self.watch is not None:
            recorder = epochs.recorded(settings.choose(self.watch), rows)
        run = self._new_run(network, validation, incremental)
        called = callback_room.check(self.callbacks or ())
        kinds = [type(callback).__name__ for callback in called]
        earlier = getattr(self, "_callback_states", None) if run.epoch else None
        states = earlier[1] if earlier and earlier[0] == kinds else [None] * len(called)
        self._callback_states = None
        course = self._course(epochs, validation, run, called, kinds, states, incremental, recorder)
        if not incremental and (turn := together.TURN.get()) is not None:
            turn.defer(self, epochs, course)  # does not return
        together.run_alone(epochs, course)

    def _course(
        self, epochs: Epochs, validation: Validation | None, run: Run, called: list[Callback],
        kinds: list[str], states: list[Any], incremental: bool, recorder: Any,
    ) -> Course:  # fmt: skip
        """Make the run: yield the order of each epoch, and be sent its loss."""
        started = 0
        try:
            with ExitStack() as ends:
                for callback, state in zip(called, states, strict=True):
                    callback.on_start(run)
                    ends.callback(callback.on_end, run)
                    if state is not None:  # partial_fit continues, like a resumed run
                        callback.load_state(state)
                    started += 1
                if recorder is not None:
                    recorder.on_start(run)
                    ends.callback(recorder.on_end, run)
                yield from self._run_epochs(epochs, validation, run, called, incremental)
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        if started == len(called):
            self._callback_states = kinds, [callback.save_state() for callback in called]
        if self.early_stopping:
            scores = np.nan_to_num(run.history["val_score"], nan=-np.inf)
            run.history.best_epoch = int(np.argmax(scores)) + 1 if scores.size else None
        if self.early_stopping and (not incremental or self.stopped_):
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts
            self._adopt()

    # --- a run ------------------------------------------------------------------------------------

    def _run_epochs(
        self, epochs: Epochs, validation: Validation | None, run: Run, called: list[Callback],
        incremental: bool,
    ) -> Course:  # fmt: skip
        n, solver = len(epochs.part), self._optimizer
        order = np.arange(n)
        self.n_iter_, self.stopped_ = 0, False
        for _ in range(self.max_iter):
            begun, rate = perf_counter(), solver.nominal_rate
            if self.shuffle:
                self._random_state.shuffle(order)
            loss = yield order if self.shuffle else None
            self.loss_ = np.float64(loss)  # scikit-learn's kind of number
            self.n_iter_ += 1
            self.t_ += n
            self.loss_curve_.append(self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")  # noqa: T201
            row = {**_NOTHING, "loss": loss, "learning_rate": rate}
            self._look_at(validation, epochs, row)
            solver.iteration_ends(self.t_)
            if self._no_improvement_count > self.n_iter_no_change:
                self.stopped_ = solver.trigger_stopping(self._no_improvement(), self.verbose)
                if self.stopped_:
                    run.stop("converged")
                else:
                    self._no_improvement_count = 0
            run.epoch += 1
            row |= {"epoch": run.epoch, "seconds": perf_counter() - begun}
            run.history.append(row)
            for callback in called:
                callback.on_epoch_end(run)
            if run.history.stop_reason is not None:  # a callback may have stopped the run
                self.stopped_ = True
            if incremental or self.stopped_:
                break
            if self.n_iter_ == self.max_iter:
                warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                )

    def _look_at(self, validation: Validation | None, epochs: Epochs, row: dict[str, Any]) -> None:
        """Record the loss and, if it decides about stopping, the score of the held-out rows."""
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

    def _score(self, X: Any, y: Array, sample_weight: Array | None = None) -> float:
        """Score held-out rows for early stopping; NaN where predictions are not finite."""
        with np.errstate(all="ignore"):
            predicted = self._decoded(networks.outputs(self._inner(), X))
        if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
            return np.nan
        measure = accuracy_score if is_classifier(self) else r2_score
        score: float = measure(y, predicted, sample_weight=sample_weight)
        return score

    def _no_improvement(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change:d} "
            "consecutive epochs."
        )

    def _new_run(self, network: Network, validation: Validation | None, incremental: bool) -> Run:
        columns = {"epoch", "loss", "learning_rate", "seconds"}
        if validation is not None:
            columns |= {"val_loss", *(["val_score"] if self.early_stopping else [])}
        earlier: History | None = getattr(self, "history_", None) if incremental else None
        if earlier is not None and columns <= set(earlier):
            history = earlier
        else:
            history = History([c for c in _COLUMNS if c in columns or c in (earlier or ())])
        if earlier is not None and history is not earlier:
            for numbers in zip(*earlier.values(), strict=True):
                history.append({**_NOTHING, **dict(zip(earlier, numbers, strict=True))})
            history.keep_best_of(earlier)
        history.stop_reason = None
        epoch = len(history["epoch"])
        self.history_ = history
        return Run(network, history, epoch + 1 if incremental else self.max_iter,
                   self._optimizer.state, epoch)  # fmt: skip

    # --- data -------------------------------------------------------------------------------------

    def _parts(
        self, X: Any, y: Array, sample_weight: Array | None
    ) -> tuple[Part, Validation | None, Array]:
        """Return the rows to train on, the held-out rows, and the numbers of the former."""
        classes, numbers = self._weights_of_classes(y), self._row_numbers(X.shape[0])
        if self._given_validation is not None or not self.early_stopping:
            held = None if self._given_validation is None else self._validation()
            part = Part(X, y, *weights.multiplied(sample_weight, self._unit, classes))
            return part, held, numbers
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        columns = [c for c in (X, y, numbers, sample_weight, classes) if c is not None]
        split = train_test_split(
            *columns, random_state=self._random_state, test_size=self.validation_fraction,
            stratify=stratify,
        )  # fmt: skip
        X, X_held, y, y_held, numbers, _, *rest = split
        if X_held.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        held_weight = None
        if sample_weight is not None:
            sample_weight, held_weight, *rest = rest
        if classes is not None:
            classes = rest[0]
        held = Validation(Part(X_held, y_held, held_weight), self._labels(y_held))
        part = Part(X, y, *weights.multiplied(sample_weight, self._unit, classes))
        return part, held, numbers

    def _row_numbers(self, n: int) -> Array:
        """Return the row number of each sample that was passed, for a run that is recorded."""
        given = None if self.watch is None else settings.choose(self.watch).rows
        return np.arange(n) if given is None else checked(given, n)

    def _validation(self) -> Validation:
        """Return the checked ``validation_data``."""
        assert self._given_validation is not None
        expected = "expected (X, y) or (X, y, sample_weight)"
        given = self._given_validation
        if not isinstance(given, tuple | list):
            raise TypeError(f"validation_data has type {type(given).__name__}; {expected}")
        if len(given) not in (2, 3):
            raise ValueError(f"validation_data has length {len(given)}; {expected}")
        try:
            X, y = self._encoded(given[0], given[1])
            held = None
            if len(given) == 3:
                held = weights.scaled(_check_sample_weight(weights.scaled(given[2])[0], X))[0]
            self._plain_loss().check_targets(np.asarray(y, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ValueError(f"validation_data: {error}") from None
        if self.early_stopping and len(y) < 2:
            raise ValueError("validation_data: it has 1 row; early_stopping needs 2 or more")
        return Validation(Part(X, y, held), self._labels(y))

    def _size_of_batches(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        return int(np.clip(self.batch_size, 1, n))

    def _check_targets(self, y: Array) -> None:
        if self._report().kind is None:
            self._plain_loss().check_targets(np.asarray(y, dtype=np.float64))

    def _check_for_partial_fit(self) -> None:
        """Raise ValueError for what partial_fit, one epoch at a time, would restart."""
        if self.watch is not None:
            raise ValueError(
                "watch does not work with partial_fit, where each call is a run of one epoch. Use "
                "fit, or set_params(watch=None)"
            )
        if any(isinstance(c, EarlyStopping) for c in callback_room.check(self.callbacks or ())):
            raise ValueError(
                "callbacks: EarlyStopping does not work with partial_fit, where each call is a run "
                "of one epoch. Use early_stopping=True and partial_fit(X, y, "
                "validation_data=(X_val, y_val)) instead, until stopped_ is True."
            )

    def _train(
        self, fit: Any, X: Any, y: Any, sample_weight: Any, validation_data: Any, **more: Any
    ) -> None:
        """Call scikit-learn's fit or partial_fit, while the validation data is kept."""
        X, y = taken(X, "X"), taken(y, "y")
        callback_room.check(self.callbacks or ())
        if self.watch is not None:
            settings.choose(self.watch)
        of_epochs = {
            "validation_data": validation_data is not None,
            "dropout": self._drops(),
            "callbacks": bool(self.callbacks),
            "watch": self.watch is not None,
        }
        for name, given in of_epochs.items():
            if given and self.solver == "lbfgs":
                raise ValueError(f"{name} needs solver='adam' or 'sgd'; 'lbfgs' has no epochs")
        turn = together.TURN.get()
        if turn is not None and turn.takes_over(self, (X, y, sample_weight, validation_data)):
            return
        sample_weight, self._unit = weights.scaled(sample_weight)
        self._given_validation = validation_data
        try:
            fit(X, y, sample_weight=sample_weight, **more)
        finally:
            del self._given_validation, self._unit
        if turn is not None:
            turn.fitted(self)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean accuracy, or R², on X, (n, features), and y, as in scikit-learn."""
        scaled, _ = weights.scaled(sample_weight)
        if scaled is not None:
            scaled = _check_sample_weight(scaled, X)
        score: float = super().score(X, taken(y, "y"), sample_weight=scaled)  # type: ignore[misc]
        return score


def _unpacked(packed: Array, network: Network) -> tuple[list[Array], list[Array]]:
    """Split scikit-learn's flat vector, all coefs before all intercepts, into arrays."""
    coefs, intercepts, start = [], [], 0
    for layer in network.weighted_layers:
        units, fan_in = layer.W.shape
        coefs.append(packed[start : start + layer.W.size].reshape(fan_in, units))
        start += layer.W.size
    for layer in network.weighted_layers:
        intercepts.append(packed[start : start + layer.units])
        start += layer.units
    return coefs, intercepts

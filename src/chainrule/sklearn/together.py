"""Fits of many estimators at once: their epochs go side by side, and nothing else changes.

`side_by_side` is a backend of joblib, which scikit-learn's searches, cross-validations and
ensembles call for their tasks. A task runs until it fits an estimator, and is left there. When all
tasks have come so far, the epochs of all these fits are taken together: those of one shape as lanes
of the core, the others in threads. Then each task starts over, and is handed the fitted estimator
where it fits it; a task with several fits does so once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from joblib.parallel import ParallelBackendBase, SequentialBackend
from numpy.typing import NDArray
from scipy.sparse import issparse

from chainrule.engines import Engine, Epoch, Together
from chainrule.engines.base import SideBySide
from chainrule.equations.data import Samples
from chainrule.sklearn.epochs import DivergedError, Epochs
from chainrule.sklearn.warned import KEPT, Kept, warn

Array = NDArray[Any]
Course = Generator["Array | None", float, None]  # yields orders of epochs, and is sent their losses

TURN: ContextVar[Turn | None] = ContextVar("turn", default=None)
_NAME = "chainrule"
_MOST = 1000  # tasks that are collected before they run


@contextmanager
def side_by_side() -> Iterator[None]:
    """Let fits of many estimators run side by side, while scikit-learn is told nothing else.

    Inside the block, `GridSearchCV`, `RandomizedSearchCV`, `cross_val_score`, `BaggingClassifier`,
    `MultiOutputRegressor` and all else that runs its tasks through joblib fit the estimators of
    ``chainrule.sklearn`` together, also inside a pipeline: networks of one shape as lanes of the
    processor's vectors, the others in threads of this process. No process is started, and
    ``n_jobs`` has no meaning. Results are those without the block: parameters and predictions to
    the bit, losses to rounding, for estimators that draw from a ``random_state`` of their own.

    Other estimators, the solver "lbfgs", ``warm_start`` and ``partial_fit`` are fitted as always,
    one after the other. What a search says of its fit times is the time to fetch the result.

    Examples:
        >>> from sklearn.model_selection import GridSearchCV
        >>> from chainrule.sklearn import MLPRegressor, side_by_side
        >>> X = [[x / 10] for x in range(40)]
        >>> y = [x * x / 200 for x in range(40)]
        >>> model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=9000, random_state=0)
        >>> search = GridSearchCV(model, {"learning_rate_init": [0.001, 0.1]})
        >>> with side_by_side():
        ...     best = search.fit(X, y).best_params_
        >>> best
        {'learning_rate_init': 0.1}
    """
    joblib.register_parallel_backend(_NAME, _Backend)
    with joblib.parallel_config(_NAME, n_jobs=-1):
        yield


# --- tasks ----------------------------------------------------------------------------------------


@dataclass
class Fit:
    """A fit that was left, or has ended: its estimator, what it was given, and its run."""

    estimator: Any
    given: tuple[Any, ...]
    epochs: Epochs | None = None
    course: Course | None = None
    warnings: Kept = field(default_factory=list)
    error: BaseException | None = None

    def is_of(self, estimator: Any, given: tuple[Any, ...]) -> bool:
        """Return whether this is the fit of an estimator with these parameters on these data."""
        if estimator is not self.estimator and (
            type(estimator) is not type(self.estimator)
            or repr(estimator.get_params()) != repr(self.estimator.get_params())
        ):
            return False
        return all(map(_same, given, self.given))


@dataclass
class Turn:
    """One run of a task: which of its fits have ended, and where it is among them."""

    fits: list[Fit]
    at: int = 0
    given: tuple[Any, ...] = ()

    def takes_over(self, estimator: Any, given: tuple[Any, ...]) -> bool:
        """Put the result of a fit that has ended into its estimator, and return whether it had."""
        self.given = given
        if self.at >= len(self.fits):
            return False
        fit = self.fits[self.at]
        self.at += 1
        if not fit.is_of(estimator, given):  # the task has drawn something else
            del self.fits[self.at - 1 :]
            self.at = len(self.fits)
            return False
        for message, category in fit.warnings:
            warn(message, category)
        if fit.error is not None:
            raise fit.error
        if estimator is not fit.estimator:
            estimator.__dict__.update(fit.estimator.__dict__)
        return True

    def defer(self, estimator: Any, epochs: Epochs, course: Course) -> None:
        """Leave the task at this fit, unless that goes on from an earlier one."""
        free = not estimator.warm_start and estimator.watch is None
        if free and epochs.samples is not None:
            raise _Deferred(Fit(estimator, self.given, epochs, course))

    def fitted(self, estimator: Any) -> None:
        """Remember a fit that could not be left."""
        self.fits.append(Fit(estimator, self.given))
        self.at = len(self.fits)


class _Deferred(BaseException):
    """Leaves a task where it fits an estimator."""

    def __init__(self, fit: Fit) -> None:
        super().__init__()
        self.fit = fit


def _same(a: Any, b: Any) -> bool:
    """Return whether two arguments of `fit` hold the same."""
    if a is b:
        return True
    if isinstance(a, tuple | list) and isinstance(b, tuple | list) and len(a) == len(b) < 4:
        return all(map(_same, a, b))
    if issparse(a) or issparse(b):
        return bool(issparse(a) and issparse(b) and a.shape == b.shape and not (a != b).nnz)
    if type(a) is not type(b):
        return False
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    try:
        return bool(np.array_equal(np.asarray(a), np.asarray(b)))
    except (TypeError, ValueError):
        return False


@dataclass
class _Task:
    function: Callable[[], Any]
    callback: Callable[[Any], None] | None
    fits: list[Fit] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None
    is_done: bool = False

    def run(self) -> Fit | None:
        """Run the task to its end, or to a fit that has not ended, which is returned."""
        turn = TURN.set(Turn(self.fits))
        try:
            self.result = self.function()
        except _Deferred as deferred:
            return deferred.fit
        except BaseException as error:
            self.error = error
        finally:
            TURN.reset(turn)
        self.is_done = True
        return None


class _Backend(ParallelBackendBase):  # type: ignore[misc]
    """The backend of joblib: collects tasks, and runs them when the first result is asked for."""

    supports_sharedmem = uses_threads = True

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks are collected, whatever number is asked for."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return _MOST

    def configure(self, n_jobs: int = 1, parallel: Any = None, **more: Any) -> int:
        """Begin without tasks."""
        self.parallel, self._tasks = parallel, list[_Task]()
        return self.effective_n_jobs(n_jobs)

    def get_nested_backend(self) -> tuple[Any, None]:
        """Return the backend for tasks inside of tasks: one after the other, in the same task."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def submit(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Collect a task."""
        self._tasks.append(_Task(func, callback))
        return self._tasks[-1]

    def retrieve_result(self, out: _Task, timeout: float | None = None) -> Any:
        """Return what a task has come to; run all that were collected, if it has not."""
        while not out.is_done:
            self._run()
        if out.error is not None:
            raise out.error
        return out.result

    def _run(self) -> None:
        tasks, self._tasks = self._tasks, []
        going = tasks
        while going:
            left = [(task, fit) for task in going if (fit := task.run()) is not None]
            run_all([fit for _, fit in left])
            for task, fit in left:
                task.fits.append(fit)
            going = [task for task, _ in left]
        for task in tasks:
            if task.callback is not None:
                task.callback(task)


# --- runs -----------------------------------------------------------------------------------------


def run_alone(epochs: Epochs, course: Course) -> None:
    """Take the epochs of one fit."""
    try:
        order = next(course)
        while True:
            try:
                loss = _loss(epochs, order)
            except KeyboardInterrupt as interrupt:
                order = course.throw(interrupt)
            else:
                order = course.send(loss)
    except StopIteration:
        return


def _loss(epochs: Epochs, order: Array | None) -> float:
    """Take an epoch; if a number is not finite, parameters and loss become NaN and stay so."""
    parameters = epochs.network.parameters
    try:
        if not np.isnan(parameters[-1]):
            return epochs.run(order)
    except DivergedError:
        parameters[...] = np.nan
    return float("nan")


class _Running:
    """A fit on its way, at the beginning of an epoch."""

    def __init__(self, fit: Fit, samples: Samples) -> None:
        assert fit.epochs is not None
        self.fit, self.epochs, self.samples = fit, fit.epochs, samples
        self.order: Array | None = None
        self.epoch: Epoch | None = None  # planned
        how = self.epochs.engine.side_by_side(self.epochs.trained, self.epochs.plan)
        self.how: SideBySide | None = how

    def advance(self, loss: float | None) -> bool:
        """Go on to the next epoch; return False where the fit has ended."""
        course = self.fit.course
        assert course is not None
        kept = KEPT.set(self.fit.warnings)
        try:
            self.order = next(course) if loss is None else course.send(loss)
        except StopIteration:
            _check(self.fit)
            return False
        except Exception as error:
            self.fit.error = error
            return False
        finally:
            KEPT.reset(kept)
        return True

    def finish(self) -> float:
        """Return the loss of the epoch that was taken."""
        assert self.epoch is not None
        return self.epochs.total(self.epochs.part, self.epoch) / len(self.samples)


def _check(fit: Fit) -> None:
    """Note the error that scikit-learn raises for parameters that are not finite."""
    if not all(np.isfinite(w).all() for w in (*fit.estimator.coefs_, *fit.estimator.intercepts_)):
        fit.error = ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            "and need to be preprocessed."
        )


def run_all(fits: list[Fit]) -> None:
    """Take the epochs of all fits together."""
    if not fits:
        return
    known: dict[Any, list[Samples]] = {}
    every = [_Running(fit, _shared(fit, known)) for fit in fits]
    going = [one for one in every if one.advance(None)]
    threads = max(one.epochs.engine.threads_of(one.epochs.trained) for one in every)
    with ThreadPoolExecutor(threads) as pool:
        while going:
            jobs = _jobs(going, threads)
            losses = pool.map(lambda job: job(), jobs.values())
            sent = dict(zip(jobs, losses, strict=True))
            of_each = {id(one): loss for group, found in sent.items()
                       for one, loss in zip(group, found, strict=True)}  # fmt: skip
            going = [one for one in going if one.advance(of_each[id(one)])]


def _shared(fit: Fit, known: dict[Any, list[Samples]]) -> Samples:
    """Return the samples of a fit, or those of an earlier one that are the same."""
    assert fit.epochs is not None
    samples = fit.epochs.samples
    assert samples is not None
    key = (samples.X.shape, samples.X.dtype, samples.y.shape, samples.y.dtype,
           samples.weights is None)  # fmt: skip
    for other in known.setdefault(key, []):
        if (
            np.array_equal(samples.X, other.X)
            and np.array_equal(samples.y, other.y)
            and _same(samples.weights, other.weights)
        ):
            return other
    known[key].append(samples)
    return samples


Jobs = dict[tuple[_Running, ...], Callable[[], list[float]]]


def _jobs(going: list[_Running], threads: int) -> Jobs:
    """Return what is to be computed: groups of fits, and how to take their next epochs."""
    groups: dict[Any, list[_Running]] = {}
    jobs: Jobs = {}
    for one in going:
        if one.how is None:
            jobs[one,] = _alone(one, threads)
        else:
            order = None if one.order is None else one.order.tobytes()
            groups.setdefault((one.how, id(one.samples), order), []).append(one)
    rest: dict[Any, list[_Running]] = {}
    for (how, samples, _), group in groups.items():
        if len(group) >= how.pays_from:
            jobs[tuple(group)] = _together(group, True)
        else:  # with the orders of others
            rest.setdefault((how, samples), []).extend(group)
    for (how, _), group in rest.items():
        if len(group) >= how.pays_from:
            jobs[tuple(group)] = _together(group, False)
        else:
            for one in group:
                jobs[one,] = _alone(one, threads)
    return jobs


def _alone(one: _Running, threads: int) -> Callable[[], list[float]]:
    def job() -> list[float]:
        if np.isnan(one.epochs.network.parameters[-1]):
            return [float("nan")]
        one.epoch = one.epochs.planned(one.samples, one.order)
        return [_taken(one, _engine_of(one.epochs.engine, threads))]

    return job


def _engine_of(engine: Engine, threads: int) -> Engine:
    return engine.alone() if threads > 1 else engine


def _taken(one: _Running, engine: Engine) -> float:
    assert one.epoch is not None
    try:
        one.epochs.take(one.epoch, engine)
    except DivergedError:
        one.epochs.network.parameters[...] = np.nan
        return float("nan")
    return one.finish()


def _together(group: list[_Running], in_one_order: bool) -> Callable[[], list[float]]:
    """Return how to take the next epochs of fits on the same samples side by side."""

    def job() -> list[float]:
        for one in group:
            one.epoch = one.epochs.planned(one.samples, one.order)
        first = group[0]
        planned = [one.epoch for one in group if one.epoch is not None]
        n, units = len(first.samples), first.epochs.network.sizes[-1]
        outputs = None
        if first.epochs.report.needs_outputs:
            outputs = np.empty((len(group), n, units), first.epochs.network.dtype)
        orders = None
        if first.order is not None:
            chosen = group[:1] if in_one_order else group
            orders = np.array([one.order for one in chosen], np.int64)[:, None]
        rates = np.stack([epoch.learning_rates for epoch in planned])[:, None]
        steps = np.empty((*rates.shape, 2))
        engine = first.epochs.engine.alone()
        _, trained = engine.run_together(
            Together(
                [one.epochs.trained for one in group],
                [one.epochs.solver.state for one in group],
                first.samples, first.epochs.plan, rates, orders, outputs, steps,
            )
        )  # fmt: skip
        losses = []
        for i, one in enumerate(group):
            epoch = planned[i]
            if not trained[i]:  # a number is not finite: alone, as it would have been
                losses.append(_taken(one, engine))
                continue
            assert epoch.step_losses is not None
            epoch.step_losses[...] = steps[i, 0]
            if outputs is not None and epoch.outputs is not None:
                rows = slice(None) if one.order is None else one.order
                epoch.outputs[rows] = outputs[i]
            losses.append(one.finish())
        return losses

    return job

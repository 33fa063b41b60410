"""The recipe: candidates that the data choose among, on inner folds, and members that are averaged.

What helps one table hurts another (see docs/reference/tables.md for what each part does alone): so
every candidate, with pieces of numbers or without and with its own λ, is trained on all folds but
one and measured on that one. The best, or two whose mean is better, go into the model: the networks
of all folds, each stopped where the rows that it left out were predicted best, are averaged.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import Cosine
from chainrule.network import Network
from chainrule.tables.averaging import Units, as_one
from chainrule.training.callbacks import Callback, Run
from chainrule.training.many import fit_many

if TYPE_CHECKING:
    from chainrule.training.history import History

FOLDS, FEW_FOLDS = 5, 3  # the members of a candidate; fewer where five take too long
LAMBDAS = (1e-5, 1e-3, 1e-2, 5e-2)
# Where a search with all takes too long: on a table of more rows than inputs, and of fewer.
FEW_LAMBDAS, STRONG_LAMBDAS = (1e-3, 1e-2), (1e-2, 5e-2)
_PROBED, _GO_ON = 2, 4  # folds that all candidates are measured on; so many then go on
_PROBED_ROWS = 4000  # of a larger table, on which the candidate is chosen
_WORK = 1.5e11  # multiplications of a search, and of what follows on a larger table: about 2 s
_FIRST, _FINAL = 2.0, 0.02  # of the learning rate: it falls along half a cosine, whose mean is one
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A way to train: with an input for each piece of a number or without, and λ of the penalty."""

    pieces: bool
    l2: float

    def __str__(self) -> str:
        what = "pieces of numbers" if self.pieces else "numbers alone"
        return f"{what}, λ = {self.l2:.3g}"


@dataclass(frozen=True)
class Task:
    """What is learned: rows, and how a network for them is made.

    The first ``values`` inputs are there for every candidate, the others are those of pieces.
    ``make`` returns a network for a number of inputs, the number of a member and λ; ``batches`` how
    many of so many rows are in a batch.
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    weight: NDArray[np.float64] | None
    values: int
    make: Callable[[int, int, float], Network]
    most_epochs: int
    batches: Callable[[int], int]
    learning_rate: float
    seed: int = 0
    verbose: int = 0
    callbacks: Sequence[Callback | Callable[..., None]] = ()

    @property
    def batch_size(self) -> int:
        """How many rows a step takes."""
        return self.batches(len(self.X))

    @property
    def epochs(self) -> int:
        """How many epochs the learning rate takes to fall: as many as 5,000 steps make."""
        steps = len(self.X) / self.batch_size
        return min(self.most_epochs, max(25, min(150, round(5000 / steps))))

    @property
    def order(self) -> Rows:
        """The rows in random order, by the seed; one class after the other."""
        order = np.random.default_rng(self.seed).permutation(len(self.X))
        return order[np.argsort(self.y[order], kind="stable")] if self.y.ndim == 1 else order

    @property
    def folds(self) -> Rows:
        """The fold of each row; every class has its share in each."""
        fold = np.empty(len(self.X), dtype=np.int64)
        fold[self.order] = np.arange(len(fold)) % FOLDS
        return fold

    def work(self, candidates: Sequence[Candidate]) -> float:
        """Return how many multiplications the training of a network for each takes, roughly."""
        samples = self.epochs * len(self.X) * (FOLDS - 1) / FOLDS
        sizes = [self.make(len(self.inputs(c)), 0, c.l2).parameters.size for c in candidates]
        return 3 * samples * sum(sizes)  # the outputs, and two derivatives

    def some(self, count: int) -> Task:
        """Return the task of at most so many rows; every class has its share."""
        rows = np.sort(self.order[:: -(-len(self.X) // count)])
        weight = None if self.weight is None else self.weight[rows]
        return replace(self, X=self.X[rows], y=self.y[rows], weight=weight)

    def inputs(self, candidate: Candidate) -> Units:
        """Return which inputs a candidate takes."""
        return np.arange(self.X.shape[1] if candidate.pieces else self.values)


@dataclass
class Tried:
    """What has come of a candidate: its networks, by the folds that they have not learned from."""

    candidate: Candidate
    networks: dict[int, Network] = field(default_factory=dict)
    histories: dict[int, History] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The mean loss of the folds, on rows that their networks have not learned from."""
        return float(np.mean(list(self.losses.values())))


@dataclass(frozen=True)
class Found:
    """The candidates that were chosen, the best first, with their networks; and all others."""

    chosen: tuple[Tried, ...]
    tried: tuple[Tried, ...]
    task: Task

    @property
    def best(self) -> Tried:
        """The best candidate."""
        return self.chosen[0]

    @property
    def pieces(self) -> bool:
        """Whether a candidate that was chosen takes the inputs of pieces."""
        return any(one.candidate.pieces for one in self.chosen)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended the search."""
        histories = [h for one in self.tried for h in one.histories.values()]
        return any(history.stop_reason == "interrupted" for history in histories)

    @property
    def histories(self) -> list[History]:
        """The history of each member."""
        return [history for one in self.chosen for _, history in sorted(one.histories.items())]

    @property
    def epochs(self) -> list[int]:
        """The best epoch of each member."""
        return [history.best_epoch or 0 for history in self.histories]

    def network(self, units: int) -> Network:
        """Return the members as one network of ``units`` inputs."""
        members = [
            (network, self.task.inputs(one.candidate))
            for one in self.chosen for _, network in sorted(one.networks.items())
        ]  # fmt: skip
        return as_one(members, units, members[0][0].seed)


def candidates(pieces: bool, l2: float | None) -> list[Candidate]:
    """Return what to try: with pieces too, if there are any, and with one λ if it is given."""
    lambdas = LAMBDAS if l2 is None else (l2,)
    return [
        Candidate(p, value) for p in ((False, True) if pieces else (False,)) for value in lambdas
    ]


def search(task: Task, given: Sequence[Candidate]) -> Found:
    """Try candidates on a few folds, and the better ones on the others; return the best.

    These are two if their mean is better than each. What takes too long is left out: candidates,
    the second of the best, members. The same task and candidates give the same networks, bit for
    bit.
    """
    if len(given) == 1:
        return learn(task, given)
    if len(task.X) <= _PROBED_ROWS:
        return _search(task, given)
    some = task.some(_PROBED_ROWS)
    probed = _search(some, given)
    if probed.interrupted:
        return probed
    chosen = [one.candidate for one in probed.chosen]
    if len({of.l2 for of in given}) > 1:  # beside more rows a penalty counts for less
        share = len(some.X) / len(task.X)
        chosen = [replace(one, l2=one.l2 * share) for one in chosen]
    if FOLDS * task.work(chosen) > _WORK:
        chosen = chosen[:1]
    folds = FOLDS if FOLDS * task.work(chosen) <= _WORK else FEW_FOLDS
    return replace(learn(task, chosen, folds), tried=probed.tried)


def _search(task: Task, given: Sequence[Candidate]) -> Found:
    """Search on all rows of a task."""
    lambdas = FEW_LAMBDAS if len(task.X) > task.X.shape[1] else STRONG_LAMBDAS
    folds, go_on, few = _PROBED, _GO_ON, [one for one in given if one.l2 in lambdas]
    share = (folds + (FOLDS - folds) * min(1.0, go_on / len(given))) * task.work(given)
    if few and share > _WORK:
        given, go_on = few, _GO_ON // 2
    going = [Tried(candidate) for candidate in given]
    tried = tuple(going)
    found = Found(tried[:1], tried, task)
    for stage in (range(folds), range(folds, FOLDS)):
        _train(task, going, stage)
        going = sorted(going, key=lambda one: one.loss)[:go_on]
        found = Found((going[0],), tried, task)
        if found.interrupted:
            return found
    pairs = list(itertools.combinations(going, 2))
    losses = [_loss_of_both(task, *pair) for pair in pairs]
    if min(losses) < going[0].loss:
        found = replace(found, chosen=pairs[int(np.argmin(losses))])
    return found


def learn(task: Task, given: Sequence[Candidate], folds: int = FOLDS) -> Found:
    """Train the networks of candidates on the first folds; all are chosen."""
    tried = tuple(Tried(candidate) for candidate in given)
    _train(task, tried, range(folds))
    return Found(tried, tried, task)


def _loss_of_both(task: Task, one: Tried, other: Tried) -> float:
    """Return the mean loss of the mean of two candidates, on the rows left out."""
    fold, losses = task.folds, []
    for k in range(FOLDS):
        rows = np.flatnonzero(fold == k)
        members = [(of.networks[k], task.inputs(of.candidate)) for of in (one, other)]
        both = as_one(members, task.X.shape[1])
        weight = None if task.weight is None else task.weight[rows]
        losses.append(_loss(both, both.predict(task.X[rows]), task.y[rows], weight))
    return float(np.mean(losses))


def _train(task: Task, tried: Sequence[Tried], stage: Sequence[int]) -> None:
    """Train the networks of candidates on some folds: those with the same inputs in one call."""
    for pieces in (False, True):
        _train_alike(task, [one for one in tried if one.candidate.pieces == pieces], stage)


def _train_alike(task: Task, tried: Sequence[Tried], stage: Sequence[int]) -> None:
    """Train the networks of some candidates with the same inputs on some folds, in one call."""
    if not tried:
        return
    fold = task.folds
    inputs = task.inputs(tried[0].candidate)
    X = task.X if len(inputs) == task.X.shape[1] else np.ascontiguousarray(task.X[:, inputs])
    rate = task.learning_rate
    runs = [(one, k) for one in tried for k in stage]
    networks = [task.make(len(inputs), k, one.candidate.l2) for one, k in runs]
    watch = _LeftOut(X, task.y, task.weight, fold, {
        id(network): k for network, (_, k) in zip(networks, runs, strict=True)
    }, max(10, task.epochs // 2))  # fmt: skip
    histories = fit_many(
        networks, X, task.y, rows=[np.flatnonzero(fold != k) for _, k in runs],
        optimizer=Adam(Cosine(rate * _FIRST, epochs=task.epochs, final=rate * _FINAL)),
        epochs=task.epochs, batch_size=task.batch_size, sample_weight=task.weight, metrics=[],
        callbacks=[watch, *task.callbacks], verbose=task.verbose,
    )  # fmt: skip
    for (one, k), network, history in zip(runs, networks, histories, strict=True):
        one.networks[k], one.histories[k] = network, history
        one.losses[k] = watch.best[id(network)]


class _LeftOut(Callback):
    """Measures a network on its own fold after each epoch, and puts its best parameters back."""

    def __init__(
        self,
        X: NDArray[np.float32],
        y: NDArray[Any],
        weight: NDArray[np.float64] | None,
        fold: Rows,
        fold_of: dict[int, int],
        patience: int,
    ) -> None:
        self.X, self.y, self.weight, self.fold = X, y, weight, fold
        self.fold_of, self.patience = fold_of, patience
        self.best: dict[int, float] = {}  # the least loss, by the network's id

    def __deepcopy__(self, memo: dict[int, Any]) -> _LeftOut:
        return copy.copy(self)  # with the same arrays

    def on_start(self, run: Run) -> None:
        rows = self.fold == self.fold_of[id(run.network)]
        weight = None if self.weight is None else self.weight[rows]
        self.own = self.X[rows], self.y[rows], weight if weight is None or weight.any() else None
        self.least, self.epoch, self.parameters = math.inf, 0, run.network.parameters.copy()
        self.best[id(run.network)] = math.inf

    def on_epoch_end(self, run: Run) -> None:
        X, y, weight = self.own
        value = _loss(run.network, run.network.predict(X), y, weight)
        if value < self.least:
            self.least, self.epoch = value, run.epoch
            self.parameters[...] = run.network.parameters
            run.history.best_epoch = run.epoch
        elif run.epoch - self.epoch >= self.patience:
            run.stop(
                f"early stopping: the fold left out has not improved for {self.patience} epochs"
            )

    def on_end(self, run: Run) -> None:
        run.network.parameters[...] = self.parameters
        self.best[id(run.network)] = self.least


def _loss(
    network: Network, a: NDArray[Any], y: NDArray[Any], weight: NDArray[np.float64] | None
) -> float:
    """Return the mean loss of outputs, without the penalty."""
    if y.ndim == 1:
        of_class = np.maximum(a[np.arange(len(y)), y], np.finfo(np.float32).tiny)
        of_rows = -np.log(of_class, dtype=np.float64)
    else:
        of_rows = network.loss.value(np.asarray(a, np.float64), y).sum(axis=1)
    return float(np.average(of_rows, weights=weight))

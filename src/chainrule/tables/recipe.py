"""The recipe: candidates that the data choose among, on inner folds, and members that are averaged.

What helps one table hurts another (see docs/reference/tables.md for what each part does alone): so
every candidate, with pieces of numbers or without and with its own λ, is trained on all folds but
one and measured on that one. The best goes into the model: the networks of its folds, each stopped
where the rows that it left out were predicted best, are averaged.
"""

from __future__ import annotations

import copy
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

FOLDS = 5
LAMBDAS = (1e-5, 1e-3, 1e-2)
_HANDICAP = 1.1  # of candidates without pieces
_PROBED = 2  # folds that all candidates are measured on; the best go on
_PROBED_ROWS = 4000  # of a larger table, on which the candidate is chosen
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
    """What has come of a candidate: its networks, by their folds, and what they predict there."""

    candidate: Candidate
    networks: dict[int, Network] = field(default_factory=dict)
    histories: dict[int, History] = field(default_factory=dict)
    outputs: dict[int, NDArray[Any]] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The mean loss of the folds, on rows that their networks have not learned from."""
        return float(np.mean(list(self.losses.values())))

    @property
    def handicapped(self) -> float:
        """The loss, higher without pieces, which are given up only for what is clearly better.

        They have bounds, and so predict more safely for rows unlike those of the training.
        """
        return self.loss if self.candidate.pieces else self.loss * _HANDICAP


@dataclass(frozen=True)
class Found:
    """The candidate that was chosen, with its networks, and what the others came to."""

    best: Tried
    tried: tuple[Tried, ...]
    folds: NDArray[np.int64]
    inputs: Units

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended the search."""
        histories = [h for one in self.tried for h in one.histories.values()]
        return any(history.stop_reason == "interrupted" for history in histories)

    @property
    def epochs(self) -> list[int]:
        """The best epoch of each member."""
        return [history.best_epoch or 0 for history in self.best.histories.values()]

    def network(self, units: int) -> Network:
        """Return the members as one network of ``units`` inputs."""
        members = [(network, self.inputs) for _, network in sorted(self.best.networks.items())]
        return as_one(members, units, members[0][0].seed)

    def outputs(self, n_outputs: int) -> NDArray[np.float32]:
        """Return what each row is predicted by the network that has not learned from it."""
        made = np.empty((len(self.folds), n_outputs), dtype=np.float32)
        for k, outputs in self.best.outputs.items():
            made[self.folds == k] = outputs
        return made


def candidates(pieces: bool, l2: float | None) -> list[Candidate]:
    """Return what to try: with pieces too, if there are any, and with one λ if it is given."""
    lambdas = LAMBDAS if l2 is None else (l2,)
    return [
        Candidate(p, value) for p in ((False, True) if pieces else (False,)) for value in lambdas
    ]


def search(task: Task, given: Sequence[Candidate]) -> Found:
    """Try candidates on a few folds, and the better ones on the others; return the best.

    The same task and candidates give the same networks, bit for bit.
    """
    if len(given) > 1 and len(task.X) > _PROBED_ROWS:
        probed = search(task.some(_PROBED_ROWS), given)
        if probed.interrupted:
            return probed
        return replace(search(task, [probed.best.candidate]), tried=probed.tried)
    fold = task.folds
    going = [Tried(candidate) for candidate in given]
    tried = tuple(going)
    found = Found(going[0], tried, fold, task.inputs(going[0].candidate))
    stages = [range(FOLDS)] if len(going) == 1 else [range(_PROBED), range(_PROBED, FOLDS)]
    for stage in stages:
        for pieces in (False, True):
            _train(task, [one for one in going if one.candidate.pieces == pieces], fold, stage)
        going = sorted(going, key=lambda one: one.handicapped)[:2]
        found = Found(going[0], tried, fold, task.inputs(going[0].candidate))
        if found.interrupted:
            break
    return found


def _train(task: Task, tried: Sequence[Tried], fold: Rows, stage: Sequence[int]) -> None:
    """Train the networks of some candidates with the same inputs on some folds, in one call."""
    if not tried:
        return
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
        one.losses[k], one.outputs[k] = watch.best[id(network)]


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
        self.best: dict[int, tuple[float, NDArray[Any]]] = {}  # by the network's id

    def __deepcopy__(self, memo: dict[int, Any]) -> _LeftOut:
        return copy.copy(self)  # with the same arrays

    def on_start(self, run: Run) -> None:
        rows = self.fold == self.fold_of[id(run.network)]
        weight = None if self.weight is None else self.weight[rows]
        self.own = self.X[rows], self.y[rows], weight if weight is None or weight.any() else None
        self.least, self.epoch, self.parameters = math.inf, 0, run.network.parameters.copy()
        self.best[id(run.network)] = math.inf, run.network.predict(self.own[0])

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
        self.best[id(run.network)] = self.least, run.network.predict(self.own[0])


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

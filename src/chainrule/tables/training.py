"""Training on a table, in three steps: `prepare` the columns, `fit` the network, `assess` it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import ReduceOnPlateau
from chainrule.network import Network
from chainrule.storage import mapped, models
from chainrule.storage.addresses import joined
from chainrule.tables import measures, profile, rows, several
from chainrule.tables import target as targets
from chainrule.tables.elsewhere import fit_of
from chainrule.tables.encoded import Encoded, held_back
from chainrule.tables.encoding import PIECES
from chainrule.tables.fitting import Fitting
from chainrule.tables.many_files import Files
from chainrule.tables.measures import Measured
from chainrule.tables.model import TableModel
from chainrule.tables.own_rows import own_rows
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.profile import Finding, Wishes
from chainrule.tables.replayed import replayed
from chainrule.tables.roles import Roles, collect
from chainrule.tables.schema import Schema, Task
from chainrule.tables.source import MISSING, NothingToLearnError, Source, TableError
from chainrule.tables.split import (
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    split,
    split_by_group,
    split_by_time,
)
from chainrule.tables.watching import recorded
from chainrule.training.callbacks import Callback, EarlyStopping

if TYPE_CHECKING:
    from chainrule.ensemble import Ensemble
    from chainrule.training.history import History

T = TypeVar("T")

# What a number's error costs, as people call it, and the loss of the network.
LOSSES = {
    "squared": "half_squared_error", "absolute": "absolute_error", "huber": "huber",
    "poisson": "poisson",
}  # fmt: skip


MOST_TUNED = 1_000_000  # cells of a table that the tuned recipe takes on; see `recipe`


@dataclass(frozen=True)
class Settings:
    """The settings of a training; None where the data decide."""

    target: str
    task: Task | None = None
    hidden: tuple[int, ...] = (64, 32)
    activation: str = "silu"
    epochs: int = 200
    batch_size: int | None = None
    learning_rate: float = 0.003
    l2: float | None = None
    dropout: float = 0.0
    patience: int = 20
    test: float = 0.2
    validation: float = 0.1
    balanced: bool = False
    loss: str | None = None  # of a number: one of LOSSES
    refit: bool = True
    max_categories: int | None = None
    seed: int = 0
    members: int = 1  # networks, whose mean is the prediction
    recipe: Literal["tuned", "plain"] = "plain"
    more_targets: tuple[str, ...] = ()  # numbers that the same network predicts as well
    missing: tuple[str, ...] = MISSING
    wishes: Wishes = field(default_factory=Wishes)
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True)
class Prepared:
    """A table ready for training: inputs and targets of each part of its rows."""

    settings: Settings
    path: str
    schema: Schema
    X: dict[int, NDArray[np.float32]]
    y: dict[int, NDArray[Any]]  # classes, or numbers in the target's own units
    shuffled: bool  # the training rows, once: too many to be shuffled in each epoch
    n_rows: int
    counts: dict[str, int]  # rows of each part
    single: tuple[str, ...]  # classes without a test row
    none: Counter[str]  # the texts of the target that were taken for no value
    weight: dict[int, NDArray[np.float64]]  # of the rows of each part; empty if none are given
    own_validation: bool = False  # its rows are those of another file
    numbers: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # of each part's rows
    encoded: Encoded | None = None  # who trains reads the training rows, which X then lacks

    @property
    def is_refit(self) -> bool:
        """Whether the network that is saved learns from all rows, beyond those of the training."""
        return self.settings.refit and self.n_own > self.counts["training"]

    @property
    def without_target(self) -> int:
        """The number of rows without a target, which are left out."""
        return self.n_rows - self.n_own

    @property
    def n_own(self) -> int:
        """The number of rows of the table that have a target."""
        return sum(
            count for part, count in self.counts.items()
            if not (self.own_validation and part == "validation")
        )  # fmt: skip

    @property
    def own_parts(self) -> list[int]:
        """The parts that are rows of the table, in the order in which a refit takes them."""
        return [part for part in PARTS.values() if not (self.own_validation and part == VALIDATION)]

    def samples(self, part: int) -> tuple[NDArray[Any], ...]:
        """Return the inputs, the targets and, if there are any, the weights of a part."""
        weight = (self.weight[part],) if self.weight else ()
        return self.X[part], self.targets(part), *weight

    def targets(self, part: int) -> NDArray[Any]:
        """Return the targets of a part as the network takes them."""
        return targets.standardised(self.schema, self.y[part])


def prepare(
    source: Source,
    settings: Settings,
    validation: Source | None = None,
    findings: Sequence[Finding] | None = None,
    apart: bool = False,
) -> Prepared:
    """Profile the table, split its rows, fit the preprocessing, and transform all rows.

    ``validation`` is a table of its own whose rows decide when to stop. ``findings`` are what the
    columns are, where that is known. ``apart``: the training rows of many files are left to whoever
    trains with them. Raises TableError, with the place, for a table that cannot be
    learned from.
    """
    if len(source.names) < 2:
        raise TableError(
            f"{source.path} has one column, {source.names[0]!r}; expected a target and a column to "
            "learn from. If another character separates its columns, name it with --delimiter."
        )
    roles, wishes = settings.roles, settings.wishes
    for name in (settings.target, *settings.more_targets):
        wishes.check(source.names, name, source.path)
        roles.check(source.names, name, wishes, source.path)
    dropped = replace(wishes, drop=(*wishes.drop, *roles.left_out, *settings.more_targets))
    if findings is not None:  # only the target is read
        dropped = Wishes(drop=tuple(name for name in source.names if name != settings.target))
    found = profile.look(source, settings.target, settings.missing, dropped, roles.left_out)
    given = collect(source, roles, settings.missing, wishes)
    target, y = targets.understand(source, settings.target, found.target, settings.task, found.none)
    classes = target.task == "classify"
    all_targets, Y = [target], y[:, None]
    if settings.more_targets:
        several.check_number(target)
        more = [
            several.another(source, name, settings.task, settings.missing)
            for name in settings.more_targets
        ]
        all_targets += [each for each, _ in more]
        Y = np.column_stack([y, *(values for _, values in more)])
        y = np.where(np.isnan(Y).any(axis=1), np.nan, y)  # a row has all targets, or is left out
    if settings.balanced and not classes:
        raise TableError(
            f"the target {target.name!r} is a number; --balanced needs classes (--task classify)"
        )
    if found.n_rows * len(found.findings) > MOST_TUNED:
        settings = replace(settings, recipe="plain")
    tuned = settings.recipe == "tuned"  # on folds, without rows for validation alone
    shares = settings.test, 0.0 if tuned or validation is not None else settings.validation
    if given.group is not None:
        parts = split_by_group(y, classes, *shares, settings.seed, given.group)
    elif given.time is not None:
        parts = split_by_time(y, classes, *shares, given.time)
    else:
        parts = split(y, classes, *shares, settings.seed)
    known = findings or [f for f in found.findings if f.name not in settings.more_targets]
    fitting = Fitting(source, known, settings.missing, PIECES if tuned else 0)
    rows.fit(source, fitting, parts)
    columns, left_out = fitting.finish(settings.max_categories)
    if not classes:
        learned = parts == TRAIN
        all_targets = [
            several.scaled(source, each, Y[:, j], Y[learned, j], settings.loss)
            for j, each in enumerate(all_targets)
        ]
    elif settings.loss is not None:
        raise TableError(
            f"the target {target.name!r} has classes, whose loss is cross-entropy; --loss needs a "
            "number (--task regress)"
        )
    schema = Schema(
        tuple(columns), tuple(left_out), all_targets[0], settings.missing, tuple(all_targets[1:])
    )
    if not models.fits({models.TABLE: schema.to_dict()}):
        raise TableError(
            f"{source.path} has {len(columns):,} columns that make {len(schema.inputs):,} inputs, "
            "too many for a model file. Leave some out with --drop, or lower --max-categories."
        )
    encoded = None
    if apart and isinstance(source, Files) and not tuned:
        encoded = Encoded(source.files, tuple(source.counts), source.reading, tuple(source.names),
                          schema, roles.weight, parts)  # fmt: skip
        X: dict[int, NDArray[Any]] = held_back(source, Preprocessing(schema), parts)
        order = None
    else:
        X, order = rows.transform(source, Preprocessing(schema), parts, settings.seed)
    values = {part: (Y if schema.more else y)[parts == part] for part in PARTS.values()}
    weight = {}
    if given.weight is not None:
        weight = {part: given.weight[parts == part] for part in PARTS.values()}
        for name, part in PARTS.items():
            if len(weight[part]) and not weight[part].any():
                raise NothingToLearnError(
                    f"all weights of the {name} rows are 0; expected one above 0 in column "
                    f"{roles.weight!r}"
                )
    counts = {name: int((parts == part).sum()) for name, part in PARTS.items()}
    if validation is not None:
        X[VALIDATION], values[VALIDATION], own = own_rows(validation, schema, roles, wishes)
        counts["validation"] = len(X[VALIDATION])
        if own is not None:
            weight[VALIDATION] = own
    if order is not None:
        values[TRAIN] = values[TRAIN][order]
        if weight:
            weight[TRAIN] = weight[TRAIN][order]
    numbers = {part: np.flatnonzero(parts == part) for part in PARTS.values()}
    numbers[TRAIN] = numbers[TRAIN] if order is None else numbers[TRAIN][order]
    single: tuple[str, ...] = ()
    if classes and settings.test:
        absent = np.setdiff1d(np.arange(len(target.classes)), y[parts == TEST])
        single = tuple(target.classes[i] for i in absent)
    return Prepared(
        settings, source.path, schema, X, values, order is not None, len(parts),
        counts, single, found.none, weight, validation is not None, numbers, encoded,
    )  # fmt: skip


_BATCHES = ((5_000, 32), (50_000, 128), (500_000, 512), (math.inf, 1024))  # by training rows


def batch_size(settings: Settings, n: int) -> int:
    """Return the number of samples in a batch, which grows with the number of training rows."""
    if settings.batch_size is not None:
        return settings.batch_size
    return next(size for most, size in _BATCHES if n <= most)


def penalty(settings: Settings, n: int) -> float:
    """Return λ of the L2 penalty: 3 / n, because many rows need less of it than few."""
    return min(0.01, 3 / n) if settings.l2 is None else settings.l2


def make_network(
    prepared: Prepared, member: int = 0, *, inputs: int | None = None, l2: float | None = None
) -> Network:
    """Return the network before training; members differ in their seeds, which count up.

    ``inputs`` and ``l2`` replace what the table and the settings say.
    """
    settings, schema = prepared.settings, prepared.schema
    output, loss = "identity", LOSSES[settings.loss or "squared"]
    if schema.target.task == "classify":
        output, loss = "softmax", "cross_entropy"
    elif settings.loss == "poisson":
        output = "softplus"
    return Network(
        [inputs or len(schema.inputs), *settings.hidden, len(schema.outputs)],
        hidden=settings.activation, output=output, loss=loss, dtype="float32",
        seed=(settings.seed + member) % 2**63, dropout=settings.dropout,
        l2=penalty(settings, prepared.counts["training"]) if l2 is None else l2,
    )  # fmt: skip


def fit(network: Network, prepared: Prepared, **options: Any) -> History:
    """Train the network, stopping early; it returns to its best epoch on the validation rows."""
    return train(fit_of(network, options, prepared.encoded), prepared, **options)


def train(
    fit: Callable[..., T],
    prepared: Prepared,
    *,
    callbacks: Sequence[Callback | Callable[..., None]] = (),
    verbose: int = 0,
    **options: Any,
) -> T:
    """Call ``fit``, that of one network or of many, with the rows and settings of a training."""
    settings, watched = prepared.settings, prepared.counts["validation"] > 0
    rate = ReduceOnPlateau(settings.learning_rate, patience=max(1, settings.patience // 3))
    stop = [EarlyStopping(patience=settings.patience)] if watched else []
    X, validation = prepared.X[TRAIN], prepared.samples(VALIDATION)
    with mapped.released([X, validation[0]]):
        return fit(
            X, prepared.targets(TRAIN), optimizer=Adam(learning_rate=rate), epochs=settings.epochs,
            batch_size=batch_size(settings, len(X)), shuffle=not prepared.shuffled,
            validation_data=validation if watched else None,
            sample_weight=prepared.weight.get(TRAIN),
            class_weight="balanced" if settings.balanced else None,
            callbacks=[*stop, *callbacks], verbose=verbose,
            **recorded(options, prepared.numbers[TRAIN]),
        )  # fmt: skip


def refit(
    prepared: Prepared, history: History, *, checkpoint: str | None = None, **options: Any
) -> tuple[Network, History]:
    """Train a new network on all rows, as many epochs as `fit` took to its best one.

    It begins with the same weights and has the same settings, and the learning rate of each epoch
    is that of `fit`; so it needs no validation rows. Its own checkpoints are in a folder inside
    ``checkpoint``, and its recording in one inside that of ``watch``.
    """
    epochs, optimizer = replayed(history)
    if checkpoint is not None:
        options["checkpoint"] = joined(checkpoint, f"refit-{epochs}")
    network = make_network(prepared)
    options |= {"epochs": epochs, "optimizer": optimizer}
    encoded = prepared.encoded
    if encoded is not None:
        encoded = replace(encoded, which=tuple(prepared.own_parts))
    return network, train_again(fit_of(network, options, encoded), prepared, **options)


def train_again(fit: Callable[..., T], prepared: Prepared, **options: Any) -> T:
    """Call ``fit``, that of one network or of many, with all rows, and these options."""
    settings, parts = prepared.settings, prepared.own_parts
    if prepared.encoded is None:
        X, order = rows.joined([prepared.X[part] for part in parts], settings.seed)
    else:
        X, order = prepared.X[TRAIN], None
    y = np.concatenate([prepared.targets(part) for part in parts])
    weight = None
    if prepared.weight:
        weight = np.concatenate([prepared.weight[part] for part in parts])
    numbers = np.concatenate([prepared.numbers[part] for part in parts])
    options = recorded(options, numbers if order is None else numbers[order], "refit")
    with mapped.released([X]):
        return fit(
            X, y if order is None else y[order],
            sample_weight=weight if weight is None or order is None else weight[order],
            batch_size=batch_size(settings, len(prepared.X[TRAIN])),
            shuffle=order is None, class_weight="balanced" if settings.balanced else None,
            **{"verbose": 0, **options},
        )  # fmt: skip


def assess(network: Network | Ensemble, prepared: Prepared) -> tuple[Measured, Measured]:
    """Measure the network and the baseline on the test rows; return nothing if there are none."""
    schema, y = prepared.schema, prepared.y[TEST]
    target = schema.target
    if not len(y):
        return {}, {}
    with mapped.released([prepared.X[TEST]]):
        outputs = network.predict(prepared.X[TEST])
    weight = prepared.weight.get(TEST)
    if schema.more:
        learned, of_learned = prepared.y[TRAIN], prepared.weight.get(TRAIN)
        beside = several.baseline(schema, learned, y, of_learned, weight)
        return several.measure(schema, y, outputs, weight), beside
    beside = measures.baseline(target, prepared.y[TRAIN], y, prepared.weight.get(TRAIN), weight)
    return measures.measure(target, y, outputs, weight), beside


def model(
    network: Network,
    prepared: Prepared,
    history: History,
    measured: Measured,
    beside: Measured,
    refit_rows: int = 0,
) -> TableModel:
    """Return the model of a table, for a file; after `refit` with the number of its rows."""
    settings = prepared.settings
    facts = {
        "rows": prepared.counts,
        "epochs": len(history["epoch"]),
        "best_epoch": history.best_epoch,
        "stopped": history.stop_reason or "after all epochs",
        "optimizer": "Adam",
        "learning_rate": settings.learning_rate,
        "batch_size": batch_size(settings, len(prepared.X[TRAIN])),
        "patience": settings.patience, "balanced": settings.balanced,
        "seed": settings.seed, "refit_rows": refit_rows,
        "engine": network.engine,
    }  # fmt: skip
    roles = settings.roles
    said = {"loss": settings.loss, "weight": roles.weight, "split_by": roles.group or roles.time}
    facts |= {name: column for name, column in said.items() if column is not None}
    return TableModel(network, prepared.schema, facts, {"model": measured, "baseline": beside})

"""Training on the groups of a table, a model for each value of a column, in one run.

What the columns are, and whether the target holds classes, is decided by the whole table. All else
is that of a training on the rows of the group alone: its split, means, deviations, categories,
classes, network and epochs, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.ensemble import Ensemble
from chainrule.storage.addresses import joined
from chainrule.tables import measures, members, profile, training
from chainrule.tables import target as targets
from chainrule.tables.groups import GroupedModel, GroupRows, groups_of
from chainrule.tables.held_out import HeldOut
from chainrule.tables.measures import Measured
from chainrule.tables.replayed import replayed
from chainrule.tables.source import NothingToLearnError, Source, TableError
from chainrule.tables.split import TEST, TRAIN
from chainrule.tables.trust import of_test
from chainrule.training.many import Call, fit_all

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.training import Prepared, Settings
    from chainrule.training.history import History


@dataclass
class Groups:
    """The groups of a table, ready for training, and what has come of each."""

    by: str
    path: str
    prepared: dict[str, Prepared]
    left_out: dict[str, str]
    n_rows: int
    networks: dict[str, list[Network]] = field(default_factory=dict)
    histories: dict[str, list[History]] = field(default_factory=dict)
    held_out: dict[str, HeldOut] = field(default_factory=dict)

    @property
    def is_interrupted(self) -> bool:
        """Whether a run was interrupted."""
        return any(h.stop_reason == "interrupted" for hs in self.histories.values() for h in hs)


def prepare(source: Source, settings: Settings) -> Groups:
    """Read the table, and make each group of its rows ready for training.

    A group whose rows are too few, or too alike, is left out. Raises TableError, with the place,
    for a row without a group, for a table that cannot be learned from, and if no group is left.
    """
    import pyarrow as pa

    by, roles, wishes = settings.roles.by, settings.roles, settings.wishes
    assert by is not None
    wishes.check(source.names, settings.target, source.path)
    roles.check(source.names, settings.target, wishes, source.path)
    dropped = replace(wishes, drop=(*wishes.drop, *roles.left_out))
    found = profile.look(source, settings.target, settings.missing, dropped, roles.left_out)
    target, _ = targets.understand(source, settings.target, found.target, settings.task)
    settings = replace(settings, task=target.task)
    whole = pa.concat_tables(source.batches()).unify_dictionaries()
    texts = groups_of(whole.column(by), settings.missing)
    if texts.null_count:
        row = int(np.argmax(texts.is_null().to_numpy(zero_copy_only=False)))
        raise TableError(
            f"{source.place(row, by)}: an empty cell is not a group; expected a text or number in "
            "every row"
        )
    codes = texts.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable").astype(np.int64)
    whole = whole.take(pa.array(order))
    ends = np.cumsum(np.bincount(codes, minlength=len(texts.dictionary)))
    groups = Groups(by, source.path, {}, {}, len(codes))
    starts = dict(zip(texts.dictionary.to_pylist(), np.r_[0, ends[:-1]].tolist(), strict=True))
    stops = dict(zip(starts, ends.tolist(), strict=True))
    for name in sorted(starts, key=natural):
        rows = order[starts[name] : stops[name]]
        part = whole.slice(starts[name], len(rows))
        own = GroupRows(source, part, rows, f"{by} {name}")
        try:
            groups.prepared[name] = training.prepare(own, settings, findings=found.findings)
        except NothingToLearnError as error:
            groups.left_out[name] = str(error)
    if not groups.prepared:
        some, why = next(iter(groups.left_out.items()))
        raise TableError(
            f"{source.path}: no group of {by!r} can be learned from. {some!r}, for one: {why}"
        )
    return groups


def natural(name: str) -> tuple[float, str]:
    """Return a key that sorts numbers by their size, before texts."""
    try:
        return float(name), name
    except ValueError:
        return np.inf, name


def fit(groups: Groups, *, checkpoint: str | None = None, verbose: int = 0, **options: Any) -> None:
    """Train the networks of all groups, with the bits of `training.fit` of each.

    A group with a network whose numbers stop being finite is left out.
    """
    calls = {}
    for i, (name, prepared) in enumerate(groups.prepared.items()):
        groups.networks[name] = members.make_networks(prepared)
        call = partial(_call, groups.networks[name])
        folder = _folder(checkpoint, str(i))
        calls[name] = training.train(call, prepared, **options, **folder)
    groups.histories = _train(groups, calls, verbose)


def refit(
    groups: Groups, *, checkpoint: str | None = None, verbose: int = 0, **options: Any
) -> dict[str, list[History]]:
    """Train all groups again, on all rows of each, with the bits of `training.refit`.

    Returns the histories of this run; those of the groups stay.
    """
    calls = {}
    for i, (name, prepared) in enumerate(groups.prepared.items()):
        if not prepared.is_refit:
            continue
        runs = [replayed(history) for history in groups.histories[name]]
        epochs = [count for count, _ in runs]
        groups.networks[name] = members.make_networks(prepared)
        own = {"epochs": epochs, "optimizer": [optimizer for _, optimizer in runs]}
        own |= _folder(checkpoint, str(i), members.refit_folder(epochs))
        call = partial(_call, groups.networks[name])
        calls[name] = training.train_again(call, prepared, **options, **own)
    return _train(groups, calls, verbose)


def _call(networks: Sequence[Network], X: Any, y: Any, **options: Any) -> Call:
    options.pop("verbose")
    return Call(networks, X, y, **options)


def _folder(checkpoint: str | None, *parts: str) -> dict[str, Any]:
    return {} if checkpoint is None else {"checkpoint": joined(checkpoint, "/".join(parts))}


def _train(groups: Groups, calls: dict[str, Call], verbose: int) -> dict[str, list[History]]:
    with members.quietly():
        made = dict(zip(calls, fit_all(list(calls.values()), verbose), strict=True))
    for name, histories in list(made.items()):
        try:
            members.check_finite(histories)
        except FloatingPointError as error:
            groups.left_out[name] = str(error)
            del groups.prepared[name], made[name]
            if not groups.prepared:
                raise
    return made


def assess(groups: Groups) -> dict[str, tuple[Measured, Measured]]:
    """Return the measures of each group's networks and of its baseline, on its test rows."""
    groups.held_out = {
        name: of_test(groups.networks[name], prepared) for name, prepared in groups.prepared.items()
    }
    return {
        name: members.assess(groups.networks[name], prepared)
        for name, prepared in groups.prepared.items()
    }


def model(
    groups: Groups, measured: dict[str, tuple[Measured, Measured]], refitted: bool
) -> GroupedModel:
    """Return the models of all groups; ``measured`` is what `assess` returned."""
    models = {
        name: members.model(
            groups.networks[name], prepared, groups.histories[name], *measured[name],
            prepared.n_own if refitted and prepared.is_refit else 0,
        ) for name, prepared in groups.prepared.items()
    }  # fmt: skip
    models = {
        name: replace(one, held_out=groups.held_out.get(name, HeldOut()))
        for name, one in models.items()
    }
    return GroupedModel(groups.by, models, groups.left_out)


def overall(groups: Groups, model: GroupedModel) -> dict[str, Measured]:
    """Measure all models, and all baselines, together on all test rows.

    It takes the networks as they are now, so before `refit`.
    """
    y: list[Any] = []
    outputs: list[Any] = []
    beside: list[Any] = []
    weights: list[Any] = []
    places = {name: i for i, name in enumerate(model.target.classes)}
    for name, prepared in groups.prepared.items():
        own, truth = prepared.schema.target, prepared.y[TEST]
        if not len(truth):
            continue
        predicted = Ensemble(groups.networks[name]).predict(prepared.X[TEST])
        outputs.append(model.spread_out(name, predicted))
        weight = prepared.weight.get(TRAIN)
        if own.task == "classify":
            shares = np.bincount(prepared.y[TRAIN], weight, minlength=len(own.classes))
            beside.append(model.spread_out(name, np.tile(shares / shares.sum(), (len(truth), 1))))
            truth = np.array([places[label] for label in own.classes])[truth]
        else:
            mean = np.average(prepared.y[TRAIN], weights=weight)
            beside.append(np.full((len(truth), 1), mean))
        y.append(truth)
        weights.append(prepared.weight.get(TEST, np.ones(len(truth))))
    if not y:
        return {}
    return {
        whose: measure(model, np.concatenate(y), np.concatenate(of), np.concatenate(weights))
        for whose, of in (("model", outputs), ("baseline", beside))
    }


def measure(model: GroupedModel, y: Any, outputs: Any, weight: Any = None) -> Measured:
    """Measure what `GroupedModel.spread_out` returned."""
    if model.target.task == "regress":
        return measures.of_numbers(y, outputs[:, 0], weight)
    return measures.of_classes(y, outputs, len(model.target.classes), weight)

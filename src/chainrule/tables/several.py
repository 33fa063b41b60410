"""Several targets: numbers that one network predicts together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import guess, listed
from chainrule.network import Network
from chainrule.tables import measures, profile
from chainrule.tables import target as targets
from chainrule.tables.cells import Floats
from chainrule.tables.fitting import mean_and_deviation
from chainrule.tables.held_out import HeldOut
from chainrule.tables.measures import Measured, Weight
from chainrule.tables.profile import Wishes
from chainrule.tables.schema import SMALLEST, Schema, Target, Task
from chainrule.tables.source import NothingToLearnError, Source, TableError

if TYPE_CHECKING:
    from chainrule.tables.model import TableModel


def another(
    source: Source, name: str, task: Task | None, missing: tuple[str, ...]
) -> tuple[Target, Floats]:
    """Return one more target and its values, NaN where missing.

    Raises TableError if it is not a number.
    """
    only = Wishes(drop=tuple(other for other in source.names if other != name))
    found = profile.look(source, name, missing, only)
    target, y = targets.understand(source, name, found.target, task, found.none)
    check_number(target)
    return target, y


def check_number(target: Target) -> None:
    """Raise TableError if a target of several holds classes."""
    if target.task == "classify":
        raise TableError(
            f"the target {target.name!r} has classes; several targets have to be numbers. Train a "
            "model for each, or take whole numbers as numbers (--task regress)."
        )


def scaled(source: Source, target: Target, y: Floats, learned: Floats, loss: str | None) -> Target:
    """Return a target that is a number, with the mean and scale of its training rows ``learned``.

    Raises TableError if it hardly varies, or cannot be a count where the loss is that of counts.
    """
    mean, scale = mean_and_deviation(learned)
    if learned.min() == learned.max():
        raise NothingToLearnError(
            f"the target {target.name!r} is the same in every training row, so there is "
            "nothing to learn. Name another column with --target."
        )
    if scale < SMALLEST:
        raise NothingToLearnError(
            f"the target {target.name!r} varies too little, by {np.ptp(learned):.3g}. Write it "
            "in a smaller unit."
        )
    if loss == "poisson":  # an output above 0, in units of the mean
        targets.check_counts(source, target.name, y)
        mean, scale = 0.0, float(np.mean(learned))
    return replace(target, mean=mean, scale=scale)


def measure(
    schema: Schema, y: Floats, outputs: NDArray[Any], weight: Weight = None
) -> Measured:  # fmt: skip
    """Return the mean R² of several targets, whose values are (n, targets)."""
    each = [
        measures.measure(target, y[:, j], outputs[:, [j]], weight)["r2"]
        for j, target in enumerate(schema.targets)
    ]
    known = [r2 for r2 in each if r2 is not None]
    return {"r2": float(np.mean(known)) if len(known) == len(each) else None}


def baseline(
    schema: Schema, y_train: Floats, y: Floats, weight_train: Weight, weight: Weight
) -> Measured:
    """Return the mean R² of the means of the training rows."""
    each = [
        measures.baseline(target, y_train[:, j], y[:, j], weight_train, weight)["r2"]
        for j, target in enumerate(schema.targets)
    ]
    known = [r2 for r2 in each if r2 is not None]
    return {"r2": float(np.mean(known)) if len(known) == len(each) else None}


def one(model: TableModel, name: str | None) -> TableModel:
    """Return the model of one of several targets: with the output of that one alone.

    Raises TableError if there are several and none is named, or if there is no such target.
    """
    schema = model.schema
    names = [target.name for target in schema.targets]
    if name is None and len(names) > 1:
        raise TableError(f"the model has the targets {listed(names)}; choose one with --target")
    if name is not None and name not in names:
        raise TableError(
            f"the model has no target {name!r}{guess(name, names)}; it has {listed(names)}"
        )
    if len(names) == 1:
        return model
    j = names.index(name or "")
    networks = [_part(network, j) for network in model.networks]
    of = model.held_out.several.get(names[j])
    measured = {} if of is None else {"model": of.model, "baseline": of.baseline}
    return replace(
        model, network=networks[0], others=tuple(networks[1:]), measures=measured,
        schema=replace(schema, target=schema.targets[j], more=()),
        held_out=HeldOut(None, None if of is None else of.intervals),
    )  # fmt: skip


def _part(network: Network, j: int) -> Network:
    """Return a network with one of the outputs."""
    layers: Sequence[Any] = network.weighted_layers
    made = Network(
        [*network.sizes[:-1], 1], hidden=[layer.activation for layer in layers[:-1]],
        output=layers[-1].activation, loss=network.loss, biases=network.biases,
        dtype="float32" if network.dtype == np.float32 else "float64", seed=network.seed,
        l2=network.l2,
        dropout=[layer.dropout for layer in layers[:-1]],
    )  # fmt: skip
    for layer, whole in zip(made.weighted_layers, layers, strict=True):
        rows = slice(j, j + 1) if whole is layers[-1] else slice(None)
        layer.W[...] = whole.W[rows]
        if layer.b is not None and whole.b is not None:
            layer.b[...] = whole.b[rows]
    return made

"""Tuning: a prepared table, trained by the recipe that the data choose (see `recipe`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.network import Network
from chainrule.tables import recipe, rows, training
from chainrule.tables.recipe import Candidate, Found, Task
from chainrule.tables.split import TEST, TRAIN
from chainrule.tables.training import Prepared
from chainrule.training.callbacks import Callback
from chainrule.training.history import History

Callbacks = Sequence[Callback | Callable[..., None]]


@dataclass(frozen=True)
class Tuned:
    """A network of the recipe: the table with the inputs that it takes, and how it was found."""

    prepared: Prepared
    network: Network
    found: Found

    @property
    def histories(self) -> list[History]:
        """The history of each member."""
        return self.found.histories

    @property
    def facts(self) -> dict[str, Any]:
        """What a model file says of it."""
        best = self.found.best.candidate
        return {
            "recipe": "tuned", "members": len(self.found.epochs), "pieces": self.found.pieces,
            "l2": best.l2, "candidates": len(self.found.tried),
            "best_epoch": round(float(np.mean(self.found.epochs))),
            "stopped": "each member at the best epoch on its fold",
        }  # fmt: skip

    def words(self) -> str:
        """Return what was chosen, and from what."""
        found = self.found
        low, high = min(found.epochs), max(found.epochs)
        epochs = f"{low} to {high} epochs" if low < high else f"{low} epochs"
        among = f", the best of {len(found.tried)} candidates" if len(found.tried) > 1 else ""
        chosen = ", and ".join(str(one.candidate) for one in found.chosen)
        return f"{len(found.epochs)} members of {epochs}; {chosen}{among}"


def tune(
    prepared: Prepared,
    given: Sequence[Candidate] | None = None,
    *,
    callbacks: Callbacks = (),
    verbose: int = 0,
) -> Tuned:
    """Train on the training rows the candidates of the recipe, or those given; return the best.

    The table comes back without the inputs of pieces if the best does not take them.
    """
    values = len(_without_pieces(prepared).schema.inputs)
    has_pieces = values < len(prepared.schema.inputs)
    task = task_of(prepared, [TRAIN], values, callbacks, verbose)
    found = recipe.search(task, given or recipe.candidates(has_pieces, prepared.settings.l2))
    if has_pieces and not found.pieces:
        prepared = _without_pieces(prepared)
    return Tuned(prepared, found.network(len(prepared.schema.inputs)), found)


def tune_again(tuned: Tuned, *, callbacks: Callbacks = (), verbose: int = 0) -> Tuned:
    """Train the candidates that were chosen on all rows, also those of the test."""
    prepared = tuned.prepared
    values = len(_without_pieces(prepared).schema.inputs)
    task = task_of(prepared, [TRAIN, TEST], values, callbacks, verbose)
    chosen, folds = tuned.found.chosen, len(tuned.found.best.networks)
    found = recipe.learn(task, [one.candidate for one in chosen], folds)
    return Tuned(prepared, found.network(len(prepared.schema.inputs)), found)


def task_of(
    prepared: Prepared, parts: Sequence[int], values: int, callbacks: Callbacks, verbose: int
) -> Task:
    """Return what the rows of some parts teach, with ``values`` inputs before those of pieces."""
    settings = prepared.settings
    X, order = rows.joined([prepared.X[part] for part in parts], settings.seed)
    y = np.concatenate([prepared.targets(part) for part in parts])
    weight = None
    if prepared.weight:
        weight = np.concatenate([prepared.weight[part] for part in parts])
    if order is not None:
        y, weight = y[order], None if weight is None else weight[order]
    if settings.balanced:
        counts = np.bincount(y, weight)
        balance = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1e-300))[y]
        weight = balance if weight is None else weight * balance

    def make(inputs: int, member: int, l2: float) -> Network:
        return training.make_network(prepared, member, inputs=inputs, l2=l2)

    def batches(n: int) -> int:
        return training.batch_size(settings, n)

    return Task(
        X, y, weight, values, make, settings.epochs, batches, settings.learning_rate,
        settings.seed, verbose, callbacks,
    )  # fmt: skip


def _without_pieces(prepared: Prepared) -> Prepared:
    """Return the table without the inputs of pieces, which are the last."""
    schema = prepared.schema
    schema = replace(schema, columns=tuple(replace(c, bins=()) for c in schema.columns))
    values = len(schema.inputs)
    X = {part: np.ascontiguousarray(of[:, :values]) for part, of in prepared.X.items()}
    return replace(prepared, schema=schema, X=X)

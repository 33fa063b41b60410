"""The networks for a table: one, or several, the members of an ensemble, trained side by side.

Members are `chainrule.tables.training`'s network with other seeds: the same rows, settings and
steps, each stopping by itself. Their mean is what is measured and predicted.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chainrule.ensemble import Ensemble
from chainrule.tables import training
from chainrule.tables.replayed import replayed
from chainrule.training.many import fit_many

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.measures import Measured
    from chainrule.tables.model import TableModel
    from chainrule.tables.training import Prepared
    from chainrule.training.history import History


def make_networks(prepared: Prepared) -> list[Network]:
    """Return the networks before training: as many as the settings say, with seeds that count."""
    return [training.make_network(prepared, i) for i in range(prepared.settings.members)]


def fit(networks: Sequence[Network], prepared: Prepared, **options: Any) -> list[History]:
    """Train the networks, each with the bits of `training.fit`.

    Raises FloatingPointError if the numbers of one stop being finite.
    """
    if len(networks) == 1:
        return [training.fit(networks[0], prepared, **options)]
    return training.train(partial(_fit_many, networks), prepared, **options)


def refit(
    prepared: Prepared,
    histories: Sequence[History],
    *,
    checkpoint: str | None = None,
    **options: Any,
) -> tuple[list[Network], list[History]]:
    """Train new networks on all rows, each with the bits of `training.refit`."""
    if len(histories) == 1:
        network, history = training.refit(prepared, histories[0], checkpoint=checkpoint, **options)
        return [network], [history]
    runs = [replayed(history) for history in histories]
    epochs = [count for count, _ in runs]
    if checkpoint is not None:
        mark = zlib.crc32(repr(epochs).encode())  # a name for any number of members
        options["checkpoint"] = os.path.join(checkpoint, f"refit-{mark:08x}")
    networks = make_networks(prepared)
    options |= {"epochs": epochs, "optimizer": [optimizer for _, optimizer in runs]}
    return networks, training.train_again(partial(_fit_many, networks), prepared, **options)


def _fit_many(networks: Sequence[Network], *data: Any, **options: Any) -> list[History]:
    """Call `fit_many`; raise FloatingPointError where that warns of a network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the error says it
        histories = fit_many(networks, *data, **options)
    for i, history in enumerate(histories):
        if (history.stop_reason or "").startswith("not finite"):
            raise FloatingPointError(
                f"member {i}: training stopped in epoch {len(history['epoch']) + 1}, "
                f"{history.stop_reason}. Lower the learning rate (--learning-rate)"
            )
    return histories


def assess(networks: Sequence[Network], prepared: Prepared) -> tuple[Measured, Measured]:
    """Measure the mean of the networks and the baseline on the test rows; see `training.assess`."""
    return training.assess(Ensemble(networks), prepared)


def model(
    networks: Sequence[Network],
    prepared: Prepared,
    histories: Sequence[History],
    measured: Measured,
    beside: Measured,
    refit_rows: int = 0,
) -> TableModel:
    """Return the model of a table; see `training.model`. Its facts name the epochs of each."""
    made = training.model(networks[0], prepared, histories[0], measured, beside, refit_rows)
    if len(networks) == 1:
        return made
    facts = made.training | {
        "members": len(networks),
        "epochs": _each([len(history["epoch"]) for history in histories]),
        "best_epoch": _each([history.best_epoch for history in histories]),
        "stopped": _each([history.stop_reason or "after all epochs" for history in histories]),
    }
    return replace(made, training=facts, others=tuple(networks[1:]))


def _each(facts: Sequence[Any]) -> Any:
    """Return a fact of all members: one if it is the same for all, else one after the other."""
    if len(set(facts)) == 1:
        return facts[0]
    return ", ".join(map(str, facts)) if not isinstance(facts[0], str) else "each by itself"

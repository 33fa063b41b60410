"""The networks for a table: one, or several, the members of an ensemble, trained side by side.

Members are `chainrule.tables.training`'s network with other seeds: the same rows, settings and
steps, each stopping by itself. Their mean is what is measured and predicted.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chainrule.ensemble import Ensemble
from chainrule.storage.addresses import joined
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
        options["checkpoint"] = joined(checkpoint, refit_folder(epochs))
    networks = make_networks(prepared)
    options |= {"epochs": epochs, "optimizer": [optimizer for _, optimizer in runs]}
    return networks, training.train_again(partial(_fit_many, networks), prepared, **options)


def refit_folder(epochs: Sequence[int]) -> str:
    """Return the name of the folder in which a refit is kept: another one for other epochs."""
    return f"refit-{zlib.crc32(repr(list(epochs)).encode()):08x}"


def _fit_many(networks: Sequence[Network], *data: Any, **options: Any) -> list[History]:
    with quietly():
        histories = fit_many(networks, *data, **options)
    check_finite(histories)
    return histories


@contextmanager
def quietly() -> Iterator[None]:
    """Let `fit_many` not warn of what `check_finite` raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "network ", RuntimeWarning)
        yield


def check_finite(histories: Sequence[History]) -> None:
    """Raise FloatingPointError if the numbers of a network stopped being finite."""
    for i, history in enumerate(histories):
        if (history.stop_reason or "").startswith("not finite"):
            raise FloatingPointError(
                f"member {i}: training stopped in epoch {len(history['epoch']) + 1}, "
                f"{history.stop_reason}. Lower the learning rate (--learning-rate)"
            )


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

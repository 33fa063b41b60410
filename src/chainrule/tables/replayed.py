"""The epochs of an earlier run once more, without the rows that it watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import Schedule

if TYPE_CHECKING:
    from chainrule.training.history import History


@dataclass(frozen=True)
class _Replayed(Schedule):
    """The learning rate of each epoch of an earlier run, which watched its validation rows."""

    of_epochs: tuple[float, ...]

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        return self.of_epochs[min(int(epoch), len(self.of_epochs) - 1)]


def replayed(history: History) -> tuple[int, Adam]:
    """Return the number of epochs up to the best one, and the optimiser with their rates."""
    epochs = history.best_epoch or len(history["epoch"])
    return epochs, Adam(learning_rate=_Replayed(tuple(history["learning_rate"][:epochs])))

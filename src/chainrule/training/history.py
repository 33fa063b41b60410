"""History: what a training run came to, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule._exports import exported

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BACKENDS = ("pandas", "polars", "pyarrow")


@exported("chainrule")
class History(Mapping[str, list[float]]):
    """Keep what a run came to, epoch by epoch. `Network.fit` returns it.

    ``history["val_loss"]`` and ``history.val_loss`` are a column, a list with one number for each
    epoch. The columns are ``epoch`` (from 1), ``loss``, the metrics, with validation data
    ``val_loss`` and ``val_`` before each metric, ``learning_rate`` (at the beginning of the epoch)
    and ``seconds`` (of the epoch with its validation). ``loss`` and the training metrics are those
    of the training passes: the parameters move during the epoch, and dropout is on.

    Args:
        columns: The names of the columns.

    Attributes:
        stop_reason: Why the run ended, or None if it took all its epochs.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([1, 1], seed=0)
        >>> history = net.fit([[1.0], [2.0]], [1.0, 2.0], epochs=3)
        >>> list(history)
        ['epoch', 'loss', 'learning_rate', 'seconds']
        >>> history.epoch, len(history["loss"])
        ([1, 2, 3], 3)
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = tuple(columns)
        self._lists: dict[str, list[float]] | None = None
        self._later: list[tuple[Epochs, int]] | None = None  # what is not in the lists yet
        self._best_epoch: int | None = None
        self.stop_reason: str | None = None

    @property
    def _columns(self) -> dict[str, list[float]]:
        """The columns; they are made when somebody looks at them."""
        if self._lists is None:
            self._lists = {name: [] for name in self._names}
        later, self._later = self._later, None
        for epochs, row in later or ():
            for name, numbers in epochs.of(row).items():
                self._lists[name].extend(numbers)
        return self._lists

    @property
    def best_epoch(self) -> int | None:
        """The number, from 1, of the best epoch, or None where none is known."""
        if self._best_epoch is not None:
            return self._best_epoch
        losses = self._columns["val_loss"] if "val_loss" in self._names else []
        known = [(loss, i) for i, loss in enumerate(losses, start=1) if not math.isnan(loss)]
        return min(known)[1] if known else None

    @best_epoch.setter
    def best_epoch(self, epoch: int | None) -> None:
        self._best_epoch = epoch

    def keep_best_of(self, other: History) -> None:
        """Take over the best epoch that was set in another history, if one was."""
        self._best_epoch = other._best_epoch

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch: one number for each column."""
        for name, column in self._columns.items():
            column.append(row[name])

    def extend(self, epochs: Epochs, row: int) -> None:
        """Add epochs that are kept together with those of other networks."""
        if self._later is None:
            self._later = []
        self._later.append((epochs, row))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: the numbers of this run alone."""
        return {**self.__dict__, "_lists": self._columns, "_later": None}

    def _take(self, other: History, epochs: int) -> None:
        """Take the first epochs of a history with the same columns in place of those here."""
        for name, column in self._columns.items():
            column[:] = other._columns[name][:epochs]

    def _head(self, epochs: int) -> History:
        """Return a copy of the first epochs, with what is known of the run."""
        copy = History(self._names)
        copy._take(self, epochs)
        copy._best_epoch, copy.stop_reason = self._best_epoch, self.stop_reason
        return copy

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._names:
            raise KeyError(self._unknown(name))
        return list(self._columns[name])

    def __getattr__(self, name: str) -> list[float]:
        if name.startswith("_"):  # also while a copy has no columns yet
            raise AttributeError(name)
        if name not in self._names:
            raise AttributeError(self._unknown(name))
        return list(self._columns[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def _unknown(self, name: str) -> str:
        return f"no column {name!r}; this history has {', '.join(self._names)}"

    def to_frame(self, backend: str = "pandas") -> Any:
        """Return a dataframe with a row for each epoch.

        Args:
            backend: The package of the dataframe: "pandas", "polars" or "pyarrow".

        Raises:
            ImportError: The package is not installed.
            ValueError: The backend is unknown.
        """
        if backend not in _BACKENDS:
            raise ValueError(f"unknown backend {backend!r}; known: {', '.join(_BACKENDS)}")
        try:
            import_module(backend)
        except ImportError as error:
            need = f"to_frame(backend={backend!r}) needs {backend}, which is not installed"
            raise ImportError(f"{need}: pip install {backend}") from error
        import narwhals as nw

        schema = {name: nw.Int64() if name == "epoch" else nw.Float64() for name in self}
        return nw.from_dict(dict(self), schema, backend=backend).to_native()  # type: ignore[arg-type]

    def plot(self, ax: Axes | None = None, columns: Sequence[str] = ("loss",)) -> Axes:
        """Draw columns over the epochs, each beside its validation, and mark the best epoch.

        Args:
            ax: The matplotlib axes to draw into; None makes new ones.
            columns: The names of the columns.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
            KeyError: There is no such column.
        """
        lines = [name for column in columns for name in (column, f"val_{column}")]
        lines = [name for name in lines if name in self or not name.startswith("val_")]
        values = {name: self[name] for name in lines}
        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError as error:
                need = "plot needs matplotlib, which is not installed"
                raise ImportError(f"{need}: pip install 'chainrule[plot]'") from error
            _, ax = plt.subplots()
        for name, numbers in values.items():
            ax.plot(self["epoch"], numbers, label=name, marker="." if len(numbers) < 30 else "")
        if (best := self.best_epoch) is not None:
            ax.axvline(best, color="gray", linestyle=":", label=f"best epoch: {best}")
        ax.set_xlabel("epoch")
        ax.set_ylabel(", ".join(columns))
        ax.legend()
        return ax

    def summary(self) -> str:
        """Return one line: how many epochs, how long they took, and where the last one stands."""
        epochs = len(self._columns["epoch"])
        if not epochs:
            return "0 epochs" + (f"; {self.stop_reason}" if self.stop_reason else "")
        took = f"{epochs} epoch{'s' * (epochs != 1)} in {duration(sum(self._columns['seconds']))}"
        measured = (name for name in self if name not in ("epoch", "learning_rate", "seconds"))
        last = ", ".join(f"{name} {number(self._columns[name][-1])}" for name in measured)
        reason = f"; {self.stop_reason}" if self.stop_reason else ""
        tell_best = self.best_epoch is not None and "best" not in reason
        return f"{took}: {last}{f'; best epoch {self.best_epoch}' if tell_best else ''}{reason}"

    def __repr__(self) -> str:
        return f"History({self.summary()})"


@dataclass(frozen=True, slots=True)
class Epochs:
    """Epochs of many networks, in arrays: losses, (M, epochs), and rates, (1 or M, epochs)."""

    first: int  # counted from 1
    losses: NDArray[np.float64]
    rates: NDArray[np.float64]
    seconds: float  # of each

    def of(self, row: int) -> dict[str, Sequence[float]]:
        """Return the columns of one network."""
        count = self.losses.shape[1]
        return {
            "epoch": range(self.first, self.first + count),
            "loss": self.losses[row].tolist(),
            "learning_rate": self.rates[row % len(self.rates)].tolist(),
            "seconds": [self.seconds] * count,
        }


class Histories(list[History]):
    """The histories of many runs, as the screen sees them."""

    def summary(self) -> str:
        """Return one line: how many, how long they took, and between what their losses are."""
        count, losses = len(self), [h["loss"][-1] for h in self if h["loss"]]
        seconds = sum(sum(h["seconds"]) for h in self)
        between = f": loss {number(min(losses))} to {number(max(losses))}" if losses else ""
        return f"{count} network{'s' * (count != 1)} in {duration(seconds)}{between}"


def number(value: float) -> str:
    """Return a number in four digits."""
    return f"{value:#.4g}".rstrip(".")


def duration(seconds: float) -> str:
    """Return a time as people read it: 0.13 s, 42 s, 3:05 min, 2:10:00 h."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"

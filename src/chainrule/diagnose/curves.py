"""Curves: the numbers of a run's steps as arrays, read on as the run goes on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose import folder as folders
from chainrule.diagnose import noise

RECENT = 50  # recorded steps that the noise scale is taken over, as it changes in a run
_HEAD = 64  # bytes of a file's beginning that tell whether it is still the same

Floats = NDArray[np.float64]


class Grown:
    """A file of lines that another process appends to, or replaces by a shorter one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at, self._mark = 0, (0, b"")

    def more(self) -> tuple[bool, list[bytes]]:
        """Return whether the file is another one than before, and its new whole lines."""
        try:
            with open(self.path, "rb") as file:
                about = os.fstat(file.fileno())
                mark = (about.st_ino, file.read(_HEAD))
                other = self._at > 0 and (
                    about.st_size < self._at
                    or mark[0] != self._mark[0]
                    or not mark[1].startswith(self._mark[1])
                )
                if other:
                    self._at = 0
                self._mark = mark
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            other, self._at = self._at > 0, 0
            return other, []
        whole = data.rfind(b"\n") + 1
        self._at += whole
        return other, data[:whole].splitlines()


@dataclass(frozen=True)
class Known:
    """What is known of the steps of a run at one moment.

    Attributes:
        names: The names of the parameters, whose norms are recorded.
        steps: The numbers of the steps.
        losses: The loss of each step.
        rates: The learning rate of each step's first parameter group; NaN where none was taken.
        spikes: The steps that were spikes.
        recorded: The steps whose norms were recorded.
        norms: The norm of the whole gradient in each recorded step.
        gradients: The norm of each parameter's gradient, (recorded, parameters).
        ratios: The update over the weight of each parameter, (recorded, parameters).
        noises: The noise scale over the recorded steps up to each.
        damaged: How many lines could not be read.
    """

    names: tuple[str, ...]
    steps: NDArray[np.int64]
    losses: Floats
    rates: Floats
    spikes: tuple[int, ...]
    recorded: NDArray[np.int64]
    norms: Floats
    gradients: NDArray[np.float32]
    ratios: NDArray[np.float32]
    noises: Floats
    damaged: int


class Curves:
    """The numbers of a run by step, which `read` brings up to date."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._file = Grown(folder / folders.STEPS)
        self._clear()

    def _clear(self) -> None:
        self._lists: dict[str, list[Any]] = {
            name: [] for name in ("steps", "losses", "rates", "recorded", "norms", "noise")
        }
        self._spikes: list[int] = []
        self._damaged = 0
        self._layers = np.zeros((0, 2, len(self._names)), np.float32)
        self._count = 0
        self._now = self._known()

    def read(self) -> Known:
        """Read what is new; return all that is known now."""
        other, found = self._file.more()
        if other:
            self._clear()
        for text in found:
            try:
                self._take(json.loads(text))
            except (ValueError, KeyError, TypeError, IndexError):
                self._damaged += 1
        if found:
            self._now = self._known()
        return self._now

    def _take(self, line: dict[str, Any]) -> None:
        step, loss = int(line["step"]), folders.number(line["loss"])
        rates, norm, pair, layers = line.get("rates"), math.nan, None, None
        rate = float(rates[0]) if rates else math.nan
        if line.get("recorded"):
            norm = folders.number(line["norm"])
            layers = self._layers_of(line)
            if "noise" in line:
                mean, square = map(folders.number, line["noise"])
                pair = noise.of_batch(mean, square, line["samples"])
        add = self._lists
        add["steps"].append(step)
        add["losses"].append(loss)
        add["rates"].append(rate)
        if line.get("spike"):
            self._spikes.append(step)
        if layers is not None:
            if self._count == len(self._layers):
                more = np.zeros((max(64, self._count), 2, len(self._names)), np.float32)
                self._layers = np.concatenate([self._layers, more])
            self._layers[self._count] = layers
            self._count += 1
            add["recorded"].append(step)
            add["norms"].append(norm)
            known = "noise" in line
            add["noise"].append((known, *(pair if pair is not None else (0.0, 0.0))))

    def _layers_of(self, line: dict[str, Any]) -> NDArray[np.float32]:
        rows = [
            [folders.number(value) for value in line[key]]
            for key in ("gradients", "updates", "weights")
        ]
        gradients, updates, weights = np.asarray(rows, np.float64).reshape(3, len(self._names))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratios = np.where(weights != 0, updates / weights, np.nan)
            return np.stack([gradients, ratios]).astype(np.float32)

    def _known(self) -> Known:
        known, count = self._lists, self._count
        return Known(
            names=self._names,
            steps=np.array(known["steps"], dtype=np.int64),
            losses=np.array(known["losses"], dtype=float),
            rates=np.array(known["rates"], dtype=float),
            spikes=tuple(self._spikes),
            recorded=np.array(known["recorded"], dtype=np.int64),
            norms=np.array(known["norms"], dtype=float),
            gradients=self._layers[:count, 0],
            ratios=self._layers[:count, 1],
            noises=_noises(known["noise"]),
            damaged=self._damaged,
        )


def _noises(found: list[tuple[bool, float, float]]) -> Floats:
    """Return the noise scale over the last `RECENT` steps that have one, at each step."""
    table = np.array(found, dtype=float).reshape(-1, 3)
    at = np.cumsum(table[:, 0]).astype(int)  # how many there are up to each
    sums = np.zeros((int(table[:, 0].sum()) + 1, 2))
    sums[1:] = np.cumsum(table[table[:, 0] > 0, 1:], axis=0)
    spread, signal = (sums[at] - sums[np.maximum(at - RECENT, 0)]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(signal > 0, spread / signal, math.inf)
    scale = np.where(spread > 0, scale, 0.0)
    return np.where(at > 0, scale, math.nan)


def extremes(values: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Return the places of the points that a curve shows, at most ``most``, in order.

    Of each stretch its least and largest finite value stay, so that no peak is lost; the first and
    the last point stay, too. What is not finite is left out.

    Args:
        values: The values of the curve, (n,).
        most: How many points, 4 or more.
    """
    places = np.flatnonzero(np.isfinite(values))
    if len(places) <= most:
        return places
    known = values[places]
    starts = np.linspace(0, len(known), (most - 2) // 2 + 1).astype(int)[:-1]
    group = np.zeros(len(known), int)
    group[starts[1:]] = 1
    group = np.cumsum(group)
    order = np.lexsort((known, group))  # within each stretch from the least to the largest
    ends = np.append(starts[1:], len(known)) - 1
    kept = np.concatenate([order[starts], order[ends], [0, len(known) - 1]])
    return places[np.unique(kept)]

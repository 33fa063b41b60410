"""What is kept of a run so that its steps can be taken again: states, and the epochs after them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from chainrule.diagnose import folder as folders
from chainrule.engines import Engine, Epoch, EpochResult, Plan, Seen, State
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
_SLOT = "slots."
_STATE, _EPOCHS = "state.safetensors", ".epochs.safetensors"


@dataclass(frozen=True)
class Position:
    """Everything that a step changes, as it was before a step of the run.

    Steps are counted from the beginning of the run, where a `State` may have begun elsewhere.
    """

    step: int
    parameters: Array
    slots: Mapping[str, Array]

    @classmethod
    def of(cls, network: FeedForward, state: State, offset: int) -> Position:
        """Return a copy of where a run stands that began at step ``offset`` of its state."""
        slots = {name: values.copy() for name, values in state.slots.items()}
        return cls(state.step - offset, network.parameters.copy(), slots)

    def state(self, offset: int) -> State:
        """Return a state to train from, whose numbers are copies."""
        slots = {name: values.copy() for name, values in self.slots.items()}
        return State(self.step + offset, slots)

    def save(self, folder: Path) -> None:
        """Write the position into a folder, which is made."""
        folder.mkdir(exist_ok=True)
        slots = {f"{_SLOT}{name}": values for name, values in self.slots.items()}
        write(folder / _STATE, {"parameters": self.parameters, **slots})


def position_in(folder: Path, step: int) -> Position:
    """Read what `Position.save` wrote, of the state before a step."""
    arrays = load_file(folder / _STATE)
    parameters = arrays.pop("parameters")
    slots = {name.removeprefix(_SLOT): values for name, values in arrays.items()}
    return Position(step, parameters, slots)


@dataclass(frozen=True)
class Pass:
    """One pass over the samples: its first step of the run, the order, and each step's η."""

    first: int
    order: NDArray[np.int64] | None
    rates: NDArray[np.float64]

    @property
    def end(self) -> int:
        """Return the step after its last one."""
        return self.first + len(self.rates)


def save_passes(passes: Sequence[Pass], folder: Path) -> None:
    """Write passes, of which there is one or more, beside the state that they come after."""
    arrays: dict[str, Array] = {"firsts": np.array([each.first for each in passes])}
    for i, each in enumerate(passes):
        arrays[f"rates.{i}"] = each.rates
        if each.order is not None:
            arrays[f"order.{i}"] = each.order.astype(np.int32)
    write(folder / f"{folders.name_of(passes[0].first)}{_EPOCHS}", arrays)


def passes_in(folder: Path) -> list[Pass]:
    """Read what `save_passes` wrote, in order."""
    found = []
    for path in sorted(folder.glob(f"*{_EPOCHS}")):
        arrays = load_file(path)
        for i, first in enumerate(arrays["firsts"].tolist()):
            order = arrays.get(f"order.{i}")
            order = None if order is None else order.astype(np.int64)
            found.append(Pass(first, order, arrays[f"rates.{i}"]))
    return found


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a safetensors file, under another name until it is whole."""
    plain = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    folders.rename_over(path, lambda name: save_file(plain, name))


@dataclass(frozen=True)
class Repeat:
    """Steps that are taken again: the network is a copy, and ends where the run was then."""

    network: FeedForward
    state: State
    samples: Samples
    plan: Plan
    engine: Engine
    offset: int

    @classmethod
    def begin(
        cls, network: FeedForward, position: Position, samples: Samples, plan: Plan, engine: Engine,
        offset: int,
    ) -> Repeat:  # fmt: skip
        """Set a network, which is changed, to a position."""
        network.parameters[...] = position.parameters
        return cls(network, position.state(offset), samples, plan, engine, offset)

    @property
    def step(self) -> int:
        """Return the number of the next step of the run."""
        return self.state.step - self.offset

    @property
    def position(self) -> Position:
        """Return a copy of where it stands."""
        return Position.of(self.network, self.state, self.offset)

    def to(
        self, passes: Sequence[Pass], step: int, traced: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.float64], Seen]]:
        """Take the steps before ``step``.

        Of each pass, or what is left of it, this yields the first step, (steps, 2) losses, and what
        was seen.
        """
        for each in passes:
            first, last = max(self.step, each.first), min(step, each.end)
            if first != self.step or first >= last:
                continue
            count, whole = last - first, (first, last) == (each.first, each.end)
            samples, order = self.samples, each.order
            if not whole:
                rows = self._rows(each, first - each.first, last - each.first)
                samples, order = part_of(samples, rows), None
            losses = np.full((count, 2), np.nan)
            seen = replace(
                Seen.of(self.network, first, count, len(samples), 0), before=first - each.first
            )
            if traced is not None:
                seen = replace(seen, traced=traced, trace=np.full((count, 4), np.nan))
            rates = each.rates[first - each.first : last - each.first]
            epoch = Epoch(samples, self.plan, rates, order, step_losses=losses, seen=seen)
            self.engine.run_epoch(self.network, epoch, self.state)
            yield first, losses, seen

    def batch(self, passes: Sequence[Pass]) -> tuple[NDArray[np.int64], float]:
        """Return which samples the next step takes, and its η."""
        each = next(p for p in passes if p.first <= self.step < p.end)
        k = self.step - each.first
        return self._rows(each, k, k + 1), float(each.rates[k])

    def _rows(self, of: Pass, first: int, last: int) -> NDArray[np.int64]:
        size, n = self.plan.batch_size, len(self.samples)
        places = np.arange(first * size, min(last * size, n))
        return places if of.order is None else of.order[places]


def part_of(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    """Return some of the samples."""
    weights = None if samples.weights is None else samples.weights[rows]
    return Samples(samples.X[rows], samples.y[rows], weights)


def one_step(
    network: FeedForward, state: State, batch: Samples, plan: Plan, engine: Engine, rate: float
) -> tuple[EpochResult, float, NDArray[np.float64]]:
    """Take one step; return how it ended, its loss, and the losses of its samples."""
    losses = np.full((1, 2), np.nan)
    seen = Seen.of(network, state.step, 1, len(batch), 0)
    epoch = Epoch(batch, plan, np.array([rate]), step_losses=losses, seen=seen)
    result = engine.run_epoch(network, epoch, state)
    return result, float(losses[0].sum()), seen.losses

"""What a watched run is read into: steps, spikes, samples, suspects, layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chainrule._exports import exported
from chainrule.diagnose.rules import Memory, Taken


@dataclass(frozen=True)
class Line:
    """One step as ``steps.jsonl`` has it."""

    step: int
    loss: float
    rates: list[float] | None
    autocast: tuple[str, str] | None
    found: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What the steps up to one had and did, of one parameter, and what was before them."""

    steps: tuple[Taken | None, ...]  # None where the optimiser left the parameter out
    memory: Memory
    base_rate: float


class Source(Protocol):
    """What can take the steps of a run again."""

    def replay(self, record: Any, step: int) -> Any:
        """Return a step, taken again."""
        ...

    def kept(self, record: Any, name: str, index: tuple[int, ...], step: int) -> Kept:
        """Return what the steps up to one had, of one element of a parameter."""
        ...


@exported("chainrule")
@dataclass(frozen=True)
class Spike:
    """A step whose loss was far above those before it, or not finite.

    Attributes:
        step: The number of the step, from 0.
        loss: The loss of the batch.
        reason: Why it is a spike, in words.
        worst: The samples with the largest losses, from the largest on: (sample, row, loss), where
            the row is None if the loop did not say it.

    Examples:
        >>> from chainrule.diagnose.found import Spike
        >>> spike = Spike(7, 31.0, "the loss is 31", ((2, 1871, 480.0),))
        >>> print(spike)
        step 7: the loss is 31; row 1871 has the largest loss, 480
    """

    step: int
    loss: float
    reason: str
    worst: tuple[tuple[int, int | None, float], ...]

    def __str__(self) -> str:
        text = f"step {self.step}: {self.reason}"
        if self.worst:
            i, row, loss = self.worst[0]
            where = f"row {row}" if row is not None else f"sample {i} of the batch"
            text += f"; {where} has the largest loss, {loss:.4g}"
        return text


@exported("chainrule")
@dataclass(frozen=True)
class SampleNorms:
    """The samples of one recorded step.

    Attributes:
        step: The number of the step.
        rows: The row of each sample in the data, (n,), or None if the loop did not say it.
        losses: The loss of each sample, (n,), or None where the loss has none.
        norms: The gradient norm of each sample, (n,), or None where it is not known.

    Examples:
        >>> import chainrule as cr
        >>> samples = cr.load_run("run").samples(60)  # doctest: +SKIP
        >>> samples.rows[samples.norms.argmax()]  # doctest: +SKIP
        1871
    """

    step: int
    rows: np.ndarray[Any, Any] | None
    losses: np.ndarray[Any, Any] | None
    norms: np.ndarray[Any, Any] | None


@exported("chainrule")
@dataclass(frozen=True)
class Suspect:
    """A row that was hard to learn over the whole run, as rows with a wrong label are.

    Attributes:
        row: The number of the row.
        loss: Its mean loss over the run.
        visits: How often it was seen.
        history: Its last losses, in the order in which they came.

    Examples:
        >>> from chainrule.diagnose.found import Suspect
        >>> Suspect(17, 3.2, 2, (3.1, 3.3)).row
        17
    """

    row: int
    loss: float
    visits: int
    history: tuple[float, ...]


@exported("chainrule")
@dataclass(frozen=True)
class LayerNorms:
    """The norms of one parameter tensor in a recorded step.

    Attributes:
        name: The name of the parameter.
        weight: The norm of the parameter before the step.
        gradient: The norm of its gradient, before clipping; None if it had none.
        update: The norm of the step that it took.

    Examples:
        >>> from chainrule.diagnose.found import LayerNorms
        >>> LayerNorms("fc1.weight", weight=4.0, gradient=0.2, update=0.01).ratio
        0.0025
    """

    name: str
    weight: float
    gradient: float | None
    update: float

    @property
    def ratio(self) -> float:
        """Return the update over the weight; about 0.001 is usual. NaN for a weight of 0."""
        return self.update / self.weight if self.weight else math.nan

"""States of a run, and shards of samples, as the arrays of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.distributed.worker import Job
from chainrule.equations.data import Samples

Array = NDArray[Any]


@dataclass(frozen=True)
class Start:
    """Where an epoch goes on: before step ``first``."""

    first: int
    loss: float
    weight: float
    step: int
    theta: Array
    slots: dict[str, Array]


def shard_of(samples: Samples, rows: range, job: Job) -> dict[str, Array]:
    """Return the samples of a shard, as arrays of a message."""
    part, dtype = slice(rows.start, rows.stop), job.network.dtype
    y = samples.y[part]
    arrays = {
        "X": np.ascontiguousarray(samples.X[part], dtype),
        "y": y.astype(np.int64) if y.ndim == 1 else np.ascontiguousarray(y, dtype),
    }
    if samples.weights is not None:
        arrays["weights"] = samples.weights[part]
    return arrays


def state_of(fields: dict[str, Any], arrays: dict[str, Array], first: int) -> Start:
    """Return the state of the run that a message holds, before step ``first``."""
    slots = {name[5:]: slot for name, slot in arrays.items() if name.startswith("slot.")}
    return Start(first, fields["loss"], fields["weight"], fields["step"], arrays["theta"], slots)

"""What a run works on: samples, plan, engine and measures, checked before anything changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule import engines
from chainrule.engines import Engine, Plan
from chainrule.engines.micro import Cut, up_to
from chainrule.equations import data
from chainrule.equations.checks import positive, whole
from chainrule.equations.data import Samples
from chainrule.equations.losses import CrossEntropy
from chainrule.equations.optimizers import Adam, Optimizer
from chainrule.storage import models
from chainrule.training import checkpoints
from chainrule.training import metrics as metric_room
from chainrule.training.metrics import Measure, Metric

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


_ADAM = Adam()


@dataclass(frozen=True)
class Task:
    """What a run works on, checked."""

    network: FeedForward
    samples: Samples
    validation: Samples | None
    plan: Plan
    engine: Engine
    shuffle: bool
    measures: dict[str, Measure]

    @classmethod
    def check(
        cls,
        network: FeedForward,
        X: ArrayLike | Samples,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None,
        validation_data: tuple[Any, ...] | None,
        optimizer: Optimizer | None,
        batch_size: int,
        clip_norm: float | None,
        shuffle: bool,
        metrics: Sequence[str | Metric] | None,
        micro_batches: int | None = None,
        local_steps: int | None = None,
    ) -> Task:
        """Check the arguments of `fit`; see there. ``X`` may be all samples, checked before."""
        optimizer = _ADAM if optimizer is None else optimizer
        check_type(
            (Optimizer,), optimizer, "optimizer must be one such as Adam(learning_rate=0.001)"
        )
        batch_size = whole(batch_size, "batch_size")
        if micro_batches is not None:
            micro_batches = whole(micro_batches, "micro_batches")
            if batch_size % micro_batches:
                raise ValueError(
                    f"batch_size must be a multiple of micro_batches, got {batch_size} and "
                    f"{micro_batches}"
                )
        if local_steps is not None:
            local_steps = whole(local_steps, "local_steps")
        if clip_norm is not None:
            positive(clip_norm, "clip_norm")
        check_type((bool, np.bool_), shuffle, "shuffle must be True or False")

        if network.sizes[-1] == 1 and isinstance(network.loss, CrossEntropy):
            raise ValueError(
                "a softmax of one unit is always 1, so that there is nothing to train; for two "
                "classes take one unit with output='sigmoid', loss='binary_cross_entropy', or two"
            )
        samples = X if isinstance(X, Samples) else _samples(network, X, y, sample_weight)
        if class_weight is not None:
            name = "(class_weight · sample_weight)"
            weights = data.class_weights(class_weight, samples.y, network.sizes[-1])
            weights = data.multiplied(samples.weights, weights, name)[0]
            if not weights.any():
                raise ValueError("class_weight leaves every sample a weight of 0; one must count")
            samples = Samples(samples.X, samples.y, weights)
        validation = None
        if validation_data is not None:
            validation = _validation_samples(network, validation_data)
        both = [samples] if validation is None else [samples, validation]
        measures = metric_room.choose(metrics, network, both)
        plan = Plan(
            optimizer,
            min(batch_size, up_to(len(samples), micro_batches or 1)),
            clip_norm,
            micro_batches=micro_batches,
            local_steps=local_steps,
        )
        engine = engines.choose(network.requested_engine, network, plan)
        return cls(network, samples, validation, plan, engine, bool(shuffle), measures)

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return -(-len(self.samples) // self.plan.batch_size)

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the order in which an epoch takes the samples."""
        n = len(self.samples)
        if self.plan.micro_batches is None:
            order: NDArray[np.int64] = self.engine.epoch_orders(seed, epoch, 1, n)[0]
            return order
        return Cut.of(n, self.plan).order(seed, epoch, self.engine.epoch_orders)

    @property
    def columns(self) -> list[str]:
        """The columns of the history."""
        measured = ["loss", *self.measures, *self.validation_columns]
        return ["epoch", *measured, "learning_rate", "seconds"]

    @property
    def validation_columns(self) -> list[str]:
        """Those of the validation data, if there is any."""
        names = ["loss", *self.measures]
        return [] if self.validation is None else [f"val_{name}" for name in names]

    def fingerprint(self) -> str | None:
        """Return a digest of the samples."""
        return checkpoints.fingerprint(self.samples, self.network)

    def settings(self) -> dict[str, Any]:
        """Return what is trained, on what, and how, in plain values."""
        plan, validation = self.plan, self.validation
        return {
            "network": models.describe(self.network),
            "engine": self.engine.name,
            "optimizer": checkpoints.plain(plan.optimizer),
            "batch_size": plan.batch_size,
            "clip_norm": checkpoints.plain(plan.clip_norm),
            "micro_batches": plan.micro_batches,
            "local_steps": plan.local_steps,
            "shuffle": self.shuffle,
            "samples": len(self.samples),
            "data": self.fingerprint(),
            "validation_data": checkpoints.fingerprint(validation, self.network),
            "columns": self.columns,
        }


def _samples(network: FeedForward, X: ArrayLike, y: Any, weight: ArrayLike | None) -> Samples:
    """Check samples, and put X and y in the network's dtype now rather than in every epoch."""
    dtype = network.dtype
    return data.samples(X, y, network.sizes, network.loss, weight, dtype, converted=True)


def check_type(types: tuple[type, ...], value: object, need: str) -> None:
    """Raise TypeError, in these words, unless a value is of one of the types."""
    if not isinstance(value, types):
        raise TypeError(f"{need}, got {value!r}")


def _validation_samples(network: FeedForward, given: Sequence[Any]) -> Samples:
    need = "validation_data must be (X, y) or (X, y, sample_weight)"
    if not isinstance(given, tuple | list):
        raise TypeError(f"{need}, got a {type(given).__name__}")
    if len(given) not in (2, 3):
        raise ValueError(f"{need}, got a {type(given).__name__} of {len(given)}")
    X, y, weight = given if len(given) == 3 else (*given, None)
    try:
        return _samples(network, X, y, weight)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None

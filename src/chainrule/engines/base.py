"""The seam between training and whoever computes an epoch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.data import Samples
from chainrule.equations.optimizers import Optimizer, Slots
from chainrule.random import epoch_orders

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward


@dataclass(frozen=True)
class Plan:
    """What stays the same during a run.

    With ``l2_per_sample`` the λ of a step is the network's ``l2`` divided by the sum of the sample
    weights in its batch (by their number without weights), as in scikit-learn's MLP. In the losses
    of single steps a sample counts as at most ``largest_loss``. With ``micro_batches`` a step is
    what `chainrule.engines.micro` says, and ``batch_size`` a multiple of it; with ``local_steps``,
    what `chainrule.engines.local` says.
    """

    optimizer: Optimizer
    batch_size: int
    clip_norm: float | None = None
    l2_per_sample: bool = False
    largest_loss: float = math.inf
    micro_batches: int | None = None
    local_steps: int | None = None


@dataclass(frozen=True)
class Seen:
    """What is noted of the steps of an epoch, for somebody who watches the run.

    ``losses`` and ``norms``, (n,), receive C_i and the gradient norm of each sample, in the order
    in which they are taken. The norm is that of n s_i / Σs C_i, so that the mean of these gradients
    is that of the batch without penalty. ``layers``, (noted steps, arrays of parameters, 4),
    receives the norms of each array W^(1), b^(1), W^(2), ... before the step, of its gradient
    before clipping, of its update, and of its gradient without penalty. Norms are noted in the
    steps of the run that ``every`` divides; 0 is none. ``trace``, (steps, 4), if given receives of
    the parameter at place ``traced`` of θ: its value before the step, its gradient, the same
    clipped, and its value after the step. ``before`` steps of the same epoch were taken in an
    earlier call, which has an effect on last bits alone.
    """

    every: int
    first: int  # step of the epoch, counted as ``every`` is, which `State.step` may not be
    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    layers: NDArray[np.float64]
    traced: int = 0
    trace: NDArray[np.float64] | None = None
    before: int = 0

    @classmethod
    def of(cls, network: FeedForward, first: int, steps: int, n: int, every: int) -> Seen:
        """Return arrays for an epoch that begins with a step of the run; NaN where nothing is."""
        count = noted(first + steps, every) - noted(first, every) if every else 0
        arrays = len(network.weighted_layers) * (1 + network.biases)
        losses, norms = np.full(n, math.nan), np.full(n, math.nan)
        return cls(every, first, losses, norms, np.full((count, arrays, 4), math.nan))


def noted(step: int, every: int) -> int:
    """Return how many steps before this one are multiples of ``every``."""
    return -(-step // every)


@dataclass(frozen=True)
class Epoch:
    """One pass over samples, and where to put what is measured on the way.

    There is one learning rate for each step. ``order`` is a permutation of the samples, or None to
    take them as they come. ``outputs``, (n, units_L), if given receives a^(L) of the training
    passes at each sample's row. ``step_losses``, (steps, 2), if given receives each step's mean
    loss without the penalty, and the penalty, both from before its update. ``number`` counts the
    epochs of a run from 0. ``seen`` if given receives what somebody who watches the run wants to
    know.
    """

    samples: Samples
    plan: Plan
    learning_rates: NDArray[np.float64]
    order: NDArray[np.int64] | None = None
    outputs: NDArray[Any] | None = None
    step_losses: NDArray[np.float64] | None = None
    number: int = 0
    seen: Seen | None = None


@dataclass(frozen=True)
class Together:
    """Epochs of M networks of one shape, on the same samples, with one plan.

    ``rates`` are (M, epochs, steps). ``orders``, (1 or M, epochs, n), are rows of the samples: the
    same for all networks, or each one's own, which may leave samples out or take them twice; None
    takes them as they come. ``outputs``, (M, n, units_L), if given receives a^(L) of the training
    passes of the last epoch, in the order in which the samples were taken. ``step_losses``, (M,
    epochs, steps, 2), if given receives what `Epoch` says of them.
    """

    networks: Sequence[FeedForward]
    states: Sequence[State]
    samples: Samples
    plan: Plan
    rates: NDArray[np.float64]
    orders: NDArray[np.int64] | None = None
    outputs: NDArray[Any] | None = None
    step_losses: NDArray[np.float64] | None = None


@dataclass
class State:
    """What a step changes besides the parameters: the step count and the optimiser's slots."""

    step: int = 0
    slots: Slots = field(default_factory=dict)


def check_state(optimizer: Optimizer, theta: NDArray[Any], state: State) -> None:
    """Raise ValueError unless θ can be moved and the slots are what the optimiser remembers.

    Callbacks have the state of their run in hand. They may change the numbers of a slot, but not
    its shape or dtype. An optimiser that starts slots of its own kind is left to check them itself.
    """
    if not theta.flags.writeable:
        raise ValueError("the network's parameters are read-only; training changes them in place")
    if type(optimizer).start is not Optimizer.start:
        return
    for name in optimizer.used_slots:
        kind, slot = type(optimizer).__name__, state.slots.get(name)
        if slot is None:
            found = "is missing"
        elif not isinstance(slot, np.ndarray):
            found = f"is a {type(slot).__name__}"
        elif slot.shape != theta.shape or slot.dtype != theta.dtype:
            found = f"has shape {slot.shape} and dtype {slot.dtype}"
        elif not slot.flags.writeable:
            found = "is read-only"
        else:
            continue
        raise ValueError(
            f"state.slots[{name!r}] {found}; {kind} needs a writable array of shape {theta.shape} "
            f"and dtype {theta.dtype}. To change a slot, assign to its numbers: "
            f"state.slots[{name!r}][...] = values"
        )


@dataclass(frozen=True)
class Failure:
    """Where a number stopped being finite: step of the run, layer, and which array."""

    step: int
    layer: int
    what: str


@dataclass(frozen=True)
class EpochResult:
    """What an epoch came to.

    ``loss`` is the mean of the batches' losses before their updates, weighted by the batches'
    sample weights; ``steps`` and ``samples`` count what was done. ``failure`` is set where a number
    was not finite (that step is not applied), ``stopped`` where ``on_progress`` asked for it.
    """

    loss: float
    steps: int
    samples: int
    failure: Failure | None = None
    stopped: bool = False


@dataclass(frozen=True)
class MicroBatch:
    """Samples of a step that are taken together: those at some places of others.

    ``draw`` numbers the dropout masks. ``outputs``, (n, units_L) of all those samples, if given
    receives a^(L) at these places.
    """

    samples: Samples
    rows: NDArray[np.int64]
    draw: int
    outputs: NDArray[Any] | None = None


@dataclass
class Sums:
    """What micro-batches come to: the sums of weights, weighted losses and weighted gradients.

    ``failure`` is the first one, of the lowest k.
    """

    weight: float
    loss: float
    g: NDArray[Any]
    failure: Failure | None = None

    def add(self, other: Sums) -> Sums:
        """Return the sum; the array of this one is taken for it."""
        self.g += other.g
        return Sums(
            self.weight + other.weight,
            self.loss + other.loss,
            self.g,
            self.failure or other.failure,
        )


def tree_cut(leaves: int) -> int:
    """Return where the tree over so many leaves is cut: at the largest power of two below."""
    return 1 << (leaves - 1).bit_length() - 1


def summed(leaves: Sequence[Callable[[NDArray[Any]], Sums]], g: NDArray[Any]) -> Sums:
    """Return the sum of leaves, each of which fills an array, as one binary tree; ``g`` has it."""
    if len(leaves) == 1:
        return leaves[0](g)
    cut = tree_cut(len(leaves))
    left = summed(leaves[:cut], g)
    return left.add(summed(leaves[cut:], np.empty_like(g)))


# Takes X and the parameters; gives a^(L), or None for what only the checks of `Network.predict` can
# tell: X is not a plain array of the right shape, or some number is not finite.
Shortcut = Callable[[Any, NDArray[Any]], NDArray[Any] | None]


def go_on(steps: int, loss: float) -> bool:
    """Do not stop: what an epoch is told if nobody watches it."""
    return False


@dataclass(frozen=True)
class SideBySide:
    """Networks of the same ``kind`` go side by side; it pays from so many on.

    ``exactly``: to the bits of each alone. Where that is not so, they always go side by side, since
    a result must not depend on how many there are.
    """

    kind: Hashable
    pays_from: int
    exactly: bool


class OneByOne(ABC):
    """Runs several epochs one after the other, and networks too."""

    def side_by_side(self, network: FeedForward, plan: Plan) -> SideBySide | None:
        """See `Engine.side_by_side`."""
        return None

    def run_together(
        self, together: Together, on_progress: Callable[[int, float], bool] = go_on
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """See `Engine.run_together`."""
        raise NotImplementedError("this engine trains one network at a time")

    def alone(self) -> Engine:
        """See `Engine.alone`."""
        return self  # type: ignore[return-value]

    def threads_of(self, network: FeedForward) -> int:
        """See `Engine.threads_of`."""
        return 1

    def instructions(self) -> str:
        """See `Engine.instructions`."""
        return "numpy"

    def epoch_orders(
        self, seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
    ) -> NDArray[np.int64]:
        """See `chainrule.random.epoch_orders`."""
        return epoch_orders(seed, epoch, count, n_samples, shard)

    @abstractmethod
    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """See `Engine.run_epoch`."""

    def run_epochs(
        self,
        network: FeedForward,
        epoch: Epoch,
        orders: NDArray[np.int64],
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> list[EpochResult]:
        """See `Engine.run_epochs`."""
        results = list[EpochResult]()
        for order in orders:
            results.append(self.run_epoch(network, replace(epoch, order=order), state, on_progress))
            if results[-1].failure is not None or results[-1].stopped:
                break
        return results


def mean_loss(total: float, weight: float) -> float:
    """Return the mean of a weighted sum of losses: 0 where nothing counts."""
    return total / weight if weight else 0.0


class Engine(Protocol):
    """Computes epochs; every engine gives the reference's result to rounding."""

    @property
    def name(self) -> str:
        """What the engine is called."""
        ...

    def lacks(self, network: FeedForward, plan: Plan | None) -> str | None:
        """Return what the engine can't do for this network and plan, or None."""
        ...

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """Take one step for each batch, changing ``network.parameters`` and ``state`` in place.

        ``on_progress(steps, loss)`` is called with the steps done and the mean loss so far, at
        least every 50 ms or once a step, and answers whether to stop.
        """
        ...

    def gradient(
        self,
        network: FeedForward,
        batches: Sequence[MicroBatch],
        most: int,
        g: NDArray[Any],
    ) -> Sums:
        """Return the sums of consecutive micro-batches: of weights, losses and gradients.

        Losses and gradients count times their weights. The first micro-batch begins a subtree of
        the tree over all; none has more than ``most`` rows. ``g`` receives the gradient, the
        penalty's included. The sums name what is not finite, at step 0.
        """
        ...

    def apply(
        self, network: FeedForward, plan: Plan, state: State, sums: Sums, eta: float
    ) -> Failure | None:
        """Take the step of a batch's sums, whose array may change.

        Where a number is not finite, all is left as it was, and the failure says where.
        """
        ...

    def epoch_orders(
        self, seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
    ) -> NDArray[np.int64]:
        """Return the orders of so many epochs: those of `chainrule.random.epoch_orders`."""
        ...

    def run_epochs(
        self,
        network: FeedForward,
        epoch: Epoch,
        orders: NDArray[np.int64],
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> list[EpochResult]:
        """Run an epoch once for each order, (count, n), with the numbers of as many `run_epoch`.

        One that fails or is stopped is the last.
        """
        ...

    def side_by_side(self, network: FeedForward, plan: Plan) -> SideBySide | None:
        """Return how this network can be trained beside others, or None if it is better alone."""
        ...

    def run_together(
        self, together: Together, on_progress: Callable[[int, float], bool] = go_on
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Train networks side by side, where `side_by_side` gives all of them the same kind.

        Returns the loss of each epoch, (M, epochs), and which networks have been trained, (M,).
        The others are as they were: a number stopped being finite, or ``on_progress(epochs, loss)``
        asked to stop.
        """
        ...

    def alone(self) -> Engine:
        """Return an engine with the same numbers that uses one thread, to run beside others."""
        ...

    def threads_of(self, network: FeedForward) -> int:
        """Return how many threads the engine may use for a network."""
        ...

    def instructions(self) -> str:
        """Return the name of the instruction set, on which the last bits of a sum depend."""
        ...

    def predict(self, network: FeedForward, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return a^(L) of checked inputs, (n, units_L), in the network's dtype, without dropout.

        The inputs may be laid out in any way. Warns where a number overflows (`overflow`).
        """
        ...

    def losses(
        self, network: FeedForward, inputs: NDArray[Any], y: NDArray[Any], outputs: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return C_i of checked samples, (n,), without penalty and dropout.

        ``inputs`` and ``y``, (n, units_L), are of the network's dtype, in which it is computed;
        ``outputs``, (n, units_L), receives a^(L). What is not finite does not raise.
        """
        ...

    def shortcut(self, network: FeedForward) -> Shortcut | None:
        """Return a faster `predict` that checks what it is given by itself, or None."""
        ...

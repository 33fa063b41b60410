"""Again: a step of a recorded run of our own, taken once more, to the same bits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file

from chainrule import engines
from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.diagnose import folder as folders
from chainrule.diagnose.found import Kept
from chainrule.diagnose.record import RunRecord
from chainrule.diagnose.rules import Taken
from chainrule.engines import Engine, Plan
from chainrule.equations import data
from chainrule.equations.data import Samples
from chainrule.equations.optimizers import Optimizer
from chainrule.storage import models
from chainrule.training import checkpoints
from chainrule.training.watching.kept import (
    Pass,
    Repeat,
    one_step,
    part_of,
    passes_in,
    position_in,
)
from chainrule.training.watching.rules import memory_of, optimizer_of, settings_of

_NEAR = 4096  # units in the last place
_FURTHEST = 100  # steps before the one that is asked for whose gradients are told apart


@exported("chainrule")
class ReplayedStep:
    """Hold a step of a network's run that was taken again. `RunRecord.replay` returns it.

    Attributes:
        step: The number of the step.
        loss: The loss C of the batch, penalty included, as training computed it.
        recorded: The loss that the run had.
        sample_losses: The loss of each sample, (n,).
        network: A copy of the network as it was before the step.
        x: The inputs of the batch.
        y: Its targets.
        sample_weight: The weights of its samples, or None.
        rows: The row of each sample in the data, (n,).

    Examples:
        >>> again = run.replay(133)  # doctest: +SKIP
        >>> again.same, again.rows[again.sample_losses.argmax()]  # doctest: +SKIP
        (True, 1871)
        >>> print(again.explain("w[1][3,7]"))  # doctest: +SKIP
    """

    def __init__(
        self,
        repeat: Repeat,
        batch: Samples,
        rows: NDArray[np.int64],
        rate: float,
        recorded: float,
        explain: Callable[..., Any],
    ) -> None:
        network, self._explain = repeat.network, explain
        self.step, self.recorded = repeat.step, recorded
        self.x, self.y, self.sample_weight, self.rows = batch.X, batch.y, batch.weights, rows
        self.network: Any = network.copy()
        _, self.loss, self.sample_losses = one_step(
            network, repeat.state, batch, repeat.plan, repeat.engine, rate
        )
        if repeat.plan.l2_per_sample:
            self.network.l2 = network.l2 / batch.weight if batch.weight else 0.0

    @property
    def same(self) -> bool:
        """Return whether the loss is that of the run, to the bit; two NaN are the same."""
        both_nan = math.isnan(self.loss) and math.isnan(self.recorded)
        return both_nan or self.loss == self.recorded

    @cached_property
    def gradient(self) -> dict[str, NDArray[np.float64]]:
        """Return the gradient of each array of parameters, before clipping, by name ("W[1]").

        It is computed in float64, with the dropout masks of the step.
        """
        g = self.network.gradient(self.x, self.y, **self._options())
        found = {}
        for l in range(1, len(self.network.sizes)):
            found[f"W[{l}]"] = g.dW[l]
            if g.db[l] is not None:
                found[f"b[{l}]"] = g.db[l]
        return found

    def explain(self, target: str, **options: Any) -> Any:
        """Explain one number of the step, as `Network.explain` does.

        Args:
            target: What to explain, such as "w[1][3,7]" or, as a run names it, "W[1][3,7]".
            options: More for `Network.explain`, such as ``notation=``.
        """
        target = re.sub(r"^W(?=\[\d+\]\[)", "w", target)
        return self._explain(self.network, target, self.x, self.y, **self._options(), **options)

    def _options(self) -> dict[str, Any]:
        drops = any(layer.dropout for layer in self.network.layers)
        return {
            "sample_weight": self.sample_weight,
            "dropout_step": self.step if drops else None,
        }

    def __repr__(self) -> str:
        same = "the same bits" if self.same else f"the run had {self.recorded:.6g}"
        return f"ReplayedStep(step {self.step}: loss {self.loss:.6g}, {same})"


class Source:
    """Take the steps of a recorded run again.

    Args:
        kind: The class of the network.
        explain: Its method, or the function, that explains a number of it.
        optimizer: The optimiser, where it is a custom one.
        X: The inputs, where they were too large to be kept.
        custom: The custom activations and losses of the network.
    """

    def __init__(
        self,
        kind: type[Any],
        explain: Callable[..., Any],
        optimizer: Optimizer | None = None,
        X: ArrayLike | None = None,
        custom: Sequence[Any] = (),
    ) -> None:
        self._kind, self._explain = kind, explain
        self._optimizer, self._X, self._custom = optimizer, X, custom

    def replay(self, record: RunRecord, step: int) -> ReplayedStep:
        """Return a step, taken again."""
        line = record.line(step)
        bundle = record.folder / folders.SPIKES / folders.name_of(step)
        network = self._network(record)
        plan, engine = self._plan(record), _engine(record, network)
        if (bundle / "spike.json").is_file():
            kept = load_file(bundle / "batch.safetensors")
            batch = Samples(kept["x"], kept["y"], kept.get("weights"))
            position = position_in(bundle, step)
            offset = record.about["offset"]
            again = Repeat.begin(network, position, batch, plan, engine, offset)
            rate = float(kept["rate"][0])
            return ReplayedStep(again, batch, kept["rows"], rate, line.loss, self._explain)
        samples, rows = self._samples(record, network)
        first = record.segment_of(step)
        again, passes = self._begin(record, first, network, samples, plan, engine)
        for _ in again.to(passes, step):
            pass
        if again.step != step:
            raise ValueError(f"step is {step}, whose batch is not in {str(record.folder)!r}")
        index, rate = again.batch(passes)
        batch = part_of(samples, index)
        return ReplayedStep(again, batch, rows[index], rate, line.loss, self._explain)

    def kept(self, record: RunRecord, name: str, index: tuple[int, ...], step: int) -> Kept:
        """Return what each step up to ``step`` had and did, of one element of a parameter."""
        first, starts = record.segment_of(step), record.segments()
        while record.about["steady"] and starts.index(first) and step - first < _FURTHEST:
            earlier = starts[starts.index(first) - 1]
            passes = passes_in(_segment(record, earlier))
            if not passes or passes[-1].end < first:
                break
            first = earlier
        network = self._network(record)
        samples, _ = self._samples(record, network)
        plan, place = self._plan(record), _place(record, name, index)
        spans = [s for s in starts if first <= s <= step]
        taken: list[Taken | None] = []
        memory, rule = None, record.rule
        settings = {**settings_of(plan.optimizer), "decoupled": rule == "AdamW"}
        for start, end in zip(spans, [*spans[1:], step + 1], strict=True):
            again, passes = self._begin(
                record, start, network, samples, plan, _engine(record, network)
            )
            if memory is None:
                fresh = start == 0
                memory = memory_of(again.state.slots, place, rule, again.state.step, fresh)
            for begun, losses, seen in again.to(passes, end, traced=place):
                assert seen.trace is not None
                rates = _rates(passes, begun)
                for k, row in enumerate(seen.trace.tolist()):
                    theta, gradient, used, after = row
                    each = Taken(begun + k, theta, after, gradient, used, rates[k], settings)
                    if network.l2 and name.startswith("W"):
                        weight = _weight(samples, passes, begun + k, plan)
                        each = replace(each, penalty=network.l2 / weight * theta if weight else 0.0)
                    taken.append(each)
                _check(record, begun + len(losses) - 1, float(losses[-1].sum()), network.dtype)
        assert memory is not None
        return Kept(tuple(taken), memory, float(record.about["base_rate"]))

    # --- what was kept ----------------------------------------------------------------------------

    def _network(self, record: RunRecord) -> Any:
        network = models.load(record.folder / folders.NETWORK, self._custom, self._kind)
        network.l2 = float(record.about["l2"])
        return network

    def _plan(self, record: RunRecord) -> Plan:
        about = record.about["plan"]
        optimizer = self._optimizer or optimizer_of(about["optimizer"])
        if optimizer is None:
            raise ValueError(
                f"the optimiser is {about['optimizer']['name']}, a custom one. Pass it: "
                "load_run(folder, optimizer=...)"
            )
        return Plan(
            optimizer, about["batch_size"], about["clip_norm"], about["l2_per_sample"],
            folders.number(about["largest_loss"]),
        )  # fmt: skip

    def _samples(self, record: RunRecord, network: Any) -> tuple[Samples, NDArray[np.int64]]:
        kept = load_file(record.folder / folders.DATA)
        X, y, weights = kept.get("X"), kept["y"], kept.get("weights")
        if X is None:
            if self._X is None:
                raise ValueError(
                    "the inputs of this run were too large to be kept. Pass them: "
                    "load_run(folder, X=X)"
                )
            X = data.inputs(self._X, network.sizes[0], network.dtype, converted=True)
            if len(X) != len(y):
                raise ValueError(f"X has {len(X)} samples; the run had {len(y)}")
            found = checkpoints.fingerprint(Samples(X, y, weights), network)
            if found != record.about["data"]:
                raise ValueError("X holds other numbers than the run was trained on")
        return Samples(X, y, weights), kept["rows"]

    @staticmethod
    def _begin(
        record: RunRecord, first: int, network: Any, samples: Samples, plan: Plan, engine: Engine
    ) -> tuple[Repeat, list[Pass]]:
        folder = _segment(record, first)
        position, offset = position_in(folder, first), record.about["offset"]
        again = Repeat.begin(network, position, samples, plan, engine, offset)
        return again, passes_in(folder)


def _segment(record: RunRecord, step: int) -> Path:
    return record.folder / folders.SEGMENTS / folders.name_of(step)


def _engine(record: RunRecord, network: Any) -> Engine:
    """Return the engine of the run; where it is not here, another comes to the same rounded."""
    name = record.about["engine"]
    try:
        return engines.choose(engines.check_name(name), network)
    except ValueError:
        return engines.choose("auto", network)


def _place(record: RunRecord, name: str, index: tuple[int, ...]) -> int:
    """Return the place of an element among all parameters."""
    place = 0
    for about in record.about["parameters"]:
        if about["name"] == name:
            return place + int(np.ravel_multi_index(index, about["shape"]))
        place += math.prod(about["shape"])
    raise ValueError(f"there is no parameter {name!r}")


def _rates(passes: Sequence[Pass], first: int) -> list[float]:
    each = next(p for p in passes if p.first <= first < p.end)
    found: list[float] = each.rates[first - each.first :].tolist()
    return found


def _weight(samples: Samples, passes: Sequence[Pass], step: int, plan: Plan) -> float:
    """Return what λ of a step is divided by."""
    if not plan.l2_per_sample:
        return 1.0
    each = next(p for p in passes if p.first <= step < p.end)
    first = (step - each.first) * plan.batch_size
    places = np.arange(first, min(first + plan.batch_size, len(samples)))
    rows = places if each.order is None else each.order[places]
    return part_of(samples, rows).weight


def _check(record: RunRecord, step: int, found: float, dtype: np.dtype[Any]) -> None:
    """Raise ValueError where a step taken again is not that of the run."""
    recorded = record.line(step).loss
    near = _NEAR * float(np.finfo(dtype).eps)
    if math.isfinite(recorded) and not math.isclose(found, recorded, rel_tol=near):
        raise ValueError(
            f"step {step} taken again has the loss {found!r}, and had {recorded!r} in the run: a "
            "callback has changed the network or the optimiser's numbers between epochs"
        )

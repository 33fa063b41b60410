"""Recorder: what a run of our own writes into its folder while it trains."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose import folder as folders
from chainrule.diagnose import life
from chainrule.diagnose.rows import RowLosses, checked
from chainrule.diagnose.spikes import Spikes
from chainrule.engines import Engine, Epoch, EpochResult, Plan, Seen, State, go_on, noted
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.storage import models
from chainrule.training import checkpoints
from chainrule.training.callbacks import Callback, Run
from chainrule.training.errors import where
from chainrule.training.watching.kept import (
    Pass,
    Position,
    Repeat,
    part_of,
    save_passes,
    write,
)
from chainrule.training.watching.rules import rule_of, settings_of
from chainrule.training.watching.settings import Watch

SHORTEST = 200  # steps between two states that are kept; to take so many again takes a moment
MOST_DATA = 256 << 20  # bytes of X that are kept, so that batches can be told without the data
_PAUSE = 0.5  # seconds between two times that all is written, so that short epochs stay short
_KEPT_SPIKES = 20
_WORST = 5  # samples of a spike that are named


@dataclass
class _Taken:
    """An epoch under way: where its numbers stand, and how many of its steps have been told."""

    first: int
    n: int
    size: int
    epoch: Epoch
    seen: Seen
    losses: NDArray[np.float64]
    rows: NDArray[np.int64]
    told: int = 0
    spikes: list[tuple[int, float, str]] = field(default_factory=list)

    def samples(self, first: int, last: int) -> slice:
        """Return the places of the samples of some steps."""
        return slice(first * self.size, min(last * self.size, self.n))


class Recorder(Callback):
    """Record the epochs of one network: a callback, through which they are run.

    ``rows`` are the numbers of the samples' rows, if they are not ``watch.rows``. A run begins at
    step ``offset`` of its state. It is not ``steady`` if somebody changes the optimiser's numbers
    between epochs: then each epoch begins with a state that is kept.
    """

    def __init__(
        self, watch: Watch, network: FeedForward, plan: Plan, engine: Engine, samples: Samples, *,
        rows: NDArray[np.int64] | None = None, offset: int = 0, steady: bool = True,
    ) -> None:  # fmt: skip
        n = len(samples)
        self.watch, self.network, self.plan = watch, network, plan
        self.engine, self.samples, self.offset, self.steady = engine, samples, offset, steady
        if rows is None:
            rows = np.arange(n) if watch.rows is None else checked(watch.rows, n)
        self.rows = rows
        self._folder: Path | None = None
        self._writer = folders.Writer()
        self._losses_of_rows, self._spikes = RowLosses(), Spikes()
        self._state: Mapping[str, Any] | None = None
        self._start: Position | None = None
        self._passes: list[Pass] = []
        self._unwritten: list[Pass] = []
        self._written = 0.0
        self._said = False

    # --- a callback -------------------------------------------------------------------------------

    def on_start(self, run: Run) -> None:
        """Forget earlier runs."""
        self._folder, self._state, self._start, self._said = None, None, None, False
        self._unwritten, self._written = [], 0.0
        self._losses_of_rows, self._spikes = RowLosses(), Spikes()

    def on_end(self, run: Run) -> None:
        """Write what there is, and end the recording."""
        if self._folder is not None:
            self._write()
            self._writer.put_quietly(life.end, self._folder, life.error())
            self._writer.close()

    def save_state(self) -> Mapping[str, Any]:
        """Return the losses of the rows, which cannot be told from the folder."""
        if self._folder is None:
            return {} if self._state is None else self._state
        return {**self._losses_of_rows.arrays(), "spikes": self._spikes.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with the recording of a run that is resumed."""
        self._state = state

    # --- an epoch ---------------------------------------------------------------------------------

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """Run an epoch as the engine does, to the same bits, and record it."""
        n, steps = len(epoch.samples), len(epoch.learning_rates)
        first = state.step - self.offset
        if self._folder is None:
            self._open(epoch, first)
        assert self._folder is not None
        seen = Seen.of(network, first, steps, n, self.watch.every)
        losses = epoch.step_losses
        if losses is None:
            losses = np.full((steps, 2), math.nan)
        rows = self.rows if epoch.order is None else self.rows[epoch.order]
        taken = _Taken(first, n, self.plan.batch_size, epoch, seen, losses, rows)
        order = None if epoch.order is None else epoch.order.copy()  # some shuffle it in place
        self._keep(Pass(first, order, epoch.learning_rates), network, state)

        def progress(done: int, loss: float) -> bool:
            self._tell(taken, done)
            return on_progress(done, loss)

        epoch = replace(epoch, step_losses=losses, seen=seen)
        result = self.engine.run_epoch(network, epoch, state, progress)
        self._tell(taken, result.steps)
        self._keep_spikes(taken)
        if result.failure is not None:
            self._failed(taken, result, network, state)
        if monotonic() - self._written >= _PAUSE:
            self._write()
        return result

    def _open(self, epoch: Epoch, first: int) -> None:
        """Make the folder, or go on in it."""
        path = Path(self.watch.folder)
        if first and self._state is not None and (path / folders.RUN).is_file():
            folders.cut(folders.check(path), first)
            self._losses_of_rows.restore(self._state)
            self._spikes.restore(self._state["spikes"])
        else:
            folders.begin(path, self._about(float(epoch.learning_rates[0])))
            content = models.content(self.network, self.network.parameters)
            self._writer.put(self._write_data, path, content)
        self._steps = folders.Lines(path / folders.STEPS)
        self._norms = folders.Rotated(path / folders.SAMPLES)
        self._folder = path

    def _about(self, rate: float) -> dict[str, Any]:
        network, plan = self.network, self.plan
        kind, rule = type(plan.optimizer).__name__, rule_of(plan.optimizer)
        names = []
        for l, layer in enumerate(network.weighted_layers, start=1):
            names.append((f"W[{l}]", layer.W.shape))
            if layer.b is not None:
                names.append((f"b[{l}]", layer.b.shape))
        kept = self.samples.X.nbytes <= MOST_DATA
        return {
            "kind": "network",
            "model": f"Network {'-'.join(map(str, network.sizes))}",
            "optimizer": kind,
            "rule": rule,
            "every": self.watch.every,
            "dense": False,
            "parameters": [
                {"name": name, "shape": list(shape), "group": 0, "place": i}
                for i, (name, shape) in enumerate(names)
            ],
            "offset": self.offset,
            "steady": self.steady,
            "base_rate": getattr(plan.optimizer.schedule, "initial", None) or rate,
            "engine": self.engine.name,
            "l2": network.l2,
            "plan": {
                "optimizer": json.loads(json.dumps(checkpoints.plain(plan.optimizer))),
                "batch_size": plan.batch_size,
                "clip_norm": checkpoints.plain(plan.clip_norm),
                "l2_per_sample": plan.l2_per_sample,
                "largest_loss": plan.largest_loss,
            },
            "data": None if kept else checkpoints.fingerprint(self.samples, network),
        }

    def _keep(self, each: Pass, network: FeedForward, state: State) -> None:
        """Keep the state where a segment begins, and the order of the samples."""
        start = self._start
        if start is None or not self.steady or each.first - start.step >= SHORTEST:
            self._write_passes()
            self._start = Position.of(network, state, self.offset)
            self._passes = []
            self._writer.put(self._write_segment, self._start)
        self._passes.append(each)
        self._unwritten.append(each)

    # --- steps ------------------------------------------------------------------------------------

    def _tell(self, taken: _Taken, done: int) -> None:
        """Take what is new of an epoch: losses of rows, spikes, and lines for the writer."""
        first, taken.told = taken.told, max(taken.told, done)
        if done <= first:
            return
        places = taken.samples(first, done)
        self._losses_of_rows.add(taken.rows[places], taken.seen.losses[places])
        spiked = set()
        for k, loss in enumerate(taken.losses[first:done].sum(axis=1).tolist(), start=first):
            reason = self._spikes.see(loss)
            if reason is not None:
                taken.spikes.append((k, loss, reason))
                spiked.add(k)
        self._writer.put(self._write_steps, taken, first, done, spiked, self._settings())

    def _settings(self) -> dict[str, Any]:
        """Return what the first line says besides what all do: the hyperparameters."""
        said, self._said = self._said, True
        return {} if said else {"settings": [settings_of(self.plan.optimizer)]}

    def _write_steps(
        self, taken: _Taken, first: int, last: int, spiked: set[int], settings: dict[str, Any]
    ) -> None:
        """Write the lines of steps; called by the writer."""
        losses = taken.losses[first:last].sum(axis=1).tolist()
        rates = taken.epoch.learning_rates[first:last].tolist()
        found, of_samples = [], []
        for k, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=first):
            step = taken.first + k
            line: dict[str, Any] = {"step": step, "loss": loss, "rates": [rate]}
            if k == first:
                line |= settings
            if k in spiked:
                line["spike"] = True
            if step % self.watch.every == 0:
                line |= self._measured(taken, k)
                of_samples.append(self._samples_of(taken, k))
            found.append(line)
        self._steps.add(*found)
        if of_samples:
            self._norms.add(*of_samples)

    def _measured(self, taken: _Taken, k: int) -> dict[str, Any]:
        """Return the norms of a recorded step."""
        step, every, places = taken.first + k, self.watch.every, taken.samples(k, k + 1)
        layers = taken.seen.layers[noted(step, every) - noted(taken.first, every)]
        norms = taken.seen.norms[places]
        count = len(norms)
        return {
            "recorded": True,
            "samples": count,
            "weights": layers[:, 0].tolist(),
            "updates": layers[:, 2].tolist(),
            "gradients": layers[:, 1].tolist(),
            "norm": float(np.linalg.norm(layers[:, 1])),
            "noise": [float(norms @ norms) / count, float(layers[:, 3] @ layers[:, 3])],
        }

    @staticmethod
    def _samples_of(taken: _Taken, k: int) -> dict[str, Any]:
        """Return the losses and norms of the samples of a recorded step."""
        places = taken.samples(k, k + 1)
        return {
            "step": taken.first + k,
            "rows": taken.rows[places].tolist(),
            "losses": _short(taken.seen.losses[places]),
            "norms": _short(taken.seen.norms[places]),
        }

    # --- spikes -----------------------------------------------------------------------------------

    def _keep_spikes(self, taken: _Taken) -> None:
        """Keep the state before each spike: the steps up to there are taken again."""
        spikes = [spike for spike in taken.spikes if spike[0] < taken.told]
        if not spikes or self._start is None:
            return
        if len(spikes) > _KEPT_SPIKES:
            spikes = [spikes[0], *spikes[1 - _KEPT_SPIKES :]]
        twin = self.network.copy()
        again = Repeat.begin(twin, self._start, self.samples, self.plan, self.engine, self.offset)
        for k, loss, reason in spikes:
            step = taken.first + k
            for _ in again.to(self._passes, step):
                pass
            self._bundle(taken, k, again.position, loss, reason)

    def _failed(
        self, taken: _Taken, result: EpochResult, network: FeedForward, state: State
    ) -> None:
        """Record the step that ended the run, with the state from before it."""
        k = result.steps
        assert result.failure is not None
        loss = float(taken.losses[k].sum())
        reason = f"{where(result.failure)} is not finite"
        self._bundle(taken, k, Position.of(network, state, self.offset), loss, reason)
        if taken.told <= k:
            taken.told = k + 1
            rate = float(taken.epoch.learning_rates[k])
            line = {"step": taken.first + k, "loss": loss, "rates": [rate], "spike": True}
            self._writer.put(self._steps.add, line | self._settings())

    def _bundle(self, taken: _Taken, k: int, position: Position, loss: float, reason: str) -> None:
        places = taken.samples(k, k + 1)
        losses, rows = taken.seen.losses[places], taken.rows[places]
        order = taken.epoch.order
        index = np.arange(taken.n)[places] if order is None else order[places]
        batch = part_of(taken.epoch.samples, index)
        arrays: dict[str, Any] = {"x": batch.X, "y": batch.y, "rows": rows}
        if batch.weights is not None:
            arrays["weights"] = batch.weights
        arrays["rate"] = taken.epoch.learning_rates[k : k + 1]
        worst = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:_WORST]
        about = {
            "step": taken.first + k,
            "loss": loss,
            "reason": reason,
            "worst": [
                {"sample": int(i), "row": int(rows[i]), "loss": float(losses[i])} for i in worst
            ],
        }
        self._writer.put(self._write_bundle, position, arrays, about)

    # --- writing ----------------------------------------------------------------------------------

    def _write(self) -> None:
        """Hand over what is written now and then: the losses of rows, and the orders of epochs."""
        self._written = monotonic()
        self._writer.put(self._write_rows, self._losses_of_rows.arrays())
        self._write_passes()

    def _write_passes(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if unwritten and self._start is not None and self._folder is not None:
            path = self._folder / folders.SEGMENTS / folders.name_of(self._start.step)
            self._writer.put(save_passes, unwritten, path)

    def _write_data(self, path: Path, content: bytes) -> None:
        folders.rename_over(path / folders.NETWORK, lambda name: Path(name).write_bytes(content))
        arrays = {"y": self.samples.y, "rows": self.rows}
        if self.samples.weights is not None:
            arrays["weights"] = self.samples.weights
        if self.samples.X.nbytes <= MOST_DATA:
            arrays["X"] = self.samples.X
        write(path / folders.DATA, arrays)

    def _write_rows(self, arrays: Mapping[str, Any]) -> None:
        if self._folder is not None and len(arrays["sums"]):
            write(self._folder / folders.ROWS, arrays)

    def _write_segment(self, position: Position) -> None:
        assert self._folder is not None
        path = self._folder / folders.SEGMENTS / folders.name_of(position.step)
        position.save(path)
        folders.prune(path.parent, self.watch.keep)

    def _write_bundle(
        self, position: Position, arrays: Mapping[str, Any], about: Mapping[str, Any]
    ) -> None:
        assert self._folder is not None
        path = self._folder / folders.SPIKES / folders.name_of(position.step)
        position.save(path)
        write(path / "batch.safetensors", arrays)
        text = folders.encoded(about)
        folders.rename_over(path / "spike.json", partial(_write_text, text=text))
        folders.prune(path.parent, _KEPT_SPIKES, first=1)


def _write_text(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")


def _short(values: NDArray[np.float64]) -> list[float]:
    """Return numbers in nine digits, as many as float32 has, or a few more."""
    with np.errstate(all="ignore"):
        power = 10.0 ** (8 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * power) / power
    found: list[float] = np.where(np.isfinite(rounded), rounded, values).tolist()
    return found

"""Recorder: what stands around a user's training loop, and writes down what its steps did."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from chainrule._exports import exported
from chainrule.diagnose import folder as folders
from chainrule.diagnose import life
from chainrule.diagnose.record import RunRecord
from chainrule.diagnose.rows import RowLosses, checked
from chainrule.diagnose.rules import RULES
from chainrule.diagnose.spikes import Spikes
from chainrule.equations.checks import warn
from chainrule.foreign.torch.run import named_inputs
from chainrule.foreign.torch.watching import packing, state
from chainrule.foreign.torch.watching.again import Source, modes_of
from chainrule.foreign.torch.watching.block import Block
from chainrule.foreign.torch.watching.losses import SampleLosses

SHORTEST = 20  # steps between two states that are kept, so that every=1 does not keep one a step
_KEPT_SPIKES = 20


@exported("chainrule")
class WatchedRun(RunRecord):
    """Record a training loop of PyTorch while it runs. `watch` returns it.

    It reads as a `RunRecord` does, at any moment of the run.

    Attributes:
        steps_seen: How many steps it has seen.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        loss_fn: Callable[..., Any] | None,
        *,
        every: int,
        folder: str | os.PathLike[str],
        keep: int,
        clip_norm: float | None,
        dense: bool,
    ) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.every, self.keep, self.clip_norm, self.dense = every, keep, clip_norm, dense
        self.steps_seen = 0
        self.sample_losses = SampleLosses(loss_fn)
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._length = max(every, SHORTEST)
        path = folders.begin(folder, self._about())
        super().__init__(path, Source(model, optimizer, loss_fn, clip_norm))
        self._writer = folders.Writer()
        self._steps_file = folders.Lines(path / folders.STEPS)
        self._samples_file = folders.Rotated(path / folders.SAMPLES)
        self._rows, self.spikes_of = RowLosses(), Spikes()
        self._settings: list[dict[str, Any]] | None = None
        self._segment: Path | None = None
        self._copies: dict[str, torch.Tensor] = {}
        self._told: set[str] = set()
        self.inside = self._closed = False
        _open_runs.add(self)

    def _about(self) -> dict[str, Any]:
        optimizer = self.optimizer
        groups = [] if optimizer is None else optimizer.param_groups
        order = {id(p): i for i, p in enumerate(p for g in groups for p in g["params"])}
        group_of = {id(p): i for i, g in enumerate(groups) for p in g["params"]}
        kind = "" if optimizer is None else type(optimizer).__name__
        own = type(optimizer).__module__.startswith("torch.optim")
        return {
            "kind": "torch",
            "model": type(self.model).__name__,
            "optimizer": kind,
            "rule": kind if own and kind in RULES else None,
            "every": self.every,
            "dense": self.dense,
            "parameters": [
                {
                    "name": name,
                    "shape": list(p.shape),
                    "group": group_of.get(id(p)),
                    "place": order.get(id(p)),
                }
                for name, p in self.trained.items()
            ],
        }

    def step(self, x: Any, y: Any = None, *, rows: Any = None) -> Block:
        """Return the block that goes around one step of the loop: forward, backward, update.

        Args:
            x: The inputs, as they go into the model: a tensor, a tuple of arguments, or a
                dictionary of named ones. The batch is their first dimension.
            y: The targets.
            rows: The number of each sample's row in the data, (n,), from 0: it gives every row a
                history of losses.

        Raises:
            TypeError: The rows are not whole numbers, or x or y hold what cannot be recorded.
            ValueError: The rows do not fit the batch, or a step is still under way.
        """
        if self._closed:
            raise ValueError("the run is closed; make another with watch")
        n = _samples(x)
        if rows is not None:
            rows = rows.cpu() if isinstance(rows, torch.Tensor) else rows
            rows = checked(rows, n)
        for name, value in (("x", x), ("y", y)):
            packing.pack(value, name, {})
        return Block(self, x, y, rows, n)

    def flush(self) -> None:
        """Write all that has been recorded. Reading a run does so by itself."""
        if not self._closed:
            arrays = self._rows.arrays()
            self._writer.put(self._write_rows, arrays)
            self._writer.flush()

    def wait(self) -> None:
        """Wait until what was handed over is written; warn of nothing."""
        self._writer.wait()

    def finish(self) -> None:
        """Write what there is when the process ends, without a word."""
        if self.folder.is_dir() and not self._closed:
            self._writer.put_quietly(self._write_rows, self._rows.arrays())
            self._writer.put_quietly(life.end, self.folder, life.error(at_exit=True))
            self._writer.wait()

    def close(self) -> None:
        """Write all, and end the recording; a block around it (``with run:``) does so by itself."""
        self.flush()
        self._closed = True
        self._writer.put_quietly(life.end, self.folder, life.error())
        self._writer.close()
        _open_runs.discard(self)

    def __enter__(self) -> WatchedRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- what a step hands over -------------------------------------------------------------------

    def tell_once(self, key: str, message: str) -> None:
        """Warn, once of each kind."""
        if key not in self._told:
            self._told.add(key)
            warn(message)

    def begin_step(self, watched: Block) -> None:
        """Keep the state where a segment begins, and the batch."""
        if self.steps_seen % self._length == 0 or self._segment is None:
            self._segment = self.folder / folders.SEGMENTS / folders.name_of(self.steps_seen)
            path, kept = self._segment, self._state()
            self._writer.put(self._write_segment, path, kept)
        batch = {
            "x": packing.copied(watched.x),
            "y": packing.copied(watched.y),
            "addresses": packing.addresses((watched.x, watched.y)),
            "rows": watched.rows,
            "random": watched.random,
            "modes": modes_of(self.model),
        }
        watched.batch = batch
        path = self._segment / f"{folders.name_of(self.steps_seen)}.safetensors"
        self._writer.put(packing.save, path, batch)

    def parameters_before(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained parameters; in the same memory each time, if not dense."""
        with torch.no_grad():
            if self.dense or not self._copies:
                self._copies = {name: p.detach().clone() for name, p in self.trained.items()}
            else:
                own = [p.detach() for p in self.trained.values()]
                torch._foreach_copy_(list(self._copies.values()), own)
        return self._copies

    def _state(self) -> dict[str, Any]:
        return {**state.of_model(self.model), "optimizer": state.of_optimizer(self.optimizer)}

    def _write_segment(self, path: Path, kept: Mapping[str, Any]) -> None:
        path.mkdir(exist_ok=True)
        packing.save(path / "state.safetensors", kept)
        folders.prune(path.parent, self.keep)

    def _write_rows(self, arrays: Mapping[str, Any]) -> None:
        from safetensors.numpy import save_file

        if len(arrays["sums"]):
            path = self.folder / folders.ROWS
            folders.rename_over(path, lambda name: save_file(dict(arrays), name))

    def spike(self, watched: Block, reason: str) -> None:
        """Keep the state before a step, and its batch: the loop has not changed anything yet."""
        kept = self._state()
        kept["buffers"] = watched.buffers  # a forward pass may have written into them
        path = self.folder / folders.SPIKES / folders.name_of(self.steps_seen)
        about: dict[str, Any] = {"step": self.steps_seen, "loss": watched.loss, "reason": reason}
        if watched.losses is not None:
            worst = np.argsort(-np.nan_to_num(watched.losses, nan=np.inf), kind="stable")[:5]
            about["worst"] = [
                {
                    "sample": int(i),
                    "row": None if watched.rows is None else int(watched.rows[i]),
                    "loss": float(watched.losses[i]),
                }
                for i in worst
            ]
        batch = watched.batch

        def write() -> None:
            path.mkdir(exist_ok=True)
            packing.save(path / "state.safetensors", kept)
            packing.save(path / "batch.safetensors", batch)
            folders.rename_over(
                path / "spike.json", lambda name: Path(name).write_text(folders.encoded(about))
            )
            folders.prune(path.parent, _KEPT_SPIKES, first=1)

        self._writer.put(write)
        watched.spiked = True

    def end_step(self, watched: Block) -> None:
        """Write what the step did."""
        line: dict[str, Any] = {"step": self.steps_seen, "loss": watched.loss}
        if watched.settings is not None:
            line["rates"] = [group["lr"] for group in watched.settings]
            rest = [{k: v for k, v in g.items() if k != "lr"} for g in watched.settings]
            if rest != self._settings:
                line["settings"] = self._settings = rest
        if watched.spiked:
            line["spike"] = True
        if watched.autocast is not None:
            line["autocast"] = watched.autocast
        if watched.measured:
            line |= watched.measured
        if watched.losses is not None and watched.rows is not None:
            self._rows.add(watched.rows, watched.losses)
        self._writer.put(self._steps_file.add, line)
        if watched.samples is not None:
            found = {"step": self.steps_seen, **watched.samples}
            self._writer.put(self._samples_file.add, found)
        if watched.numbers is not None and self._segment is not None:
            path = self._segment / f"{folders.name_of(self.steps_seen)}.moves.safetensors"
            self._writer.put(packing.save, path, watched.numbers)
        self.steps_seen += 1
        if self.steps_seen % self._length == 0:
            arrays = self._rows.arrays()
            self._writer.put(self._write_rows, arrays)


_open_runs: weakref.WeakSet[WatchedRun] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for run in list(_open_runs):
        run.finish()


def _samples(x: Any) -> int:
    for _, t in named_inputs(x):
        if t.dim():
            return len(t)
    raise TypeError(
        f"x is a {type(x).__name__}; expected a tensor, or a tuple or dictionary of tensors, with "
        "the batch as their first dimension"
    )

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
from numpy.typing import NDArray

from chainrule._exports import exported
from chainrule.diagnose import folder as folders
from chainrule.diagnose import life
from chainrule.diagnose.record import RunRecord
from chainrule.diagnose.rows import RowLosses, checked
from chainrule.diagnose.rules import RULES
from chainrule.diagnose.spares import Spares
from chainrule.diagnose.spikes import Spikes
from chainrule.equations.checks import warn
from chainrule.foreign.torch.calls import tensors
from chainrule.foreign.torch.run import named_inputs
from chainrule.foreign.torch.watching import packing, slots, state
from chainrule.foreign.torch.watching.again import Source
from chainrule.foreign.torch.watching.block import Block
from chainrule.foreign.torch.watching.losses import Each, SampleLosses

# Steps between two states that are kept: so many that states take a quarter of what batches take,
# but not more than are soon taken again. A state is three times the parameters, as with Adam.
_SHORTEST, _LONGEST, _SHARE, _STATES = 20, 100, 4, 3
_ROWS_A_STEP = 1 << 16  # bytes; the losses of rows are written when they are as many in the mean
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
        self._next = 0  # the step before which a state is kept
        self._rows_due = _SHORTEST
        self._failed = False  # whether an error ended the step before
        self.just_stepped = False  # whether the optimiser took a step in the block before
        path = folders.begin(folder, self._about())
        super().__init__(path, Source(model, optimizer, loss_fn, clip_norm))
        self._writer = folders.Writer()
        self._steps_file = folders.Lines(path / folders.STEPS)
        self._samples_file = folders.Rotated(path / folders.SAMPLES)
        self._spares = Spares(path / folders.SPARE)
        self._rows, self.spikes_of = RowLosses(), Spikes()
        self._later: list[tuple[NDArray[np.int64], Each]] = []
        self._modules: list[torch.nn.Module] = []
        self.device = next((p.device.type for p in self.trained.values()), "cpu")
        self._settings: list[dict[str, Any]] | None = None
        self._rest: list[dict[str, Any]] | None = None  # the settings without learning rates
        self._groups: tuple[list[dict[str, Any]], list[dict[str, Any]]] | None = None
        self._segment: Path | None = None
        self._slots: slots.Slots | None = None
        self._on_cpu = all(p.device.type == "cpu" for p in model.parameters())
        self._written: dict[str, Any] | None = None  # a state on file, whose memory is free
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
            packing.check(value, name)
        return Block(self, x, y, rows, n)

    def flush(self) -> None:
        """Write all that has been recorded. Reading a run does so by itself."""
        if not self._closed:
            arrays = self._losses_of_rows()
            self._writer.put(self._write_rows, arrays)
            self._writer.flush()

    def wait(self) -> None:
        """Wait until what was handed over is written; warn of nothing."""
        self._writer.wait()

    def finish(self) -> None:
        """Write what there is when the process ends, without a word."""
        if self.folder.is_dir() and not self._closed:
            self._writer.put_quietly(self._write_rows, self._losses_of_rows())
            self._writer.put_quietly(self._spares.clear)
            self._writer.put_quietly(life.end, self.folder, life.error(at_exit=True))
            self._writer.wait()

    def close(self) -> None:
        """Write all, and end the recording; a block around it (``with run:``) does so by itself."""
        self.flush()
        self._closed = True
        self._writer.put_quietly(self._spares.clear)
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

    def modules(self) -> list[torch.nn.Module]:
        """Return the modules of the model, as they were where the segment begins."""
        if self.steps_seen == self._next:
            self._modules = list(self.model.modules())
        return self._modules

    def settings_now(self) -> list[dict[str, Any]]:
        """Return what the parameter groups say; the same object while nothing changes."""
        assert self.optimizer is not None
        groups = [{**g, "params": None} for g in self.optimizer.param_groups]
        plain = not any(isinstance(v, torch.Tensor) for g in groups for v in g.values())
        if self._groups is None or not plain or groups != self._groups[0]:
            found = [state.settings_of(g) for g in groups]
            for g in found:
                del g["params"]
            self._groups = groups, found
        return self._groups[1]

    def _losses_of_rows(self) -> dict[str, NDArray[Any]]:
        """Return the losses of each row."""
        self._add_later()
        return self._rows.arrays()

    def _add_later(self) -> None:
        """Add the losses of rows that steps have left for later, in their order."""
        while self._later:
            first = self._later[0][1]
            fits = [each.fits(first) for _, each in self._later]
            count = fits.index(False) if False in fits else len(fits)
            found, self._later = self._later[:count], self._later[count:]
            losses = Each.joined([each for _, each in found])
            start = 0
            for rows, _ in found:
                self._rows.add(rows, losses[start : start + len(rows)])
                start += len(rows)

    def begin_step(self, watched: Block) -> None:
        """Keep the state where a segment begins, and write the batch."""
        step = self.steps_seen
        if step == self._next:
            self._next += max(self.every, self._apart(watched))
            path = self.folder / folders.SEGMENTS / folders.name_of(step)
            free, self._written = self._written, None
            kept = packing.copied(state.now(self.model, self.optimizer), free)
            self._writer.attempt(path.mkdir, exist_ok=True)
            self._writer.put(self._write_segment, path, kept)
            self._segment, self._slots = path, slots.Slots(path, self._next, self._spares)
        batch = {
            "x": watched.x,
            "y": watched.y,
            "addresses": np.array(packing.addresses((watched.x, watched.y)), dtype=np.int64),
            "rows": watched.rows,
            "random": watched.random,
            "modes": watched.modes,
        }
        assert self._slots is not None
        if self._on_cpu:  # straight from the memory of x and y
            self._writer.attempt(self._slots.write, step, batch)
        else:  # without waiting for the device
            self._writer.put(self._slots.write, step, packing.copied(batch))

    def failed_step(self) -> None:
        """Write all, and keep a state before the next step: what the error left is not known."""
        self._next, self._failed = self.steps_seen, True
        self._writer.wait()

    def _apart(self, watched: Block) -> int:
        """Return how many steps a state serves, from the sizes of the parameters and the batch."""
        model = sum(p.nbytes for p in self.trained.values())
        batch = sum(t.nbytes for t in tensors((watched.x, watched.y)))
        return min(max(_SHORTEST, _SHARE * _STATES * model // max(batch, 1)), _LONGEST)

    def parameters_before(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained parameters; in the same memory each time, if not dense."""
        with torch.no_grad():
            if self.dense or not self._copies:
                self._copies = {name: p.detach().clone() for name, p in self.trained.items()}
            else:
                own = [p.detach() for p in self.trained.values()]
                torch._foreach_copy_(list(self._copies.values()), own)
        return self._copies

    def _write_segment(self, path: Path, kept: dict[str, Any]) -> None:
        packing.save(path / "state.safetensors", kept, self._spares)
        self._written = kept
        folders.prune(path.parent, self.keep, spares=self._spares)

    def _write_rows(self, arrays: Mapping[str, Any]) -> None:
        from safetensors.numpy import save_file

        if len(arrays["sums"]):
            path = self.folder / folders.ROWS
            folders.rename_over(path, lambda name: save_file(dict(arrays), name))

    def spike(self, watched: Block, reason: str) -> None:
        """Keep the state before a step, and its batch: the loop has not changed anything yet."""
        kept = packing.copied(state.now(self.model, self.optimizer))
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
        segment, step = self._segment, self.steps_seen

        def write() -> None:
            assert segment is not None
            batch = slots.load(segment, step)  # as it was before the model, which may write into it
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
        step = self.steps_seen
        line: dict[str, Any] = {"step": step, "loss": watched.loss}
        if watched.settings is not None:
            line["rates"] = [group["lr"] for group in watched.settings]
            if watched.settings is not self._settings:
                self._settings = watched.settings
                rest = [{k: v for k, v in g.items() if k != "lr"} for g in watched.settings]
                if rest != self._rest:
                    line["settings"] = self._rest = rest
        if self._failed:
            line["apart"], self._failed = True, False  # no earlier state leads here
        if watched.spiked:
            line["spike"] = True
        if watched.autocast is not None:
            line["autocast"] = watched.autocast
        if watched.measured:
            line |= watched.measured
        if watched.later is not None:
            self._later.append((watched.rows, watched.later))
        elif watched.losses is not None and watched.rows is not None:
            self._add_later()
            self._rows.add(watched.rows, watched.losses)
        self._writer.attempt(self._steps_file.add, line)
        if watched.samples is not None:
            self._writer.attempt(self._write_samples, step, watched.samples)
        if watched.numbers is not None and self._segment is not None:
            path = self._segment / f"{folders.name_of(step)}.moves.safetensors"
            self._writer.put(packing.save, path, watched.numbers, self._spares)
        self.steps_seen += 1
        self.just_stepped = watched.settings is not None
        if self.steps_seen >= self._rows_due:
            arrays = self._losses_of_rows()
            size = sum(a.nbytes for a in arrays.values())
            self._rows_due = self.steps_seen + max(self.every, _SHORTEST, size // _ROWS_A_STEP)
            self._writer.put(self._write_rows, arrays)

    def _write_samples(self, step: int, samples: Mapping[str, Any]) -> None:
        """Write the rows, losses and norms of samples, of which there may be many."""
        parts = {
            key: "null" if found is None
            else folders.encoded(found.tolist()) if found.dtype.kind == "i"
            else folders.encoded_numbers(found.tolist())
            for key, found in samples.items()
        }  # fmt: skip
        body = ",".join(f'"{key}":{text}' for key, text in parts.items())
        self._samples_file.add(f'{{"step":{step},{body}}}')


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

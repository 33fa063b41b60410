"""Recorder: what stands around a user's training loop, and writes down what its steps did."""

from __future__ import annotations

import atexit
import math
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
from chainrule.diagnose.record import RunRecord
from chainrule.diagnose.rows import RowLosses, checked
from chainrule.diagnose.rules import RULES
from chainrule.diagnose.spikes import Spikes
from chainrule.equations.checks import warn
from chainrule.foreign.torch.run import named_inputs
from chainrule.foreign.torch.watching import packing, state
from chainrule.foreign.torch.watching.again import Source, modes_of
from chainrule.foreign.torch.watching.losses import SampleLosses
from chainrule.foreign.torch.watching.norms import Capture, norms

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
        self._losses = SampleLosses(loss_fn)
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._length = max(every, SHORTEST)
        path = folders.begin(folder, self._about())
        super().__init__(path, Source(model, optimizer, loss_fn, clip_norm))
        self._writer = folders.Writer()
        self._steps_file = folders.Lines(path / folders.STEPS)
        self._samples_file = folders.Rotated(path / folders.SAMPLES)
        self._rows, self._spikes = RowLosses(), Spikes()
        self._settings: list[dict[str, Any]] | None = None
        self._segment: Path | None = None
        self._told: set[str] = set()
        self._inside = self._closed = False
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
                for name, p in self._parameters.items()
            ],
        }

    def step(self, x: Any, y: Any = None, *, rows: Any = None) -> _Watched:
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
        return _Watched(self, x, y, rows, n)

    def flush(self) -> None:
        """Write all that has been recorded. Reading a run does so by itself."""
        if not self._closed:
            arrays = self._rows.arrays()
            self._writer.put(self._write_rows, arrays)
            self._writer.flush()

    def close(self) -> None:
        """Write all, and end the recording; a block around it (``with run:``) does so by itself."""
        self.flush()
        self._closed = True
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

    def begin_step(self, watched: _Watched) -> None:
        """Keep the state where a segment begins, and the batch."""
        if self.steps_seen % self._length == 0 or self._segment is None:
            self._segment = self.folder / folders.SEGMENTS / folders.name_of(self.steps_seen)
            path, kept = self._segment, self._state()
            self._writer.put(self._write_segment, path, kept)
        batch = {
            "x": packing.copied(watched.x),
            "y": packing.copied(watched.y),
            "rows": watched.rows,
            "random": watched.random,
            "modes": modes_of(self.model),
        }
        watched.batch = batch
        path = self._segment / f"{folders.name_of(self.steps_seen)}.safetensors"
        self._writer.put(packing.save, path, batch)

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

    def spike(self, watched: _Watched, reason: str) -> None:
        """Keep the state before a step, and its batch: the loop has not changed anything yet."""
        kept = self._state()
        kept["buffers"] = watched.buffers  # a forward pass may have written into them
        path = self.folder / folders.SPIKES / folders.name_of(self.steps_seen)
        about = {"step": self.steps_seen, "loss": watched.loss, "reason": reason}
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
            folders.prune(path.parent, _KEPT_SPIKES)

        self._writer.put(write)
        watched.spiked = True

    def end_step(self, watched: _Watched) -> None:
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
        run.flush()


class _Watched:
    """One step of a watched loop: a block with hooks that are gone when it ends."""

    def __init__(self, run: WatchedRun, x: Any, y: Any, rows: Any, n: int) -> None:
        self.run, self.x, self.y, self.rows, self.n = run, x, y, rows, n
        self.batch: dict[str, Any] = {}
        self.random: dict[str, Any] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        self.loss: float | None = None
        self.losses: np.ndarray[Any, Any] | None = None
        self.settings: list[dict[str, Any]] | None = None
        self.samples: dict[str, Any] | None = None
        self.measured: dict[str, Any] = {}
        self.numbers: dict[str, Any] | None = None
        self.spiked = False
        self.autocast: tuple[str, str] | None = None
        self._handles: list[Any] = []
        self._capture: Capture | None = None
        self._sum = False
        self._raw: dict[str, torch.Tensor] = {}  # gradients as backward left them
        self._versions: dict[str, int] = {}
        self._norms: dict[str, torch.Tensor] = {}
        self._before: dict[str, torch.Tensor] = {}
        self._used: dict[str, torch.Tensor] = {}

    @property
    def recorded(self) -> bool:
        """Return whether norms are recorded of this step."""
        return self.run.steps_seen % self.run.every == 0

    def __enter__(self) -> _Watched:
        run = self.run
        if run._inside:
            raise ValueError("a step is still under way; leave its block before the next one")
        self.random = state.random_states()
        self.buffers = {name: b.detach().clone() for name, b in run.model.named_buffers()}
        run.begin_step(self)
        self._handles.append(run.model.register_forward_hook(self._ran))
        if run.optimizer is not None:
            self._handles.append(run.optimizer.register_step_pre_hook(self._stepping))
        if self.recorded or run.dense:
            for name, p in run._parameters.items():
                self._before[name] = p.detach().clone()
                hook = self._accumulated(name)
                self._handles.append(p.register_post_accumulate_grad_hook(hook))
        if self.recorded:
            self._capture = Capture(run.model)
            self._capture.start()
        run._inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        run = self.run
        run._inside = False
        self._stop()
        if error is not None:
            run._writer.wait()
            return
        if self.loss is None:
            raise ValueError(
                f"step {run.steps_seen} did not call the model; expected the forward pass, "
                "backward and optimizer.step() inside the block"
            )
        with torch.no_grad():
            if self.recorded:
                self._measure()
            if run.dense:
                self._keep_numbers()
        run.end_step(self)

    def _stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._capture is not None:
            self._capture.stop()

    # --- hooks ------------------------------------------------------------------------------------

    def _ran(self, module: Any, args: Any, output: Any) -> None:
        """See the output: the loss of each sample, and whether it is a spike."""
        if self.loss is not None or not torch.is_grad_enabled():
            return
        run = self.run
        device = next((p.device.type for p in run._parameters.values()), "cpu")
        if torch.is_autocast_enabled(device):
            dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
            self.autocast = (device, dtype)
        whole, each = losses_of(run._losses, output, self.y, self.n)
        self.loss = float(whole)
        if each is not None:
            self._sum = run._losses.counts_as_sum(whole, each)
            self.losses = each.double().cpu().numpy()
            if math.isfinite(self.loss) and not run._losses.is_of_samples(whole, each):
                run.tell_once(
                    "mixed",
                    "the loss of the batch is neither the mean nor the sum of the losses of its "
                    "samples, so the loss of a sample is that of a batch of it alone",
                )
        reason = run._spikes.see(self.loss)
        if reason is not None:
            run.spike(self, reason)

    def _accumulated(self, name: str) -> Callable[[torch.Tensor], None]:
        def keep(p: torch.Tensor) -> None:
            if p.grad is None:
                return
            if self.run.dense:
                self._raw[name] = p.grad.detach().clone()
            self._norms[name] = torch.linalg.vector_norm(p.grad.detach())

        return keep

    def _stepping(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.settings = [
            {k: v for k, v in state.settings_of(g).items() if k != "params"}
            for g in optimizer.param_groups
        ]
        run = self.run
        grads = {n: p.grad.detach() for n, p in run._parameters.items() if p.grad is not None}
        if run.dense:
            self._used = {name: grad.clone() for name, grad in grads.items()}
        if self.recorded and grads and run.clip_norm is None and not run.dense:
            used = _total(_norms(list(grads.values())))
            raw = _total(list(self._norms.values()))
            if math.isfinite(raw) and abs(used - raw) > 1e-4 * raw:
                run.tell_once(
                    "changed",
                    "the loop changes gradients between backward and optimizer.step(), as clipping "
                    "does; why_moved and replay need to know it: pass clip_norm=, or dense=True",
                )

    # --- what is measured -------------------------------------------------------------------------

    def _measure(self) -> None:
        """Compute norms: of each sample, and of each parameter."""
        run = self.run
        parameters = run._parameters
        lists = {
            "weights": [self._before[name] for name in parameters],
            "updates": [p.detach() - self._before[name] for name, p in parameters.items()],
        }
        measured: dict[str, Any] = {"recorded": True, "samples": self.n}
        for key, found in lists.items():
            measured[key] = [float(t) for t in torch.stack(_norms(found)).double()]
        gradients = [self._norms.get(name) for name in parameters]
        measured["gradients"] = [None if t is None else float(t) for t in gradients]
        norm = _total([t for t in gradients if t is not None])
        measured["norm"] = norm
        assert self._capture is not None
        found_norms = norms(self._capture, self.n)
        squares = found_norms.squares
        if found_norms.missing:
            names = ", ".join(found_norms.missing[:3])
            more = len(found_norms.missing) - 3
            run.tell_once(
                "missing",
                f"gradients of {names}{f' and {more} more' if more > 0 else ''} cannot be split by "
                "sample; norms of samples leave them out",
            )
            measured["missing"] = len(found_norms.missing)
        rows = None if self.rows is None else self.rows.tolist()
        self.samples = {"rows": rows, "losses": None, "norms": None}
        if self.losses is not None:
            self.samples["losses"] = [float(f"{v:.9g}") for v in self.losses]
        if squares is not None:
            scaled = squares.cpu() * (1.0 if self._sum else float(self.n) ** 2)
            self.samples["norms"] = [float(f"{v:.9g}") for v in scaled.sqrt().tolist()]
            if not found_norms.missing:
                factor = 1 / self.n**2 if self._sum else 1.0
                measured["noise"] = [float(scaled.mean()), norm**2 * factor]
        self.measured = measured

    def _keep_numbers(self) -> None:
        parameters = self.run._parameters
        self.numbers = {
            "before": self._before,
            "after": {name: p.detach().clone() for name, p in parameters.items()},
            "gradient": self._raw,
            "used": {
                name: t
                for name, t in self._used.items()
                if name not in self._raw or not torch.equal(t, self._raw[name])
            },
            "stepped": self.settings is not None,
        }


def losses_of(
    losses: SampleLosses, output: Any, y: Any, n: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return C and C_i of an output, without a trace in the graph and in the generators."""
    before = torch.get_rng_state()
    with torch.no_grad():
        held = torch.utils._pytree.tree_map(
            lambda t: t.detach() if isinstance(t, torch.Tensor) else t, output
        )
        found = losses.attached(held, y), losses.each(held, y, n)
    if not torch.equal(before, torch.get_rng_state()):
        torch.set_rng_state(before)
    return found


def _norms(found: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch._foreach_norm(found))


def _total(found: list[torch.Tensor]) -> float:
    return math.sqrt(math.fsum(float(t) ** 2 for t in found))


def _samples(x: Any) -> int:
    for _, t in named_inputs(x):
        if t.dim():
            return len(t)
    raise TypeError(
        f"x is a {type(x).__name__}; expected a tensor, or a tuple or dictionary of tensors, with "
        "the batch as their first dimension"
    )

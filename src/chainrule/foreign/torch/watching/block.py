"""Block: one step of a watched loop, with hooks that are gone when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import torch

from chainrule.foreign.torch.watching import state
from chainrule.foreign.torch.watching.losses import SampleLosses
from chainrule.foreign.torch.watching.norms import Capture, norms


class Block:
    """One step of a watched loop: a block with hooks that are gone when it ends."""

    def __init__(self, run: Any, x: Any, y: Any, rows: Any, n: int) -> None:
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

    def __enter__(self) -> Block:
        run = self.run
        if run.inside:
            raise ValueError("a step is still under way; leave its block before the next one")
        self.random = state.random_states()
        self.buffers = {name: b.detach().clone() for name, b in run.model.named_buffers()}
        run.begin_step(self)
        self._handles.append(run.model.register_forward_hook(self._ran))
        if run.optimizer is not None:
            self._handles.append(run.optimizer.register_step_pre_hook(self._stepping))
        if self.recorded or run.dense:
            self._before = run.parameters_before()
            for name, p in run.trained.items():
                hook = self._accumulated(name)
                self._handles.append(p.register_post_accumulate_grad_hook(hook))
        if self.recorded:
            self._capture = Capture(run.model)
            self._capture.start()
        run.inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        run = self.run
        run.inside = False
        self._stop()
        if error is not None:
            run.wait()
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
        device = next((p.device.type for p in run.trained.values()), "cpu")
        if torch.is_autocast_enabled(device):
            dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
            self.autocast = (device, dtype)
        whole, each = losses_of(run.sample_losses, output, self.y, self.n)
        self.loss = float(whole)
        if each is not None:
            self._sum = run.sample_losses.counts_as_sum(whole, each)
            self.losses = each.double().cpu().numpy()
            if math.isfinite(self.loss) and not run.sample_losses.is_of_samples(whole, each):
                run.tell_once(
                    "mixed",
                    "the loss of the batch is neither the mean nor the sum of the losses of its "
                    "samples, so the loss of a sample is that of a batch of it alone",
                )
        reason = run.spikes_of.see(self.loss)
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
        grads = {n: p.grad.detach() for n, p in run.trained.items() if p.grad is not None}
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
        parameters = run.trained
        before, after = list(self._before.values()), [p.detach() for p in parameters.values()]
        measured: dict[str, Any] = {"recorded": True, "samples": self.n}
        measured["weights"] = torch.stack(_norms(before)).tolist()
        if run.dense:
            updates = torch._foreach_sub(after, before)
        else:  # the copy is needed no more
            updates = before
            torch._foreach_sub_(updates, after)
        measured["updates"] = torch.stack(_norms(list(updates))).tolist()
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
        parameters = self.run.trained
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

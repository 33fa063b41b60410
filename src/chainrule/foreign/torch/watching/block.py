"""Block: one step of a watched loop, with hooks that are gone when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import torch

from chainrule.foreign.torch.calls import tensors
from chainrule.foreign.torch.kept import version
from chainrule.foreign.torch.watching import state
from chainrule.foreign.torch.watching.losses import Each, whole_of
from chainrule.foreign.torch.watching.norms import Capture, norms

# Recorded steps between two in which gradients are compared by their norms. In the others a change
# shows in the counter of writes, which a write through ``.data`` does not move.
_COMPARED = 10


class Block:
    """One step of a watched loop: a block with hooks that are gone when it ends."""

    def __init__(self, run: Any, x: Any, y: Any, rows: Any, n: int) -> None:
        self.run, self.x, self.y, self.rows, self.n = run, x, y, rows, n
        self.random: dict[str, Any] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        self.modes: bool | list[bool] = True
        self.loss: float | None = None
        self.losses: np.ndarray[Any, Any] | None = None
        self.later: Each | None = None  # what the losses of samples follow from
        self.settings: list[dict[str, Any]] | None = None
        self.samples: dict[str, np.ndarray[Any, Any] | None] | None = None
        self.measured: dict[str, Any] = {}
        self.numbers: dict[str, Any] | None = None
        self.spiked = False
        self.autocast: tuple[str, str] | None = None
        self._handles: list[Any] = []
        self._capture: Capture | None = None
        self._sum = False
        self._raw: dict[str, torch.Tensor] = {}  # gradients as backward left them
        self._versions: dict[str, tuple[int, int]] = {}
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
        modules = run.modules()
        modes = [module.training for module in modules]
        self.modes = modes[0] if len(set(modes)) == 1 else modes
        if any(module._buffers for module in modules):
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
            run.failed_step()
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
        if torch.is_autocast_enabled(run.device):
            dtype = str(torch.get_autocast_dtype(run.device)).removeprefix("torch.")
            self.autocast = (run.device, dtype)
        each = self._losses_of(output)
        if self.recorded:
            self._watch_backward(output)
        self.loss = float(each.whole)
        reason = run.spikes_of.see(self.loss)
        if reason is None and not self.recorded and (self.rows is None or each.is_light):
            self.later = None if self.rows is None else each.kept()
            return
        losses = each.losses()
        if losses is not None:
            self.losses = losses
            self._sum, of_samples = whole_of(self.loss, losses)
            if math.isfinite(self.loss) and not of_samples:
                run.tell_once(
                    "mixed",
                    "the loss of the batch is neither the mean nor the sum of the losses of its "
                    "samples, so the loss of a sample is that of a batch of it alone",
                )
        if reason is not None:
            run.spike(self, reason)

    def _losses_of(self, output: Any) -> Each:
        """Return the losses; an error of ``loss_fn`` says what step() was given, if that is why."""
        try:
            return Each(self.run.sample_losses, output, self.y, self.n)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            rows = [len(t) for t in tensors(output) if t.dim()][:1]
            if self.y is None:
                given = "y is None. Pass the inputs and the targets apart, run.step(x, y), and"
            elif rows and rows[0] < self.n:
                given = (
                    f"the model returned {rows[0]} rows, and step() was given {self.n} samples. "
                    "Put a block around each micro-batch, or"
                )
            else:
                raise
            raise ValueError(
                f"loss_fn fails on the output and the y of run.step ({error}): {given} pass "
                "loss_fn=None to watch if the output has its loss itself"
            ) from error

    def _watch_backward(self, output: Any) -> None:
        """Hang a hook on the output that runs when backward begins."""
        for t in tensors(output):
            if t.requires_grad:
                self._handles.append(t.register_hook(self._begins))
                return

    def _begins(self, grad: torch.Tensor) -> None:
        """Warn of gradients from before the optimiser's last step, to which backward adds."""
        run = self.run
        if not run.just_stepped or self._norms:
            return
        if any(p.grad is not None and bool(p.grad.any()) for p in run.trained.values()):
            run.tell_once(
                "held",
                f"backward of step {run.steps_seen} adds to gradients that the optimiser has used "
                "already: call optimizer.zero_grad() before it. Else each step uses the sum of all "
                "batches so far, and why_moved needs dense=True",
            )

    def _accumulated(self, name: str) -> Callable[[torch.Tensor], None]:
        def keep(p: torch.Tensor) -> None:
            if p.grad is None:
                return
            if self.run.dense:
                self._raw[name] = p.grad.detach().clone()
            self._norms[name] = torch.linalg.vector_norm(p.grad.detach())
            self._versions[name] = (id(p.grad), version(p.grad))

        return keep

    def _stepping(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        run = self.run
        self.settings = run.settings_now()
        if not self.recorded and not run.dense:
            return
        grads = {n: p.grad.detach() for n, p in run.trained.items() if p.grad is not None}
        if run.dense:
            self._used = {name: grad.clone() for name, grad in grads.items()}
        if self.recorded and grads and run.clip_norm is None and not run.dense:
            now = {n: (id(p.grad), version(p.grad)) for n, p in run.trained.items() if n in grads}
            if now == self._versions and run.steps_seen // run.every % _COMPARED:
                return
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
        weights = _norms(before)
        if run.dense:
            updates = torch._foreach_sub(after, before)
        else:  # the copy is needed no more
            updates = before
            torch._foreach_sub_(updates, after)
        gradients = list(self._norms.values())
        found = _numbers([*weights, *_norms(list(updates)), *gradients])
        count = len(parameters)
        sizes = dict(zip(self._norms, found[2 * count :], strict=True))
        norm = math.sqrt(math.fsum(size**2 for size in sizes.values()))
        measured: dict[str, Any] = {
            "recorded": True,
            "samples": self.n,
            "weights": found[:count],
            "updates": found[count : 2 * count],
            "gradients": [sizes.get(name) for name in parameters],
            "norm": norm,
        }
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
        self.samples = {"rows": self.rows, "losses": self.losses, "norms": None}
        if squares is not None:
            scaled = squares.cpu().numpy() * (1.0 if self._sum else float(self.n) ** 2)
            self.samples["norms"] = np.sqrt(scaled)
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


def _norms(found: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch._foreach_norm(found))


def _numbers(found: list[torch.Tensor]) -> list[float]:
    """Return numbers that lie in tensors of one element, by one transfer for each device."""
    if len({(t.device, t.dtype) for t in found}) == 1:
        return [float(v) for v in torch.stack(found).tolist()]
    return [float(t) for t in found]


def _total(found: list[torch.Tensor]) -> float:
    return math.sqrt(math.fsum(v**2 for v in _numbers(found)))

"""Again: a step of a watched run, taken once more from what was kept, to the same bits."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from chainrule._exports import exported
from chainrule.diagnose import folder as folders
from chainrule.diagnose.found import Kept
from chainrule.diagnose.moves import before
from chainrule.diagnose.record import RunRecord
from chainrule.diagnose.rules import Memory, Taken
from chainrule.explain import notation as notations
from chainrule.foreign.torch.asking import explain
from chainrule.foreign.torch.watching import packing, slots, state
from chainrule.foreign.torch.watching.losses import SampleLosses

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
_NEAR = 4096  # units in the last place
_FURTHEST = 100  # steps before the one that is asked for whose gradients are told apart


@exported("chainrule")
class Replayed:
    """Hold a step that was taken again. `RunRecord.replay` returns it.

    Attributes:
        step: The number of the step.
        loss: The loss of the batch.
        recorded: The loss that the run had.
        sample_losses: The loss of each sample, (n,), or None where the loss has none.
        gradient: The gradient of each parameter as backward leaves it, by name.
        model: A copy of the model as it was before the step.
        x: The inputs.
        y: The targets.
        rows: The row of each sample in the data, (n,), or None.

    Examples:
        >>> again = run.replay(133)  # doctest: +SKIP
        >>> again.same, again.rows[again.sample_losses.argmax()]  # doctest: +SKIP
        (True, 1871)
        >>> print(again.explain("fc1.weight[3,7]"))  # doctest: +SKIP
    """

    def __init__(
        self,
        step: int,
        model: torch.nn.Module,
        loss_fn: Callable[..., Any] | None,
        batch: Mapping[str, Any],
        recorded: float,
        autocast: tuple[str, str] | None,
    ) -> None:
        self.step, self.model, self.recorded = step, model, recorded
        self.x, self.y, self.rows = batch["x"], batch["y"], batch["rows"]
        self._loss_fn, self._random, self._autocast = loss_fn, batch["random"], autocast
        losses = SampleLosses(loss_fn)
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        with _generators(self._random), torch.enable_grad():
            loss, output = forward(model, losses, batch, autocast)
            self.loss = float(loss.detach())
            model.zero_grad(set_to_none=True)
            loss.backward()
        self.gradient = {
            name: p.grad.detach().clone()
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            held = torch.utils._pytree.tree_map(
                lambda t: t.detach() if isinstance(t, torch.Tensor) else t, output
            )
            n = len(next(t for t in torch.utils._pytree.tree_leaves(self.x) if t.dim()))
            self.sample_losses = losses.each(held, self.y, n)
            for name, b in model.named_buffers():
                b.copy_(buffers[name])

    @property
    def same(self) -> bool:
        """Return whether the loss is that of the run, to the bit; two NaN are the same."""
        both_nan = math.isnan(self.loss) and math.isnan(self.recorded)
        return both_nan or self.loss == self.recorded

    def explain(self, target: str, notation: str = "default") -> Any:
        """Explain one number of the step, as `explain_torch` does.

        Args:
            target: What to explain, such as "fc1.weight[3,7]".
            notation: The name of a notation.
        """
        with _generators(self._random), _autocast(self._autocast):
            return explain(
                self.model, self._loss_fn, self.x, self.y, target, notations.get(notation)
            )

    def __repr__(self) -> str:
        same = "the same bits" if self.same else f"the run had {self.recorded:.6g}"
        return f"Replayed(step {self.step}: loss {self.loss:.6g}, {same})"


def forward(
    model: torch.nn.Module,
    losses: SampleLosses,
    batch: Mapping[str, Any],
    autocast: tuple[str, str] | None,
) -> tuple[torch.Tensor, Any]:
    """Return the loss of a batch, with its graph, and the output."""
    x, y = batch["x"], batch["y"]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    x, y = packing.placed((x, y), batch["addresses"])
    x, y = torch.utils._pytree.tree_map(
        lambda t: t.to(device) if isinstance(t, torch.Tensor) else t, (x, y)
    )
    with _autocast(autocast):
        if isinstance(x, dict):
            output = model(**x)
        elif isinstance(x, tuple | list):
            output = model(*x)
        else:
            output = model(x)
        return losses.attached(output, y), output


@contextlib.contextmanager
def _generators(states: Mapping[str, Any]) -> Iterator[None]:
    """Set the random generators for a block, and put them back."""
    own = state.random_states()
    try:
        state.put_random(states)
        yield
    finally:
        state.put_random(own)


def _autocast(setting: tuple[str, str] | None) -> Any:
    if setting is None:
        return contextlib.nullcontext()
    return torch.autocast(setting[0], dtype=getattr(torch, setting[1]))


class Source:
    """Take steps again on a copy of the model that was watched.

    Args:
        model: The model, or None: then only what was recorded densely can be told.
        optimizer: The optimiser.
        loss_fn: The loss.
        clip_norm: The largest norm of the gradient that the loop allows.
    """

    def __init__(
        self,
        model: torch.nn.Module | None,
        optimizer: torch.optim.Optimizer | None,
        loss_fn: Callable[..., Any] | None,
        clip_norm: float | None,
    ) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.clip_norm = clip_norm

    def replay(self, record: RunRecord, step: int) -> Replayed:
        """Return a step, taken again."""
        line = record.line(step)
        bundle = record.folder / folders.SPIKES / folders.name_of(step)
        if (bundle / "spike.json").is_file():
            model, _ = self._copies()
            state.put(model, None, packing.load(bundle / "state.safetensors"))
            batch = packing.load(bundle / "batch.safetensors")
        else:
            start = record.segment_of(step)
            model, optimizer = self._copies()
            state.put(model, optimizer, packing.load(_state(record, start)))
            for k in range(start, step):
                self._step(record, k, model, optimizer)
            batch = slots.load(_segment(record, step), step)
        _set_modes(model, batch["modes"])
        return Replayed(step, model, self.loss_fn, batch, line.loss, line.autocast)

    def _copies(self) -> tuple[torch.nn.Module, torch.optim.Optimizer | None]:
        if self.model is None:
            raise ValueError(
                "this run has to take steps again, which needs the model: "
                "load_run(folder, model=model, optimizer=optimizer, loss_fn=loss_fn)"
            )
        memo: dict[int, Any] = {}
        try:
            model, optimizer = copy.deepcopy((self.model, self.optimizer), memo)
        except Exception as error:
            raise ValueError(
                f"the model cannot be copied, to take a step again: {error}"
            ) from error
        for module in model.modules():
            for table in _HOOKS:
                getattr(module, table, {}).clear()
        for p in model.parameters():
            p.grad = None
        return model, optimizer

    def _step(
        self,
        record: RunRecord,
        k: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        seen: Callable[[str], None] = lambda moment: None,
    ) -> None:
        """Take step k on the copies; ``seen`` is called before the update."""
        line, batch = record.line(k), slots.load(_segment(record, k), k)
        _set_modes(model, batch["modes"])
        with _generators(batch["random"]), torch.enable_grad():
            loss, _ = forward(model, SampleLosses(self.loss_fn), batch, line.autocast)
            self._check(k, float(loss.detach()), line.loss, _NEAR * torch.finfo(loss.dtype).eps)
            loss.backward()
        seen("backward")
        if line.rates is None or optimizer is None:
            return  # the loop goes on adding gradients
        _set_settings(optimizer, record.settings_at(k))
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip_norm)
        seen("clipped")
        optimizer.step()
        seen("stepped")
        optimizer.zero_grad(set_to_none=True)

    @staticmethod
    def _check(k: int, found: float, recorded: float, near: float) -> None:
        # A machine with other vectors or threads differs in last bits, which steps enlarge.
        if not math.isclose(found, recorded, rel_tol=near) and math.isfinite(recorded):
            raise ValueError(
                f"step {k} taken again has the loss {found!r}, and had {recorded!r} in the run: "
                "the loop does what watch cannot see: it clips gradients, keeps those of earlier "
                "batches, or has another loss than loss_fn. If it clips, pass clip_norm= to "
                "watch; otherwise pass dense=True, which records what the optimiser was given"
            )

    # --- one parameter ----------------------------------------------------------------------------

    def kept(self, record: RunRecord, name: str, index: tuple[int, ...], step: int) -> Kept:
        """Return what each step up to ``step`` had and did, of one element of a parameter."""
        first = record.segment_of(step)
        starts = record.segments()
        while first in starts and starts.index(first) and step - first < _FURTHEST:
            earlier = starts[starts.index(first) - 1]
            follows = not record.line(first).found.get("apart")
            if not follows or not slots.is_there(_segment(record, first - 1), first - 1):
                break
            first = earlier
        kept = packing.load(_state(record, first))
        group, place = record.place_of(name)
        memory = _memory(kept["optimizer"]["state"].get(place, {}), index, record.rule)
        dense = record.about["dense"]
        found = (self._dense if dense else self._taken)(record, name, index, first, step)
        base = kept["optimizer"]["param_groups"][group].get("initial_lr", record.first_rate(group))
        return Kept(tuple(found), memory, base)

    def _dense(
        self, record: RunRecord, name: str, index: tuple[int, ...], first: int, step: int
    ) -> Iterator[Taken | None]:
        for k in range(first, step + 1):
            name_of = f"{folders.name_of(k)}.moves.safetensors"
            numbers = packing.load(_segment(record, k) / name_of)
            if name not in numbers["gradient"] or not numbers["stepped"]:
                yield None
                continue
            raw = float(numbers["gradient"][name][index])
            used = numbers["used"].get(name)
            yield record.taken(
                k, name, float(numbers["before"][name][index]),
                float(numbers["after"][name][index]), raw,
                raw if used is None else float(used[index]),
            )  # fmt: skip

    def _taken(
        self, record: RunRecord, name: str, index: tuple[int, ...], first: int, step: int
    ) -> Iterator[Taken | None]:
        model, optimizer = self._copies()
        state.put(model, optimizer, packing.load(_state(record, first)))
        p = dict(model.named_parameters())[name]
        for k in range(first, step + 1):
            seen: dict[str, float] = {"before": float(p.detach()[index])}

            def see(moment: str, seen: dict[str, float] = seen) -> None:
                value = p if moment == "stepped" else p.grad
                if value is not None:
                    seen[moment] = float(value.detach()[index])

            self._step(record, k, model, optimizer, see)
            if "clipped" not in seen:
                yield None
                continue
            yield record.taken(
                k, name, seen["before"], seen["stepped"], seen["backward"], seen["clipped"]
            )


def _state(record: RunRecord, start: int) -> Path:
    return record.folder / folders.SEGMENTS / folders.name_of(start) / "state.safetensors"


def _segment(record: RunRecord, step: int) -> Path:
    return record.folder / folders.SEGMENTS / folders.name_of(record.segment_of(step))


def _set_modes(model: torch.nn.Module, modes: bool | list[bool]) -> None:
    modules = list(model.modules())
    for module, mode in zip(
        modules, [modes] * len(modules) if isinstance(modes, bool) else modes, strict=True
    ):
        module.training = mode


def _set_settings(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> None:
    for group, settings in zip(optimizer.param_groups, groups, strict=True):
        for key, value in settings.items():
            if isinstance(group.get(key), torch.Tensor):
                group[key].fill_(value)
            elif key in group:
                group[key] = tuple(value) if isinstance(group[key], tuple) else value


def _memory(kept: Mapping[str, Any], index: tuple[int, ...], rule: str) -> Memory:
    """Return what the optimiser remembers of one element."""

    def at(name: str) -> float | None:
        value = kept.get(name)
        return None if value is None else float(value[index])

    count = kept.get("step", 0)
    momentum = at("exp_avg") if rule in ("Adam", "AdamW") else at("momentum_buffer")
    squares = next((v for v in map(at, ("exp_avg_sq", "square_avg", "sum")) if v is not None), None)
    largest = at("max_exp_avg_sq")
    return Memory(
        int(count), before(momentum), {} if squares is None else {None: squares},
        None if largest is None else {None: largest}, at("grad_avg") or 0.0,
    )  # fmt: skip

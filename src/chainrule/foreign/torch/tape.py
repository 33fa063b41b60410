"""Tape: every call that one run of a PyTorch model makes, with the values that it reads and makes.

A value is a tensor at one moment: its ``id`` and its version, so that a call in place makes a new
value. Each has an edge of autograd's graph, from which `torch.autograd.grad` takes its derivative.
Views follow autograd: writing into a view makes a new value of its base, of which all views are
read again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from chainrule.foreign.torch import names
from chainrule.foreign.torch.calls import Call, Cut, Gap, Value, flatten, tensors
from chainrule.foreign.torch.kept import Kept, base_of, version


class Tape(TorchFunctionMode):
    """Record the calls of a run, between entering and leaving.

    Args:
        model: The model.
        kept: Its state before the run.
    """

    def __init__(self, model: torch.nn.Module, kept: Kept) -> None:
        super().__init__()
        self.model, self.kept = model, kept
        self.calls: list[Call] = []
        self.values: dict[tuple[int, int], Value] = {}
        self.outputs: dict[str, list[Value]] = {}  # of each module, in the order of its runs
        self.cuts: list[Cut] = []
        self.gaps: list[Gap] = []
        self._cut_off: dict[int, torch.Tensor] = {}
        self._alive: list[Any] = []  # so that no id is given twice
        self._sharing: dict[int, list[Value]] = {}  # values by the storage that holds them
        self._modules = [""]
        self._counts: dict[tuple[str, str], int] = {}
        self._paused = False
        self._handles: list[Any] = []
        self._thread = threading.get_ident()

    def __enter__(self) -> Tape:
        for name, module in self.model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(name)))
            self._handles.append(
                module.register_forward_hook(self._leaving(name), always_call=True)
            )
        self._apply = vars(torch.autograd.Function)["apply"]
        torch.autograd.Function.apply = classmethod(self._custom(self._apply.__func__))
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        torch.autograd.Function.apply = self._apply
        for handle in self._handles:
            handle.remove()
        self._sharing.clear()

    def _entering(self, name: str) -> Callable[..., None]:
        return lambda module, args: self._modules.append(name)

    def _leaving(self, name: str) -> Callable[..., None]:
        def leave(module: Any, args: Any, output: Any) -> None:
            self._modules.pop()
            with torch._C.DisableTorchFunction():
                found = [self.value(t) for t in tensors(output) if t.requires_grad]
                if torch.is_grad_enabled() and found:
                    self.outputs.setdefault(name, []).append(found[0])

        return leave

    def release(self) -> None:
        """Let go of the tensors of the run, but not of its values."""
        self._alive.clear()
        self._cut_off.clear()

    # --- values ---------------------------------------------------------------------------------

    def value(self, t: torch.Tensor) -> Value:
        """Return the value that a tensor is now."""
        key = (id(t), version(t))
        known = self.values.get(key)
        if known is not None:
            return known
        if not t.requires_grad:
            return self._new(t, None)
        if t.is_leaf:
            return self._new(t, get_gradient_edge(t))
        root = base_of(t)
        if root is not None and (id(root), version(root)) in self.values:
            return self._read_again(t, root)
        self.gaps.append(Gap(self._modules[-1], tuple(t.shape), _node(t)))
        return self._new(t, get_gradient_edge(t))

    def _new(self, t: torch.Tensor, edge: GradientEdge | None) -> Value:
        copied = (
            self.kept.copies.get(id(t)) if version(t) == self.kept.versions.get(id(t)) else None
        )
        made = Value(t.detach() if copied is None else copied, edge)
        self.values[id(t), version(t)] = made
        self._alive.append(t)
        if copied is None and (address := _address(t)) is not None:
            if address in self.kept.storages:  # the model's own, which may change after the run
                made.data = made.data.clone()
            else:
                self._sharing.setdefault(address, []).append(made)
        return made

    def _read_again(self, view: torch.Tensor, root: torch.Tensor) -> Value:
        """Return the value of a view whose base was written into: it is read from the base."""
        shape, stride, offset = view.shape, view.stride(), view.storage_offset()

        def read(base: torch.Tensor) -> torch.Tensor:
            return base.as_strided(shape, stride, offset)

        call = self._call("as_strided", read, [self.value(root)], (1, ()))
        made = self._new(view, get_gradient_edge(view))
        self._add(call, [made])
        return made

    def _keep_old(self, t: torch.Tensor) -> None:
        """Copy the numbers of all values that share a storage which is about to change."""
        for value in self._sharing.pop(_address(t), []):  # type: ignore[arg-type]
            value.data = value.data.clone()

    # --- calls ----------------------------------------------------------------------------------

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused or threading.get_ident() != self._thread:
            return func(*args, **kwargs)
        name, asks = names.known(func)
        if asks:
            return func(*args, **kwargs)
        if func in names.OPEN:
            return self._opened(func, args, kwargs)
        flat, spec = flatten(args, kwargs)
        given = [t for t in flat if isinstance(t, torch.Tensor)]
        follows = any(t.requires_grad for t in given)
        if not follows or not torch.is_grad_enabled():
            shared = bool(given) and _address(given[0]) in self._sharing
            if shared and names.is_inplace(func, name, args, kwargs):
                self._keep_old(given[0])
            out = func(*args, **kwargs)
            if follows or not self._cut_off.keys().isdisjoint(map(id, given)):
                self._cut(name, given, out)
            return out
        return self._record(name, func, args, kwargs, flat, spec, given)

    def _record(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        flat: list[Any],
        spec: Any,
        given: list[torch.Tensor],
        custom: type | None = None,
    ) -> Any:
        writes = custom is None and names.is_inplace(func, name, args, kwargs)
        held = [self.value(t) if isinstance(t, torch.Tensor) else t for t in flat]
        again: Callable[..., Any] = func
        target = given[0]
        root = base_of(target) if writes else None
        if writes:
            if root is not None:
                again, held = self._through(name, func, target, root, held, flat)
            self._keep_old(target)
        elif names.updates_buffers(name):
            self._copy_constants(held)
        elif custom is not None:
            for t in given:  # it may mark one as dirty
                self._keep_old(t)
        call = self._call(name, again, held, spec, writes=writes, custom=custom)
        call.through = root is not None
        draws = names.is_random(name) or custom is not None
        state = torch.get_rng_state() if draws else None
        out = func(*args, **kwargs)
        if state is not None and not torch.equal(state, torch.get_rng_state()):
            call.random = state
        if writes:
            changed = root if root is not None else target
            made = [self._new(changed, get_gradient_edge(changed))]
        else:
            out = _apart(out)
            made = [self._made(t) for t in tensors(out) if t.requires_grad]
        if made and not any(m is h for m in made for h in held):
            self._add(call, made)
        elif not made:
            self._cut(name, given, out)
        return out

    def _made(self, t: torch.Tensor) -> Value:
        known = self.values.get((id(t), version(t)))  # contiguous() may return what it was given
        return known if known is not None else self._new(t, get_gradient_edge(t))

    def _through(
        self,
        name: str,
        func: Callable[..., Any],
        view: torch.Tensor,
        root: torch.Tensor,
        held: list[Any],
        flat: list[Any],
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Return a call in place on a view as one on its base, as autograd has it."""
        shape, stride, offset = view.shape, view.stride(), view.storage_offset()

        def write(base: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            region = base.as_strided(shape, stride, offset).clone()
            func(region, *args, **kwargs)
            return torch.as_strided_scatter(base, region, shape, stride, offset)

        base = self.value(root)
        first = next(i for i, t in enumerate(flat) if t is view)
        return write, [base if i == first else h for i, h in enumerate(held)]

    def _copy_constants(self, held: list[Any]) -> None:
        """Copy the arguments without a derivative, as running statistics change in the call."""
        for i, h in enumerate(held):
            if isinstance(h, Value) and h.edge is None:
                held[i] = Value(h.data.clone(), None)

    def _call(self, name: str, func: Any, held: list[Any], spec: Any, **options: Any) -> Call:
        module = self._modules[-1]
        call = Call(name, func, module, held, spec, **options)
        kind = next((h.data.device.type for h in held if isinstance(h, Value)), "cpu")
        if torch.is_autocast_enabled(kind):
            call.autocast = (kind, torch.get_autocast_dtype(kind))
        return call

    def _add(self, call: Call, made: list[Value]) -> None:
        key = (call.module, call.name)
        call.number = self._counts.get(key, 0)
        self._counts[key] = call.number + 1
        call.outs = made
        for slot, value in enumerate(made):
            value.maker, value.slot = call, slot
        for value in call.reads():
            value.users.append(call)
        self.calls.append(call)

    def _opened(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a function of many calls so that each of them is recorded."""
        space = func.__globals__
        before = space["has_torch_function"]

        def once(given: Any) -> bool:
            space["has_torch_function"] = before
            return False

        space["has_torch_function"] = once
        try:
            with _Again(self):
                return func(*args, **kwargs)
        finally:
            space["has_torch_function"] = before

    def _cut(self, name: str, given: list[torch.Tensor], out: Any) -> None:
        """Note that a call reads something with a derivative and returns nothing that has one."""
        made = [t for t in tensors(out) if not t.requires_grad]
        if not made and name not in names.READERS:
            return
        reads = [
            id(self.values.get((id(t), version(t)), t))
            for t in given
            if t.requires_grad or id(t) in self._cut_off
        ]
        for t in made:
            self._cut_off[id(t)] = t
        no_grad = not torch.is_grad_enabled()
        self.cuts.append(Cut(name, self._modules[-1], reads, [id(t) for t in made], no_grad))

    def _custom(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Return the ``apply`` of custom autograd Functions that records them."""

        def recorded(cls: type, *args: Any, **kwargs: Any) -> Any:
            flat, spec = flatten(args, kwargs)
            given = [t for t in flat if isinstance(t, torch.Tensor)]
            idle = self._paused or threading.get_ident() != self._thread
            if idle or not torch.is_grad_enabled() or not any(t.requires_grad for t in given):
                return apply(cls, *args, **kwargs)
            self._paused = True
            try:
                with torch._C.DisableTorchFunction():
                    if cls.__name__ == "BackwardHookFunction":  # a user's hook on a module
                        identity = _Identity(lambda *a, **k: apply(cls, *a, **k))
                        return self._record("identity", identity, args, kwargs, flat, spec, given)
                    run = _Identity(lambda *a, **k: apply(cls, *a, **k), cls)
                    return self._record(
                        cls.__name__, run, args, kwargs, flat, spec, given, custom=cls
                    )
            finally:
                self._paused = False

        return recorded


class _Again:
    """Record again, inside of a call that is being handled."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __enter__(self) -> None:
        TorchFunctionMode.__enter__(self.tape)

    def __exit__(self, *error: Any) -> None:
        TorchFunctionMode.__exit__(self.tape, *error)


class _Identity:
    """A function that is called by its own name once, and as the identity or a class after."""

    def __init__(self, first: Callable[..., Any], custom: type | None = None) -> None:
        self.first, self.custom, self.recorded = first, custom, False
        self.__name__ = custom.__name__ if custom is not None else "identity"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.recorded:
            self.recorded = True
            return self.first(*args, **kwargs)
        if self.custom is None:
            return args
        return self.custom.apply(*args, **kwargs)  # type: ignore[attr-defined]


def _apart(out: Any) -> Any:
    """Copy several results of one call, as one may be a step on the way to another.

    The memory of an LSTM cell is: what reaches it through the cell's output would be counted twice.
    """
    found = [t for t in tensors(out) if t.requires_grad]
    if len(found) < 2 or any(base_of(t) is not None for t in found):
        return out
    return tree_map(lambda t: t.clone() if isinstance(t, torch.Tensor) else t, out)


def _address(t: torch.Tensor) -> int | None:
    try:
        return int(t.untyped_storage().data_ptr()) or None
    except (RuntimeError, NotImplementedError):  # sparse, or without storage
        return None


def _node(t: torch.Tensor) -> str:
    return t.grad_fn.name() if t.grad_fn is not None else "a leaf"

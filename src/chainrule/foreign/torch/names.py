"""Names of calls: which function of PyTorch was called, and whether it writes into its argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.overrides import resolve_name

# They return no new number: a shape, a flag, a text.
QUESTIONS = frozenset((
    "size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "is_contiguous",
    "is_floating_point", "is_complex", "__len__", "__format__", "__repr__", "__str__", "__hash__",
    "type", "requires_grad_", "element_size", "data_ptr", "untyped_storage", "get_device",
    "retain_grad", "register_hook", "__dir__", "is_same_size", "can_cast", "result_type",
    "broadcast_shapes", "is_tensor", "__contains__",
))  # fmt: skip
# They read the numbers and hand them to Python.
READERS = frozenset((
    "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__",
    "__complex__",
))  # fmt: skip
_INPLACE = frozenset((
    "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__",
    "__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__", "__setitem__",
))  # fmt: skip
# Only these draw random numbers; the others are spared two copies of the generator's state.
_RANDOM = (
    "dropout", "rrelu", "gumbel", "bernoulli", "multinomial", "rand", "normal", "poisson",
    "exponential", "fractional", "scaled_dot_product_attention", "multi_head_attention", "lstm",
    "gru", "rnn", "uniform", "stochastic",
)  # fmt: skip


@lru_cache(maxsize=4096)
def short(func: Callable[..., Any]) -> str:
    """Return the name of a function as a user writes it: "linear", "add", "__getitem__"."""
    whole = resolve_name(func) or getattr(func, "__name__", None) or type(func).__name__
    parts = str(whole).split(".")
    if parts[-1] in ("__get__", "__set__", "__delete__") and len(parts) > 1:
        return parts[-2] if parts[-1] == "__get__" else f"{parts[-2]}.{parts[-1]}"
    name = getattr(func, "_overloadname", None)  # torch.ops.aten.add.Tensor
    return parts[-2] if name is not None and len(parts) > 1 and parts[-1] == name else parts[-1]


_VIEWS = frozenset(["data", "T", "mT", "H", "mH", "real", "imag"])  # attributes that are tensors


@lru_cache(maxsize=4096)
def known(func: Callable[..., Any]) -> tuple[str, bool]:
    """Return the name of a function, and whether it makes no number: ``shape``, ``size()``."""
    name = short(func)
    is_property = str(resolve_name(func)).endswith(("__get__", "__set__"))
    return name, name in QUESTIONS or (is_property and name not in _VIEWS)


@lru_cache(maxsize=4096)
def is_random(name: str) -> bool:
    """Return whether a call of this name may draw random numbers."""
    return any(part in name for part in _RANDOM)


@lru_cache(maxsize=4096)
def _inplace_position(func: Callable[..., Any]) -> int | None:
    """Return where a function of torch.nn.functional takes ``inplace``, or None."""
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("inplace") if "inplace" in names else None


def is_inplace(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Return whether a call writes its result into its first argument."""
    if name in _INPLACE or (name.endswith("_") and not name.endswith("__")):
        return True
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    position = _inplace_position(func)
    return position is not None and len(args) > position and args[position] is True


def updates_buffers(name: str) -> bool:
    """Return whether a call may write into arguments other than the first."""
    return "norm" in name or "embedding" in name or "fake_quant" in name


OPEN = frozenset({torch.nn.functional.multi_head_attention_forward})  # recorded call by call

"""Entries of calls that only move numbers: each result is one element of an argument, or none.

Which one is found by running the call on numbers that count the elements.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from chainrule.foreign.entries import ONE, ZERO, Found, Index
from chainrule.foreign.torch.calls import Call, Value, tensors
from chainrule.foreign.torch.columns import again
from chainrule.foreign.torch.entries.entry import Bound, Entry

_CALLS = (
    "view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "transpose",
    "swapaxes", "permute", "movedim", "moveaxis", "t", "T", "mT", "H", "mH", "contiguous",
    "clone", "expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile",
    "__getitem__", "narrow", "select", "index_select", "gather", "take", "take_along_dim",
    "masked_select", "chunk", "split", "tensor_split", "split_with_sizes", "unbind", "cat",
    "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "pad", "roll", "flip",
    "rot90", "unfold", "view_as", "reshape_as", "as_strided", "masked_fill", "masked_fill_",
    "where", "__setitem__", "copy_", "tril", "triu", "diagonal", "diag", "diag_embed",
    "pixel_shuffle", "pixel_unshuffle", "to", "float", "double", "half", "bfloat16", "type_as",
    "identity", "meshgrid", "channel_shuffle", "squeeze_", "unsqueeze_", "transpose_",
    "atleast_1d", "atleast_2d", "alias", "view_as_real", "adjoint", "index_put", "index_put_",
    "fill_", "zero_", "scatter", "scatter_", "masked_scatter",
)  # fmt: skip
_CASTS = frozenset(("to", "float", "double", "half", "bfloat16", "type_as"))
_FIRST = 2.0**40 + 0.25  # no constant of a call is one of the numbers that count from here


@lru_cache(maxsize=64)
def _sources(call: Call) -> tuple[dict[int, float], list[torch.Tensor]]:
    """Return the first number of each argument, and the numbers that stand in each result."""
    starts: dict[int, float] = {}
    count = _FIRST
    for v in call.reads():
        starts[id(v)] = count
        count += v.data.numel()

    def counted(v: Value) -> torch.Tensor:
        if id(v) in starts:
            first = starts[id(v)]
            numbers = first + torch.arange(v.data.numel(), dtype=torch.float64)
            return numbers.view(v.data.shape)
        return v.data.double() if v.data.is_floating_point() else v.data

    if call.name in _CASTS:
        found = [counted(next(iter(call.reads())))]
    else:
        with torch.no_grad(), again(call):
            found = tensors(call.run(counted))
    return starts, [t.detach().clone() for t in found]


def _moved(b: Bound, which: str, i: Index, o: Index) -> Found:
    starts, found = _sources(b.call)
    value = next(v for v in b.call.reads() if v is b.asked)
    slot = next(k for k, out in enumerate(b.call.outs) if out.data is b.out)
    flat = 0
    for p, size in zip(i, value.data.shape, strict=True):
        flat = flat * size + p
    return ONE if float(found[slot][o]) == starts[id(value)] + flat else ZERO


ENTRIES = (
    Entry(tuple(_CALLS), (), "out = x of another place",
          "the one element that stands there", _moved),
)  # fmt: skip

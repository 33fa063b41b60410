"""Formulas: the table of what PyTorch's functions compute, and their derivatives in symbols.

A call without an entry still has its numbers, which are PyTorch's own.
"""

from __future__ import annotations

from chainrule.foreign.entries import Index
from chainrule.foreign.local import Local
from chainrule.foreign.torch.calls import Call, Value
from chainrule.foreign.torch.entries import (
    attention,
    elementwise,
    losses,
    matrices,
    moves,
    norms,
    pools,
    reductions,
)
from chainrule.foreign.torch.entries.entry import Bound, Entry

__all__ = ["ENTRIES", "TABLE", "Local", "find", "local"]

ENTRIES: tuple[Entry, ...] = (
    *elementwise.ENTRIES, *matrices.ENTRIES, *norms.ENTRIES, *losses.ENTRIES, *pools.ENTRIES,
    *reductions.ENTRIES, *attention.ENTRIES, *moves.ENTRIES,
)  # fmt: skip
TABLE: dict[str, Entry] = {name: entry for entry in ENTRIES for name in entry.calls}


def find(call: Call) -> Entry | None:
    """Return the entry of a call, or None."""
    return None if call.custom is not None or call.through else TABLE.get(call.name)


def local(call: Call, value: Value, index: Index, out: Value, place: Index) -> Local | None:
    """Return ∂out/∂in of one element of the result of a call by one of an argument.

    None where the call has no entry, or the entry does not cover how it was called.
    """
    entry = find(call)
    if entry is None or call.autocast is not None:
        return None
    bound = Bound(call, out, entry.parameters, value)
    places = bound.places()
    if len(places) != 1 and entry.parameters:  # x * x: the formula of neither argument alone
        return None
    try:
        found = Local(*entry.local(bound, places[0] if places else "", index, place))
        return found if found.formula else None
    except (LookupError, TypeError, ArithmeticError, ValueError, RuntimeError):
        return None

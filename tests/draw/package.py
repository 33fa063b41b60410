"""The package's inner parts that draws call by name, in one place."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engines.base import Epoch, Plan, State, go_on
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations.data import Samples
from chainrule.equations.data import weights as sample_weights
from chainrule.random import epoch_order

try:
    from chainrule.engines import native
except ImportError:  # a pure Python installation
    native = None  # type: ignore[assignment]

__all__ = [
    "Epoch", "Plan", "ReferenceEngine", "Samples", "State", "called", "engines", "epoch_order",
    "go_on", "instruction_set", "sample_weights",
]  # fmt: skip


@contextlib.contextmanager
def called() -> Iterator[None]:
    """Around calls of the package: a warning of NumPy or of its own is an error there."""
    with np.errstate(all="warn", under="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def engines(threads: int) -> dict[str, Any]:
    """The engines that are installed, by name; the fastest first."""
    found: dict[str, Any] = {} if native is None else {"native": native.NativeEngine(threads)}
    found["reference"] = ReferenceEngine()
    return found


@contextlib.contextmanager
def instruction_set(name: str) -> Iterator[str]:
    """Force an instruction set, or the best one where this machine lacks it; tell which."""
    if native is None:
        yield "none"
        return
    core: Any = vars(native)["_native"]
    known = name if name in core.available_instruction_sets() else None
    core.force_instruction_set(known)
    try:
        yield core.instruction_set()
    finally:
        core.force_instruction_set(None)

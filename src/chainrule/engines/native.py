"""The native engine: the C++ core as an extension of Python (`_native`)."""

from __future__ import annotations

from chainrule.engines import _native
from chainrule.engines.compiled import CompiledEngine


class NativeEngine(CompiledEngine):
    """Trains in C++: vector instructions, several threads, one call for each epoch."""

    name = "native"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(_native, threads)

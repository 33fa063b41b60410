"""An instance of core.wasm outside a browser, by wasmtime."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = resources.files("chainrule.engines")
MODULES = ("core.wasm", "core-relaxed.wasm")


@cache
def _compiled(name: str) -> tuple[Any, Any]:
    import wasmtime

    engine = wasmtime.Engine()
    return engine, wasmtime.Module(engine, FOLDER.joinpath(name).read_bytes())


class Wasmtime:
    """What core.js makes in a page."""

    def __init__(self, most: int = -1, name: str = MODULES[0]) -> None:
        """Make one of that module, whose memory has at most so many bytes."""
        import wasmtime

        engine, module = _compiled(name)
        self._store = wasmtime.Store(engine)
        self._store.set_limits(memory_size=most)
        self._store.set_wasi(wasmtime.WasiConfig())
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        f64, i32 = wasmtime.ValType.f64(), wasmtime.ValType.i32()
        kind = wasmtime.FuncType([f64, f64], [i32])
        linker.define_func("chainrule", "ask", kind, lambda *given: int(self._answer(*given)))
        self._exports = linker.instantiate(self._store, module).exports(self._store)
        self.call("_initialize")

    def call(self, name: str, *given: int) -> Any:
        return self._exports[name](self._store, *given)

    def run(self, name: str, at: int, block: NDArray[np.uint8], back: int, *given: int) -> Any:
        ctypes.memmove(self._at(at, block.nbytes), block.ctypes.data, block.nbytes)
        result = self.call(name, *given)
        self.read(at, block[:back])
        return result

    def read(self, at: int, array: NDArray[np.uint8]) -> None:
        ctypes.memmove(array.ctypes.data, self._at(at, array.nbytes), array.nbytes)

    def answer(self, answer: Callable[[int, float], bool]) -> None:
        self._answer = answer

    def size(self) -> int:
        return int(self._exports["memory"].data_len(self._store))

    def _at(self, at: int, size: int) -> int:
        memory = self._exports["memory"]
        assert at > 0
        assert at + size <= memory.data_len(self._store)
        pointer = memory.data_ptr(self._store)
        return ctypes.addressof(pointer.contents) + at

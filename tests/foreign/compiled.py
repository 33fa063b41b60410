"""What chainrule exports, compiled without a warning, and called."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wshadow", "-Wdouble-promotion")


def compile(source: Path, to: Path, compiler: str = "", *flags: str) -> Path:
    """Compile a file of C without a warning."""
    program = shutil.which(compiler or os.environ.get("CC", "cc"))
    assert program is not None
    mathematics = () if "-c" in flags else ("-lm",)
    command = [program, *STRICT, *(flags or ("-O2",)), str(source), "-o", str(to), *mathematics]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return to


def predictor(source: Path, net: Any, dtype: str, *flags: str) -> Callable[[Any], Any]:
    """NAME_predict of a file as a function of arrays, (n, inputs) to (n, outputs)."""
    to = source.with_suffix(".so")
    library = ctypes.CDLL(str(compile(source, to, "", "-O2", "-shared", "-fPIC", *flags)))
    call = library[f"{source.stem}_predict"]

    def predict(X: Any) -> Any:
        X = np.ascontiguousarray(X, dtype)
        y = np.empty((len(X), net.sizes[-1]), dtype)
        for row, out in zip(X, y, strict=True):
            call(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
        return y

    return predict

"""The matrix peak: float32 products of square matrices, by the best library at its best size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg.blas
import torch

from benchmarks.measure import THREADS
from benchmarks.peers import Subject, Task, Ways

SIZES = (1024, 2048, 3072)


class Product(Subject):
    """C = A B; its unit is 10⁹ floating-point operations."""

    def __init__(self, multiply: Callable[[], Any], size: int) -> None:
        self.multiply = multiply
        self.units = 2.0 * size**3 / 1e9

    def once(self) -> Any:
        return self.multiply()

    def proof(self) -> None:
        self.once()


def _numpy(size: int) -> Callable[[], Any]:
    A, B = (np.full((size, size), value, np.float32) for value in (0.5, 0.25))
    C = np.empty_like(A)
    return lambda: np.matmul(A, B, out=C)


def _scipy(size: int) -> Callable[[], Any]:
    A, B, C = (np.full((size, size), 0.5, np.float32, order="F") for _ in range(3))
    return lambda: scipy.linalg.blas.sgemm(1.0, A, B, c=C, overwrite_c=1)


def _torch(size: int) -> Callable[[], Any]:
    A, B, C = (torch.full((size, size), 0.5) for _ in range(3))
    return lambda: torch.mm(A, B, out=C)


def products(task: Task) -> Ways:
    torch.set_num_threads(THREADS)
    libraries = {"NumPy": _numpy, "SciPy": _scipy, "PyTorch": _torch}
    return {
        f"{name}, {size} × {size}": partial(_product, make, size)
        for size in SIZES
        for name, make in libraries.items()
    }


def _product(make: Callable[[int], Callable[[], Any]], size: int) -> Product:
    return Product(make(size), size)

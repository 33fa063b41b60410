"""The peers: each library as those who know it well would write the same work.

Each module here has ``trainers(task)`` or ``predictors(task)``, or both. They give the ways of
writing it that are worth trying; the worker keeps the fastest. Each peer has a process of its own
(`benchmarks.peers.worker`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case, Problem

# What a peer is called -> its module. "fit" is Network.fit as a user calls it.
MODULES = {
    "chainrule": "ours",
    "fit": "through_fit",
    "jax": "jax_scan",
    "torch": "torch_eager",
    "compiled": "torch_compiled",
    "numpy": "by_hand",
    "sklearn": "sklearn_mlp",
    "onnxruntime": "onnx_session",
    "products": "products",
}
TITLES = {
    "chainrule": "chainrule",
    "fit": "chainrule, through fit",
    "jax": "JAX",
    "torch": "PyTorch eager",
    "compiled": "PyTorch compiled",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "onnxruntime": "ONNX Runtime",
}


class UnsupportedError(Exception):
    """A peer can't do a case, or not on this machine; the message says why."""


@dataclass(frozen=True)
class Task:
    """A case with its numbers; ``optimizer`` is "gd" or "adam", ``rows`` those to predict."""

    case: Case
    problem: Problem
    optimizer: str = "gd"
    rows: int = 1

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.case.rates[self.optimizer]

    @property
    def forward_flops(self) -> float:
        """Floating-point operations in the matrix products of a prediction."""
        return 2.0 * self.rows * self.case.multiply_adds


class Subject(ABC):
    """Something to be timed: an epoch, a prediction, a matrix product."""

    units: float = 1.0  # a time is divided by it: steps of an epoch

    def reset(self) -> None:  # noqa: B027 - most predictions have nothing to reset
        """Go back to the initial weights and a fresh optimiser."""

    @abstractmethod
    def once(self) -> Any:
        """Do it once, and wait until it is done; an epoch gives its mean loss."""

    def proof(self) -> Any:
        """Give what has to agree between peers: the losses of the first two epochs."""
        self.reset()
        return [float(self.once()), float(self.once())]


Ways = dict[str, Callable[[], Subject]]  # what a way of writing it is called -> builds it


def threads(flops: float) -> tuple[int, ...]:
    """Give the numbers of threads worth trying for so many operations in matrix products.

    Waking a second thread takes microseconds, so that small matrices are faster with one.
    """
    return (1,) if flops < 0.5e6 else (1, 2) if flops < 100e6 else (2,)


def thread_words(count: int) -> str:
    """Name a number of threads."""
    return f"{count} threads" if count > 1 else "1 thread"

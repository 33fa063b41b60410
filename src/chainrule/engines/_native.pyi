"""The compiled core (native/binding.cpp)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

activations: tuple[str, ...]
losses: tuple[str, ...]
optimizers: tuple[str, ...]
functions: tuple[str, ...]
batch_limit: int
thread_limit: int
NOT_HANDLED: int
DONE: int
NOT_FINITE: int

class Trainer:
    def __init__(
        self,
        *,
        layers: Sequence[tuple[int, int, float]],
        biases: bool,
        loss: int,
        l2: float,
        single: bool,
        optimizer: int,
        momentum: float,
        decay: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
        clip_norm: float,
        l2_per_sample: bool,
        largest_loss: float,
        batch_size: int,
        seed: int,
        threads: int,
    ) -> None: ...
    def run_epoch(
        self,
        theta: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        run_step: int,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: NDArray[Any] | None,
        order: NDArray[Any] | None,
        learning_rates: NDArray[Any],
        outputs: NDArray[Any] | None,
        step_losses: NDArray[np.float64] | None,
        on_progress: Callable[[int, float], bool],
    ) -> tuple[float, int, int, bool]: ...

class Many:
    def __init__(
        self,
        *,
        layers: Sequence[tuple[int, int, float]],
        biases: bool,
        loss: int,
        single: bool,
        optimizer: int,
        momentum: float,
        decay: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
        clip_norm: float,
        l2_per_sample: bool,
        largest_loss: float,
        batch_size: int,
        threads: int,
    ) -> None: ...
    def run(
        self,
        theta: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        run_steps: NDArray[np.int64],
        X: NDArray[Any],
        y: NDArray[Any],
        weights: NDArray[Any] | None,
        orders: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        l2: NDArray[np.float64],
        seeds: NDArray[np.uint64],
        losses: NDArray[np.float64],
        outputs: NDArray[Any] | None,
        step_losses: NDArray[np.float64] | None,
        trained: NDArray[np.bool_],
        on_progress: Callable[[int, float], bool],
    ) -> bool: ...

class Predictor:
    def __init__(
        self,
        *,
        layers: Sequence[tuple[int, int, float]],
        biases: bool,
        loss: int,
        single: bool,
        threads: int,
    ) -> None: ...
    def predict(self, theta: NDArray[Any], X: NDArray[Any], out: NDArray[Any], /) -> int: ...
    def losses(
        self,
        theta: NDArray[Any],
        X: NDArray[Any],
        y: NDArray[Any],
        out: NDArray[Any],
        C: NDArray[np.float64],
        /,
    ) -> int: ...

def instruction_set() -> str: ...
def available_instruction_sets() -> list[str]: ...
def force_instruction_set(name: str | None) -> None: ...
def default_threads() -> int: ...
def activation(
    kind: int, z: NDArray[Any], value: NDArray[Any], a: NDArray[Any], d: NDArray[Any]
) -> None: ...
def function(kind: int, x: NDArray[Any], y: NDArray[Any]) -> None: ...
def product(A: NDArray[Any], B: NDArray[Any], C: NDArray[Any]) -> None: ...
def dropout_words(seed: int, row: int, layer: int, step: int, words: NDArray[Any]) -> None: ...

"""The compiled core (native/binding.cpp)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

activations: tuple[str, ...]
losses: tuple[str, ...]
optimizers: tuple[str, ...]
functions: tuple[str, ...]
operations: tuple[str, ...]
registers: int
instructions: int
batch_limit: int
thread_limit: int
NOT_HANDLED: int
DONE: int
NOT_FINITE: int

# Instructions (operation, to, x, y, z, number), and the registers of the results.
Program = tuple[Sequence[tuple[int, int, int, int, int, float]], Sequence[int]]

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
        formulas: Sequence[tuple[Program, Program] | None] | None = None,
        output: Program | None = None,
        output_weights: Sequence[float] | None = None,
    ) -> None: ...
    def take_all_threads(self) -> None: ...
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
        every: int = 0,
        first_step: int = 0,
        steps_before: int = 0,
        sample_losses: NDArray[np.float64] | None = None,
        sample_norms: NDArray[np.float64] | None = None,
        layer_norms: NDArray[np.float64] | None = None,
        traced: int = 0,
        trace: NDArray[np.float64] | None = None,
    ) -> tuple[float, int, int, bool]: ...

class Gradients:
    def __init__(
        self,
        *,
        layers: Sequence[tuple[int, int, float]],
        biases: bool,
        loss: int,
        l2: float,
        single: bool,
        batch_size: int,
        seed: int,
        threads: int,
        formulas: Sequence[tuple[Program, Program] | None] | None = None,
        output: Program | None = None,
        output_weights: Sequence[float] | None = None,
    ) -> None: ...
    # Leaves: X, y, weights, rows, which dropout masks, and what receives a^(L).
    def run(
        self,
        theta: NDArray[Any],
        leaves: Sequence[tuple[Any, ...]],
        g: NDArray[Any],
        on_progress: Callable[[int, float], bool],
    ) -> tuple[float, float, int]: ...

class Rule:
    def __init__(
        self,
        *,
        single: bool,
        optimizer: int,
        momentum: float,
        decay: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
        threads: int,
    ) -> None: ...
    def apply(
        self,
        theta: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        g: NDArray[Any],
        t: int,
        eta: float,
        scale: float,
    ) -> bool: ...

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
        formulas: Sequence[tuple[Program, Program] | None] | None = None,
        output: Program | None = None,
        output_weights: Sequence[float] | None = None,
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

def meeting_seconds(threads: int, count: int) -> float: ...

class Pace:
    def __init__(self, most: int, likely: int, choice: bool = True) -> None: ...
    def steps(self, guess: float) -> int: ...
    def note(self, seconds: float, steps: float) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def settled(self) -> bool: ...

def likely_threads(flops: float, bytes: float, meetings: int, most: int) -> int: ...
def likely_seconds(flops: float, bytes: float, meetings: int, threads: int) -> float: ...
def read(given: NDArray[Any], out: NDArray[Any] | None, single: bool) -> int: ...
def epoch_orders(seed: int, epoch: int, orders: NDArray[np.int64], shard: int) -> None: ...
def instruction_set() -> str: ...
def available_instruction_sets() -> list[str]: ...
def force_instruction_set(name: str | None) -> None: ...
def default_threads() -> int: ...
def activation(
    kind: int, z: NDArray[Any], value: NDArray[Any], a: NDArray[Any], d: NDArray[Any]
) -> None: ...
def formula(
    program: Program, inputs: Sequence[NDArray[Any]], results: Sequence[NDArray[Any]]
) -> None: ...
def function(kind: int, x: NDArray[Any], y: NDArray[Any]) -> None: ...
def product(A: NDArray[Any], B: NDArray[Any], C: NDArray[Any]) -> None: ...
def dropout_words(seed: int, row: int, layer: int, step: int, words: NDArray[Any]) -> None: ...

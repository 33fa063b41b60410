"""An instance of core.wasm as the core that engines/_native.pyi describes.

The module has its own memory. Each call copies its arrays there, and back what it changed. A module
that stops in the middle of a call (a trap) is dropped, and the next call has a fresh instance.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# By dtype.str without its byte order, in the order of `Element` in native/core.h.
_KINDS = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_ELEMENTS = {kind: i for i, kind in enumerate(_KINDS)}
_LINE = 64  # bytes at which an array may begin
_REAL = np.dtype(np.float64)
_LOWER_HALF = 0xFFFFFFFF


class Instance(Protocol):
    """An instance of core.wasm: in the browser the object that core.js makes, elsewhere its like.

    Arrays come as bytes: flat, of uint8.
    """

    def call(self, name: str, *given: int) -> Any:
        """Return what a function of native/wasm/api.cpp makes of numbers and addresses."""
        ...

    def run(self, name: str, at: int, block: NDArray[np.uint8], back: int, *given: int) -> Any:
        """Copy a block into the module's memory, call, and copy its first bytes back."""
        ...

    def read(self, at: int, array: NDArray[np.uint8], /) -> None:
        """Copy from the module's memory into an array."""
        ...

    def answer(self, answer: Callable[[int, float], bool], /) -> None:
        """Set what is told an epoch's steps and mean loss so far, and says whether to stop."""
        ...


class Core:
    """What engines/_native.pyi describes, of an instance of core.wasm."""

    batch_limit = 1 << 24
    NOT_HANDLED, DONE, NOT_FINITE = 0, 1, 2

    def __init__(self, make: Callable[[], Instance]) -> None:
        self._make, self._instance = make, make()
        self.life = 0  # how many instances there were before: their addresses mean nothing now
        self._lock = threading.RLock()  # the instance has one stack; a callback may predict
        self._ask: Callable[[int, float], bool] | None = None
        self._error: BaseException | None = None
        self._block, self._at, self._in_use = np.empty(0, np.uint8), 0, False
        self._instance.answer(self._answer)
        *lines, self._set = self._text(self._instance.call("names")).splitlines()
        names = (tuple(line.split()) for line in lines)
        self.activations, self.losses, self.optimizers, self.operations = names

    def default_threads(self) -> int:
        """Return 1: there are no others."""
        return 1

    def instruction_set(self) -> str:
        """Return what the core was compiled for."""
        return self._set

    def Trainer(self, **given: Any) -> Trainer:  # noqa: N802 - as the extension calls it
        """Return who trains, for the arguments in `_native.pyi`."""
        return Trainer(self, **given)

    def Predictor(self, **given: Any) -> Predictor:  # noqa: N802
        """Return who predicts, for the arguments in `_native.pyi`."""
        return Predictor(self, **given)

    def epoch_orders(self, seed: int, epoch: int, count: int, n_samples: int) -> NDArray[np.int64]:
        """Return what `chainrule.random.epoch_orders` returns, (count, n_samples)."""
        orders = np.empty((count, n_samples), np.int64)
        given = [seed & _LOWER_HALF, seed >> 32, epoch, count, n_samples]
        self.run("orders", (), [orders], [None], lambda at: [*given, at[0]])
        return orders

    def make(self, function: str, numbers: Sequence[float]) -> int:
        """Return the address of what a function makes of numbers."""
        return int(self.run(function, (), [], [], lambda at: numbers))

    def drop(self, machine: int, life: int) -> None:
        """Free what `make` made in that life, if it goes on."""
        with self._lock:
            if life == self.life:
                self._instance.call("drop", machine)

    def run(
        self,
        function: str,
        given: Sequence[int],
        changed: Sequence[NDArray[Any] | None],
        inputs: Sequence[NDArray[Any] | None],
        numbers: Callable[[list[int]], Sequence[float]],
    ) -> Any:
        """Call a function with ``given`` and the address of numbers, which depend on the arrays'.

        Arrays are copied there, and back those that it changes. None has the address 0.

        Raises:
            MemoryError: The module has no room for them.
            RuntimeError: The module stopped.
        """
        with self._lock:
            life = self.life
            starts, size = [], 0
            for array in (*changed, *inputs):
                starts.append(size)
                size += 0 if array is None else -(-array.nbytes // _LINE) * _LINE
            block, at, nested = self._take(size + 8 * len(numbers([0] * len(starts))))
            try:
                addresses = [
                    0 if array is None else at + start
                    for start, array in zip(starts, (*changed, *inputs), strict=True)
                ]
                for start, array in zip(starts, (*changed, *inputs), strict=True):
                    if array is not None:
                        block[start : start + array.nbytes] = _bytes(array)
                words = np.array(numbers(addresses), _REAL)
                end = size + words.nbytes
                block[size:end] = words.view(np.uint8)
                back = starts[len(changed)] if len(inputs) else 0
                result = self._call(function, at, block[:end], back, *given, at + size)
                for start, array in zip(starts, changed, strict=False):
                    if array is not None:
                        _bytes(array)[...] = block[start : start + array.nbytes]
                return result
            finally:
                if life != self.life:
                    pass  # what was taken is gone with its instance
                elif nested:
                    self._instance.call("release", at)
                else:
                    self._in_use = False

    @contextmanager
    def asking(self, ask: Callable[[int, float], bool]) -> Iterator[None]:
        """Let ``ask`` answer the epoch's questions; what it raises is raised after the epoch."""
        with self._lock:
            before = self._ask, self._error
            self._ask, self._error = ask, None
            try:
                yield
                if self._error is not None:
                    raise self._error
            finally:
                self._ask, self._error = before

    def _answer(self, steps: float, loss: float) -> bool:
        if self._error is not None or self._ask is None:
            return True
        try:
            return bool(self._ask(int(steps), loss))
        except BaseException as error:  # whatever it is, the epoch ends cleanly first
            self._error = error
            return True

    def _call(self, function: str, *given: Any) -> Any:
        """Call a function; drop an instance that stops in it, whose memory may be in any state."""
        instance = self._instance
        try:
            return instance.run(function, *given)
        except Exception as error:
            used_up = False
            with suppress(Exception):
                used_up = bool(instance.call("memory_is_used_up"))
            if instance is self._instance:
                self._begin_again()
            if used_up:
                raise MemoryError(
                    "the core in this page has used up its memory: take a smaller network or fewer "
                    "samples, or train where Python is installed"
                ) from error
            raise RuntimeError(f"the core in this page stopped in {function}: {error}") from error

    def _begin_again(self) -> None:
        self._instance, self.life = self._make(), self.life + 1
        self._block, self._at, self._in_use = np.empty(0, np.uint8), 0, False
        self._instance.answer(self._answer)

    def _take(self, size: int) -> tuple[NDArray[np.uint8], int, bool]:
        """Return the block that calls share, or one of its own for a call inside a call.

        It is an array here and an address there.
        """
        if self._in_use:
            return np.empty(size, np.uint8), self._allocate(size), True
        if size > len(self._block):
            self._instance.call("release", self._at)
            self._block, self._at = self._block[:0], 0
            self._at = self._allocate(size)
            self._block = np.empty(size, np.uint8)
        self._in_use = True
        return self._block, self._at, False

    def _allocate(self, size: int) -> int:
        found = int(self._instance.call("allocate", size)) if size < 1 << 31 else 0
        if not found:
            raise MemoryError(
                f"the core in this page has no room for {size} bytes: take fewer samples, or train "
                "where Python is installed"
            )
        return found

    def _text(self, at: int) -> str:
        """Return the text at an address, which ends with a zero."""
        text, part = b"", np.empty(256, np.uint8)
        while b"\0" not in text:
            self._instance.read(int(at) + len(text), part)
            text += part.tobytes()
        return text.partition(b"\0")[0].decode()


class _Machine:
    """What an instance keeps of a network: made there, and again in an instance that follows."""

    def __init__(self, core: Core, function: str, numbers: list[float]) -> None:
        self._core, self._how = core, (function, numbers)
        self._at, self._life = 0, -1
        self.address()

    def address(self) -> int:
        """Return where it is in the present instance."""
        if self._life != self._core.life:
            self._at = self._core.make(*self._how)
            self._life = self._core.life
            weakref.finalize(self, self._core.drop, self._at, self._life).atexit = False
        return self._at


class Trainer:
    """`_native.Trainer` of an instance."""

    def __init__(self, core: Core, **given: Any) -> None:
        self._core = core
        seed = given["seed"]
        names = ("optimizer", "momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay",
                 "clip_norm", "l2_per_sample", "largest_loss", "batch_size")  # fmt: skip
        numbers = [given[name] for name in names] + [seed & _LOWER_HALF, seed >> 32]
        self._machine = _Machine(core, "make_trainer", _network(**given) + numbers)

    def run_epoch(self, *given: Any) -> tuple[float, int, int, bool]:
        """Return mean loss, steps, the step that failed or -1, and whether it was stopped."""
        return self.run_epochs(*given)[0]

    def run_epochs(
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
        count: int = 1,
    ) -> list[tuple[float, int, int, bool]]:
        """Return what `run_epoch` returns, of each of ``count`` epochs, with (count, n) orders."""
        X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
        first, second = [*slots, None, None][:2]
        outcomes = np.empty((count, 4))
        changed = [outcomes, theta, first, second, outputs, step_losses]

        def numbers(at: list[int]) -> list[float]:
            _, at_theta, at_first, at_second, at_outputs, at_losses = at[:6]
            at_X, at_y, *others = at[6:]  # weights, order, rates
            rows = [0, 0, 0, 0, at_y] if y.ndim == 1 else [*_matrix(y, at_y), 0]
            head = [at_theta, at_first, at_second, run_step, *_matrix(X, at_X), *rows]
            sizes = [len(X), len(learning_rates), count]
            return [*head, *others, at_losses, at_outputs, *sizes, at[0]]

        with self._core.asking(on_progress):
            inputs = [X, y, weights, order, learning_rates]
            run = self._core.run("epochs", (self._machine.address(),), changed, inputs, numbers)
        return [
            (loss, int(steps), int(failed), bool(stopped))
            for loss, steps, failed, stopped in outcomes[: int(run)].tolist()
        ]


class Predictor:
    """`_native.Predictor` of an instance."""

    def __init__(self, core: Core, **given: Any) -> None:
        self._core = core
        self._dtype = np.dtype(np.float32 if given["single"] else np.float64)
        units = [layer[0] for layer in given["layers"]]
        self._inputs, self._units = units[0], units[-1]
        pairs = itertools.pairwise(units)
        self._parameters = sum(n * (m + bool(given["biases"])) for m, n in pairs)
        self._machine = _Machine(core, "make_predictor", _network(l2=0.0, **given))

    def predict(self, theta: NDArray[Any], X: NDArray[Any], out: NDArray[Any]) -> int:
        """Put a^(L) into ``out``; return NOT_HANDLED, with nothing done, for what is not read."""
        return self._run(theta, X, out, None, None)

    def losses(
        self,
        theta: NDArray[Any],
        X: NDArray[Any],
        y: NDArray[Any],
        out: NDArray[Any],
        C: NDArray[np.float64],
    ) -> int:
        """Put a^(L) into ``out`` and C_i into ``C``."""
        return self._run(theta, X, out, y, C)

    def _run(
        self,
        theta: NDArray[Any],
        X: NDArray[Any],
        out: NDArray[Any],
        y: NDArray[Any] | None,
        C: NDArray[np.float64] | None,
    ) -> int:
        own = theta.dtype == out.dtype == self._dtype and theta.shape == (self._parameters,)
        read = X.dtype.isnative and X.dtype.str[1:] in _ELEMENTS
        if not (own and read and X.ndim == 2 and X.shape[1] == self._inputs):
            return Core.NOT_HANDLED
        n = len(X)
        if not (n and out.shape == (n, self._units) and out.flags.c_contiguous):
            return Core.NOT_HANDLED
        X, theta = np.ascontiguousarray(X), np.ascontiguousarray(theta)

        def numbers(at: list[int]) -> list[float]:
            at_out, at_C, at_theta, at_X, at_y = at
            return [at_theta, *_matrix(X, at_X), n, at_out, at_y, at_C]

        finite = self._core.run(
            "predict", (self._machine.address(),), [out, C], [theta, X, y], numbers
        )
        return Core.DONE if finite else Core.NOT_FINITE


def _network(
    *,
    layers: Sequence[tuple[int, int, float]],
    biases: bool,
    loss: int,
    l2: float,
    single: bool,
    formulas: Sequence[Any] = (),
    output: Any = None,
    output_weights: Sequence[float] | None = None,
    **other: Any,
) -> list[float]:
    """Return a network in the numbers that native/wasm/api.cpp reads."""
    numbers = [biases, loss, l2, single, len(layers), *itertools.chain.from_iterable(layers)]
    for both in formulas:
        numbers += [number for formula in both or () for number in _formula(formula)]
    weights = output_weights or ()
    own = [] if output is None else _formula(output)
    return [*numbers, len(weights), *weights, output is not None, *own]


def _formula(formula: tuple[Sequence[Sequence[float]], Sequence[int]]) -> list[float]:
    instructions, results = formula
    flat = itertools.chain.from_iterable(instructions)
    return [len(instructions), *flat, len(results), *results]


def _matrix(array: NDArray[Any], at: int) -> list[float]:
    """Return a matrix in the module's memory: address, element type, strides in bytes."""
    return [at, _ELEMENTS[array.dtype.str[1:]], *array.strides]


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)

"""The native engine gives the reference's result, for every setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import data
from chainrule.equations.schedules import Schedule
from tests.engines.runs import HIDDEN, LOSSES_AND_OUTPUTS, SMOOTH, train
from tests.settings import DTYPES

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402
from tests.engines.native_runs import agree  # noqa: E402

# Kernels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 5, 6, 7, 13])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 63, 64, 65, 130])
def test_product(isa: str, dtype: str, m: int, n: int) -> None:
    rng = np.random.default_rng(m * n)
    for k in (1, 7, 159, 161, 400):
        A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        C = np.full((m, n), np.nan, dtype)
        _native.product(A, B, C)
        np.testing.assert_allclose(C, A @ B, rtol=0, atol=4 * k * float(np.finfo(dtype).eps))


def test_dropout_words(isa: str) -> None:
    from chainrule.random import dropout_mask

    seed, step, rate = 2**40 + 12345, 2**33 + 7, 0.3
    for units in (1, 4, 7, 70):
        words = np.empty(units, np.uint32)
        kept = dropout_mask(seed, step, 3, 10, units, rate, "float64") > 0
        for row in range(10):
            _native.dropout_words(seed, row, 3, step & 0xFFFFFFFF, words)
            assert np.array_equal(words >= int(rate * 2**32), kept[row])


# Whole runs of 200 steps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [[1, 1], [2, 2, 1], [2, 8, 8, 1], [3, 1, 4], [13, 37, 5], [17, 16, 33, 15], [5, 100, 7, 65, 3],
     [9, *[8] * 6, 2], [64, 63, 65, 129, 10]],
    ids=str,
)  # fmt: skip
def test_sizes(isa: str, dtype: str, sizes: list[int]) -> None:
    agree(sizes, dtype=dtype, hidden="tanh")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 2, 11, 47])
def test_batches(isa: str, dtype: str, batch: int) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", batch=batch, epochs=200 * batch // 47 + 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_large_for_their_network(isa: str, dtype: str) -> None:
    """dW is summed over each half of the batch; one of 1, of 2 and of 97 samples ends the epoch."""
    for n in (201, 202, 297):
        options: dict[str, Any] = {
            "n": n,
            "batch": 200,
            "epochs": 20,
            "dtype": dtype,
            "hidden": "tanh",
            "l2": 0.1,
        }
        runs = [train(NativeEngine(threads), [13, 37, 40, 5], **options) for threads in (1, 2, 3)]
        for net, losses, _, _ in runs[1:]:
            assert np.array_equal(net.parameters, runs[0][0].parameters)
            assert losses == runs[0][1]
        agree([13, 37, 40, 5], **options)


@pytest.mark.parametrize("sizes", [[64, 20, 3], [300, 5, 2]], ids=str)
def test_a_batch_beyond_the_cache_of_a_small_network(isa: str, sizes: list[int]) -> None:
    """a^(0) is over 4 MB, and dW is summed over each half of the batch."""
    n = 6_000_000 // sizes[0] // 4
    options = {"n": n, "batch": n, "epochs": 2, "dtype": "float32", "hidden": "tanh"}
    options["optimizer"] = cr.GradientDescent(1.0)
    runs = [train(NativeEngine(threads), sizes, **options) for threads in (1, 2, 3)]
    exact = train(ReferenceEngine(), sizes, **options)[0].parameters
    for net, _, _, _ in runs:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        np.testing.assert_allclose(net.parameters, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_batch_beyond_the_cache(isa: str, dtype: str, clip: float | None) -> None:
    """a^(0) is over 4 MB, so that its columns are gathered for dW."""
    options: dict[str, Any] = {
        "n": 1100,
        "batch": 1024,
        "epochs": 3,
        "dtype": dtype,
        "hidden": "tanh",
        "l2": 0.01,
        "clip": clip,
    }
    agree([1190, 70, 3], **options)
    runs = [train(NativeEngine(threads), [1190, 70, 3], **options) for threads in (1, 2, 3)]
    for net, losses, _, _ in runs[1:]:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        assert losses == runs[0][1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_activations(isa: str, dtype: str, hidden: str) -> None:
    output = hidden if hidden in SMOOTH else "identity"
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden=hidden, output=output, optimizer=cr.GradientDescent(0.01))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [7, 100])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}], ids=["", "dropout"])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "elu", "gelu", "silu", "softplus"])
def test_gradients_of_saturated_units_keep_their_digits(
    isa: str, dtype: str, units: int, options: dict[str, Any], hidden: str
) -> None:
    """δ of every hidden unit to its last digits, however near a is to 1 or -1."""
    z = np.linspace(-30, 30, units).astype(dtype)
    W, b = [z[:, None], np.linspace(1, 2, units)[None]], [np.zeros(units), np.zeros(1)]
    for n in (1, 19):  # one sample, and eight at once and the rest
        nets = [
            cr.Network([1, units, 1], hidden=hidden, dtype=kind, W=W, b=b, seed=0, **options)  # type: ignore[arg-type]
            for kind in (dtype, "float64")
        ]
        X, y = np.ones((n, 1), dtype), np.full((n, 1), 1e5, dtype)  # the same error for all n
        rule = cr.GradientDescent(momentum=0.5)  # leaves the gradient in v
        state = State(slots=rule.start(nets[0].parameters))
        epoch = Epoch(data.Samples(X, y), Plan(rule, n), np.zeros(1))
        NativeEngine(2).run_epoch(nets[0], epoch, state)
        exact = nets[1].gradient(X, y, dropout_step=0).db[1]
        found = state.slots["v"][units : 2 * units]  # W and b of layer 1
        root = hidden in ("gelu", "silu")  # of g', where parts cancel
        atol = 1e5 * 16 * np.finfo(dtype).eps if root else 0
        wide = np.abs(z) > 3
        np.testing.assert_allclose(found, exact, rtol=32 * np.finfo(dtype).eps, atol=atol)
        np.testing.assert_allclose(
            found[wide], exact[wide], rtol=64 * np.finfo(dtype).eps, atol=1e5 * np.finfo(dtype).tiny
        )


def test_rmsprop_moves_a_unit_that_is_far_from_its_bend() -> None:
    """Its steps depend on the digits of g' alone: with none of them it stood still."""
    nets = []
    for engine in ("native", "reference"):
        net = cr.Network(
            [1, 1, 1], hidden="elu", dtype="float32", W=[[[1.0]], [[1.0]]], engine=engine
        )
        net.layers[1].b = [-18.0]
        rule = cr.RMSProp(0.01, epsilon=1e-30)
        net.fit([[0.0]], [[3.0]], optimizer=rule, epochs=50, verbose=0)
        nets.append(net.layers[1].b[0])  # type: ignore[index]
    assert nets[0] > -17.5
    assert nets[0] == pytest.approx(nets[1], rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), LOSSES_AND_OUTPUTS)
def test_losses(isa: str, dtype: str, loss: str, output: str) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", loss=loss, output=output)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "optimizer",
    [cr.GradientDescent(0.02, momentum=0.9), cr.GradientDescent(0.02, momentum=0.9, nesterov=True),
     cr.AdaGrad(0.01), cr.RMSProp(0.001), cr.Adam(0.001), cr.AdamW(0.001, weight_decay=0.1)],
    ids=str,
)  # fmt: skip
def test_optimizers(isa: str, dtype: str, optimizer: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", optimizer=optimizer)


WEIGHTS = np.random.default_rng(5).uniform(0, 2, 47)
WEIGHTS[:15] = 0  # with the samples in order, a whole batch of weight 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.3}, {"l2": 0.1}, {"l2": 1.0, "l2_per_sample": True},
     {"l2": 1.0, "l2_per_sample": True, "weights": WEIGHTS, "clip": 0.05},
     {"l2": 1.0, "l2_per_sample": True, "weights": WEIGHTS, "shuffle": False},
     {"clip": 0.01}, {"weights": WEIGHTS}, {"biases": False},
     {"shuffle": False}, {"weights": WEIGHTS, "shuffle": False},
     {"dropout": 0.5, "l2": 0.1, "clip": 0.05, "weights": WEIGHTS, "optimizer": cr.Adam(0.01)}],
    ids=lambda options: "-".join(options),
)  # fmt: skip
def test_features(isa: str, dtype: str, options: dict[str, Any]) -> None:
    for sizes in ([4, 7, 3], [13, 37, 40, 5]):
        agree(sizes, dtype=dtype, hidden="tanh", **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("sizes", [[4, 7, 3], [13, 37, 40, 5]])
def test_only_the_ratios_of_weights_count(
    isa: str, dtype: str, batch: int, sizes: list[int]
) -> None:
    """To the bit, from the smallest numbers to the largest; and a batch of light samples counts."""
    weights = np.random.default_rng(3).integers(0, 8, 47).astype(float)
    options: dict[str, Any] = {"dtype": dtype, "hidden": "tanh", "batch": batch, "epochs": 3}
    net, losses, _, _ = train(NativeEngine(2), sizes, weights=weights, **options)
    for power in (-1074, -1020, -300, 300, 1020):
        scaled = np.ldexp(weights, power)
        twin, twins_losses, _, _ = train(NativeEngine(2), sizes, weights=scaled, **options)
        assert np.array_equal(twin.parameters, net.parameters)
        assert twins_losses == losses
    uneven = weights.copy()
    uneven[: 3 * batch] = np.ldexp(weights[: 3 * batch], -1000)
    uneven[3 * batch :] = np.ldexp(weights[3 * batch :], 1000)
    nets = [
        train(NativeEngine(2), sizes, weights=w, **options, shuffle=False)[0].parameters
        for w in (weights, uneven)
    ]
    assert np.array_equal(*nets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[4, 3], [4, 7, 3], [13, 37, 40, 5]])
def test_largest_loss(isa: str, dtype: str, sizes: list[int]) -> None:
    """About the middle of the samples' losses, so that some count as less than they are."""
    agree(sizes, dtype=dtype, largest_loss=0.05)
    softmax: dict[str, Any] = {"output": "softmax", "loss": "cross_entropy"}
    y = np.random.default_rng(2).integers(0, 3, 47)
    agree(sizes, dtype=dtype, largest_loss=1.0, y=y, **softmax)
    plain = train(NativeEngine(1), sizes, dtype=dtype, y=y, **softmax)[1]
    capped = train(NativeEngine(1), sizes, dtype=dtype, y=y, largest_loss=1.0, **softmax)[1]
    assert capped[:50] == plain[:50]  # what is trained is the same
    assert capped[50::2] < plain[50::2]


def test_schedule(isa: str) -> None:
    agree([4, 7, 3], optimizer=cr.GradientDescent(cr.Cosine(0.1, epochs=50)))


def test_classes(isa: str) -> None:
    y = np.random.default_rng(2).integers(0, 3, 47)
    agree([4, 7, 3], hidden="relu", output="softmax", loss="cross_entropy", y=y)


@pytest.mark.parametrize(
    "layout",
    ["column-major", "every second", "backwards", "unaligned", "int8", ">f8", "float16"],
)
def test_layouts(isa: str, layout: str) -> None:
    X = np.random.default_rng(2).normal(scale=3, size=(47, 13))
    match layout:
        case "column-major":
            X = np.asfortranarray(X)
        case "every second":
            X = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
        case "backwards":
            X = X[::-1, ::-1]
        case "unaligned":
            raw = np.zeros(X.nbytes + 1, np.uint8)
            raw[1:] = np.frombuffer(X.tobytes(), np.uint8)
            X = raw[1:].view("float64").reshape(X.shape)
        case _:
            X = X.astype(layout)
    for dtype in DTYPES:
        agree([13, 37, 5], X=X, hidden="tanh", dtype=dtype)
    agree([13, 6, 5], X=X, hidden="tanh")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["?", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "f"])
def test_element_types(isa: str, kind: str, dtype: str) -> None:
    """Whatever element type holds the numbers, of inputs and targets, the bits are the same."""
    numbers = np.random.default_rng(5).integers(0, 2 if kind == "?" else 100, (24, 7))
    found = []
    for X in (numbers.astype(kind), numbers.astype(dtype)):
        net = cr.Network([7, 5, 7], hidden="tanh", dtype=dtype, seed=0, engine="native")
        net.fit(X, X, epochs=2, batch_size=5, verbose=0)
        found.append((net.parameters, net.predict(X), net.predict(X), net.predict(X[3])))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def test_layouts_of_classes() -> None:
    many = np.random.default_rng(2).integers(0, 3, 94)
    layouts = [many[::2], many[:47][::-1], np.stack([many[:47]] * 3, axis=1)[:, 1]]
    for y in (*layouts, many[::2].astype(">i8"), many[::2].astype("uint8")):
        nets = []
        for classes in (y, y.astype("int64")):
            net = cr.Network([4, 7, 3], output="softmax", loss="cross_entropy", seed=0)
            net.fit(np.ones((47, 4)), classes, epochs=2, verbose=0)
            nets.append(net.parameters)
        assert np.array_equal(nets[0], nets[1])


# Behaviour


def test_threads_of_a_network() -> None:
    X = np.random.default_rng(0).normal(size=(500, 64))
    alone, both = (cr.Network([64, 64, 32, 10], seed=0, threads=threads) for threads in (1, None))
    for net in (alone, both):
        net.fit(X, X[:, :10], epochs=2, verbose=0)
    assert np.array_equal(alone.parameters, both.parameters)
    assert (alone.threads, both.threads) == (1, None)
    for wrong, error in ((0, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="threads must be"):
            cr.Network([2, 1], threads=wrong)  # type: ignore[arg-type]


def test_a_schedule_that_holds_an_array() -> None:
    @dataclass(frozen=True)
    class Table(Schedule):
        values: np.ndarray

        def rate(self, epoch: float, losses: Any = ()) -> float:
            return float(self.values[int(epoch)])

    net = cr.Network([2, 3, 1], seed=0)
    for _ in range(2):
        rule = cr.GradientDescent(Table(np.array([0.1, 0.01])))
        assert net.fit(np.ones((8, 2)), np.zeros(8), optimizer=rule, epochs=2, verbose=0)


@pytest.mark.parametrize("optimizer", [cr.Adam(0.01, epsilon=1e-46), cr.AdaGrad(epsilon=1e-50)])
def test_an_epsilon_that_rounds_to_0(isa: str, optimizer: Any) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):  # padded to whole vectors, where every g is 0
        agree(sizes, dtype="float32", hidden="tanh", optimizer=optimizer, epochs=2)


@pytest.mark.parametrize("wrong", [5, -1, 10**12])
def test_classes_that_change_during_fit_stay_in_bounds(wrong: int) -> None:
    y = np.arange(64) % 3

    def change(run: Any) -> None:
        y[:] = wrong

    net = cr.Network([4, 40, 3], output="softmax", loss="cross_entropy", seed=0)
    net.fit(np.ones((64, 4)), y, epochs=3, verbose=0, callbacks=[change], metrics=[])
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    "options", [{}, {"clip": 0.01, "l2": 0.1, "dropout": 0.2, "optimizer": cr.Adam(0.01)}]
)
@pytest.mark.parametrize("sizes", [[64, 64, 32, 10], [100, 300, 200, 3]], ids=str)
def test_same_bits_at_any_number_of_threads(options: dict[str, Any], sizes: list[int]) -> None:
    runs = [train(NativeEngine(t), sizes, batch=32, n=96, epochs=10, dtype="float32", **options)
            for t in (1, 2, 2, 3, 8)]  # fmt: skip
    for net, losses, outputs, _ in runs[1:]:
        assert np.array_equal(net.parameters, runs[0][0].parameters)
        assert losses == runs[0][1]
        assert np.array_equal(outputs, runs[0][2])


def test_auto_takes_the_native_engine() -> None:
    assert cr.Network([2, 2, 1]).engine == "native"
    assert cr.Network([2, 2, 1], engine="reference").engine == "reference"


class Bent(cr.Activation):
    """Whose code is not what its formula says."""

    name = "bent"
    formula = "z**3"
    derivative_formula = "3*z**2"

    def value(self, z: Any) -> Any:
        return z**3

    def derivative(self, z: Any, a: Any) -> Any:
        return 2 * z**2


def test_own_activation_falls_back_and_says_so_once() -> None:
    X = np.zeros((4, 2))
    engines._said.clear()
    net = cr.Network([2, 3, 1], hidden=Bent(), seed=0)
    assert net.engine == "reference"
    with pytest.warns(engines.EngineWarning, match=r"reference engine.*'bent'"):
        net.fit(X, X[:, :1], epochs=1, verbose=0)
    net.fit(X, X[:, :1], epochs=1, verbose=0)  # the second warning would be an error
    with pytest.raises(ValueError, match=r"native.*'bent'"):
        cr.Network([2, 3, 1], hidden=Bent(), seed=0, engine="native").fit(X, X[:, :1], verbose=0)

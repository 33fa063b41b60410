"""The engine of live pages against the reference, in an instance outside a browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.engines.wasm import WasmEngine
from chainrule.equations import data
from chainrule.equations.weighted import weighted
from chainrule.random import epoch_orders
from tests.engines.customs import MISH, SINE, SOFTSIGN, LogCosh
from tests.engines.instances import MODULES, Wasmtime
from tests.engines.runs import HIDDEN, LOSSES_AND_OUTPUTS, SMOOTH, agree_with_reference
from tests.settings import DTYPES

pytestmark = pytest.mark.needs("wasm")


@pytest.fixture(scope="module", params=MODULES)
def engine(request: pytest.FixtureRequest) -> WasmEngine:
    return WasmEngine(lambda: Wasmtime(name=request.param))


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def agree(engine: WasmEngine, sizes: list[int], **options: Any) -> None:
    agree_with_reference(engine, sizes, **options)


@pytest.mark.parametrize("sizes", [[1, 1], [2, 8, 8, 1], [13, 37, 5], [64, 63, 65, 10]], ids=str)
def test_sizes(engine: WasmEngine, sizes: list[int], dtype: str) -> None:
    for batch in (1, 12, 47):
        agree(engine, sizes, dtype=dtype, hidden="tanh", batch=batch, epochs=batch + 1)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_activations(engine: WasmEngine, hidden: str, dtype: str) -> None:
    output = hidden if hidden in SMOOTH else "identity"
    for sizes in ([4, 7, 3], [13, 37, 5]):
        rule = cr.GradientDescent(0.01)
        agree(engine, sizes, dtype=dtype, hidden=hidden, output=output, optimizer=rule)


@pytest.mark.parametrize("g", [SOFTSIGN, SINE, MISH, "step"], ids=str)
def test_custom_functions(engine: WasmEngine, g: Any, dtype: str) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(engine, sizes, dtype=dtype, hidden=g, output=g, loss=LogCosh())
    own = weighted(LogCosh(), np.array([1.0, 0.5, 2.0]))
    for output in (g, "softmax"):
        agree(engine, [4, 7, 3], dtype=dtype, hidden=g, output=output, loss=own)
    X = np.random.default_rng(0).normal(size=(9, 4)).astype(dtype)
    nets = [cr.Network([4, 7, 3], hidden=g, output=g, seed=0, dtype=dtype) for _ in range(2)]  # type: ignore[arg-type]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    found = engine.predict(nets[0], X)
    np.testing.assert_allclose(found, nets[1].predict(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("loss", "output"), LOSSES_AND_OUTPUTS)
def test_losses(engine: WasmEngine, loss: str, output: str, dtype: str) -> None:
    for sizes in ([4, 7, 3], [13, 37, 5]):
        agree(engine, sizes, dtype=dtype, hidden="tanh", loss=loss, output=output)


@pytest.mark.parametrize(
    "optimizer",
    [cr.GradientDescent(0.02, momentum=0.9), cr.GradientDescent(0.02, momentum=0.9, nesterov=True),
     cr.AdaGrad(0.01), cr.RMSProp(0.001), cr.Adam(0.001), cr.AdamW(0.001, weight_decay=0.1)],
    ids=str,
)  # fmt: skip
def test_optimizers(engine: WasmEngine, optimizer: Any, dtype: str) -> None:
    agree(engine, [4, 7, 3], dtype=dtype, hidden="tanh", optimizer=optimizer)


WEIGHTS = np.random.default_rng(5).uniform(0, 2, 47)


@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.3}, {"l2": 0.1}, {"clip": 0.01}, {"weights": WEIGHTS}, {"biases": False},
     {"l2": 1.0, "l2_per_sample": True, "weights": WEIGHTS}, {"shuffle": False},
     {"largest_loss": 0.05},
     {"dropout": 0.5, "l2": 0.1, "clip": 0.05, "weights": WEIGHTS, "optimizer": cr.Adam(0.01)}],
    ids=lambda options: "-".join(options),
)  # fmt: skip
def test_features(engine: WasmEngine, options: dict[str, Any], dtype: str) -> None:
    for sizes in ([4, 7, 3], [13, 37, 40, 5]):
        agree(engine, sizes, dtype=dtype, hidden="tanh", **options)


def test_classes_and_a_large_seed(engine: WasmEngine) -> None:
    y = np.random.default_rng(2).integers(0, 3, 47)
    agree(engine, [4, 7, 3], hidden="relu", output="softmax", loss="cross_entropy", y=y)
    for seed in (2**40 + 12345, 2**63 - 1):  # dropout takes all of its bits
        agree(engine, [4, 7, 3], hidden="tanh", dropout=0.5, seed=seed)


@pytest.mark.parametrize("given", ["float32", "int8", "uint16", "int64", "bool", ">f8", "float16"])
def test_types_and_layouts(engine: WasmEngine, given: str, dtype: str) -> None:
    X = np.random.default_rng(2).normal(scale=3, size=(94, 26)).clip(0).astype(given)
    for laid in (X[:47, :13], np.asfortranarray(X[:47, :13]), X[::2, ::2], X[:47, 12::-1]):
        agree(engine, [13, 6, 5], X=laid, hidden="tanh", dtype=dtype, epochs=2)
        net = cr.Network([13, 6, 5], dtype=dtype, seed=0)
        expected = ReferenceEngine().predict(net, laid)
        found = engine.predict(net, laid)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e2 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("loss", "output"), LOSSES_AND_OUTPUTS)
def test_predictions_and_losses_of_samples(
    engine: WasmEngine, loss: str, output: str, dtype: Any
) -> None:
    rng = np.random.default_rng(0)
    for sizes, n in [([4, 7, 3], 1), ([13, 37, 5], 97)]:
        net = cr.Network(sizes, hidden="gelu", loss=loss, output=output, dtype=dtype, seed=0)
        X = rng.normal(size=(n, sizes[0])).astype(dtype)
        y = rng.uniform(0.05, 0.95, size=(n, sizes[-1])).astype(dtype)
        a, exact = np.empty_like(y), np.empty_like(y)
        C, exact_C = engine.losses(net, X, y, a), ReferenceEngine().losses(net, X, y, exact)
        tolerance = 100 * float(np.finfo(dtype).eps)
        predicted = engine.shortcut(net)(X, net.parameters)
        for found, expected in ((C, exact_C), (a, exact), (predicted, exact)):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_what_the_shortcut_leaves_to_the_checks(engine: WasmEngine) -> None:
    net = cr.Network([2, 3, 1], seed=0)
    shortcut = engine.shortcut(net)
    for X in (np.ones((3, 4)), np.ones((0, 2)), np.array([[1, np.nan]]), np.ones((3, 2), complex)):
        assert shortcut(X, net.parameters) is None
    net.layers[1].W[...] = 1e300
    with pytest.warns(RuntimeWarning, match="z of layer 1 is not finite"):
        engine.predict(net, np.full((1, 2), 1e300))


@pytest.mark.parametrize("sizes", [[2, 3, 1], [20, 50, 1]], ids=str)
def test_failure_is_the_references(engine: WasmEngine, sizes: list[int]) -> None:
    X = np.random.default_rng(0).normal(size=(40, sizes[0]))
    results = []
    for each in (engine, ReferenceEngine()):
        net, state = cr.Network(sizes, hidden="relu", seed=3), State()
        plan = Plan(cr.GradientDescent(50.0), 2)
        epoch = Epoch(data.Samples(X, X[:, :1]), plan, np.full(20, 50.0))
        result = each.run_epoch(net, epoch, state)
        results.append((result.failure, result.steps, result.samples, state.step))
        assert np.isfinite(net.parameters).all()
    assert results[0][0] is not None
    assert results[0] == results[1]


@pytest.mark.parametrize("n", [1, 2, 7, 160, 1440])
@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1, 2**63 + 5])
def test_orders_of_epochs_are_those_of_fit(engine: WasmEngine, n: int, seed: int) -> None:
    for epoch in (0, 41):
        exact = epoch_orders(seed, epoch, 3, n)
        np.testing.assert_array_equal(engine.epoch_orders(seed, epoch, 3, n), exact)
        of_shard = epoch_orders(seed, epoch, 3, n, shard=2)
        np.testing.assert_array_equal(engine.epoch_orders(seed, epoch, 3, n, 2), of_shard)
        np.testing.assert_array_equal(ReferenceEngine().epoch_orders(seed, epoch, 3, n), exact)


def long_epoch() -> tuple[Any, Epoch]:
    X = np.random.default_rng(0).normal(size=(100_000, 20)).astype("float32")
    plan = Plan(cr.GradientDescent(1e-4), 4)
    net = cr.Network([20, 60, 60, 1], dtype="float32", seed=0)
    return net, Epoch(data.Samples(X, X[:, :1]), plan, np.full(25_000, 1e-4))


def test_a_callback_may_predict_and_stop(engine: WasmEngine) -> None:
    """What it predicts has memory of its own: the epoch goes on with what it had."""
    net, epoch = long_epoch()
    other, Z = cr.Network([64, 8, 3], seed=1), np.ones((3000, 64))
    exact, seen = ReferenceEngine().predict(other, Z), []

    def on_progress(steps: int, loss: float) -> bool:
        np.testing.assert_allclose(engine.predict(other, Z), exact, atol=1e-12)
        seen.append(steps)
        return True

    result = engine.run_epoch(net, epoch, State(), on_progress)
    assert result.stopped
    assert 0 < result.steps < 25_000
    assert seen == [result.steps]
    begun = cr.Network([20, 60, 60, 1], dtype="float32", seed=0)
    n = 4 * result.steps
    part = data.Samples(epoch.samples.X[:n], epoch.samples.y[:n])
    rates = epoch.learning_rates[: result.steps]
    engine.run_epoch(begun, Epoch(part, epoch.plan, rates), State())
    np.testing.assert_array_equal(net.parameters, begun.parameters)


def test_a_callback_that_raises_ends_the_epoch(engine: WasmEngine) -> None:
    """With the parameters of the steps that were done."""
    net, epoch = long_epoch()
    before = net.parameters.copy()

    def on_progress(steps: int, loss: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_epoch(net, epoch, State(), on_progress)
    assert np.isfinite(net.parameters).all()
    assert not np.array_equal(net.parameters, before)
    agree(engine, [2, 3, 1])  # and the engine goes on


def test_a_run_with_fit_and_its_own_name(
    engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="engine 'wasm' is of live pages"):
        cr.Network([2, 3, 1], engine="wasm")
    monkeypatch.setattr(engines, "_ENGINES", {"wasm": engine, "reference": ReferenceEngine()})
    X = np.random.default_rng(0).normal(size=(40, 2))
    nets = [cr.Network([2, 3, 1], seed=0, engine=name) for name in ("auto", "wasm", "reference")]
    assert [net.engine for net in nets] == ["wasm", "wasm", "reference"]
    for net in nets:
        net.fit(X, X[:, 0] * X[:, 1], epochs=20, verbose=0, validation_data=(X, X[:, 0]))
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
    np.testing.assert_allclose(nets[0].parameters, nets[2].parameters, rtol=1e-10)


class Trapping(Wasmtime):
    """An instance that reads outside its memory in the call of that name."""

    at: str | None = None

    def run(self, name: str, at: int, block: Any, back: int, *given: int) -> Any:
        if name == Trapping.at:
            Trapping.at = None
            given = (*given[:-1], 0x7FFF_FFF0)  # where the numbers are said to be
        return super().run(name, at, block, back, *given)


def test_a_trap_is_told_and_the_next_call_has_a_fresh_instance() -> None:
    made = list[Trapping]()

    def make() -> Trapping:
        made.append(Trapping())
        return made[-1]

    engine = WasmEngine(make)
    net, twin = (cr.Network([2, 3, 1], seed=0) for _ in range(2))
    X = np.random.default_rng(0).normal(size=(8, 2))
    epoch = Epoch(data.Samples(X, X[:, :1]), Plan(cr.GradientDescent(0.1), 4), np.full(2, 0.1))
    state = State()
    engine.predict(net, X)
    engine.run_epoch(net, epoch, state)
    before = net.parameters.copy()
    for call, use in [("predict", lambda: engine.predict(net, X)),
                      ("epochs", lambda: engine.run_epoch(net, epoch, state))]:  # fmt: skip
        Trapping.at, count = call, len(made)
        with pytest.raises(RuntimeError, match=rf"stopped in {call}: (.|\n)*out of bounds"):
            use()
        assert len(made) == count + 1
    assert np.array_equal(net.parameters, before)
    assert state.step == 2
    engine.run_epoch(net, epoch, state)
    for _ in range(2):
        ReferenceEngine().run_epoch(twin, epoch, State())
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12)
    np.testing.assert_allclose(engine.predict(net, X), ReferenceEngine().predict(net, X))
    assert len(made) == 3


def test_a_trap_inside_a_callback_ends_the_epoch_and_leaves_a_sound_engine() -> None:
    engine = WasmEngine(Trapping)
    net, epoch = long_epoch()
    other = cr.Network([3, 2], seed=1)

    def on_progress(steps: int, loss: float) -> bool:
        Trapping.at = "predict"
        engine.predict(other, np.ones((2, 3)))
        return False

    with pytest.raises(RuntimeError, match="stopped in predict"):
        engine.run_epoch(net, epoch, State(), on_progress)
    assert np.isfinite(net.parameters).all()
    agree(engine, [2, 3, 1])


def test_a_network_that_has_no_room_is_a_memory_error() -> None:
    engine = WasmEngine(lambda: Wasmtime(1 << 25))
    large, small = cr.Network([1000, 2200, 1], seed=0), cr.Network([2, 3, 1], seed=0)
    with pytest.raises(MemoryError, match="used up its memory"):
        engine.predict(large, np.ones((1, 1000)))
    X = np.ones((2, 2))
    np.testing.assert_allclose(engine.predict(small, X), ReferenceEngine().predict(small, X))


@pytest.mark.parametrize("n", [5, 12])
def test_several_epochs_in_one_call_are_as_many_epochs(
    engine: WasmEngine, n: int, dtype: str
) -> None:
    """The same bits, for any rule; with the last batch short or whole."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)).astype(dtype)
    orders = np.array([rng.permutation(n) for _ in range(7)])
    for rule in (cr.GradientDescent(0.1), cr.Adam(0.01)):
        steps = -(-n // 4)
        epoch = Epoch(data.Samples(X, X[:, :1] ** 2), Plan(rule, 4), np.full(steps, 0.1))
        nets = [cr.Network([2, 8, 1], hidden="tanh", dropout=0.2, seed=0, dtype=dtype)
                for _ in range(2)]  # fmt: skip
        states = [State(slots=rule.start(net.parameters)) for net in nets]
        found = engine.run_epochs(nets[0], epoch, orders, states[0])
        expected = super(WasmEngine, engine).run_epochs(nets[1], epoch, orders, states[1])
        assert found == expected
        assert len(found) == 7
        assert states[0].step == states[1].step == 7 * steps
        np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
        for name in states[0].slots:
            np.testing.assert_array_equal(states[0].slots[name], states[1].slots[name])


def test_of_several_epochs_the_one_that_fails_is_the_last(engine: WasmEngine) -> None:
    X, orders = np.random.default_rng(0).normal(size=(8, 2)), np.tile(np.arange(8), (90, 1))
    results = []
    for each in (engine, ReferenceEngine()):
        net, state = cr.Network([2, 3, 1], hidden="relu", seed=3), State()
        epoch = Epoch(data.Samples(X, X[:, :1]), Plan(cr.GradientDescent(9.0), 2), np.full(4, 9.0))
        found = each.run_epochs(net, epoch, orders, state)
        assert np.isfinite(net.parameters).all()
        results.append((len(found), found[-1].failure, found[-1].steps, state.step))
    assert results[0][1] is not None
    assert results[0][0] > 1
    assert results[0] == results[1]


def test_memory_that_is_not_there(engine: WasmEngine) -> None:
    for size in (1 << 31, (1 << 31) - (1 << 20)):
        with pytest.raises(MemoryError, match=f"no room for {size} bytes"):
            engine._core._allocate(size)


def test_what_is_dropped_is_freed() -> None:
    """A thousand networks of 0.8 MB each go into 2 GB only one after the other."""
    instance = Wasmtime()
    engine = WasmEngine(lambda: instance)
    for seed in range(40):
        net = cr.Network([100, 1000, 1], dtype="float64", seed=seed)
        engine.predict(net, np.ones((2, 100)))
        if seed == 5:
            size = instance.size()
    assert instance.size() <= 2 * size

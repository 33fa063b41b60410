"""The seam between Python and the core: arrays that lie in any way, and what the core is handed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.base import Epoch, Plan, State
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import data
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.losses import LOSSES
from chainrule.equations.optimizers import Optimizer

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

Array = Any
ENGINES: list[Any] = [NativeEngine(2), ReferenceEngine()]
TOLERANCE = 1e-12


class Sub(np.ndarray):
    """A subclass of one's own."""


def unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes + 3, np.uint8)
    raw[3:] = np.frombuffer(a.tobytes(), np.uint8)
    return np.frombuffer(raw.data, a.dtype, offset=3).reshape(a.shape)


def record(a: Array) -> Array:
    """A field of packed records: a stride that is no multiple of a number's size."""
    part = (("x", a.dtype, a.shape[1:]),)
    records = np.zeros(len(a), np.dtype([("before", "i1"), *part, ("after", "i2")]))
    records["x"] = a
    return records["x"]


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def matrix(a: Array) -> Array:
    return np.asmatrix(a) if a.ndim == 2 else a.view(Sub)


# Of arrays of any number of axes; each keeps the numbers.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "unaligned": unaligned,
    "record": record,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned and byte-swapped": lambda a: unaligned(a.astype(a.dtype.newbyteorder())),
    "backwards": lambda a: np.flip(np.flip(a).copy()),
    "every third": lambda a: np.repeat(a, 3, axis=0)[::3],
    "column-major": np.asfortranarray,
    "a column": lambda a: np.stack([a, a * 0], axis=-1)[..., 0],
    "read-only": read_only,
    "subclass": lambda a: a.view(Sub),
    "matrix": matrix,
    "long": lambda a: a.astype(np.longdouble) if a.dtype.kind == "f" else a.astype(np.uint16),
}
# Of arrays that the engine writes to: those that NumPy can write to.
WRITABLE = [name for name in LAYOUTS if name not in ("unaligned", "read-only", "long")]


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Callable[[Array], Array]:
    return LAYOUTS[request.param]


def drawn(n: int, sizes: list[int], dtype: str = "float64") -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    return X, rng.uniform(0.1, 0.9, size=(n, sizes[-1])).astype(dtype)


SIZES = [[3, 4, 2], [13, 37, 5]]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions(layout: Callable[[Array], Array], sizes: list[int], dtype: str) -> None:
    net = cr.Network(sizes, hidden="tanh", dtype=dtype, seed=0)  # type: ignore[arg-type]
    for n in (1, 3, 150):
        X, _ = drawn(n, sizes, dtype)
        expected = net.copy().predict(X)
        for _ in range(2):  # the second call has a shortcut
            np.testing.assert_array_equal(net.predict(layout(X)), expected)
        np.testing.assert_array_equal(NativeEngine(2).predict(net, layout(X)), expected)


def test_predictions_of_one_row_many_times() -> None:
    X = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (50, 3))
    net = cr.Network([3, 4, 2], seed=0)
    for given in (X, np.broadcast_to(np.float64(2), (50, 3))):
        for _ in range(2):
            np.testing.assert_array_equal(net.predict(given), net.predict(given.copy()))


def test_predictions_of_overlapping_windows() -> None:
    X = np.lib.stride_tricks.sliding_window_view(np.arange(20.0), 3)
    net = cr.Network([3, 4, 2], seed=0)
    np.testing.assert_array_equal(net.predict(X), net.predict(X.copy()))


def test_predictions_of_a_map_that_is_not_aligned(tmp_path: Path) -> None:
    X, y = drawn(40, [3, 4, 2])
    (tmp_path / "X").write_bytes(b"abc" + X.tobytes())
    maps = np.memmap(tmp_path / "X", dtype="float64", mode="r", offset=3, shape=X.shape)
    nets = [cr.Network([3, 4, 2], seed=0) for _ in range(2)]
    for net, given in zip(nets, (maps, X), strict=True):
        net.fit(given, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    np.testing.assert_array_equal(nets[0].predict(maps), nets[0].predict(X))


def test_what_the_core_has_not_done_is_done_by_the_reference(monkeypatch: Any) -> None:
    class Idle:
        def __init__(self, **options: Any) -> None: ...

        def predict(self, *given: Any) -> int:
            return _native.NOT_HANDLED

        losses = predict

    net, (X, y) = cr.Network([3, 4, 2], seed=0), drawn(40, [3, 4, 2])
    expected, C = ReferenceEngine().predict(net, X), ReferenceEngine().losses(net, X, y, y.copy())
    monkeypatch.setattr(_native, "Predictor", Idle)
    engine, a = NativeEngine(1), np.full_like(y, np.nan)
    np.testing.assert_array_equal(engine.predict(net, X), expected)
    np.testing.assert_array_equal(engine.losses(net, X, y, a), C)
    np.testing.assert_array_equal(a, expected)
    shortcut = engine.shortcut(net)
    assert shortcut(X, net.parameters) is None


@pytest.mark.parametrize("n", [1, 40])
def test_a_weight_that_is_not_finite_leaves_no_memory_in_the_outputs(n: int) -> None:
    net, (X, _) = cr.Network([3, 4, 2], hidden="tanh", seed=0), drawn(n, [3, 4, 2])
    engine = NativeEngine(1)
    engine.predict(net, X)
    net.layers[1].W[0, 0] = np.inf
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="z of layer 1 is not finite"):
            found = engine.predict(net, X)
        with pytest.warns(RuntimeWarning, match="z of layer 1 is not finite"):
            expected = ReferenceEngine().predict(net, X)
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_losses_of_samples(layout: Callable[[Array], Array], sizes: list[int]) -> None:
    net, (X, y) = cr.Network(sizes, hidden="tanh", seed=0), drawn(40, sizes)
    engine, a = NativeEngine(2), np.empty_like(y)
    expected = engine.losses(net, X, y, a)
    for given in ((layout(X), y), (X, layout(y))):
        outputs = np.full_like(y, np.nan)
        np.testing.assert_array_equal(engine.losses(net, *given, outputs), expected)
        np.testing.assert_array_equal(outputs, a)


@pytest.mark.parametrize("name", WRITABLE)
def test_losses_write_to_any_outputs(name: str) -> None:
    net, (X, y) = cr.Network([3, 4, 2], hidden="tanh", seed=0), drawn(40, [3, 4, 2])
    a, outputs = np.empty_like(y), LAYOUTS[name](y)
    for engine in ENGINES:
        C = engine.losses(net, X, y, a)
        np.testing.assert_allclose(engine.losses(net, X, y, outputs), C, rtol=TOLERANCE)
        np.testing.assert_allclose(np.asarray(outputs, "f8"), a, rtol=TOLERANCE)


def run(
    engine: Any, sizes: list[int], dtype: str = "float64", **given: Any
) -> tuple[Any, State, dict[str, Any], float]:
    """Two epochs in which every array is what ``given`` makes of it."""
    options = given.pop("options", {})
    net = cr.Network(sizes, hidden="tanh", seed=0, dtype=dtype, **options)  # type: ignore[arg-type]
    X, y = drawn(47, sizes, dtype)
    plan = Plan(cr.Adam(0.01), 8)
    arrays: dict[str, Any] = {
        "X": X,
        "y": y,
        "weights": np.random.default_rng(1).uniform(0, 2, 47),
        "order": np.random.default_rng(2).permutation(47),
        "rates": np.full(6, 0.01),
        "outputs": np.zeros_like(y),
        "step_losses": np.zeros((6, 2)),
        "slots": np.zeros_like(net.parameters),
    }
    if net.loss.name == "cross_entropy":
        arrays["y"] = np.random.default_rng(3).integers(0, sizes[-1], 47)
    for name, change in given.items():
        arrays[name] = change(arrays[name])
    state = State(slots={name: arrays["slots"].copy() for name in ("m", "v")})
    if "slots" in given:
        state.slots["v"] = arrays["slots"]
    samples = data.Samples(arrays["X"], arrays["y"], arrays["weights"])
    for _ in range(2):
        parts = (arrays[name] for name in ("rates", "order", "outputs", "step_losses"))
        result = engine.run_epoch(net, Epoch(samples, plan, *parts), state)
    assert result.failure is None
    return net, state, arrays, result.loss


def same(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(found[0].parameters, expected[0].parameters)
    for name, slot in expected[1].slots.items():
        np.testing.assert_array_equal(found[1].slots[name], slot)
    for name in ("outputs", "step_losses"):
        np.testing.assert_array_equal(np.asarray(found[2][name]), expected[2][name])
    assert found[3] == expected[3]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", ["X", "y", "weights", "order", "rates"])
def test_training_reads_any_layout(
    layout: Callable[[Array], Array], sizes: list[int], name: str
) -> None:
    engine = NativeEngine(2)
    same(run(engine, sizes, **{name: layout}), run(engine, sizes))
    if name == "y":
        classes = {"options": {"output": "softmax", "loss": "cross_entropy"}}
        same(run(engine, sizes, y=layout, **classes), run(engine, sizes, **classes))


@pytest.mark.parametrize("engine", ENGINES, ids=["native", "reference"])
@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("name", ["outputs", "step_losses"])
def test_training_writes_to_any_layout(engine: Any, layout: str, name: str) -> None:
    same(run(engine, [3, 4, 2], **{name: LAYOUTS[layout]}), run(engine, [3, 4, 2]))


@pytest.mark.parametrize("engine", ENGINES, ids=["native", "reference"])
@pytest.mark.parametrize("layout", ["record", "backwards", "every third", "a column", "subclass"])
def test_slots_may_lie_as_they_like(engine: Any, layout: str) -> None:
    same(run(engine, [3, 4, 2], slots=LAYOUTS[layout]), run(engine, [3, 4, 2]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit(layout: Callable[[Array], Array], dtype: str) -> None:
    X, y = drawn(47, [3, 4, 2], dtype)
    s = np.random.default_rng(1).uniform(0, 2, 47)
    nets = []
    for given in ((X, y, s), (layout(X), layout(y), layout(s))):
        net = cr.Network([3, 4, 2], seed=0, dtype=dtype)  # type: ignore[arg-type]
        net.fit(*given[:2], sample_weight=given[2], epochs=2, validation_data=given, verbose=0)
        nets.append(net)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_estimators(layout: Callable[[Array], Array]) -> None:
    from chainrule.sklearn import MLPRegressor

    X, y = drawn(47, [3, 4, 1])
    estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    with pytest.warns(UserWarning, match="hasn't converged"):
        estimator.fit(X, y[:, 0])
    if layout is not matrix:  # which scikit-learn refuses
        np.testing.assert_array_equal(estimator.predict(layout(X)), estimator.predict(X))


# What a callback does to the slots of its run


def clear(slots: dict[str, Array]) -> None:
    slots.clear()


def drop(slots: dict[str, Array]) -> None:
    del slots["v"]


def shorten(slots: dict[str, Array]) -> None:
    slots["v"] = slots["v"][:3].copy()


def resize(slots: dict[str, Array]) -> None:
    slots["v"].resize(2, refcheck=False)


def reshape(slots: dict[str, Array]) -> None:
    slots["v"] = slots["v"].reshape(1, -1)


def halve(slots: dict[str, Array]) -> None:
    slots["v"] = slots["v"].astype("float16")


def swap(slots: dict[str, Array]) -> None:
    slots["v"] = slots["v"].astype(slots["v"].dtype.newbyteorder())


def lock(slots: dict[str, Array]) -> None:
    slots["v"].flags.writeable = False


def listed(slots: dict[str, Array]) -> None:
    slots["v"] = list(slots["v"])  # type: ignore[assignment]


SPOILT = [clear, drop, shorten, resize, reshape, halve, swap, lock, listed]


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_spoilt_slots_are_refused_before_the_next_step(engine: str, spoil: Any) -> None:
    X, y = drawn(47, [3, 4, 2])
    net = cr.Network([3, 4, 2], seed=0, engine=engine)
    kept: list[Array] = []

    def spoiling(run: Any) -> None:
        kept.append(run.network.parameters.copy())
        spoil(run.state.slots)

    name = "m" if spoil is clear else "v"
    with pytest.raises(ValueError, match=rf"state\.slots\['{name}'\].*Adam needs a writable array"):
        net.fit(X, y, epochs=5, callbacks=[spoiling], verbose=0)
    assert len(kept) == 1
    np.testing.assert_array_equal(net.parameters, kept[0])


def test_slots_that_are_changed_in_place_count() -> None:
    def doubled(run: Any) -> None:
        run.state.slots["m"] *= 2
        run.state.slots["extra"] = np.zeros(1)  # of the callback's own

    X, y = drawn(47, [3, 4, 2])
    nets = []
    for engine in ("native", "reference"):
        net = cr.Network([3, 4, 2], seed=0, engine=engine, hidden="tanh")
        net.fit(X, y, epochs=3, callbacks=[doubled], verbose=0)
        nets.append(net.parameters)
    np.testing.assert_allclose(nets[0], nets[1], rtol=1e-10)


def test_an_optimizer_of_ones_own_may_have_slots_of_any_shape() -> None:
    class Counting(Optimizer):
        learning_rate = 0.01
        slot_names = ("count",)

        def start(self, theta: Array) -> dict[str, Array]:
            return {"count": np.zeros(())}

        def update(self, theta: Array, g: Array, slots: Any, eta: float, t: int) -> None:
            slots["count"] += 1
            theta -= eta * g

    X, y = drawn(47, [3, 4, 2])
    net = cr.Network([3, 4, 2], seed=0, engine="reference")
    net.fit(X, y, optimizer=Counting(), epochs=2, verbose=0)


def test_parameters_that_are_read_only_are_refused() -> None:
    X, y = drawn(47, [3, 4, 2])
    for engine in ("native", "reference"):
        net = cr.Network([3, 4, 2], seed=0, engine=engine)
        net.parameters.flags.writeable = False
        with pytest.raises(ValueError, match="parameters are read-only"):
            net.fit(X, y, verbose=0)


# What the core itself refuses


def trainer(**changed: Any) -> Any:
    options = {
        "layers": [(3, 0, 0.0), (4, 2, 0.0), (2, 0, 0.0)], "biases": True, "loss": 0, "l2": 0.0,
        "single": False, "optimizer": 5, "momentum": 0.0, "decay": 0.0, "beta1": 0.9,
        "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "clip_norm": 0.0,
        "l2_per_sample": False, "largest_loss": 1.0, "batch_size": 8, "seed": 0, "threads": 1,
    }  # fmt: skip
    return _native.Trainer(**{**options, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": [(3, 0, 0.0)]}, "at least one layer"),
        ({"layers": [(3, 0, 0.0), (0, 0, 0.0)]}, "at least one unit"),
        ({"layers": [(3, 0, 0.0), (2, 99, 0.0)]}, "no such activation"),
        ({"layers": [(3, 0, 0.0), (2, -1, 0.0)]}, "no such activation"),
        ({"layers": [(3, 0, 0.0), (2, 9, 0.0), (2, 0, 0.0)]}, "softmax is for the output"),
        ({"layers": [(3, 0, 0.0), (2, 0, 1.0), (2, 0, 0.0)]}, "dropout"),
        ({"layers": [(3, 0, 0.0), (2, 0, np.nan), (2, 0, 0.0)]}, "dropout"),
        ({"loss": 8}, "no such loss"),
        ({"loss": 7}, "a custom loss or output needs its formula"),
        ({"layers": [(3, 0, 0.0), (2, 10, 0.0), (2, 0, 0.0)]}, "activation needs its formula"),
        ({"layers": [(3, 0, 0.0), (2, 11, 0.0), (2, 0, 0.0)]}, "no such activation"),
        ({"formulas": [None]}, "a formula or None for each layer"),
        ({"loss": 7, "output": ([], [0, 0])}, "another number of results"),
        ({"loss": 7, "output": ([(99, 0, 0, 0, 0, 0.0)], [0, 0, 0])}, "no such operation"),
        ({"output_weights": [1.0]}, "one weight for each output"),
        ({"loss": 4}, "cross_entropy needs"),
        ({"loss": 5}, "binary_cross_entropy needs"),
        ({"loss": 6}, "poisson needs"),
        ({"l2": -1.0}, "l2"),
        ({"optimizer": 7}, "no such optimizer"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2**24 + 1}, "batch_size"),
        ({"threads": 0}, "threads"),
        ({"threads": 10**6}, "threads"),
    ],
)
def test_a_trainer_that_can_not_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(**changed)
    if set(changed) <= {"layers", "loss", "threads"}:
        options = {"layers": [(3, 0, 0.0), (2, 0, 0.0)], "loss": 0, "threads": 1, **changed}
        with pytest.raises(ValueError, match=message):
            _native.Predictor(biases=True, single=False, **options)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"theta": np.zeros(25)}, ValueError),
        ({"theta": np.zeros(26, "f4")}, ValueError),
        ({"theta": np.zeros(52)[::2]}, TypeError),
        ({"theta": read_only(np.zeros(26))}, TypeError),
        ({"slots": []}, ValueError),
        ({"slots": [np.zeros(26)]}, ValueError),
        ({"slots": [np.zeros(26)] * 3}, ValueError),
        ({"slots": [np.zeros(26), np.zeros(25)]}, ValueError),
        ({"slots": [np.zeros(26), np.zeros(26, "f4")]}, ValueError),
        ({"slots": [np.zeros(26), np.zeros(26, "i8")]}, ValueError),
        ({"slots": [np.zeros(26), np.zeros((2, 13))]}, TypeError),
        ({"X": np.zeros((16, 2))}, ValueError),
        ({"X": np.zeros(48)}, ValueError),
        ({"X": np.zeros((16, 3), "c8")}, ValueError),
        ({"X": np.zeros((16, 3), "f2")}, ValueError),
        ({"X": np.zeros((16, 3), ">f8")}, ValueError),
        ({"X": [[0.0] * 3] * 16}, ValueError),
        ({"X": np.zeros((0, 3)), "y": np.zeros((0, 2)), "rates": np.zeros(0)}, ValueError),
        ({"y": np.zeros((15, 2))}, ValueError),
        ({"y": np.zeros((16, 3))}, ValueError),
        ({"y": np.zeros(16)}, ValueError),
        ({"y": np.zeros(32, "i8")[::2]}, ValueError),
        ({"y": unaligned(np.zeros(16, "i8"))}, ValueError),
        ({"weights": np.zeros(15)}, ValueError),
        ({"order": np.arange(15)}, ValueError),
        ({"order": np.arange(1, 17)}, ValueError),
        ({"order": np.arange(-1, 15)}, ValueError),
        ({"rates": np.zeros(3)}, ValueError),
        ({"outputs": np.zeros((16, 3))}, ValueError),
        ({"outputs": np.zeros((16, 2), "f4")}, ValueError),
        ({"step_losses": np.zeros((3, 2))}, ValueError),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else value.__name__,
)
def test_arrays_that_do_not_fit_the_core(changed: dict[str, Any], error: Any) -> None:
    given: dict[str, Any] = {
        "theta": np.zeros(26), "slots": [np.zeros(26), np.zeros(26)], "step": 0,
        "X": np.ones((16, 3)), "y": np.zeros((16, 2)), "weights": None, "order": None,
        "rates": np.full(2, 0.1), "outputs": None, "step_losses": None,
    }  # fmt: skip
    run = trainer().run_epoch
    assert run(*given.values(), lambda steps, loss: False)[1] == 2  # as they should be
    with pytest.raises(error):
        run(*{**given, **changed}.values(), lambda steps, loss: False)


def test_names_come_from_the_core() -> None:
    assert sorted([*_native.activations, "step"]) == sorted(ACTIVATIONS)  # step: the reference
    assert sorted(_native.losses) == sorted(LOSSES)

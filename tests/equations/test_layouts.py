"""Every layout of arrays in every entry: the same bits as the plain copy of the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import engines
from chainrule.sklearn import MLPClassifier, MLPRegressor
from chainrule.verify import certify

Array = Any
Layout = Callable[[Array, Path], Array]


def unaligned(a: Array, tmp_path: Path) -> Array:
    """The same behind three bytes of something else."""
    return np.frombuffer(b"\0" * 3 + a.tobytes(), a.dtype, offset=3).reshape(a.shape)


def of_records(a: Array, tmp_path: Path) -> Array:
    """A field of records without padding: neither aligned nor side by side."""
    field = (a.dtype, a.shape[1:]) if a.ndim > 1 else (a.dtype,)
    records = np.zeros(len(a), [("mark", "u1"), ("x", *field), ("end", "u1")])
    records["x"] = a
    return records["x"]


def backwards(a: Array, tmp_path: Path) -> Array:
    every = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[every])[every]


def every_second(a: Array, tmp_path: Path) -> Array:
    wide = np.full(tuple(2 * n for n in a.shape), np.nan if a.dtype.kind == "f" else 99, a.dtype)
    every = (slice(None, None, 2),) * a.ndim
    wide[every] = a
    return wide[every]


def column_major(a: Array, tmp_path: Path) -> Array:
    return np.asfortranarray(a)


def byte_swapped(a: Array, tmp_path: Path) -> Array:
    return a.astype(a.dtype.newbyteorder())


def read_only(a: Array, tmp_path: Path) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def broadcast(a: Array, tmp_path: Path) -> Array:
    """One row, that of the first sample, n times: a stride of 0."""
    return np.broadcast_to(a[:1].copy(), a.shape)


def mapped(a: Array, tmp_path: Path) -> Array:
    path = tmp_path / f"{abs(hash(a.tobytes()))}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


def mapped_unaligned(a: Array, tmp_path: Path) -> Array:
    path = tmp_path / f"{abs(hash(a.tobytes()))}.raw"
    path.write_bytes(b"\0" * 3 + a.tobytes())
    return np.memmap(path, a.dtype, "r", offset=3, shape=a.shape)


class Labelled(np.ndarray):
    """A sub-class that does not let its products be taken."""

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the numbers are meant, not what the class makes of them")


def sub_class(a: Array, tmp_path: Path) -> Array:
    return a.view(Labelled)


def matrix(a: Array, tmp_path: Path) -> Array:
    if a.ndim != 2:
        return a
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(a)


def unmasked(a: Array, tmp_path: Path) -> Array:
    return np.ma.masked_array(a, mask=False)


def tensor(a: Array, tmp_path: Path) -> Array:
    import torch

    return torch.tensor(a, requires_grad=a.dtype.kind == "f")


def frame(a: Array, tmp_path: Path) -> Array:
    import pandas as pd

    return pd.DataFrame(a) if a.ndim == 2 else pd.Series(a)


# scikit-learn takes these, too.
OF_ESTIMATORS: list[Layout] = [
    unaligned, of_records, backwards, every_second, column_major, byte_swapped, read_only,
    broadcast, mapped, mapped_unaligned, unmasked, frame,
]  # fmt: skip
OF_ONE_AXIS = [*OF_ESTIMATORS, sub_class, pytest.param(tensor, marks=pytest.mark.needs("torch"))]
LAYOUTS = [*OF_ONE_AXIS, matrix]
ENGINES = engines._ENGINES  # those that are installed

N = 12
DRAWN = np.random.default_rng(3)
X64 = DRAWN.normal(size=(N, 5))
Y = DRAWN.uniform(-1, 1, size=(N, 3))
CLASSES = DRAWN.integers(0, 3, size=N)
WEIGHTS = DRAWN.uniform(0.5, 2, size=N)
DTYPES = ["float64", "float32", "int8", "int64", "float16", "longdouble"]


def plain(a: Array) -> Array:
    """An ordinary array of the same numbers and kind of number, as NumPy lays it out by itself."""
    if hasattr(a, "detach"):
        a = a.detach().numpy()
    a = np.asarray(a)
    return np.array(
        a.tolist() if a.dtype.itemsize <= 8 else a, a.dtype.newbyteorder("="), order="C"
    )


def numbers(result: Any) -> list[bytes]:
    """All numbers of a result, bit by bit."""
    if isinstance(result, np.ndarray | float | int):
        return [np.asarray(result).tobytes()]
    return [part for item in result if item is not None for part in numbers(item)]


def network(dtype: str, engine: str, **options: Any) -> cr.Network:
    options = {"hidden": "tanh", "seed": 2, "l2": 0.01} | options
    return cr.Network([5, 7, 3], dtype=dtype, engine=engine, **options)  # type: ignore[arg-type]


def classifier(dtype: str, engine: str) -> cr.Network:
    return network(dtype, engine, output="softmax", loss="cross_entropy")


def gradient(net: cr.Network, X: Any, y: Any, s: Any) -> Any:
    g = net.gradient(X, y, sample_weight=s)
    return [*g.dW, *g.db, g.loss, g.sample_losses, *g.delta, *g.forward.z, g.forward.a[0]]


def explain(net: cr.Network, X: Any, y: Any, s: Any) -> Any:
    why = net.explain("w[1][2,3]", X, y, sample_weight=s)
    g = net.gradient(X, y, sample_weight=s)
    assert why.value == g.dW[1][2, 3]
    return [why.value, why.products, *(term.values for term in why.terms)]


def fit(net: cr.Network, X: Any, y: Any, s: Any) -> Any:
    history = net.fit(
        X, y, sample_weight=s, validation_data=(X, y, s), epochs=2, batch_size=5, verbose=0,
        metrics=["accuracy"] if np.ndim(y) == 1 else [],
    )  # fmt: skip
    columns = [history[name] for name in history if name != "seconds"]
    return [net.parameters, np.array(columns)]


def check(net: cr.Network, X: Any, y: Any, s: Any) -> Any:
    report = net.check_gradient(X, y, sample_weight=s)
    assert report.passed
    return report.worst_relative_error


def certificate(net: cr.Network, X: Any, y: Any, s: Any) -> Any:
    found = certify(net, "w[2][1,2]", X, y, sample_weight=s, autodiff="off")
    return [found.analytic, found.central_difference.value, found.high_precision.value]


ENTRIES: dict[str, Callable[[cr.Network, Any, Any, Any], Any]] = {
    "predict": lambda net, X, y, s: [net.predict(X) for _ in range(3)],
    "predict one": lambda net, X, y, s: [net.predict(X[0]) for _ in range(3)],
    "predict_classes": lambda net, X, y, s: net.predict_classes(X),
    "forward": lambda net, X, y, s: [*net.forward(X).z, *net.forward(X).a],
    "gradient": gradient,
    "loss_value": lambda net, X, y, s: net.loss_value(X, y, sample_weight=s),
    "explain": explain,
    "check_gradient": check,
    "certify": certificate,
    "fit": fit,
}


BY_ENGINES = ("fit", "predict", "predict one", "predict_classes")
CASES = [(e, engine) for e in ENTRIES for engine in (ENGINES if e in BY_ENGINES else ["reference"])]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("entry", "engine"), CASES)
def test_every_layout_in_every_entry(
    entry: str, layout: Layout, engine: str, tmp_path: Path
) -> None:
    ask = ENTRIES[entry]
    for kind in ["float64"] if entry in ("check_gradient", "certify") else DTYPES:
        unusual = kind in ("longdouble", "float16")
        if unusual and layout in (tensor, frame):
            continue  # not in PyTorch, and not in every engine of dataframes
        if unusual and layout in (mapped, mapped_unaligned) and entry == "fit":
            continue  # for these maps the native engine lets the reference do it
        X, y, s = (layout(a, tmp_path) for a in ((3 * X64).astype(kind), Y, WEIGHTS))
        if entry == "predict one" and layout is frame:
            X = X.T  # its first column
        for dtype in ("float64", "float32"):
            same = plain(X.T if entry == "predict one" and layout is frame else X)
            expected = ask(network(dtype, engine), same, plain(y), plain(s))
            found = ask(network(dtype, engine), X, y, s)
            assert numbers(found) == numbers(expected), (kind, dtype)


@pytest.mark.parametrize("layout", OF_ONE_AXIS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_layout_of_classes(layout: Layout, engine: str, tmp_path: Path) -> None:
    for kind in ("int64", "int8", "uint16"):
        if layout is tensor and kind == "uint16":
            continue
        y = layout(CLASSES.astype(kind), tmp_path)
        for ask in (fit, gradient, ENTRIES["loss_value"]):
            expected = ask(classifier("float32", engine), X64, plain(y), WEIGHTS)
            assert numbers(ask(classifier("float32", engine), X64, y, WEIGHTS)) == numbers(expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_weights_and_biases(layout: Layout, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    W, b = [rng.normal(size=(7, 5)), rng.normal(size=(3, 7))], [rng.normal(size=n) for n in (7, 3)]
    if layout is broadcast:
        W, b = [np.array(broadcast(a, tmp_path)) for a in W], [np.ones(7), np.ones(3)]
    expected = cr.Network([5, 7, 3], W=W, b=b)
    given = [layout(a, tmp_path) for a in W], [layout(a, tmp_path) for a in b]
    made = cr.Network([5, 7, 3], W=given[0], b=given[1])
    assert (made.parameters == expected.parameters).all()
    made.parameters[...] = 0
    for l in (1, 2):
        made.layers[l].W, made.layers[l].b = given[0][l - 1], given[1][l - 1]
    assert (made.parameters == expected.parameters).all()
    flat = layout(np.asarray(expected.parameters), tmp_path)
    if layout is not broadcast:
        made.parameters[...] = 0
        made.parameters = flat
        assert (made.parameters == expected.parameters).all()


@pytest.mark.parametrize("layout", OF_ESTIMATORS)
@pytest.mark.parametrize("kind", ["float64", "float32"])
@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_every_layout_in_the_estimators(
    make: Any, kind: str, layout: Layout, tmp_path: Path
) -> None:
    X = layout(X64.astype(kind), tmp_path)
    y = layout(CLASSES if make is MLPClassifier else Y.astype(kind), tmp_path)
    s = layout(WEIGHTS, tmp_path)
    if layout is broadcast and make is MLPClassifier:
        y = CLASSES  # one class alone can't be learnt

    def answers(X: Any, y: Any, s: Any, solver: str) -> list[bytes]:
        options = {"hidden_layer_sizes": (7,), "random_state": 0, "batch_size": 5}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged
            m = make(**options, solver=solver, max_iter=3).fit(X, y, sample_weight=s)
        found = [*m.coefs_, m.loss_, *(m.predict(X) for _ in range(3))]
        # scikit-learn's own sums, which depend on the layout of y in the last bits
        assert abs(m.score(X, y, sample_weight=s) - m.score(X, plain(y), sample_weight=s)) < 1e-12
        if solver == "adam":
            m.partial_fit(X, y, sample_weight=s)
            found += [*m.coefs_]
        if make is MLPClassifier:
            found += [m.predict_proba(X), m.predict_log_proba(X)]
        found.append(m.explain("w[1][2,1]", X, y, sample_weight=s).value)
        return numbers(found)

    same = plain(X)
    if layout is byte_swapped:
        same = same.astype("float64")  # which scikit-learn makes of the other byte order
    for solver in ("adam", "lbfgs"):
        assert answers(X, y, s, solver) == answers(same, plain(y), plain(s), solver)


def test_what_the_core_does_not_take_is_computed_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of the core but "done" lets its output array, which is not filled, out."""
    native = pytest.importorskip("chainrule.engines.native", reason="a pure Python installation")
    exact = network("float64", "reference").predict(X64)
    for answer in (0, 2):
        net = network("float64", "native")
        engine = native.NativeEngine()

        class Refusing:
            def predict(self, theta: Any, X: Any, out: Any, answer: int = answer) -> int:
                out[...] = 77
                return answer

            losses = predict

        monkeypatch.setattr(engine, "_predictor", lambda net: Refusing())
        np.testing.assert_array_equal(engine.predict(net, X64), exact)
        shortcut = engine.shortcut(net)
        assert shortcut(X64, net.parameters) is None
        assert shortcut(X64[0], net.parameters) is None


def test_the_example_of_uninitialised_memory() -> None:
    X = np.frombuffer(b"\0" * 3 + np.arange(8.0).tobytes(), "<f8", offset=3).reshape(4, 2)
    net = cr.Network([2, 3, 1], seed=0)
    expected = net.predict(np.arange(8.0).reshape(4, 2))
    for _ in range(3):
        np.testing.assert_array_equal(net.predict(X), expected)


@pytest.mark.parametrize(
    "sizes", [(26, 64, 1), (56, 1, 11), (1, 56, 12), (13, 12, 1), (300, 60, 30)]
)
@pytest.mark.parametrize(
    "layout", [backwards, every_second, column_major, broadcast, unaligned, of_records]
)
def test_products_of_many_shapes(
    layout: Layout, sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    """NumPy multiplies strided matrices in another order than contiguous ones, at some sizes."""
    n, inputs, hidden = sizes
    given = [layout(DRAWN.normal(size=(n, k)), tmp_path) for k in (inputs, 2)]
    X, y = map(plain, given)
    net = cr.Network([inputs, hidden, 2], hidden="tanh", seed=0, engine="reference")
    expected, found = net.gradient(X, y), net.gradient(*given)
    for l in (1, 2):
        np.testing.assert_array_equal(found.dW[l], expected.dW[l])
    for j, k in ((0, 0), (hidden - 1, inputs - 1)):
        assert net.explain(f"w[1][{j},{k}]", *given).value == expected.dW[1][j, k]
    np.testing.assert_array_equal(net.predict(given[0]), net.predict(X))
    assert net.loss_value(*given) == net.loss_value(X, y)

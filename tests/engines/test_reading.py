"""Arrays that the core reads: checked and converted in one pass, with NumPy's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations import arrays
from chainrule.random import epoch_orders
from tests.settings import DTYPES

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402

Array = Any
ROWS, COLUMNS = 701, 11  # more numbers than a row of 4096, and a rest behind whole vectors


def laid_out(layout: str, a: Array) -> Array:
    wide = np.full((2 * len(a), 2 * a.shape[1]), np.nan if a.dtype.kind == "f" else 1, a.dtype)
    wide[::2, ::2] = a
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return {
        "plain": a,
        "by columns": np.asfortranarray(a),
        "every second": wide[::2, ::2],
        "backwards": np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
        "unaligned": raw[1:].view(a.dtype).reshape(a.shape),
    }[layout]


LAYOUTS = ["plain", "by columns", "every second", "backwards", "unaligned"]


def read(array: Array, dtype: str, into: bool) -> tuple[int, Array]:
    out = np.full(array.shape, 7, dtype) if into else None
    return _native.read(array, out, dtype == "float32"), out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["f4", "f8", "?", "i1", "i8", "u2", "u8"])
def test_numbers(isa: str, kind: str, layout: str, dtype: str) -> None:
    numbers = np.random.default_rng(0).normal(scale=20, size=(ROWS, COLUMNS))
    array = laid_out(layout, (abs(numbers) if kind[0] in "?u" else numbers).astype(kind))
    answer, out = read(array, dtype, into=True)
    assert answer == _native.DONE
    np.testing.assert_array_equal(out, array.astype(dtype))
    assert read(array, dtype, into=False)[0] == _native.DONE


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_every_place_is_looked_at(isa: str, wrong: float, kind: str, layout: str) -> None:
    places = [0, 15, 1023, 1024, 4095, 4096, ROWS * COLUMNS - 1]
    places += np.random.default_rng(1).integers(0, ROWS * COLUMNS, 20).tolist()
    for place in places:
        array = np.zeros((ROWS, COLUMNS), kind)
        array.flat[place] = wrong
        for dtype in DTYPES:
            for into in (False, True):
                answer = read(laid_out(layout, array), dtype, into)[0]
                assert answer == _native.NOT_FINITE, (place, dtype, into)


def test_all_threads_read_large_arrays() -> None:
    array = np.random.default_rng(2).normal(size=(1500, 1001))
    answer, out = read(array, "float32", into=True)
    assert answer == _native.DONE
    np.testing.assert_array_equal(out, array.astype("float32"))
    for place in (0, 700_000, array.size - 1):
        broken = array.copy()
        broken.flat[place] = np.nan
        assert read(broken, "float32", into=False)[0] == _native.NOT_FINITE


@pytest.mark.parametrize(
    "array",
    [np.zeros((9, 2), ">f8"), np.zeros((9, 2), "f2"), np.zeros((9, 2), "g"),
     np.zeros((4, 4, 4))[::2]],
    ids=["swapped", "half", "long", "of three dimensions"],
)  # fmt: skip
def test_what_is_left_to_numpy(array: Array) -> None:
    assert _native.read(array, None, False) == _native.NOT_HANDLED
    with np.errstate(all="raise"):
        arrays.check_finite(array, "X")


def test_an_output_that_does_not_fit_is_not_written_to() -> None:
    array = np.zeros((9, 2))
    for out in (np.ones((9, 2), "f4"), np.ones((9, 3)), np.ones((18, 4))[::2, ::2]):
        assert _native.read(array, out, False) == _native.NOT_HANDLED
        assert (out == 1).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_large_array_with_a_wrong_number_is_refused_with_its_place(layout: str) -> None:
    net, X = cr.Network([COLUMNS, 1], dtype="float32", seed=0), np.zeros((ROWS, COLUMNS))
    for value, said in ((np.nan, "nan; every"), (1e300, r"1e\+300, too large for float32")):
        X[600, 3] = value
        with pytest.raises(ValueError, match=rf"X\[600, 3\] is {said}"):
            net.fit(laid_out(layout, X), np.zeros(ROWS), verbose=0)
        with pytest.raises(ValueError, match=rf"X\[600, 3\] is {said}"):
            net.predict(laid_out(layout, X))


def test_an_empty_array_is_finite() -> None:
    assert _native.read(np.zeros((0, 3)), None, True) == _native.DONE


@pytest.mark.parametrize("n", [1, 2, 3, 17, 256, 1000])
def test_orders_are_those_of_numpy(n: int) -> None:
    for seed, epoch in ((0, 0), (7, 3), (2**63 - 1, 2**40)):
        exact = epoch_orders(seed, epoch, 3, n)
        np.testing.assert_array_equal(NativeEngine().epoch_orders(seed, epoch, 3, n), exact)
        exact = epoch_orders(seed, epoch, 3, n, shard=5)
        np.testing.assert_array_equal(NativeEngine().epoch_orders(seed, epoch, 3, n, 5), exact)


def test_the_next_call_of_fit_sees_what_has_changed() -> None:
    """The core's trainer is kept from call to call; none of what it was made of may be old."""
    X, y = np.random.default_rng(3).normal(size=(20, 3)), np.ones((20, 1))
    start = cr.Network([3, 4, 1], seed=0).parameters.copy()

    def train(net: cr.Network, **options: Any) -> list[float]:
        net.parameters = start
        net.fit(X, y, epochs=2, verbose=0, **{"batch_size": 8, **options})
        return net.parameters.tolist()  # type: ignore[no-any-return]

    def changed(net: cr.Network, **attributes: Any) -> cr.Network:
        for name, value in attributes.items():
            setattr(net, name, value)
        return net

    kept, seen = cr.Network([3, 4, 1], seed=0), list[list[float]]()
    for attributes, options in (
        ({}, {}), ({}, {"optimizer": cr.GradientDescent(0.01, 0.9)}),
        ({}, {"optimizer": cr.GradientDescent(0.01, 0.9, nesterov=True)}),
        ({}, {"optimizer": cr.GradientDescent(0.01, 0.8, nesterov=True)}),
        ({}, {"clip_norm": 0.01}), ({}, {"batch_size": 5}), ({"l2": 0.1}, {}), ({"seed": 5}, {}),
        ({"loss": cr.Network([1, 1], loss="huber").loss}, {}),
    ):  # fmt: skip
        new = changed(cr.Network([3, 4, 1], seed=0), **attributes)
        seen.append(train(changed(kept, **attributes), **options))
        assert seen[-1] == train(new, **options)
        changed(kept, l2=0.0, seed=0, loss=cr.Network([1, 1]).loss)
    kept.layers[1].dropout = 0.5
    new = cr.Network([3, 4, 1], seed=0, dropout=0.5)
    seen.append(train(kept))
    assert seen[-1] == train(new)
    assert len(set(map(tuple, seen))) == len(seen)

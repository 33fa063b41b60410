"""Exported C: compiled without a warning, and called beside the network that it came from."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations import activations
from tests.foreign.compiled import compile, predictor
from tests.settings import DTYPES

pytestmark = pytest.mark.needs("cc")
NAMES = [name for name in activations.ACTIVATIONS if name != "softmax"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "step"])
def test_functions(name: str, dtype: str, tmp_path: Path) -> None:
    """Over all exponents, against mpmath."""
    pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
    from tests.engines.test_functions import exact

    z, true, _ = exact(name, dtype)
    net = cr.Network([1, 1], output=name, W=[[[1.0]]], dtype=dtype)
    net.to_c(tmp_path / "model.c")
    predict = predictor(tmp_path / "model.c", net, dtype)
    found = predict(z[:, None])[:, 0]
    largest = float(np.finfo(dtype).max)
    rounded = np.array([float(t) if abs(t) <= largest else np.inf for t in true], dtype)
    here = np.isfinite(rounded)
    ulp = np.spacing(np.minimum(np.abs(rounded[here]), largest * 0.99).astype(dtype))
    error = np.abs(found[here].astype(np.longdouble) - rounded[here]) / ulp
    assert error.max() <= 2, z[here][error.argmax()]
    assert np.isnan(predict([[np.nan]])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_step_function(dtype: str, tmp_path: Path) -> None:
    net = cr.Network([1, 1], output="step", W=[[[1.0]]], dtype=dtype)
    net.to_c(tmp_path / "model.c")
    tiny = float(np.finfo(dtype).smallest_subnormal)
    z = np.array([[-3.0], [-tiny], [-0.0], [0.0], [tiny], [3.0], [np.inf]], dtype)
    found = predictor(tmp_path / "model.c", net, dtype)(z)
    assert found[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]


def network(hidden: Any, output: Any = "identity", sizes: Any = (5, 7, 6, 3), **more: Any) -> Any:
    net = cr.Network(sizes, hidden=hidden, output=output, seed=3, **more)
    rng = np.random.default_rng(5)
    for layer in net.layers[1:]:
        if layer.b is not None:
            layer.b[...] = rng.normal(size=layer.b.shape)
    return net


def rows(net: Any, n: int = 40) -> Any:
    return np.random.default_rng(1).normal(size=(n, net.sizes[0])).astype("float32")


@pytest.mark.parametrize(("dtype", "arithmetic"), [
    ("float32", "float32"), ("float64", "float64"), ("float32", "float64")
])  # fmt: skip
@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_networks(name: str, dtype: str, arithmetic: str, tmp_path: Path) -> None:
    hidden = "tanh" if name == "softmax" else name
    net = network(hidden, name)
    exported = net.to_c(tmp_path / "model.c", dtype=dtype, arithmetic=arithmetic)
    X = rows(net)
    found = predictor(tmp_path / "model.c", net, dtype)(X)
    expected = exported.predict(X)  # float64, from the parameters of the file
    if (dtype, arithmetic) == ("float32", "float64"):
        off = np.abs(found.astype("float64") - expected.astype("float32")) / np.spacing(
            np.abs(expected.astype("float32"))
        )
        assert off.max() <= 1
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=40 * eps, atol=20 * eps)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (2, 9, 1), (4, 1, 1, 5, 2)])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_shapes(sizes: Any, biases: bool, arithmetic: str, tmp_path: Path) -> None:
    net = network("tanh", "sigmoid", sizes, biases=biases, dtype="float32")
    net.to_c(tmp_path / "model.c", arithmetic=arithmetic)
    X = rows(net)
    found = predictor(tmp_path / "model.c", net, "float32")(X)
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-5)


class Bump(cr.Activation):
    name = "bump */ #error"
    formula = (
        "max(0, z, -3) * exp(-abs(z)) + sigma(z)*tanh(z/2) - z**2 "
        "+ (Phi(z) if z > 0.5 else phi(z)) - sign(z)*min(z, 1)"
    )
    derivative_formula = "z"  # not asked for here

    def value(self, z: Any) -> Any:
        from math import erf

        Phi = np.vectorize(lambda x: (1 + erf(x / np.sqrt(2))) / 2)(z)
        phi = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        part = np.where(z > 0.5, Phi, phi) - np.sign(z) * np.minimum(z, 1)
        return np.maximum(z, 0) * np.exp(-abs(z)) + np.tanh(z / 2) / (1 + np.exp(-z)) - z**2 + part

    def derivative(self, z: Any, a: Any) -> Any:
        return z


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_custom_activation(dtype: str, tmp_path: Path) -> None:
    net = network([Bump(), "tanh"], Bump(), dtype=dtype)
    net.to_c(tmp_path / "model.c")
    X = rows(net)
    found = predictor(tmp_path / "model.c", net, dtype)(X)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, net.predict(X), rtol=100 * eps, atol=100 * eps)


def test_a_custom_activation_that_is_not_its_formula(tmp_path: Path) -> None:
    class Wrong(Bump):
        formula = "z*2"

    with pytest.raises(ValueError, match="at z = -8 its formula 'z\\*2' is -16, but value returns"):
        network(Wrong()).to_c(tmp_path / "model.c")

    class Undefined(Bump):
        formula = "ln(z)"

        def value(self, z: Any) -> Any:
            with np.errstate(invalid="ignore"):
                return np.log(z)

    with pytest.raises(ValueError, match="its formula is nan at z = -8"):
        network(Undefined()).to_c(tmp_path / "model.c")
    assert list(tmp_path.iterdir()) == []


def test_classes(tmp_path: Path) -> None:
    import ctypes

    for net in (network("relu", "softmax"), network("relu", "sigmoid", (5, 4, 1))):
        net.to_c(tmp_path / "model.c")
        to = compile(tmp_path / "model.c", tmp_path / f"{net.sizes[-1]}.so", "", "-shared", "-fPIC")
        call = ctypes.CDLL(str(to)).model_predict_class
        X = 3 * rows(net).astype("float64")
        found = [call(x.ctypes.data_as(ctypes.c_void_p)) for x in X]
        assert found == net.predict_classes(X).tolist()
        assert len(set(found)) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_int8(dtype: str, tmp_path: Path) -> None:
    net = network("tanh", "softmax", (5, 30, 3), dtype=dtype)
    net.layers[1].W[4] = 0  # a unit without a scale
    exported = net.to_c(tmp_path / "model.c", quantize="int8")
    X = rows(net)
    found = predictor(tmp_path / "model.c", net, dtype)(X)
    np.testing.assert_allclose(found, exported.predict(X), rtol=1e-5)
    for before, after in zip(net.layers[1:], exported.layers[1:], strict=True):
        step = np.abs(before.W).max(axis=1, keepdims=True) / 127
        assert (np.abs(before.W - after.W) <= 0.5001 * step).all()
        assert (before.b == after.b).all()
    assert 1e-5 < np.abs(exported.predict(X) - net.predict(X)).max() < 0.02
    text = (tmp_path / "model.c").read_text()
    assert "static const signed char W1[] = {" in text


def test_main_reads_csv(tmp_path: Path) -> None:
    net = network("relu", sizes=(2, 3, 2))
    net.to_c(tmp_path / "model.c", main=True)
    program = str(compile(tmp_path / "model.c", tmp_path / "model"))

    def run(text: str) -> tuple[int, str, str]:
        done = subprocess.run([program], input=text, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    X = rows(net, 3).astype("float64")
    lines = "\n".join(f"{a!r} , {b!r}" for a, b in X.tolist())
    code, out, err = run(f"left,right\r\n\n{lines}\r\n")
    assert (code, err) == (0, "")
    found = np.array([[float(v) for v in line.split(",")] for line in out.split()])
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-14)
    for bad, line, column in [
        ("1,2\n3\n", 2, 1), ("1,2\n3,4,5\n", 2, 2), ("1,b\n", 1, 2), ("x,y\nz,1\n", 2, 1)
    ]:  # fmt: skip
        code, out, err = run(bad)
        assert code == 2
        assert err == f"line {line}, column {column}: expected 2 numbers with commas\n"


def test_nothing_is_shared_or_called(tmp_path: Path) -> None:
    """No heap, no state: nothing is undefined, and no data can be written. Threads agree."""
    net = network(["gelu", "silu"], "softmax")
    net.to_c(tmp_path / "model.c")
    compile(tmp_path / "model.c", tmp_path / "model.o", "", "-Os", "-c", "-fno-pic")
    symbols = subprocess.run(["nm", tmp_path / "model.o"], capture_output=True, text=True).stdout
    kinds = {line.split()[-2] for line in symbols.splitlines()}
    assert not kinds & {"U", "B", "b", "D", "d", "C"}, symbols
    predict, X = predictor(tmp_path / "model.c", net, "float64"), rows(net, 200)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(predict, [X] * 8))
    assert all((y == found[0]).all() for y in found)


@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-march=native"), ("-Os",)])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_same_bits(compiler: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """No compiler warns, and none changes a bit."""
    import shutil

    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not there")
    net = network(["gelu", "silu"], "softmax", (5, 40, 20, 3), dtype="float32")
    net.to_c(tmp_path / "model.c", main=True)
    text = "\n".join(",".join(map(str, row)) for row in rows(net).tolist())
    found = []
    for program, how in (("", ("-O1",)), (compiler, flags)):
        built = compile(tmp_path / "model.c", tmp_path / "model", program, *how)
        done = subprocess.run([str(built)], input=text, capture_output=True, text=True)
        found.append(done.stdout)
    assert found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["plain", "TYPE", "NAME", "N_OUT", "main"])
@pytest.mark.parametrize("path", ["plain.c", "my model-1.c"])
def test_any_name(name: str, path: str, tmp_path: Path) -> None:
    """Names may look like parts of the file; the header is found by the name of the file."""
    network("tanh").to_c(tmp_path / path, name=name)
    compile(tmp_path / path, tmp_path / "m.o", "", "-c")
    assert f"void {name}_predict(const double x[" in (tmp_path / f"{path[:-2]}.h").read_text()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("output", activations.ACTIVATIONS)
def test_no_function_is_in_vain(output: str, compiler: str, tmp_path: Path) -> None:
    """Clang warns of unused functions, also of inline ones."""
    import shutil

    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not there")
    cr.Network([2, 2], output=output, seed=0).to_c(tmp_path / "m.c", main=True)
    compile(tmp_path / "m.c", tmp_path / "m.o", compiler, "-c")


def test_fast_math_is_refused(tmp_path: Path) -> None:
    network("tanh").to_c(tmp_path / "model.c")
    done = subprocess.run(
        ["cc", "-ffast-math", "-c", tmp_path / "model.c", "-o", tmp_path / "m.o"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode
    assert "Compile without -ffast-math" in done.stderr


def test_it_is_cpp_too(tmp_path: Path) -> None:
    """A program in C++ calls the file through its header."""
    import shutil

    if shutil.which("c++") is None:
        pytest.skip("c++ is not there")
    net = network("relu", sizes=(2, 3, 1), b=[[1.0, 2, 3], [4.0]])
    net.to_c(tmp_path / "net_1.c")
    (tmp_path / "main.cpp").write_text(
        '#include "net_1.h"\n#include <cstdio>\nint main() { double x[NET_1_INPUTS] = {1, 2}, '
        'y[NET_1_OUTPUTS]; net_1_predict(x, y); std::printf("%.17g", y[0]); }\n'
    )
    compile(tmp_path / "net_1.c", tmp_path / "net_1.o", "", "-c")
    program = tmp_path / "program"
    subprocess.run(["c++", tmp_path / "main.cpp", tmp_path / "net_1.o", "-o", program], check=True)
    out = subprocess.run([program], capture_output=True, text=True).stdout
    assert float(out) == pytest.approx(net.predict([1.0, 2.0])[0], rel=1e-14)


@pytest.mark.parametrize(("path", "options", "words"), [
    ("model.txt", {}, "expected the name of a file that ends in .c"),
    ("my-model.c", {}, "names the functions 'my-model'; expected letters, digits and _"),
    ("1.c", {}, "Pass name, or choose another path"),
    ("m.c", {"name": "é"}, "name is 'é'; expected letters"),
    ("m.c", {"name": "_m"}, "Choose another name"),
    ("m.c", {"dtype": "int8"}, "dtype is 'int8'; expected 'float32' or 'float64'"),
    ("m.c", {"arithmetic": "float16"}, "arithmetic is 'float16'"),
    ("m.c", {"dtype": "float64", "arithmetic": "float32"}, "expected float64 for both"),
    ("m.c", {"quantize": "int4"}, "quantize is 'int4'; expected 'int8' or None"),
])  # fmt: skip
def test_bad_arguments(path: str, options: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        network("relu").to_c(tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []


def test_bad_types(tmp_path: Path) -> None:
    for options in ({"name": 3}, {"dtype": 32}):
        with pytest.raises(TypeError):
            network("relu").to_c(tmp_path / "m.c", **options)


def test_bad_parameters(tmp_path: Path) -> None:
    net = network("relu")
    net.layers[2].W[0, 1] = 1e60
    with pytest.raises(ValueError, match=r"layers\[2\].W has a number that float32 does not have"):
        net.to_c(tmp_path / "m.c", dtype="float32")
    net.layers[2].W[0, 1] = np.nan
    with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 1\] is nan"):
        net.to_c(tmp_path / "m.c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".c", ".h"])
def test_files_of_others_stay(ending: str, tmp_path: Path) -> None:
    net = network("relu")
    mine = tmp_path / f"model{ending}"
    mine.write_text("int precious;\n")
    with pytest.raises(ValueError, match="exists and was not written by chainrule"):
        net.to_c(tmp_path / "model.c")
    assert mine.read_text() == "int precious;\n"
    assert list(tmp_path.iterdir()) == [mine]
    mine.unlink()
    net.to_c(tmp_path / "model.c")
    net.to_c(tmp_path / "model.c")  # its own are replaced

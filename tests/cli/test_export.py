"""`chainrule export`: networks and models of tables in other formats."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from tests.cli.people import TRAIN, Run, folder, run
from tests.foreign.compiled import compile

__all__ = ["folder", "run"]


@pytest.fixture
def net(folder: Path) -> cr.Network:
    """A network in a file, with samples beside it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    net = cr.Network([3, 8, 2], output="softmax", loss="cross_entropy", seed=0)
    y = (X[:, 0] > 0).astype(int)
    net.fit(X, y, epochs=30)
    net.save("net.safetensors")
    np.savez("samples.npz", X=X, y=y)
    return net


@pytest.mark.needs("cc")
def test_to_c(net: cr.Network, run: Run, folder: Path) -> None:
    code, out, err = run("export", "net.safetensors", "--to", "c", "--out", "m.c", "--main")
    assert (code, out, err) == (0, "m.c, m.h: 50 parameters\n", "")
    program = compile(folder / "m.c", folder / "m")
    found = subprocess.run([program], input="1,2,3\n", capture_output=True, text=True).stdout
    np.testing.assert_allclose(
        [float(v) for v in found.split(",")], net.predict([1.0, 2, 3]), rtol=1e-13
    )


def test_what_int8_costs(net: cr.Network, run: Run, folder: Path) -> None:
    code, out, _ = run(
        "export", "net.safetensors", "--to", "c", "--out", "m.c", "--quantize", "int8",
        "--data", "samples.npz", "--dtype", "float32", "--name", "tiny",
    )  # fmt: skip
    assert code == 0
    samples = np.load("samples.npz")
    rounded = net.to_c("other.c", quantize="int8", dtype="float32")
    before, after = (n.loss_value(samples["X"], samples["y"]) for n in (net, rounded))
    assert before != after
    assert f"  loss {before:.6g}, {after:.6g}\n" in out
    change = np.abs(rounded.predict(samples["X"]) - net.predict(samples["X"])).max()
    told = re.search(r"largest change of an output (\S+)", out)
    assert told
    assert float(told[1]) == pytest.approx(change, rel=0.01)
    assert "on 60 samples, before and after rounding the parameters:" in out
    moved = rounded.predict_classes(samples["X"]) != net.predict_classes(samples["X"])
    assert f"  samples with another class {moved.sum()}\n" in out
    assert "void tiny_predict(const float x[TINY_INPUTS]" in (folder / "m.h").read_text()


def test_to_onnx(net: cr.Network, run: Run, folder: Path) -> None:
    pytest.importorskip("onnx")
    code, out, err = run("export", "net.safetensors", "--to", "onnx", "--out", "m.onnx")
    assert (code, err) == (0, "")
    assert out == f"m.onnx: {(folder / 'm.onnx').stat().st_size:,} bytes\n"
    assert (cr.from_onnx("m.onnx").parameters == net.parameters).all()


def test_the_network_of_a_table(run: Run, folder: Path) -> None:
    assert run(*TRAIN, "--epochs", "2")[0] == 0
    assert run("export", "model", "--to", "c", "--out", "m.c")[0] == 0
    n = cr.load("model").sizes[0]
    assert f"#define M_INPUTS {n}\n" in (folder / "m.h").read_text()
    pytest.importorskip("onnx")
    assert run("export", "model", "--to", "onnx", "--out", "m.onnx")[0] == 0
    import onnxruntime

    inputs = [i.name for i in onnxruntime.InferenceSession("m.onnx").get_inputs()]
    assert inputs == ["age", "colour", "joined"]


@pytest.mark.parametrize(("arguments", "words"), [
    (("--to", "c", "--out", "m.txt"), "path is 'm.txt'; expected the name of a file that"),
    (("--to", "onnx", "--out", "m.onnx", "--main"), "--main is for --to c"),
    (("--to", "onnx", "--out", "m.onnx", "--quantize", "int8"), "--quantize is for --to c"),
    (("--to", "onnx", "--out", "net.safetensors"), "would overwrite net.safetensors"),
    (("--to", "c", "--out", "mine.c"), "mine.c exists and was not written by chainrule"),
    (("--to", "c", "--out", "m.c", "--name", "a b"), "name is 'a b'; expected letters"),
    (("--to", "c", "--out", "m.c", "--data", "none.csv"), "none.csv"),
    (("--to", "rust", "--out", "m.rs"), "'rust' is not one of"),
])  # fmt: skip
def test_bad_usage(
    arguments: tuple[str, ...], words: str, net: cr.Network, run: Run, folder: Path
) -> None:
    (folder / "mine.c").write_text("int mine;")
    before = sorted(folder.iterdir())
    code, out, err = run("export", "net.safetensors", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert sorted(folder.iterdir()) == before

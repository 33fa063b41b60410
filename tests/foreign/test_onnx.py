"""ONNX: onnxruntime computes what the network does, and graphs of others come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.equations import activations
from tests.settings import DTYPES

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def run(path: Path, X: Any) -> dict[str, Any]:
    session = runtime.InferenceSession(path)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: X}), strict=True))


def network(hidden: Any, output: Any = "identity", **more: Any) -> Any:
    net = cr.Network([5, 7, 6, 3], hidden=hidden, output=output, seed=3, **more)
    rng = np.random.default_rng(5)
    for layer in net.layers[1:]:
        if layer.b is not None:
            layer.b[...] = rng.normal(size=layer.b.shape)
    return net


def rows(dtype: str = "float64") -> Any:
    return np.random.default_rng(1).normal(size=(40, 5)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_every_activation_out_and_in(name: str, dtype: str, tmp_path: Path) -> None:
    net = network(["tanh" if name == "softmax" else name, "tanh"], name, dtype=dtype)
    net.to_onnx(tmp_path / "net.onnx")
    X = rows(dtype)
    found = run(tmp_path / "net.onnx", X)["variable"]
    assert found.dtype == dtype
    # onnxruntime has erf, of which gelu is made, in float32 alone
    eps = np.finfo("float32" if name == "gelu" else dtype).eps
    np.testing.assert_allclose(found, net.predict(X), rtol=40 * eps, atol=20 * eps)
    again = cr.from_onnx(tmp_path / "net.onnx")
    assert again.dtype == net.dtype
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=40 * eps, atol=20 * eps)
    if name != "identity":  # layers with nothing between them become one
        assert repr(again) == repr(net)
        assert (again.parameters == net.parameters).all()


@pytest.mark.parametrize(("loss", "output"), [
    ("squared_error", "identity"), ("half_squared_error", "tanh"), ("absolute_error", "identity"),
    ("huber", "identity"), ("poisson", "softplus"), ("cross_entropy", "softmax"),
    ("binary_cross_entropy", "sigmoid"),
])  # fmt: skip
def test_every_loss(loss: str, output: str, tmp_path: Path) -> None:
    net = network("relu", output, loss=loss, dtype="float32", biases=False)
    net.to_onnx(tmp_path / "net.onnx")
    X = rows("float32")
    found = run(tmp_path / "net.onnx", X)
    if loss.endswith("cross_entropy"):
        assert list(found) == ["label", "probabilities"]
        assert found["label"].dtype == np.int64
        assert found["label"].tolist() == net.predict_classes(X).tolist()
        assert len(set(found["label"].tolist())) > 1
        found["variable"] = found["probabilities"]
    np.testing.assert_allclose(found["variable"], net.predict(X), rtol=1e-5, atol=1e-6)
    assert cr.from_onnx(tmp_path / "net.onnx").loss.name == loss


def test_two_classes_by_one_output(tmp_path: Path) -> None:
    net = cr.Network([5, 4, 1], output="sigmoid", loss="binary_cross_entropy", seed=1)
    net.to_onnx(tmp_path / "net.onnx")
    found = run(tmp_path / "net.onnx", rows())
    assert found["label"].tolist() == net.predict_classes(rows()).tolist()
    assert set(found["label"].tolist()) == {0, 1}


def test_a_custom_activation(tmp_path: Path) -> None:
    class Own(cr.Activation):
        name = "own"
        formula = (
            "max(0, z) * exp(-abs(z)) + sigma(z)*tanh(z/2) - z**2 "
            "+ (sqrt(z) if z > 0.5 else phi(z))"
        )
        derivative_formula = "z"

        def value(self, z: Any) -> Any:
            part = np.where(z > 0.5, np.sqrt(abs(z)), np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
            left = np.maximum(z, 0) * np.exp(-abs(z)) + np.tanh(z / 2) / (1 + np.exp(-z))
            return left - z**2 + part

        def derivative(self, z: Any, a: Any) -> Any:
            return z

    net = network(Own(), dtype="float32")
    net.to_onnx(tmp_path / "net.onnx")
    X = rows("float32")
    found = run(tmp_path / "net.onnx", X)["variable"]
    np.testing.assert_allclose(found, net.predict(X), rtol=2e-4, atol=1e-4)
    with pytest.raises(ValueError, match="the activation behind 7 units is none of ident"):
        cr.from_onnx(tmp_path / "net.onnx")


def saved(
    path: Path, nodes: Any, constants: Any, outputs: Any = ("y",), shape: Any = ("n", 3)
) -> Path:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) if name == "label"
            else helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "units"])
            for name in outputs
        ],
        [numpy_helper.from_array(np.asarray(v, "float32"), k) for k, v in constants.items()],
    )  # fmt: skip
    versions = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    onnx.save(helper.make_model(graph, **versions), path)
    return path


def test_as_keras_writes_it(tmp_path: Path) -> None:
    """MatMul and Add, batch normalisation, a scaled activation, dropout: equal numbers."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    path = saved(tmp_path / "k.onnx", [
        node("Sub", ["x", "mean"], ["centred"]), node("MatMul", ["centred", "A"], ["p"]),
        node("Add", ["p", "c"], ["q"]), node("Sigmoid", ["q"], ["s"]),
        node("Mul", ["q", "s"], ["r"]),
        node("BatchNormalization", ["r", "scale", "shift", "m", "v"], ["t"], epsilon=1e-3),
        node("Dropout", ["t"], ["d"]), node("MatMul", ["d", "B"], ["u"]),
        node("Tanh", ["u"], ["w"]), node("Mul", ["w", "two"], ["y"]),
    ], {
        "mean": rng.normal(size=3), "A": rng.normal(size=(3, 4)), "c": rng.normal(size=4),
        "scale": rng.normal(size=4), "shift": rng.normal(size=4), "m": rng.normal(size=4),
        "v": rng.uniform(1, 2, 4), "B": rng.normal(size=(4, 2)), "two": 2.0,
    })  # fmt: skip
    net = cr.from_onnx(path)
    assert net.sizes == (3, 4, 2, 2)
    assert [layer.activation.name for layer in net.layers[1:]] == ["silu", "tanh", "identity"]
    X = rng.normal(size=(20, 3)).astype("float32")
    np.testing.assert_allclose(net.predict(X), run(path, X)["y"], rtol=1e-5, atol=1e-6)


def test_two_classes_as_skl2onnx_writes_them(tmp_path: Path) -> None:
    node = helper.make_node
    path = saved(tmp_path / "s.onnx", [
        node("Cast", ["x"], ["input"], to=1), node("MatMul", ["input", "A"], ["p"]),
        node("Add", ["p", "c"], ["q"]), node("Sigmoid", ["q"], ["one"]),
        node("Sub", ["unity", "one"], ["zero"]),
        node("Concat", ["zero", "one"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ], {"A": [[1], [2], [-1]], "c": [0.5], "unity": [1.0]}, ("label", "probabilities"))  # fmt: skip
    net = cr.from_onnx(path)
    assert repr(net) == "Network(3-1: sigmoid; binary_cross_entropy; 4 parameters, float32)"
    assert net.predict([1.0, 1, 1])[0] == pytest.approx(1 / (1 + np.exp(-2.5)), rel=1e-6)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", ["GELU", "SiLU", "Softplus", "ELU", "LeakyReLU", "ReLU", "Tanh"])
def test_as_pytorch_writes_it(name: str, tmp_path: Path) -> None:
    import warnings

    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(5, 6), getattr(torch.nn, name)(), torch.nn.Dropout(0.2)]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(6, 2), torch.nn.Sigmoid()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 5),), tmp_path / "t.onnx", dynamo=False, opset_version=17
        )
    net = cr.from_onnx(tmp_path / "t.onnx")
    assert net.layers[1].activation.name == name.lower().replace("leakyrelu", "leaky_relu")
    X = rows("float32")
    expected = model(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.needs("skl2onnx")
@pytest.mark.filterwarnings("ignore")  # runs are cut short, and skl2onnx is behind others
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_as_skl2onnx_writes_it(activation: str, classes: int, zipmap: bool, tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = 3 + 2 * rows("float32")
    kind = MLPClassifier if classes else MLPRegressor
    model = kind(hidden_layer_sizes=(6, 4), activation=activation, max_iter=20, random_state=0)
    whole = make_pipeline(StandardScaler(), model)
    whole.fit(X, np.arange(40) % classes if classes else X[:, 0])
    options = {id(model): {"zipmap": zipmap}} if classes else None
    content = to_onnx(whole, X[:1], options=options).SerializeToString()
    (tmp_path / "s.onnx").write_bytes(content)
    found = cr.from_onnx(tmp_path / "s.onnx").predict(X)
    expected = whole.predict_proba(X) if classes else whole.predict(X)[:, None]
    if classes == 2:
        expected = expected[:, 1:]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


A = np.ones((3, 2))


@pytest.mark.parametrize(("nodes", "shape", "words"), [
    ([("Conv", ["x", "A"]), ("Relu", 0)], ("n", 3), "layers: Conv 'v0': not an operation of fully"),
    ([("MatMul", ["x", "A"]), ("MatMul", [0, "A"])], ("n", 3), "weights for 3 inputs, but gets 2"),
    ([("MatMul", ["x", "A"]), ("Softmax", 0, {"axis": 0})], ("n", 3), "not a softmax over the"),
    ([("Gemm", ["x", "A"], {"transA": 1})], ("n", 3), "Gemm 'v0': transposes its input"),
    ([("Tanh", ["x"]), ("MatMul", ["x", "B"]), ("Add", [0, 1])], ("n", 3), "combines two branches"),
    ([("MatMul", ["x", "A"]), ("Sin", 0), ("Cos", 0)], ("n", 3), "Sin 'v1': not an operation"),
    ([("MatMul", ["x", "A"]), ("Elu", 0, {"alpha": 2.0})], ("n", 3), "behind 2 units is none of"),
    ([("Relu", ["x"])], ("n", "m"), r"input x has the shape \(n, m\); expected \(n, units\)"),
    ([("Relu", ["x"])], (1, 3, 8), r"input x has the shape \(1, 3, 8\)"),
])  # fmt: skip
def test_what_is_no_network_is_named(nodes: Any, shape: Any, words: str, tmp_path: Path) -> None:
    made = []
    for i, (kind, inputs, *more) in enumerate(nodes):
        inputs = [i - 1] if inputs == 0 else inputs
        inputs = [name if isinstance(name, str) else f"v{name}" for name in inputs]
        made.append(helper.make_node(kind, inputs, [f"v{i}"], **(more[0] if more else {})))
    constants = {"A": A, "B": np.eye(3)}
    path = saved(tmp_path / "g.onnx", made, constants, (f"v{len(nodes) - 1}",), shape)
    with pytest.raises(ValueError, match=words):
        cr.from_onnx(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"a.onnx is not a valid model of ONNX: "):
        cr.from_onnx(tmp_path / "a.onnx")
    with pytest.raises(FileNotFoundError):
        cr.from_onnx(tmp_path / "b.onnx")
    net = network("relu")
    net.layers[1].b[2] = np.inf
    with pytest.raises(ValueError, match=r"layers\[1\].b\[2\] is inf"):
        net.to_onnx(tmp_path / "c.onnx")
    assert not (tmp_path / "c.onnx").exists()


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'chainrule\[onnx\]'"):
        network("relu").to_onnx(tmp_path / "c.onnx")
    with pytest.raises(ImportError, match="the package onnx is missing"):
        cr.from_onnx(tmp_path / "c.onnx")

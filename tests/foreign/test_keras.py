"""Models of Keras 3 as networks, networks as models, and .keras files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr

pytestmark = [pytest.mark.needs("keras", "torch"), pytest.mark.filterwarnings("ignore")]
os.environ["KERAS_BACKEND"] = "torch"

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu",
               "softplus")  # fmt: skip


@pytest.fixture(autouse=True)
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On PyTorch and JAX, Keras computes float64 in float32, unless this table says otherwise."""
    import keras
    from keras.src.backend.common import dtypes

    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    before, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")  # of losses
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(before)


X = np.random.default_rng(0).normal(size=(7, 4))
CLASSES = np.random.default_rng(1).integers(0, 3, 7)


def gradients(model: Any, loss: Any, y: Any) -> list[Any]:
    """The gradients that Keras's backend computes by itself, one for each variable."""
    import torch

    x = torch.tensor(X)
    value = loss(torch.tensor(y), model(x, training=False))
    model.zero_grad()
    value.backward()
    return [v.value.grad.numpy() for v in model.trainable_variables]


def outputs(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.tensor(X.astype(model.compute_dtype)), training=False).numpy()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_there_and_back(hidden: str, biases: bool, dtype: str, tmp_path: Path) -> None:
    """Outputs and gradients are the same, in memory and after a file."""
    import keras

    net = cr.Network([4, 6, 5, 3], hidden=hidden, output="softmax", loss="cross_entropy",
                     biases=biases, dtype=dtype, seed=0, dropout=[0.25, 0])  # fmt: skip
    model = net.to_keras()
    allowed = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(outputs(model), net.predict(X), rtol=allowed)
    model.save(tmp_path / "net.keras")
    for back in (cr.from_keras(model), cr.from_keras(tmp_path / "net.keras")):
        assert repr(back) == repr(net)
        assert (back.parameters == net.parameters).all()
        assert [layer.dropout for layer in back.layers] == [0, 0.25, 0, 0]
    if dtype == "float64":
        theirs = gradients(model, keras.losses.SparseCategoricalCrossentropy(), CLASSES)
        plain = net.copy()
        g = cr.from_keras(model).gradient(X, CLASSES)
        step = 2 if biases else 1
        for l in range(1, len(plain.sizes)):
            np.testing.assert_allclose(g.dW[l], theirs[step * (l - 1)].T, rtol=1e-12, atol=1e-12)
            if biases:
                np.testing.assert_allclose(g.db[l], theirs[step * l - 1], rtol=1e-12, atol=1e-12)


def with_statistics(model: Any) -> Any:
    """A model whose moving means, variances, scales and shifts are not those of the start."""
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if "BatchNorm" in type(layer).__name__:
            shapes = [w.shape for w in layer.get_weights()]
            layer.set_weights([rng.uniform(0.5, 2, shape) for shape in shapes])
    return model


def built(*made: Any) -> Any:
    import keras

    return with_statistics(keras.Sequential([keras.Input((4,), dtype="float64"), *made]))


@pytest.mark.parametrize("place", ["first", "before", "after", "bare"])
def test_batch_normalisation_is_folded(place: str) -> None:
    from keras import layers

    def norm(**options: Any) -> Any:
        return layers.BatchNormalization(dtype="float64", epsilon=0.01, **options)

    def dense(units: int, **options: Any) -> Any:
        return layers.Dense(units, dtype="float64", **options)

    model = {
        "first": lambda: built(norm(), dense(5, activation="tanh"), dense(2)),
        "before": lambda: built(
            dense(5, use_bias=False), norm(), layers.Activation("relu", dtype="float64"),
            dense(2, use_bias=False), norm(),
        ),
        "after": lambda: built(
            dense(5, activation="gelu"), layers.Dropout(0.5, dtype="float64"), norm(), dense(2)
        ),
        "bare": lambda: built(
            dense(5, activation="silu"), norm(center=False, scale=False), dense(2)
        ),
    }[place]()  # fmt: skip
    net = cr.from_keras(model)
    np.testing.assert_allclose(net.predict(X), outputs(model), rtol=1e-12, atol=1e-14)
    assert len(net.sizes) == 3
    # The gradient with respect to the inputs does not depend on how weights are written.
    import torch

    x = torch.tensor(X, requires_grad=True)
    y = np.random.default_rng(2).normal(size=(7, 2))
    (((model(x, training=False) - torch.tensor(y)) ** 2).sum() / 2 / 7).backward()
    delta = net.gradient(X, y).delta[1]
    np.testing.assert_allclose(delta @ net.layers[1].W / 7, x.grad, rtol=1e-10, atol=1e-13)


def test_functional_and_nested_models() -> None:
    import keras
    from keras import layers

    inputs = keras.Input((2, 2), dtype="float64")
    inner = built(layers.Dense(6, "tanh", dtype="float64"), layers.Dense(5, dtype="float64"))
    x = layers.Flatten(dtype="float64")(inputs)
    x = layers.ReLU(dtype="float64")(inner(x))
    model = keras.Model(inputs, layers.Dense(3, "sigmoid", dtype="float64")(x))
    net = cr.from_keras(model, loss="squared_error")
    assert [layer.activation.name for layer in net.layers[1:]] == ["tanh", "relu", "sigmoid"]
    np.testing.assert_allclose(
        net.predict(X), np.asarray(model.predict(X.reshape(7, 2, 2), verbose=0)), rtol=1e-12
    )


def test_the_loss_comes_along() -> None:
    import keras
    from keras import layers, losses

    def ending(units: int, activation: str | None = None) -> Any:
        return built(layers.Dense(5, "tanh", dtype="float64"),
                     layers.Dense(units, activation, dtype="float64"))  # fmt: skip

    rng = np.random.default_rng(3)
    for model, loss, y, name in (
        (ending(3), losses.MeanSquaredError(), rng.normal(size=(7, 3)), "mean_squared_error_of_3"),
        (ending(2), losses.Huber(), rng.normal(size=(7, 2)), "mean_huber_of_2"),
        (ending(1), losses.MeanAbsoluteError(), rng.normal(size=(7, 1)), "absolute_error"),
        (ending(1, "softplus"), losses.Poisson(), rng.uniform(1, 2, (7, 1)), "poisson"),
        (ending(3), losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES,
         "cross_entropy"),
        (ending(1), losses.BinaryCrossentropy(from_logits=True), rng.integers(0, 2, (7, 1)) * 1.0,
         "binary_cross_entropy"),
    ):  # fmt: skip
        model.compile(loss=loss)
        for net in (cr.from_keras(model), cr.from_keras(model, loss)):
            assert net.loss.name == name
            g = net.gradient(X, y)
            theirs = gradients(model, loss, y)
            # Keras adds 1e-7 to a in the logarithm: y / a changes by 1e-7 y / a².
            allowed = 1e-5 if name == "poisson" else 1e-12
            np.testing.assert_allclose(g.dW[1], theirs[0].T, rtol=allowed, atol=allowed)
            np.testing.assert_allclose(g.db[2], theirs[3], rtol=allowed, atol=allowed)
    model = ending(1)
    model.compile(loss="mse")
    assert cr.from_keras(model).loss.name == "squared_error"
    assert cr.from_keras(model, "huber").loss.name == "huber"
    for loss, words in (
        (losses.CategoricalHinge(), "loss is categorical_hinge; expected"),
        (losses.Huber(delta=2.0), "huber.* with delta=2.0"),
        (losses.MeanSquaredError(reduction="sum"), "with reduction=sum"),
        (lambda y, a: 0, "loss is <lambda>"),
    ):
        with pytest.raises(ValueError, match=words):
            cr.from_keras(model, loss)
    with pytest.raises(ValueError, match="averages over the 2 outputs"):
        cr.from_keras(ending(2, "sigmoid"), losses.BinaryCrossentropy())
    with pytest.raises(ValueError, match="applies softmax by itself, and the model ends in soft"):
        cr.from_keras(ending(3, "softmax"), losses.CategoricalCrossentropy(from_logits=True))
    assert keras.backend.backend() == "torch"


def test_what_cannot_be_converted_is_named_layer_by_layer() -> None:
    import keras
    from keras import layers

    model = keras.Sequential([
        keras.Input((4,)), layers.Activation("relu", name="early"),
        layers.Dense(5, "tanh", name="d1"), layers.ReLU(name="again"),
        layers.LeakyReLU(0.3, name="leaky"), layers.GaussianNoise(0.1, name="noise"),
        layers.Dense(3, "leaky_relu", name="d2"), layers.Dense(2, use_bias=False, name="d3"),
        layers.Dropout(0.1, name="drop"), layers.Activation("tanh", name="late"),
        layers.BatchNormalization(name="bn"),
    ])  # fmt: skip
    with pytest.raises(ValueError, match="cannot become a network of fully conn") as error:
        cr.from_keras(model)
    for words in (
        "early (Activation) stands before the first Dense layer",
        "again (ReLU) follows another activation (tanh)",
        "leaky (LeakyReLU) is neither a Dense layer nor an activation",
        "noise (GaussianNoise) is neither",
        "d2 (Dense) has the activation leaky_relu, which chainrule lacks",
        "late (Activation) follows a Dropout; expected it before",
        "no Dense layer follows the last BatchNormalization",
        "d1 has a bias and d3 has none",
        "a Dropout follows the last Dense layer, d3",
    ):
        assert words in str(error.value), words
    x = keras.Input((4,), name="x")
    h = layers.Dense(4, name="h")(x)
    branch = keras.Model(x, layers.Add(name="sum")([x, h]))
    with pytest.raises(ValueError, match=r"sum \(Add\) takes the outputs of x and h"):
        cr.from_keras(branch)
    two = keras.Model(x, [h, layers.Dense(2)(h)])
    with pytest.raises(ValueError, match="has 1 inputs and 2 outputs"):
        cr.from_keras(two)

    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    for wrong, words in (
        (Own(name="mine"), r"mine \(Own\) is a subclass of Model"),
        (keras.Sequential([keras.Input((4,))]), "there is no Dense layer"),
        (keras.Sequential([layers.Dense(2, name="d")]), "d .*has no weights yet"),
        (keras.Sequential([keras.Input((3, 4)), layers.Dense(2)]), "takes inputs of shape"),
        (keras.Sequential([keras.Input((4,)), layers.Dense(2, dtype="bfloat16")]), "in bfloat16"),
        (keras.Sequential([keras.Input((4,)), layers.Dense(2, dtype="float32"), layers.Dense(2)]),
         "its layers have the dtypes float32 and float64"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            cr.from_keras(wrong)
    with pytest.raises(TypeError, match="model is a int; expected a Sequential"):
        cr.from_keras(3)


def test_files_that_are_not_keras_or_hold_code(tmp_path: Path) -> None:
    import keras

    (tmp_path / "a.h5").write_bytes(b"")
    (tmp_path / "b.keras").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as file:
        file.writestr("config.json", "{}")
    coded = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2),
                              keras.layers.Dense(1)])  # fmt: skip
    coded.save(tmp_path / "d.keras")
    for name, words in (
        ("a.h5", "is not a .keras file"), ("b.keras", "is damaged or was not written by Keras 3"),
        ("c.keras", "c.keras cannot be read by Keras"), ("d.keras", "d.keras cannot be read"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            cr.from_keras(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        cr.from_keras(tmp_path / "none.keras")


def test_a_custom_activation_does_not_go_to_keras() -> None:
    class Sine(cr.Activation):
        name, formula, derivative_formula = "sine", "sin(z)", "cos(z)"

        def value(self, z: Any) -> Any:
            return np.sin(z)

        def derivative(self, z: Any, a: Any) -> Any:
            return np.cos(z)

    with pytest.raises(ValueError, match="layer 1 has the activation 'sine', for which Keras"):
        cr.Network([2, 3, 1], hidden=Sine(), seed=0).to_keras()


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_model_on_pytorch_is_explained_as_it_is(kind: str) -> None:
    """`explain_torch` takes a Keras model whose backend is PyTorch."""
    import keras
    import torch

    layers: list[Any] = [
        keras.layers.Input((4,)), keras.layers.Dense(5, activation="tanh"),
        keras.layers.BatchNormalization(), keras.layers.Dense(3),
    ]  # fmt: skip
    if kind == "convolution":
        layers = [
            keras.layers.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.LayerNormalization(), keras.layers.Flatten(), keras.layers.Dense(3),
        ]  # fmt: skip
    model = keras.Sequential(layers)
    x, y = torch.randn(7, *model.input_shape[1:], dtype=torch.float64), torch.tensor(CLASSES)
    loss_fn = torch.nn.CrossEntropyLoss()
    model.zero_grad()
    loss_fn(model(x), y).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        index = (0,) * parameter.ndim
        why = cr.explain_torch(model, loss_fn, x, y, f"{name}[{','.join(map(str, index))}]")
        assert why.value == float(parameter.grad[index])
        assert why.certificate.passed

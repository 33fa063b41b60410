"""Models of Keras that compute with JAX: explained, and converted there and back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.needs("keras", "jax"), pytest.mark.slow]

# Keras chooses its backend once in a process; the other tests take PyTorch.
BEGIN = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import jax, keras, numpy as np
import chainrule as cr
from keras import layers
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
"""
EXPLAINED = """
model = keras.Sequential([
    keras.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="tanh", name="conv"),
    layers.BatchNormalization(name="norm"), layers.Flatten(),
    layers.Dense(3, activation="softmax", name="last"),
])
x, y = rng.normal(size=(5, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 5)
cost = keras.losses.SparseCategoricalCrossentropy()
parameters = {v.path.split("/", 1)[1]: v.value for v in model.trainable_variables}
rest = [v.value for v in model.non_trainable_variables]
before = [np.array(v) for v in rest]

def loss(parameters, x, y):
    values = [parameters[v.path.split("/", 1)[1]] for v in model.trainable_variables]
    output, _ = model.stateless_call(values, rest, x, training=True)
    return cost(y, output)

gradient = jax.grad(loss)(parameters, x, y)
for name, at in [("conv/kernel", (1, 2, 0, 1)), ("conv/bias", (0,)), ("norm/gamma", (2,)),
                 ("last/kernel", (7, 1))]:
    why = cr.explain_jax(loss, (parameters, x, y), f"{name}[{','.join(map(str, at))}]")
    assert why.value == float(gradient[name][at]), name
    parts = [float(part) for term in why.terms for part in term.contributions.values]
    assert abs(sum(parts) - why.value) <= 1e-4 * sum(map(abs, parts)), name
    assert why.certificate.verdict in ("pass", "not resolved"), (name, str(why.certificate))
    assert "casts to coarser numbers" in str(why.certificate)
assert all((a == b).all() for a, b in zip(before, map(np.array, model.non_trainable_variables)))
"""
CONVERTED = """
model = keras.Sequential([
    keras.Input((4,)), layers.Dense(6, activation="gelu"), layers.BatchNormalization(),
    layers.Dense(3, activation="softmax"),
])
x = rng.normal(size=(7, 4)).astype("float32")
net = cr.from_keras(model)
np.testing.assert_allclose(net.predict(x), np.asarray(model(x)), rtol=2e-5)
back = net.to_keras()
np.testing.assert_allclose(np.asarray(back(x)), net.predict(x), rtol=2e-5)
y = rng.integers(0, 3, 7)
cost = keras.losses.SparseCategoricalCrossentropy()

def loss(values):
    output, _ = back.stateless_call(values, [v.value for v in back.non_trainable_variables], x)
    return cost(y, output)

theirs = jax.grad(loss)([v.value for v in back.trainable_variables])
ours = net.gradient(x, y)
for l in (1, 2):
    np.testing.assert_allclose(np.asarray(theirs[2 * l - 2]).T, ours.dW[l], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(np.asarray(theirs[2 * l - 1]), ours.db[l], rtol=1e-3, atol=1e-6)
"""


@pytest.mark.parametrize("script", [EXPLAINED, CONVERTED], ids=["explained", "converted"])
def test_keras_on_jax(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + script],
        env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]

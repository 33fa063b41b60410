"""How the golden files were written, by release 0.1.0; later releases read them as they are.

They are not to be written again: a new format gets files of its own beside them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from chainrule.equations.activations import Activation
from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import ReduceOnPlateau
from chainrule.network import Network
from chainrule.training import checkpoints, folders
from chainrule.training.callbacks import EarlyStopping

HERE = Path(__file__).parent


class Gaussian(Activation):
    name = "gaussian"
    formula = "exp(-z**2)"
    derivative_formula = "-2*z*exp(-z**2)"

    def value(self, z):
        return np.exp(-(z**2))

    def derivative(self, z, a):
        return -2 * z * a


def numbers(count: int) -> list[float]:
    """Eighths from -0.75 to 0.75: the same in float32 and float64."""
    return [((7 * i) % 13 - 6) / 8 for i in range(count)]


def filled(network: Network) -> Network:
    network.parameters[...] = numbers(network.parameters.size)
    return network


def main() -> None:
    filled(
        Network(
            [4, 5, 3, 3], hidden=["tanh", "relu"], output="softmax", loss="cross_entropy",
            dtype="float32", seed=2**63 - 1, dropout=[0.5, 0.0], l2=0.001,
        )
    ).save(HERE / "classifier-1.safetensors")  # fmt: skip
    filled(
        Network([3, 4, 2], hidden="gelu", loss="huber", biases=False, seed=7)
    ).save(HERE / "regressor-1.safetensors")  # fmt: skip
    filled(Network([2, 3, 1], hidden=Gaussian(), seed=1)).save(HERE / "own-1.safetensors")

    X = np.reshape(numbers(36), (12, 3))
    with tempfile.TemporaryDirectory() as name:
        Network([3, 4, 1], hidden="tanh", seed=5, dropout=0.25).fit(
            X, X[:, :1] * X[:, 1:2], optimizer=Adam(ReduceOnPlateau(0.01)), epochs=3, batch_size=5,
            validation_data=(X, X[:, :1]), callbacks=[EarlyStopping()], clip_norm=1.0, verbose=0,
            checkpoint=name,
        )  # fmt: skip
        _, newest = folders.epochs(folders.folder_of(name))[-1]
        newest_bytes = (Path(name) / newest).read_bytes()
        (HERE / "checkpoint-1.safetensors").write_bytes(newest_bytes)
        best = Path(name) / checkpoints.BEST
        (HERE / "best-1.safetensors").write_bytes(best.read_bytes())


if __name__ == "__main__":
    main()

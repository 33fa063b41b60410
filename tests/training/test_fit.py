"""fit: the steps it takes, what it measures, and what it accepts."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.equations import optimizers
from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.equations.schedules import Constant, Cosine, Schedule, WarmUp
from chainrule.network import Network
from chainrule.random import epoch_order

N = 23  # samples: no batch size of these tests divides it


def regression(**settings: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
    return Network([3, 5, 4, 2], hidden="tanh", seed=3, **settings), X, y


def classification(**settings: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(N, 3))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
    settings = dict[str, Any](output="softmax", loss="cross_entropy", seed=3) | settings
    return Network([3, 6, 3], hidden="tanh", **settings), X, y


WEIGHTS = np.random.default_rng(5).uniform(0, 3, size=N)
WEIGHTS[4] = 0


# --- the steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("rule", [partial(GradientDescent, momentum=0.5), Adam])
def test_a_run_is_the_steps_of_its_batches(
    weights: np.ndarray | None,
    clip_norm: float | None,
    shuffle: bool,
    rule: Callable[..., optimizers.Optimizer],
) -> None:
    """fit against a loop over batches that takes only `Network.gradient` and the update rule."""
    optimizer = rule(Cosine(0.3, epochs=3))
    net, X, y = regression(l2=0.01)
    twin, _, _ = regression(l2=0.01)
    history = net.fit(
        X, y, optimizer=optimizer, epochs=2, batch_size=5, shuffle=shuffle, sample_weight=weights,
        clip_norm=clip_norm, verbose=0,
    )  # fmt: skip

    slots, losses, clipped = optimizer.start(twin.parameters), [], 0
    for epoch in range(2):
        order = epoch_order(3, epoch, N) if shuffle else np.arange(N)
        total = weight = 0.0
        batches = [order[i : i + 5] for i in range(0, N, 5)]
        assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
        for step, rows in enumerate(batches):
            s = None if weights is None else weights[rows]
            g = twin.gradient(X[rows], y[rows], sample_weight=s)
            assert g.loss == pytest.approx(twin.loss_value(X[rows], y[rows], sample_weight=s))
            batch_weight = len(rows) if s is None else s.sum()
            total, weight = total + batch_weight * g.loss, weight + batch_weight
            flat = np.concatenate([part.ravel() for l in (1, 2, 3) for part in (g.dW[l], g.db[l])])
            norm = np.linalg.norm(flat)
            if clip_norm is not None and norm > clip_norm:
                flat, clipped = flat * clip_norm / norm, clipped + 1
            eta = 0.3 * (1 + math.cos(math.pi * (epoch + step / 5) / 3)) / 2
            optimizer.update(twin.parameters, flat, slots, eta, t=5 * epoch + step + 1)
        losses.append(total / weight)
    assert clipped == (0 if clip_norm is None else 10)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-13)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", ["AdamW", "RMSProp"])
def test_a_run_is_pytorchs(name: str, weights: np.ndarray | None) -> None:
    import torch

    net, X, y = classification(l2=0.02)
    parameters = [
        torch.tensor(array, requires_grad=True)
        for layer in net.weighted_layers
        for array in (layer.W, layer.b)
    ]
    theirs = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))(parameters, lr=0.01)
    losses = []
    for _ in range(10):
        for start in range(0, N, 6):
            rows = slice(start, start + 6)
            W1, b1, W2, b2 = parameters
            z = torch.tanh(torch.tensor(X[rows]) @ W1.T + b1) @ W2.T + b2
            C_i = torch.nn.functional.cross_entropy(z, torch.tensor(y[rows]), reduction="none")
            s = torch.ones(len(C_i)) if weights is None else torch.tensor(weights[rows])
            C = (s * C_i).sum() / s.sum() + 0.01 * ((W1**2).sum() + (W2**2).sum())
            theirs.zero_grad()
            C.backward()
            theirs.step()
            losses.append(float(C.detach()))
    history = net.fit(
        X, y, optimizer=getattr(optimizers, name)(0.01), epochs=10, batch_size=6, shuffle=False,
        sample_weight=weights, verbose=0,
    )  # fmt: skip
    flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    np.testing.assert_allclose(net.parameters, flat, rtol=1e-10, atol=1e-13)
    sums = [6, 6, 6, 5] if weights is None else np.add.reduceat(weights, range(0, N, 6))
    assert history.loss[-1] == pytest.approx(np.average(losses[-4:], weights=sums), rel=1e-12)


def test_adam_is_the_optimizer_if_none_is_given() -> None:
    net, X, y = regression()
    twin, _, _ = regression()
    net.fit(X, y, epochs=2, verbose=0)
    twin.fit(X, y, epochs=2, verbose=0, optimizer=Adam(learning_rate=0.001))
    assert (net.parameters == twin.parameters).all()


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    net, X, y = regression()
    loss = net.loss_value(X, y)
    history = net.fit(X, y, epochs=1, batch_size=1000, verbose=0)
    assert history.loss == [pytest.approx(loss, rel=1e-14)]


def test_each_run_starts_afresh() -> None:
    """No momentum of the first run is left in the second."""
    net, X, y = regression()
    net.fit(X, y, optimizer=GradientDescent(0.1, momentum=0.9), epochs=1, verbose=0)
    twin, _, _ = regression()
    twin.parameters[...] = net.parameters
    for network in (net, twin):
        network.fit(X, y, optimizer=GradientDescent(0.1, momentum=0.9), epochs=1, verbose=0)
    assert (net.parameters == twin.parameters).all()


def test_a_huge_gradient_is_clipped_in_float32() -> None:
    """Its square overflows float32, its norm does not."""
    net = Network([1, 1], W=[[[1.0]]], b=[[0.0]], dtype="float32", loss="absolute_error", seed=0)
    net.fit([[1e25]], [[0.0]], optimizer=GradientDescent(1.0), epochs=1, clip_norm=0.5, verbose=0)
    assert net.layers[1].W[0, 0] == pytest.approx(0.5, rel=1e-6)


class Recorded(Schedule):
    """η = 0.01, and a note of what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, list[float]]] = []

    def rate(self, epoch: float, losses: Sequence[float] = ()) -> float:
        self.asked.append((epoch, list(losses)))
        return 0.01


@pytest.mark.parametrize("validated", [False, True])
def test_what_a_schedule_is_asked(validated: bool) -> None:
    net, X, y = regression()
    schedule = Recorded()
    history = net.fit(
        X, y, optimizer=GradientDescent(schedule), epochs=2, batch_size=6, verbose=0,
        validation_data=(X[:5], y[:5]) if validated else None,
    )  # fmt: skip
    first = history.val_loss[:1] if validated else history.loss[:1]
    assert schedule.asked == [
        *((position, []) for position in (0, 0.25, 0.5, 0.75)),
        *((position, first) for position in (1, 1.25, 1.5, 1.75)),
    ]


def test_learning_rate_column_is_that_of_the_epochs_start() -> None:
    net, X, y = regression()
    optimizer = GradientDescent(WarmUp(2, Constant(0.1)))
    history = net.fit(X, y, optimizer=optimizer, epochs=4, batch_size=5, verbose=0)
    assert history.learning_rate == [0, 0.05, 0.1, 0.1]


# --- what is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-13), ("float32", 1e-6)])
def test_validation_loss_is_that_of_the_network(dtype: Any, rounding: float) -> None:
    net, X, y = regression(dtype=dtype, l2=0.1, dropout=0.3)
    many = np.random.default_rng(9).integers(0, N, size=3000)  # more than one batch of it
    X, y, weights = X[many], y[many], WEIGHTS[many]
    history = net.fit(X, y, epochs=1, validation_data=(X, y, weights), verbose=0)
    want = net.loss_value(X, y, sample_weight=weights)
    assert history.val_loss == [pytest.approx(want, rel=rounding)]


def test_columns_and_their_order() -> None:
    net, X, y = classification()
    history = net.fit(X, y, epochs=3, validation_data=(X, y), verbose=0)
    assert list(history) == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
    ]  # fmt: skip
    assert history.epoch == [1, 2, 3]
    assert all(seconds > 0 for seconds in history.seconds)
    net, X, y = regression()
    history = net.fit(X, y, epochs=1, verbose=0)
    assert list(history) == ["epoch", "loss", "learning_rate", "seconds"]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_metrics_are_scikit_learns(weights: np.ndarray | None) -> None:
    from sklearn import metrics as theirs

    net, X, y = regression()
    y[:, 1] += 10
    names = ["mean_squared_error", "mean_absolute_error", "r2"]
    validation = (X, y) if weights is None else (X, y, weights)
    history = net.fit(X, y, epochs=1, validation_data=validation, metrics=names, verbose=0)
    a = net.predict(X)
    for name, function in zip(
        names, (theirs.mean_squared_error, theirs.mean_absolute_error, theirs.r2_score), strict=True
    ):
        want = function(y, a, sample_weight=weights)
        assert history[f"val_{name}"] == [pytest.approx(want, rel=1e-12)]

    net, X, y = classification()
    history = net.fit(X, y, epochs=1, validation_data=(X, y, weights), verbose=0)
    want = theirs.accuracy_score(y, net.predict_classes(X), sample_weight=weights)
    assert history.val_accuracy == [pytest.approx(want, rel=1e-12)]


def test_r2_where_y_does_not_vary() -> None:
    from chainrule.training.metrics import r2

    y = np.array([[1.0, 5.0], [1.0, 5.0]])
    assert r2(y, np.array([[1.0, 5.0], [1.0, 4.0]])) == 0.5


@pytest.mark.parametrize("shuffle", [False, True])
def test_training_metrics_are_of_the_training_passes(shuffle: bool) -> None:
    """With the whole data as one batch, they are of the network as it was before the step."""
    net, X, y = classification()
    before = net.predict(X)

    def largest(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        assert (y_true == y).all()  # in the order that was given, whatever the shuffle
        np.testing.assert_allclose(y_pred, before, rtol=1e-12)
        return y_pred.max()

    history = net.fit(
        X, y, epochs=1, batch_size=N, shuffle=shuffle, metrics=["accuracy", largest],
        sample_weight=WEIGHTS, verbose=0,
    )  # fmt: skip
    right = before.argmax(axis=1) == y
    assert history.accuracy == [pytest.approx(WEIGHTS @ right / WEIGHTS.sum(), rel=1e-13)]
    assert history.largest == [pytest.approx(before.max(), rel=1e-13)]


def test_accuracy_of_labels_one_output_and_one_hot_rows() -> None:
    X = np.eye(2)
    kinds: list[tuple[dict[str, Any], Any, float]] = [
        # a = [[.9, .9], [.1, .9]]: each output is a label of its own
        ({"output": "sigmoid", "loss": "binary_cross_entropy"}, [[1, 0], [0, 1]], 0.75),
        ({"output": "sigmoid", "loss": "binary_cross_entropy"}, [0, 1], 1.0),  # the largest
        ({"output": "sigmoid", "loss": "squared_error"}, [[0, 1], [0, 1]], 0.5),
    ]
    for settings, y, want in kinds:
        net = Network([2, 2], W=[[[2.2, -2.2], [2.1, 2.2]]], seed=0, **settings)
        history = net.fit(
            X, y, optimizer=GradientDescent(1e-9), epochs=1, batch_size=2, metrics=["accuracy"],
            validation_data=(X, y), verbose=0,
        )  # fmt: skip
        assert (history.accuracy, history.val_accuracy) == ([want], [want])
    one = Network([2, 1], W=[[[2.2, -2.2]]], output="sigmoid", loss="binary_cross_entropy", seed=0)
    history = one.fit(X, [1, 1], optimizer=GradientDescent(1e-9), epochs=1, batch_size=2, verbose=0)
    assert history.accuracy == [0.5]


# --- weights ------------------------------------------------------------------------------------


def forms(y: np.ndarray) -> list[np.ndarray]:
    return [y, np.eye(3)[y]]


@pytest.mark.parametrize("form", [0, 1], ids=["integers", "one-hot"])
def test_class_weight_is_the_sample_weight_of_the_class(form: int) -> None:
    nets = []
    for how in (
        {"class_weight": {0: 0.5, 2: 3.0}, "sample_weight": WEIGHTS},
        {"sample_weight": WEIGHTS * np.array([0.5, 1, 3])[classification()[2]]},
    ):
        net, X, y = classification()
        net.fit(X, forms(y)[form], epochs=3, verbose=0, **how)
        nets.append(net)
    assert (nets[0].parameters == nets[1].parameters).all()


def test_balanced_classes_have_the_same_weight() -> None:
    counts = np.bincount(classification()[2])
    assert len(set(counts)) == 3
    for y_of in (0, 1):
        net, X, y = classification()
        net.fit(X, forms(y)[y_of], epochs=2, class_weight="balanced", verbose=0)
        twin, _, _ = classification()
        twin.fit(X, y, epochs=2, sample_weight=N / (3 * counts[y]), verbose=0)
        np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-13)


def test_class_weight_of_one_output() -> None:
    settings: dict[str, Any] = {"output": "sigmoid", "loss": "binary_cross_entropy", "seed": 1}
    X = np.random.default_rng(0).normal(size=(N, 3))
    y = (X[:, 0] > 0).astype(float)
    net, twin = (Network([3, 4, 1], **settings) for _ in range(2))
    net.fit(X, y, epochs=2, class_weight={1: 4}, verbose=0)
    twin.fit(X, y, epochs=2, sample_weight=1 + 3 * y, verbose=0)
    assert (net.parameters == twin.parameters).all()


def test_weight_zero_is_as_if_the_sample_was_not_there() -> None:
    net, X, y = regression()
    net.fit(X, y, sample_weight=[1] * 20 + [0] * 3, epochs=3, batch_size=100, verbose=0)
    twin, _, _ = regression()
    twin.fit(X[:20], y[:20], epochs=3, batch_size=100, verbose=0)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12)


def test_a_batch_of_weight_zero() -> None:
    net, X, y = classification()
    weights = np.ones(N)
    weights[5:10] = 0
    history = net.fit(
        X, y, sample_weight=weights, epochs=1, batch_size=5, shuffle=False, verbose=0
    )  # fmt: skip
    assert np.isfinite([*history.loss, *history.accuracy, *net.parameters]).all()


# --- what it accepts ----------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["pandas", "polars", "lists"])
def test_frames_and_lists(package: str) -> None:
    net, X, y = classification()
    net.fit(X, y, epochs=2, sample_weight=WEIGHTS, validation_data=(X, y), verbose=0)
    twin, _, _ = classification()
    columns = {"a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "c": X[:, 2].tolist()}
    match package:
        case "pandas":
            import pandas as pd

            frame: Any = pd.DataFrame(columns, index=range(100, 100 + N))
            target, weights = pd.Series(y, index=frame.index), pd.Series(WEIGHTS)
        case "polars":
            import polars as pl

            frame, target, weights = pl.DataFrame(columns), pl.Series(y), pl.Series(WEIGHTS)
        case _:
            frame, target, weights = X.tolist(), y.tolist(), WEIGHTS.tolist()
    twin.fit(
        frame, target, epochs=2, sample_weight=weights, validation_data=(frame, target), verbose=0
    )
    assert (net.parameters == twin.parameters).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["float32", "float64", ">f8", "int8", "bool"])
def test_numbers_of_any_kind(kind: str, order: Any) -> None:
    net, X, y = classification(dtype="float32")
    X = (X > 0).astype(kind, order=order)
    twin, _, _ = classification(dtype="float32")
    net.fit(X, y, epochs=2, verbose=0)
    twin.fit(X.astype("float32", order="C"), y, epochs=2, verbose=0)
    assert (net.parameters == twin.parameters).all()


def peak_memory(call: Callable[[], object]) -> int:
    """The most bytes that were allocated at a time during a call, by NumPy too."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_inputs_in_the_right_dtype_are_not_copied() -> None:
    net = Network([200, 2, 1], dtype="float32", seed=0)
    X = np.ones((20_000, 200), dtype=np.float32)
    y = np.ones((20_000, 1), dtype=np.float32)

    def fit(X: np.ndarray) -> int:
        return peak_memory(lambda: net.fit(X, y[: len(X)], epochs=2, batch_size=500, verbose=0))

    fit(X[:100])  # what is imported with the first run
    # a check for NaN looks at 4 million numbers at a time, a byte for each
    assert fit(X) < 0.4 * X.nbytes
    assert X.nbytes < fit(X.astype(np.float64)) < 1.4 * X.nbytes  # one copy, not one an epoch


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_memory_map_is_read_batch_by_batch(tmp_path: Path, dtype: str, shuffle: bool) -> None:
    net, X, y = classification(dtype="float32")
    np.save(tmp_path / "X.npy", (100 * X).astype(dtype))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    net.fit(mapped, y, epochs=2, shuffle=shuffle, validation_data=(mapped, y), verbose=0)
    twin, _, _ = classification(dtype="float32")
    twin.fit((100 * X).astype(dtype), y, epochs=2, shuffle=shuffle, verbose=0)
    assert (net.parameters == twin.parameters).all()


def test_a_memory_map_larger_than_the_memory(tmp_path: Path) -> None:
    """200 MB of targets, and of samples if they were converted whole, where 80 MB are free."""
    program = """
        import numpy as np, resource, sys
        from chainrule.network import Network
        n = 500_000
        X = np.memmap("X", dtype="int16", mode="w+", shape=(n, 100))
        X[:, 0] = np.arange(n) % 7
        y = np.memmap("y", dtype="float32", mode="w+", shape=(n, 100))
        y[...] = 2 * X[:, :1]
        X.flush(), y.flush()
        X = np.memmap("X", dtype="int16", mode="r", shape=(n, 100))
        y = np.memmap("y", dtype="float32", mode="r", shape=(n, 100))
        net = Network([100, 1, 100], hidden="identity", dtype="float32", seed=0)
        part = X[:100_000], y[:100_000]
        run = dict(epochs=1, batch_size=20_000, validation_data=part, verbose=0)
        net.fit(X[:40_000], y[:40_000], **run)  # threads and libraries take their memory now

        status = open("/proc/self/status").read().split()
        data = int(status[status.index("VmData:") + 1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (data + 80_000_000,) * 2)
        try:
            np.ones_like(X)
            sys.exit("the limit does not hold")
        except MemoryError:
            pass
        for shuffle in (False, True):
            history = net.fit(X, y, shuffle=shuffle, **run)
        print(history.val_loss[0])
    """
    if sys.platform == "linux":  # elsewhere the limit is not kept, and the test above has to do
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert float(run.stdout) >= 0

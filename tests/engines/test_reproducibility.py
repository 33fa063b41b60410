"""A run is a function of the seed: the streams that it is drawn from, and runs bit by bit."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.network import Network
from chainrule.random import dropout_mask, epoch_order, philox

# Known answers of Philox4x32-10 from the Random123 distribution (tests/kat_vectors): four counter
# words, two key words, four words of output. The third counter and key are digits of π.
KNOWN_ANSWERS = """
00000000 00000000 00000000 00000000  00000000 00000000  6627e8d5 e169c58d bc57ac4c 9b00dbd8
ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff  408f276d 41c83b0e a20bc7c6 6d5451fd
243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0  d16cfe09 94fdcceb 5001e420 24126ea1
"""


@pytest.mark.parametrize("line", KNOWN_ANSWERS.split("\n")[1:-1])
def test_philox_against_the_published_answers(line: str) -> None:
    words = [int(word, 16) for word in line.split()]
    counter = tuple(np.array([word], dtype=np.uint64) for word in words[:4])
    out = philox(counter, (words[4], words[5]))
    assert [int(word[0]) for word in out] == words[6:]


def words_one_by_one(seed: int, step: int, layer: int, row: int, unit: int) -> int:
    """The random word of one unit, in plain integers, after Salmon et al., section 5."""
    counter = [unit // 4, row, layer, step % 2**32]
    key = [seed % 2**32, seed // 2**32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            b >> 32 ^ counter[1] ^ key[0],
            b % 2**32,
            a >> 32 ^ counter[3] ^ key[1],
            a % 2**32,
        ]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter[unit % 4]


@pytest.mark.parametrize("units", [1, 3, 4, 9])
def test_which_word_decides_for_which_unit(units: int) -> None:
    for seed, step, layer, rate in [(7, 0, 1, 0.5), (2**63 - 1, 2**32 + 5, 3, 0.1)]:
        mask = dropout_mask(seed, step, layer, 6, units, rate, np.float64)
        for i in range(6):
            for j in range(units):
                kept = words_one_by_one(seed, step, layer, i, j) >= math.floor(rate * 2**32)
                assert mask[i, j] == (1 / (1 - rate) if kept else 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_have_mean_1(rate: float) -> None:
    mask = dropout_mask(0, 0, 1, 1000, 1000, rate, np.float64)
    # the share that is kept has a standard deviation of √(p (1 - p) / n); five of them
    assert abs(np.count_nonzero(mask) / 1e6 - (1 - rate)) < 5 * math.sqrt(rate * (1 - rate) / 1e6)
    assert abs(mask.mean() - 1) < 5 * math.sqrt(rate / (1 - rate) / 1e6)
    assert set(np.unique(mask)) == {0, 1 / (1 - rate)}


def test_masks_differ_between_seeds_steps_layers_rows_and_units() -> None:
    def mask(seed: int = 0, step: int = 0, layer: int = 1) -> np.ndarray:
        return dropout_mask(seed, step, layer, 100, 100, 0.5, np.float64) > 0

    first = mask()
    others = [mask(seed=1), mask(seed=2**32), mask(step=1), mask(layer=2), first.T]
    others += [np.roll(first, 1, axis=0), np.roll(first, 1, axis=1)]
    for other in others:
        assert abs((first == other).mean() - 0.5) < 0.05
    assert (mask(step=2**32) == first).all()  # the step is counted modulo 2³²


def test_a_mask_does_not_depend_on_the_size_of_its_batch_or_layer() -> None:
    large = dropout_mask(5, 3, 2, 50, 21, 0.3, np.float64)
    assert (dropout_mask(5, 3, 2, 7, 10, 0.3, np.float64) == large[:7, :10]).all()


def test_epoch_orders() -> None:
    orders = [epoch_order(seed, epoch, 100) for seed in (0, 1, 2**63 - 1) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert len({tuple(order) for order in orders}) == 9
    # NumPy does not promise it: were its permutations to change, old runs could not be repeated
    assert epoch_order(0, 0, 10).tolist() == [0, 7, 8, 6, 9, 5, 1, 3, 2, 4]


# --- the gradient under a mask ------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["tanh", "softplus"])
def test_the_gradient_under_a_mask_by_finite_differences(hidden: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    weights = rng.uniform(0.5, 2, size=6)
    net = Network([3, 7, 5, 2], hidden=hidden, dropout=[0.5, 0.2], l2=0.1, seed=2)
    g = net.gradient(X, y, sample_weight=weights, dropout_step=4)
    dropped = [np.count_nonzero(mask == 0) for mask in g.forward.masks if mask is not None]
    assert len(dropped) == 2
    assert all(dropped)
    flat = np.concatenate([part.ravel() for l in (1, 2, 3) for part in (g.dW[l], g.db[l])])
    h = 1e-6
    for i in range(net.parameters.size):
        was = net.parameters[i]
        losses = []
        for shift in (h, -h):
            net.parameters[i] = was + shift
            losses.append(net.gradient(X, y, sample_weight=weights, dropout_step=4).loss)
        net.parameters[i] = was
        difference = (losses[0] - losses[1]) / (2 * h)
        assert flat[i] == pytest.approx(difference, rel=1e-7, abs=1e-9)


def test_training_steps_use_the_masks_of_their_step() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    net, twin = (Network([3, 8, 2], hidden="tanh", dropout=0.4, seed=2) for _ in range(2))
    net.fit(
        X, y, optimizer=GradientDescent(0.1), epochs=2, batch_size=5, shuffle=False, verbose=0
    )  # fmt: skip
    for step in range(6):
        start = 5 * (step % 3)
        rows = slice(start, start + 5)
        g = twin.gradient(X[rows], y[rows], dropout_step=step)
        for l in (1, 2):
            twin.layers[l].W -= 0.1 * g.dW[l]
            twin.layers[l].b -= 0.1 * g.db[l]
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-12, atol=1e-14)


def test_no_dropout_outside_training() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    net = Network([3, 8, 2], dropout=0.9, seed=2)
    twin = Network([3, 8, 2], seed=2)
    assert (net.predict(X) == twin.predict(X)).all()
    assert net.loss_value(X, y) == twin.loss_value(X, y)
    history = net.fit(
        X, y, optimizer=GradientDescent(1e-300), epochs=1, validation_data=(X, y), verbose=0
    )
    assert history.val_loss == [pytest.approx(twin.loss_value(X, y), rel=1e-14)]


# --- whole runs ---------------------------------------------------------------------------------

RUN = """
import numpy as np
from chainrule.network import Network
from chainrule.equations.optimizers import Adam
rng = np.random.default_rng(0)
X, y = rng.normal(size=(101, 5)), rng.integers(0, 3, size=101)
net = Network(
    [5, 16, 16, 3], output="softmax", loss="cross_entropy", dtype=dtype, dropout=dropout, seed=seed
)
history = net.fit(
    X, y, optimizer=Adam(0.01), epochs=5, batch_size=16, validation_data=(X, y), verbose=0
)
columns = {name: history[name] for name in history if name != "seconds"}
"""


def run(seed: int | None = 7, dtype: str = "float32", dropout: float = 0.2) -> tuple[bytes, Any]:
    """The parameters, bit by bit, and the history of a run."""
    names: dict[str, Any] = {"seed": seed, "dtype": dtype, "dropout": dropout}
    exec(RUN, names)
    return names["net"].parameters.tobytes(), names["columns"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_seed_gives_the_same_run(dtype: str, dropout: float) -> None:
    np.random.seed(1)  # noqa: NPY002 (the global state has no part in it)
    first = run(dtype=dtype, dropout=dropout)
    np.random.seed(2)  # noqa: NPY002
    assert run(dtype=dtype, dropout=dropout) == first
    assert run(seed=8, dtype=dtype, dropout=dropout)[0] != first[0]


def test_the_same_in_another_process() -> None:
    digest = "import hashlib; print(hashlib.sha256(net.parameters.tobytes()).hexdigest())"
    program = f"seed, dtype, dropout = 7, 'float32', 0.2\n{RUN}\n{digest}"
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == hashlib.sha256(run()[0]).hexdigest()


def test_dropout_is_of_the_seed_and_not_only_of_the_parameters() -> None:
    assert run(dropout=0.2)[0] != run(dropout=0.0)[0]


def test_without_a_seed_runs_differ_and_can_be_repeated() -> None:
    nets = [Network([5, 3], seed=None) for _ in range(2)]
    assert nets[0].seed != nets[1].seed
    assert (Network([5, 3], seed=nets[0].seed).parameters == nets[0].parameters).all()


def test_a_second_run_repeats_the_draws_of_the_first() -> None:
    """Orders and masks belong to the run: a network put back to its start trains the same again."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    net = Network([3, 8, 2], dropout=0.4, seed=2)
    start = net.parameters.copy()
    results = []
    for _ in range(2):
        net.parameters[...] = start
        net.fit(X, y, optimizer=Adam(), epochs=2, batch_size=3, verbose=0)
        results.append(net.parameters.tobytes())
    assert results[0] == results[1]

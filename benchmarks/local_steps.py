"""What local steps cost in quality: handwritten digits, with and without.

    python -m benchmarks.local_steps

Trains 64-32-10 on 1,280 digits for 30 epochs with 4 shards, and prints the mean loss and accuracy
on 517 others, over five seeds.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import chainrule as cr
from chainrule import distributed

TRAIN, SEEDS = 1280, 5


def main() -> None:
    """Measure and print."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order] / 16, y[order]
    print("local steps   test loss   accuracy")
    for steps in (None, 1, 5, 20):
        found = []
        for seed in range(SEEDS):
            net = cr.Network([64, 32, 10], output="softmax", loss="cross_entropy", seed=seed)
            distributed.fit(
                net, (X[:TRAIN], y[:TRAIN]), optimizer=cr.Adam(0.003), epochs=30, batch_size=32,
                micro_batches=4, local_steps=steps, metrics=[], verbose=0,
            )  # fmt: skip
            right = net.predict_classes(X[TRAIN:]) == y[TRAIN:]
            found.append((net.loss_value(X[TRAIN:], y[TRAIN:]), right.mean()))
        loss, accuracy = np.mean(found, axis=0)
        print(f"{steps or 'none':>11}   {loss:9.3f}   {accuracy:8.3f}", flush=True)


if __name__ == "__main__":
    main()

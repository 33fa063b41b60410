"""Train one network on a cluster: `python train.py dask://HOST:8786 --checkpoint FOLDER`.

A run that ends early goes on from its last checkpoint when the same command is called again.
"""

import argparse
import hashlib

import numpy as np

import chainrule as cr
from chainrule import distributed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("on", help="dask://HOST:PORT, ray://HOST:PORT or ray://auto")
    parser.add_argument("--checkpoint", help="a folder that outlives this process")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000)
    args = parser.parse_args()

    X = np.random.default_rng(0).normal(size=(args.rows, 20))
    y = np.sin(X[:, 0]) * np.cos(X[:, 1])
    net = cr.Network([20, 256, 256, 1], hidden="relu", seed=0, dtype="float32")
    distributed.fit(
        net,
        (X, y),
        on=args.on,
        workers=(1, 16),
        micro_batches=16,
        batch_size=1024,
        epochs=args.epochs,
        checkpoint=args.checkpoint,
        resume=args.checkpoint is not None,
    )
    print(f"loss {net.loss_value(X, y):.6f}")
    print(hashlib.sha256(net.parameters.tobytes()).hexdigest())


if __name__ == "__main__":
    main()

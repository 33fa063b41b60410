"""A training loop that is watched, for the tests of its pages: `python run_of.py FOLDER STEPS`."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch import nn

import chainrule as cr

WRONG, SPIKE = (17, 99), 140  # rows with a wrong label; the step with rows of another scale


def parts() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
    ).double()  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return model, optimizer, nn.CrossEntropyLoss()


def data() -> tuple[Any, Any]:
    torch.manual_seed(1)
    X = torch.randn(256, 8).double()
    y = (X[:, :4].sum(1) > 0).long()
    y[list(WRONG)] = 1 - y[list(WRONG)]
    return X, y


def train(run: Any, model: Any, optimizer: Any, loss_fn: Any, steps: int, first: int = 0) -> None:
    X, y = data()
    order = torch.arange(256).reshape(-1, 64)
    for k in range(first, first + steps):
        rows = order[k % 4]
        x = X[rows] * (1e3 if k == SPIKE else 1)
        with run.step(x, y[rows], rows=rows):
            optimizer.zero_grad()
            loss_fn(model(x), y[rows]).backward()
            optimizer.step()


def main() -> None:
    """Train so many steps, one for each line on the standard input; then end as it says."""
    folder, steps = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    model, optimizer, loss_fn = parts()
    run = cr.watch(model, optimizer, loss_fn, folder=folder, every=5)
    train(run, model, optimizer, loss_fn, steps)
    run.flush()
    print("ready", flush=True)
    done = steps
    for line in sys.stdin:
        match line.split():
            case ["train", count]:
                train(run, model, optimizer, loss_fn, int(count), done)
                done += int(count)
                run.flush()
            case ["close"]:
                run.close()
            case ["raise"]:
                raise ValueError("the data are out")
            case ["die"]:
                os._exit(1)
        print("done", flush=True)


if __name__ == "__main__":
    main()

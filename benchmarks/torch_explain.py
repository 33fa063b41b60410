"""What a tape costs beside a training step, and what opening a term of a PyTorch model costs.

    python -m benchmarks.torch_explain

One thread; processor time, which other programs on the machine change little. The fastest of
several runs counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from chainrule.foreign.torch.kept import Kept
from chainrule.foreign.torch.run import Run
from chainrule.foreign.torch.tape import Tape

RUNS = 15


def fastest(call: Callable[[], Any], runs: int = RUNS) -> float:
    """Return the least processor time of a call, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def residual() -> nn.Module:
    """Return a residual network of convolutions, ResNet-18 in its middle layers, for 32² images."""

    class Block(nn.Module):  # type: ignore[misc]  # PyTorch counts as Any
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.a = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.b = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.n, self.m = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            return torch.relu(x + self.m(self.b(torch.relu(self.n(self.a(x))))))

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        *(Block(64) for _ in range(6)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def measure(name: str, model: nn.Module, x: Any, y: Any, targets: list[str]) -> None:
    """Print the time of a step, of a step under the tape, of a whole run, and of each term."""
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()

    def taped() -> None:
        optimizer.zero_grad()
        with Kept(model) as kept, Tape(model, kept):
            loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

    plain, recorded = fastest(step), fastest(taped)
    print(f"{name}: step {plain:.2f} ms, with the tape {recorded:.2f} ms ({recorded / plain:.2f})")
    run = Run(model, loss_fn, x, y)
    print(f"  run with all derivatives {fastest(lambda: Run(model, loss_fn, x, y)):.2f} ms")
    for target in targets:
        parameter, index = target.split("[")
        value, at = run.named[parameter], tuple(map(int, index.rstrip("]").split(",")))
        assert value is not None
        print(f"  {target}: {fastest(partial(run.uses, value, at)):.3f} ms")
    hidden = max((v for v in run.values if v.maker and v.users), key=lambda v: v.data.numel())
    at = tuple(size // 2 for size in hidden.data.shape)
    said = f"an element that {hidden.users[0].name} reads"
    print(f"  {said}: {fastest(lambda: run.uses(hidden, at)):.3f} ms")


def main() -> None:
    """Measure all."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    y = torch.randint(0, 10, (128,))
    measure("784-512-512-10, 128 samples", plain, torch.randn(128, 784), y,
            ["0.weight[3,7]", "2.weight[3,7]", "4.bias[1]"])  # fmt: skip
    measure("convolutions, 8 images of 32²", residual(), torch.randn(8, 3, 32, 32), y[:8],
            ["0.weight[3,1,0,2]", "4.a.weight[5,6,1,1]", "4.n.weight[5]"])  # fmt: skip


if __name__ == "__main__":
    main()

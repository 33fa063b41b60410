"""What a watched step costs beside PyTorch alone, and beside others that find norms by sample.

    python -m benchmarks.watch
    pip install opacus backpack-for-pytorch   # for their rows

One thread; processor time, the writing to disk among it, which other programs on the machine change
less than the time on the clock. Steps of all kinds take turns, and the least time of each kind
counts: of 20 steps, as every 20th step of a run is another than the rest. A run has taken some
hundred steps before: from its fifth state on it writes over the files of the first. The samples are
rows of 60,000, as those of MNIST.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import chainrule as cr

ROUNDS, STEPS, ROWS = 12, 20, 60_000


def small() -> tuple[nn.Module, Any, Any]:
    """Return 10-16-3 with 32 samples."""
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 3))
    return model, torch.randn(32, 10), torch.randint(0, 3, (32,))


def perceptron() -> tuple[nn.Module, Any, Any]:
    """Return 784-512-512-10 with 128 samples."""
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return model, torch.randn(128, 784), torch.randint(0, 10, (128,))


def convolutional() -> tuple[nn.Module, Any, Any]:
    """Return a small convolutional network with 64 images of 32 by 32."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 10),
    )  # fmt: skip
    return model, torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))


class Training:
    """A model, its optimiser, and one plain step of it."""

    def __init__(self, make: Callable[[], tuple[nn.Module, Any, Any]]) -> None:
        torch.manual_seed(0)
        self.model, self.x, self.y = make()
        self.loss_fn = nn.CrossEntropyLoss()
        self.start()

    def start(self) -> None:
        """Make the optimiser."""
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)

    def step(self) -> None:
        """Take a plain step."""
        self.optimizer.zero_grad()
        self.loss_fn(self.model(self.x), self.y).backward()
        self.optimizer.step()


class Watched(Training):
    """The same, watched."""

    def __init__(self, make: Any, folder: Path, **options: Any) -> None:
        super().__init__(make)
        self.run = cr.watch(self.model, self.optimizer, self.loss_fn, folder=folder, **options)
        self.order = torch.randperm(ROWS)

    def step(self) -> None:
        """Take a step in a block."""
        n = len(self.x)
        start = self.run.steps_seen * n % (ROWS - n)
        with self.run.step(self.x, self.y, rows=self.order[start : start + n]):
            super().step()


class Vmap(Training):
    """Norms from the gradients of all samples, by torch.func."""

    def start(self) -> None:
        """Make the function of one sample."""
        super().start()
        self.each = torch.func.vmap(torch.func.grad(self._one), in_dims=(None, 0, 0))

    def _one(self, parameters: Any, x: Any, y: Any) -> Any:
        out = torch.func.functional_call(self.model, parameters, (x[None],))
        return self.loss_fn(out, y[None])

    def step(self) -> None:
        """Take a step from the mean of the gradients."""
        parameters = {n: p.detach() for n, p in self.model.named_parameters()}
        found = self.each(parameters, self.x, self.y)
        self.norms = sum(g.flatten(1).square().sum(1) for g in found.values()).sqrt()
        for name, p in self.model.named_parameters():
            p.grad = found[name].mean(0)
        self.optimizer.step()


class BackPack(Training):
    """Norms by BackPACK's BatchL2Grad."""

    def start(self) -> None:
        """Extend the model and the loss."""
        backpack = importlib.import_module("backpack")
        importlib.import_module("backpack.extensions")

        super().start()
        self.model, self.loss_fn = backpack.extend(self.model), backpack.extend(self.loss_fn)
        self.extension = (backpack.backpack, backpack.extensions.BatchL2Grad)

    def step(self) -> None:
        """Take a step in its block."""
        block, extension = self.extension
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(self.x), self.y)
        with block(extension()):
            loss.backward()
        self.norms = sum(p.batch_l2 for p in self.model.parameters()).sqrt()
        self.optimizer.step()


class Opacus(Training):
    """Norms by Opacus' ghost norms; its second backward pass, which clips, is left out."""

    def start(self) -> None:
        """Wrap the model."""
        super().start()
        wrapper = importlib.import_module("opacus.grad_sample")
        self.wrapped = wrapper.GradSampleModuleFastGradientClipping(
            self.model, max_grad_norm=1.0, use_ghost_clipping=True
        )

    def step(self) -> None:
        """Take a step with norms by sample."""
        self.optimizer.zero_grad()
        self.loss_fn(self.wrapped(self.x), self.y).backward()
        self.norms = self.wrapped.get_norm_sample()
        self.optimizer.step()


def measure(name: str, make: Callable[[], tuple[nn.Module, Any, Any]], before: int) -> None:
    """Print the time of a step of each kind, and how many plain steps it is.

    Args:
        name: The name of the case.
        make: Returns the model, the inputs and the targets.
        before: The steps that watched runs take before they are timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        kinds: dict[str, Training] = {
            "PyTorch alone": Training(make),
            "watch, every=20": Watched(make, Path(folder, "20"), every=20),
            "watch, every=1": Watched(make, Path(folder, "1"), every=1),
            "watch, dense": Watched(make, Path(folder, "dense"), dense=True),
            "torch.func.vmap": Vmap(make),
        }
        if importlib.util.find_spec("backpack"):
            kinds["BackPACK BatchL2Grad"] = BackPack(make)
        if importlib.util.find_spec("opacus"):
            kinds["Opacus ghost norms"] = Opacus(make)
        for training in kinds.values():
            for _ in range(before if isinstance(training, Watched) else 2):
                training.step()
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for k in range(ROUNDS):
            for kind, training in kinds.items():
                if isinstance(training, Vmap) and k > 1:  # it takes up to 60 times as long
                    continue
                steps = 2 if isinstance(training, Vmap) else STEPS
                start = time.process_time()
                for _ in range(steps):
                    training.step()
                if isinstance(training, Watched):
                    training.run.wait()
                times[kind].append((time.process_time() - start) / steps)
        for training in kinds.values():
            if isinstance(training, Watched):
                training.run.close()
    plain = min(times["PyTorch alone"])
    print(f"\n{name}")
    for kind, found in times.items():
        print(f"  {kind:<22}{1e3 * min(found):8.2f} ms{min(found) / plain:8.2f}")


def main() -> None:
    """Measure three models."""
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, one thread; ms a step, and how many plain steps")
    measure("10-16-3, 32 samples, Adam", small, 500)
    measure("784-512-512-10, 128 samples, Adam", perceptron, 500)
    measure("3 convolutions, 64 images of 32 by 32, Adam", convolutional, 120)


if __name__ == "__main__":
    main()

"""Norms of samples against autograd, one sample at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import chainrule as cr  # noqa: E402
from chainrule.foreign.torch.watching.norms import Capture, norms  # noqa: E402
from chainrule.foreign.torch.watching.parts import parts_of  # noqa: E402

pytestmark = pytest.mark.needs("torch")
N = 5


class Tied(nn.Module):
    """A tiny language model: the embedding is the output layer, too, and a block runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6, padding_idx=0)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Any) -> Any:
        h = self.embed(x)
        for _ in range(2):
            h = h + torch.tanh(self.mix(self.norm(h)))
        return self.head(h).mT


class Own(nn.Module):
    """A parameter that no module of PyTorch holds."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4))
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.inner(x * self.scale)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.cell(x)[0][:, -1])


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3))


def numbers(*shape: int) -> Callable[[], Any]:
    return lambda: torch.randn(N, *shape, dtype=torch.float64)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.GroupNorm(2, 4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2), nn.PReLU(6), nn.Flatten(),
        nn.Linear(96, 3),
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], tuple[int, ...]]] = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3, bias=False)),
        numbers(6), (3,),
    ),
    "sequences, short": (
        lambda: nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Flatten(), nn.Linear(90, 3)),
        numbers(3, 20), (3,),
    ),
    "sequences, long": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(120, 3)),
        numbers(40, 2), (3,),
    ),
    "convolutions": (convolutions, numbers(2, 8, 8), (3,)),
    "convolution of few positions": (
        lambda: nn.Sequential(nn.Conv2d(8, 9, 3), nn.Flatten(), nn.Linear(36, 3)),
        numbers(8, 4, 4), (3,),
    ),
    "convolution of one dimension": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(24, 3)),
        numbers(3, 6), (3,),
    ),
    "convolution of three dimensions": (
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 2, groups=2, stride=2), nn.Flatten(), nn.Linear(32, 3)
        ),
        numbers(2, 4, 4, 4), (3,),
    ),
    "convolution that runs twice": (
        lambda: nn.Sequential(*[nn.Conv2d(2, 2, 3, padding=1)] * 2, nn.Flatten(), nn.Linear(32, 3)),
        numbers(2, 4, 4), (3,),
    ),
    "batch norm that is fitted": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval(),
        numbers(6), (3,),
    ),
    "circular padding": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(24, 3)
        ),
        numbers(3, 6), (3,),
    ),
    "own parameter": (Own, numbers(4), (3,)),
    "recurrent": (Recurrent, numbers(6, 3), (2,)),
    "attention": (encoder, numbers(4, 6), (3,)),
    "tied": (Tied, lambda: torch.randint(0, 7, (N, 9)), (7, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_norms_are_those_of_autograd_sample_by_sample(name: str) -> None:
    torch.manual_seed(1)
    make, inputs, out = CASES[name]
    model, x = make().double(), inputs()
    y = torch.randn(N, *out, dtype=torch.float64)
    expected = []
    for i in range(N):
        model.zero_grad()
        functional.mse_loss(model(x[i : i + 1]), y[i : i + 1]).backward()
        expected.append(sum(float(p.grad.square().sum()) for p in model.parameters()))
    model.zero_grad()
    capture = Capture(model)
    capture.start()
    functional.mse_loss(model(x), y).backward()
    capture.stop()
    gradients = [p.grad.clone() for p in model.parameters()]
    found = norms(capture, N)
    assert found.missing == ()
    assert found.squares is not None
    np.testing.assert_allclose(found.squares.numpy() * N**2, expected, rtol=1e-10)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))


def test_batch_norm_in_training_splits_the_gradient_by_row() -> None:
    """Samples are mixed there; what passes through the rows of a sample still adds up."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    x, y = torch.randn(N, 6).double(), torch.randn(N, 3).double()
    capture = Capture(model)
    capture.start()
    functional.mse_loss(model(x), y).backward()
    capture.stop()
    for use in capture.uses:
        for part in parts_of(use, N) or ():
            whole = part.materialized(slice(None)).sum(0)
            torch.testing.assert_close(whole, part.parameter.grad.flatten())


def test_what_cannot_be_split_is_said(tmp_path: Path) -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Any) -> Any:
            return functional.dropout(x * self.scale, 0.5)

    model = nn.Sequential(Drops(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = cr.watch(model, optimizer, functional.mse_loss, folder=tmp_path / "run", every=1)
    x, y = torch.randn(3, 4), torch.randn(3, 2)

    def step() -> None:
        with run.step(x, y):
            functional.mse_loss(model(x), y).backward()
            optimizer.step()

    with pytest.warns(UserWarning, match=r"gradients of 0.scale cannot be split by sample"):
        step()
    assert run.samples().norms is not None
    assert np.isnan(run.noise_scale)


@pytest.mark.parametrize(
    ("kind", "reduction"),
    [
        ("module", "mean"), ("module", "sum"), ("function", "mean"), ("lambda", "mean"),
        ("lambda", "sum"), ("weighted", "sum"),
    ],
)  # fmt: skip
def test_samples_have_the_loss_and_norm_of_a_batch_of_one(
    kind: str, reduction: str, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    weight = torch.tensor([1.0, 2.0, 5.0]).double() if kind == "weighted" else None
    module = nn.CrossEntropyLoss(weight, reduction=reduction)
    own: dict[str, Any] = {"function": functional.mse_loss, "lambda": lambda o, t: module(o * 2, t)}
    loss_fn = own.get(kind, module)
    model = nn.Linear(4, 3).double()
    x = torch.randn(N, 4).double()
    y = torch.randn(N, 3).double() if kind == "function" else torch.randint(0, 3, (N,))
    run = cr.watch(model, None, loss_fn, folder=tmp_path / "run", every=1)
    with run.step(x, y, rows=[9, 8, 7, 6, 5]):
        loss_fn(model(x), y).backward()
    whole = [p.grad.clone() for p in model.parameters()]
    losses, gradients = [], []
    for i in range(N):
        model.zero_grad()
        loss = loss_fn(model(x[i : i + 1]), y[i : i + 1])
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    found = run.samples()
    assert found.rows is not None
    assert found.rows.tolist() == [9, 8, 7, 6, 5]
    np.testing.assert_allclose(found.losses, losses, rtol=1e-8)
    np.testing.assert_allclose(found.norms, [float(g.norm()) for g in gradients], rtol=1e-8)
    # independent: tr of the covariance, and the square of the mean without its bias
    stacked = torch.stack(gradients)
    trace = float(stacked.var(0).sum())
    square = float(stacked.mean(0).square().sum()) - trace / N
    expected = trace / square if square > 0 else np.inf
    assert run.noise_scale == pytest.approx(expected, rel=1e-5)
    assert [layer.gradient for layer in run.layers()] == pytest.approx(
        [float(g.norm()) for g in whole]
    )


def test_a_mean_with_weights_is_told_from_a_plain_one(tmp_path: Path) -> None:
    loss_fn = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 50.0]))
    model, x, y = nn.Linear(4, 3), torch.randn(N, 4), torch.tensor([0, 1, 2, 0, 1])
    run = cr.watch(model, None, loss_fn, folder=tmp_path / "run")
    with pytest.warns(UserWarning, match="neither the mean nor the sum"), run.step(x, y):
        loss_fn(model(x), y).backward()
    alone = [float(loss_fn(model(x[i : i + 1]), y[i : i + 1]).detach()) for i in range(N)]
    np.testing.assert_allclose(run.samples().losses, alone, rtol=1e-6)

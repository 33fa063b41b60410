"""Small models of every kind that people train, each with a batch and a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

Case = tuple[nn.Module, Any, Any, Any]  # model, loss_fn, x, y
CASES: dict[str, Callable[[], Case]] = {}


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    def seeded() -> Case:
        torch.manual_seed(0)
        model, loss_fn, x, y = make()
        return model.double(), loss_fn, x, y

    CASES[make.__name__] = seeded
    return seeded


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class Wrap(nn.Module):
    """A module whose forward is a function of itself and the input."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, *x: Any) -> Any:
        return self.run(self, *x)


@case
def mlp() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    return model, nn.CrossEntropyLoss(), rand(5, 4), torch.tensor([0, 2, 1, 1, 0])


@case
def mlp_inplace_relu() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 1))
    return model, nn.MSELoss(), rand(5, 4), rand(5, 1)


@case
def binary() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1), nn.Sigmoid())
    return model, nn.BCELoss(), rand(5, 4), torch.rand(5, 1, dtype=torch.float64)


@case
def binary_logits() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    return model, nn.BCEWithLogitsLoss(), rand(5, 4), torch.rand(5, 2, dtype=torch.float64)


def _conv(training: bool) -> Case:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2, padding=2, dilation=2, groups=2), nn.ELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    model[1].running_mean.normal_()
    model.train(training)
    return (
        model,
        nn.CrossEntropyLoss(label_smoothing=0.1),
        rand(3, 2, 8, 8),
        torch.tensor([0, 2, 1]),
    )


@case
def conv_batchnorm_training() -> Case:
    return _conv(True)


@case
def conv_batchnorm_eval() -> Case:
    return _conv(False)


@case
def conv1d_transposed() -> Case:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding="same"), nn.InstanceNorm1d(4, affine=True), nn.Softplus(),
        nn.AvgPool1d(2), nn.ConvTranspose1d(4, 2, 2, stride=2), nn.GroupNorm(2, 2),
    )  # fmt: skip
    return model, nn.L1Loss(), rand(2, 2, 8), rand(2, 2, 8)


@case
def layernorm_residual() -> Case:
    model = Wrap(
        lambda m, x: m.out(x + m.drop(F.gelu(m.inner(m.norm(x))))),
        norm=nn.LayerNorm(6), inner=nn.Linear(6, 6), out=nn.Linear(6, 2), drop=nn.Dropout(0.4),
    )  # fmt: skip
    return model, nn.HuberLoss(), rand(4, 6), rand(4, 2)


@case
def dropout_positional_inplace() -> Case:
    model = Wrap(
        lambda m, x: m.b(F.dropout(m.a(x), 0.5, True, True)),
        a=nn.Linear(4, 9), b=nn.Linear(9, 2),
    )  # fmt: skip
    return model, nn.MSELoss(), rand(5, 4), rand(5, 2)


@case
def embedding_tied() -> Case:
    model = Wrap(
        lambda m, t: F.linear(m.e(t).mean(1), m.e.weight), e=nn.Embedding(7, 5, padding_idx=0)
    )
    return model, nn.CrossEntropyLoss(), torch.tensor([[1, 2, 2], [3, 0, 6]]), torch.tensor([2, 5])


@case
def lstm_cell() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(len(x), 5, dtype=x.dtype)
        for t in range(x.shape[1]):
            h, c = m.cell(x[:, t], (h, c))
        return m.out(h)

    model = Wrap(run, cell=nn.LSTMCell(3, 5), out=nn.Linear(5, 2))
    return model, nn.MSELoss(), rand(2, 4, 3), rand(2, 2)


@case
def gru() -> Case:
    model = Wrap(
        lambda m, x: m.out(m.gru(x)[0][:, -1]),
        gru=nn.GRU(3, 4, batch_first=True, num_layers=2), out=nn.Linear(4, 2),
    )  # fmt: skip
    return model, nn.MSELoss(), rand(2, 4, 3), rand(2, 2)


@case
def lstm() -> Case:
    model = Wrap(
        lambda m, x: m.out(m.lstm(x)[0].sum(1)),
        lstm=nn.LSTM(3, 4, batch_first=True, bidirectional=True), out=nn.Linear(8, 2),
    )  # fmt: skip
    return model, nn.MSELoss(), rand(2, 4, 3), rand(2, 2)


@case
def attention_by_hand() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        q, k, v = m.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        mask = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
        return m.out(torch.softmax(scores.masked_fill(mask, float("-inf")), -1) @ v).mean(1)

    model = Wrap(run, qkv=nn.Linear(6, 18), out=nn.Linear(6, 3))
    return model, nn.CrossEntropyLoss(), rand(2, 4, 6), torch.tensor([0, 2])


@case
def transformer_layer() -> Case:
    model = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), nn.Linear(8, 2)
    )
    return model, nn.MSELoss(), rand(2, 3, 8), rand(2, 3, 2)


@case
def attention_weights() -> Case:
    model = Wrap(
        lambda m, x: (lambda r: r[0] * r[1].sum())(m.mha(x, x, x)),
        mha=nn.MultiheadAttention(8, 2, batch_first=True),
    )
    return model, nn.MSELoss(), rand(2, 3, 8), rand(2, 3, 8)


@case
def scaled_dot_product() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in m.qkv(x).split(6, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.2)
        return m.out(a.transpose(1, 2).flatten(2))

    return (
        Wrap(run, qkv=nn.Linear(6, 18), out=nn.Linear(6, 2)),
        nn.MSELoss(),
        rand(2, 4, 6),
        rand(2, 4, 2),
    )


@case
def written_slices() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x)
        view = h[:, :2]
        h[:, 0] += x[:, 0]  # through a view, of which another is read later
        view.mul_(2)
        out = torch.zeros(len(x), 6, dtype=x.dtype)
        out[:, :3] = torch.tanh(h[:, 1:4])
        out[:, 3:].copy_(h[:, 1:] * view[:, :1])
        rows = out.view(-1, 2)
        out.add_(1)
        return m.b(rows.view(len(x), 6))

    return Wrap(run, a=nn.Linear(3, 4), b=nn.Linear(6, 2)), nn.MSELoss(), rand(5, 3), rand(5, 2)


@case
def buffer_in_eval() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.seen.add_(1)
        return m.a(x) * m.seen[:2] + m.a(x).square() * m.seen

    model = Wrap(run, a=nn.Linear(3, 2))
    model.register_buffer("seen", torch.ones(2))
    return model, nn.MSELoss(), rand(5, 3), rand(5, 2)


@case
def detached_parts() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(m.a(x))
        with torch.no_grad():
            scale = m.c(x).abs().mean()
        return m.b(h) * scale + m.d(h).detach() + h.max(1, keepdim=True).values

    parts = {n: nn.Linear(3 if n in "ac" else 4, 4 if n == "a" else 2) for n in "abcde"}
    return Wrap(run, **parts), nn.MSELoss(), rand(5, 3), rand(5, 2)


class Cube(torch.autograd.Function):
    """x³, with the right backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


@case
def custom_function() -> Case:
    model = Wrap(lambda m, x: m.b(Cube.apply(m.a(x))), a=nn.Linear(3, 4), b=nn.Linear(4, 2))
    return model, nn.MSELoss(), rand(5, 3), rand(5, 2)


@case
def reductions() -> Case:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        h = m.a(x)
        parts = [h.mean(1), h.var(1), torch.logsumexp(h, 1), h.norm(dim=1), h.cumsum(1)[:, 2],
                 h.prod(1), h.std(1), torch.einsum("ij,kj->ik", h, h).sum(1),
                 h.amax(1)]  # fmt: skip
        return torch.stack(parts, 1)

    return Wrap(run, a=nn.Linear(3, 4)), nn.SmoothL1Loss(), rand(5, 3), rand(5, 9)


@case
def checkpointed() -> Case:
    from torch.utils.checkpoint import checkpoint

    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.b(checkpoint(lambda t: torch.tanh(m.a(t)), x, use_reentrant=False))

    return Wrap(run, a=nn.Linear(3, 4), b=nn.Linear(4, 2)), nn.MSELoss(), rand(5, 3), rand(5, 2)


@case
def weight_norm() -> Case:
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.PReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 2)),
    )  # fmt: skip
    return model, nn.MSELoss(), rand(5, 4), rand(5, 2)


@case
def backward_hooks() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[1].register_full_backward_hook(lambda *given: None)
    return model, nn.MSELoss(), rand(5, 4), rand(5, 2)

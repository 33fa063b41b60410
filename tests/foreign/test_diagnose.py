"""Findings about PyTorch models: each mistake is found, and its healthy twin is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr

from .architectures import NAMES, build

pytestmark = pytest.mark.needs("torch")

Case = tuple[Any, ...]  # (model, loss_fn, x, y) and perhaps the optimiser


def mlp(*last: Any, n_out: int = 1, activation: Any = None) -> Any:
    from torch import nn

    act = activation or nn.ReLU
    return nn.Sequential(nn.Linear(6, 32), act(), nn.Linear(32, 32), act(),
                         nn.Linear(32, n_out), *last)  # fmt: skip


def data(n: int = 64) -> tuple[Any, Any, Any]:
    """Inputs, targets (n, 1) and classes (n,)."""
    import torch

    x = torch.randn(n, 6)
    return x, x[:, :1] * 2 - x[:, 1:2], (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()


def regression() -> Case:
    from torch import nn

    x, y, _ = data()
    return mlp(), nn.MSELoss(), x, y


def classification() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(n_out=3), nn.CrossEntropyLoss(), x, c


def convolution() -> Case:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                          nn.Linear(8 * 36, 3))  # fmt: skip
    return model, nn.CrossEntropyLoss(), torch.rand(32, 1, 8, 8), torch.arange(32) % 3


# --- mistakes in the loop or the loss -------------------------------------------------------------


def log_of_zero() -> Case:
    """A hand-written cross-entropy; the softmax underflows for one sample."""
    import torch

    x, _, c = data()
    x[17] *= 1e4

    def loss(out: Any, y: Any) -> Any:
        return -torch.log(torch.softmax(out, 1)[torch.arange(len(y)), y]).mean()

    model = mlp(n_out=3)
    with torch.no_grad():
        c[17] = model(x)[17].argmin()
    return model, loss, x, c


def root_of_zero() -> Case:
    """A distance whose derivative at 0 is infinite, while the loss is finite."""
    import torch
    from torch import nn

    x, y, _ = data()
    x[5] = 0
    model = nn.Sequential(nn.Linear(6, 4, bias=False))
    return model, lambda out, y: torch.sqrt((out**2).sum(1)).mean(), x, y


def nan_in_the_data() -> Case:
    model, loss, x, y = regression()
    x[3, 2] = float("nan")
    return model, loss, x, y


def nan_in_a_weight() -> Case:
    import torch

    model, loss, x, y = regression()
    with torch.no_grad():
        model[2].weight[1, 3] = float("nan")
    return model, loss, x, y


def backward_twice() -> Case:
    model, loss, x, y = regression()
    for _ in range(3):
        loss(model(x), y).backward()
    return model, loss, x, y


def no_zero_grad() -> Case:
    """Batches add up over a run of Adam."""
    import torch

    model, loss, x, y = regression()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    for _ in range(20):
        loss(model(x), y).backward()
        optimizer.step()
    return model, loss, x, y, optimizer


def no_zero_grad_of_minibatches() -> Case:
    """Other batches than this one add up: the sum does not hold its gradient, but goes on."""
    import torch
    from torch import nn

    x = torch.randn(512, 6)
    c = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    model, loss = mlp(n_out=3), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(40):
        rows = torch.randint(0, 512, (64,))
        loss(model(x[rows]), c[rows]).backward()
        optimizer.step()
    rows = torch.randint(0, 512, (64,))
    loss(model(x[rows]), c[rows]).backward()
    return model, loss, x[rows], c[rows], optimizer


def backward_without_a_factor() -> Case:
    return of_custom(0.5)


def of_custom(factor: float) -> Case:
    """Squares by a Function of one's own, whose backward has a factor."""
    import torch
    from torch import nn

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return 2 * factor * ctx.saved_tensors[0] * grads[0]

    class Squares(nn.Module):
        def forward(self, x: Any) -> Any:
            return Square.apply(x)

    x, y, _ = data()
    return nn.Sequential(nn.Linear(6, 8), Squares(), nn.Linear(8, 1)), nn.MSELoss(), x, y


def classes_as_floats() -> Case:
    model, loss, x, c = classification()
    return model, loss, x, c.float()


def one_hot_integers() -> Case:
    import torch

    model, loss, x, c = classification()
    return model, loss, x, torch.nn.functional.one_hot(c, 3)


def all_keys_masked() -> Case:
    """A sample whose sequence is padding alone has nothing to attend to."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any, mask: Any) -> Any:
            return self.head(self.attention(x, x, x, key_padding_mask=mask)[0].mean(1))

    x, mask = torch.randn(16, 5, 8), torch.zeros(16, 5, dtype=torch.bool)
    mask[7] = True
    return Attention(), nn.CrossEntropyLoss(), (x, mask), torch.arange(16) % 3


def half_precision() -> Case:
    """Squares beyond 65,504 in float16."""
    import torch
    from torch import nn

    class Half(nn.Module):
        def forward(self, x: Any) -> Any:
            h = x.half()
            return (h * h).float()

    x, y, _ = data()
    x[11, 2] = 300
    return nn.Sequential(Half(), nn.Linear(6, 1)), nn.MSELoss(), torch.as_tensor(x), y


def recurrence_that_explodes() -> Case:
    """The loss overflows, and says which sample is the furthest."""
    import torch
    from torch import nn

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(6, 16, nonlinearity="relu", batch_first=True)
            self.head = nn.Linear(16, 1)
            with torch.no_grad():
                self.rnn.weight_hh_l0.copy_(3 * torch.eye(16))
                self.rnn.weight_ih_l0.abs_()
                self.head.weight.fill_(1)

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(x)[0][:, -1])

    x = torch.rand(64, 50, 6)
    x[37] *= 100
    return Last(), nn.MSELoss(), x, torch.zeros(64, 1)


def most_units_dead() -> Case:
    import torch

    model, loss, x, y = regression()
    with torch.no_grad():
        model[2].bias[:26] = -3
    return model, loss, x, y


def sum_of_losses() -> Case:
    from torch import nn

    model, _, x, y = regression()
    return model, nn.MSELoss(reduction="sum"), x, y


def two_softmaxes() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(nn.Softmax(dim=1), n_out=3), nn.CrossEntropyLoss(), x, c


def two_sigmoids() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(nn.Sigmoid()), nn.BCEWithLogitsLoss(), x, (c[:, None] > 0).float()


def no_logarithm() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(nn.Softmax(dim=1), n_out=3), nn.NLLLoss(), x, c


def target_of_one_dimension() -> Case:
    model, loss, x, y = regression()
    return model, loss, x, y[:, 0]


def target_of_one_dimension_by_hand() -> Case:
    model, _, x, y = regression()
    return model, lambda out, y: ((out - y) ** 2).mean(), x, y[:, 0]


def classes_from_one() -> Case:
    model, loss, x, c = classification()
    return model, loss, x, c + 1


def binary_of_minus_one() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(), nn.BCEWithLogitsLoss(), x, (c[:, None] > 0).float() * 2 - 1


def out_of_reach_of_tanh() -> Case:
    from torch import nn

    x, y, _ = data()
    return mlp(nn.Tanh()), nn.MSELoss(), x, y * 3


# --- mistakes in the model ------------------------------------------------------------------------


def dead_units() -> Case:
    import torch

    model, loss, x, y = regression()
    with torch.no_grad():
        model[0].bias[:9] = -50.0
    return model, loss, x, y


def saturated_units() -> Case:
    import torch
    from torch import nn

    x, y, _ = data()
    model = mlp(activation=nn.Tanh)
    with torch.no_grad():
        model[2].bias[:5] = 9.0
    return model, nn.MSELoss(), x, y


def constant_start() -> Case:
    from torch import nn

    model, loss, x, y = regression()
    nn.init.constant_(model[2].weight, 0.1)
    nn.init.zeros_(model[2].bias)
    nn.init.constant_(model[4].weight, 0.1)
    return model, loss, x, y


def deep_sigmoids() -> Case:
    from torch import nn

    x, y, _ = data()
    layers = [nn.Linear(6, 16), nn.Sigmoid()]
    for _ in range(10):
        layers += [nn.Linear(16, 16), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(16, 1)), nn.MSELoss(), x, y


def large_start() -> Case:
    from torch import nn

    x, y, _ = data()
    layers: list[Any] = [nn.Linear(6, 32), nn.ReLU()]
    for _ in range(8):
        layers += [nn.Linear(32, 32), nn.ReLU()]
        nn.init.normal_(layers[-2].weight, std=2.0)
    return nn.Sequential(*layers, nn.Linear(32, 1)), nn.MSELoss(), x, y


def learning_rate_too_large() -> Case:
    import torch

    model, loss, x, y = regression()
    return model, loss, x, 100 * y, torch.optim.SGD(model.parameters(), 1.0)


def column_in_thousands() -> Case:
    model, loss, x, y = regression()
    x[:, 4] = x[:, 4] * 1000 + 5000
    return model, loss, x, y


def pixels_to_255() -> Case:
    model, loss, x, y = convolution()
    return model, loss, x * 255, y


def left_out_of_the_optimizer() -> Case:
    import torch

    model, loss, x, y = regression()
    return model, loss, x, y, torch.optim.Adam(model[4].parameters(), 1e-3)


def optimizer_of_another_model() -> Case:
    import torch

    _, loss, x, y = regression()
    return mlp(), loss, x, y, torch.optim.Adam(mlp().parameters(), 1e-3)


def layers_in_a_list() -> Case:
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [nn.Linear(6, 16), nn.Linear(16, 16)]
            self.last = nn.Linear(16, 1)

        def forward(self, x: Any) -> Any:
            for layer in self.hidden:
                x = layer(x).relu()
            return self.last(x)

    x, y, _ = data()
    return Model(), nn.MSELoss(), x, y


def detached() -> Case:
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 1)

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x).relu().detach())

    x, y, _ = data()
    return Model(), nn.MSELoss(), x, y


def blind() -> Case:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)

        def forward(self, x: Any) -> Any:
            return self.b(torch.zeros_like(x[:, :1]) * self.a(x))

    x, _, c = data()
    return Model(), nn.CrossEntropyLoss(), x, c


def norm_over_the_batch() -> Case:
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(n_out=3)

        def forward(self, x: Any) -> Any:
            return self.body(x).softmax(0).log()

    x, _, c = data()
    return Model(), nn.NLLLoss(), x, c


def batch_first_forgotten() -> Case:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Model(), nn.CrossEntropyLoss(), torch.randn(16, 5, 4), torch.arange(16) % 3


def flipped_labels() -> Case:
    import torch

    model, loss, x, c = classification()
    _train(model, loss, x, c, 150)
    c = c.clone()
    c[[7, 30]] = (c[[7, 30]] + 1) % 3
    with torch.no_grad():
        sure = torch.softmax(model(x), 1).amax(1)
    assert float(sure[[7, 30]].min()) > 0.99
    return model, loss, x, c


def a_decimal_mark() -> Case:
    model, loss, x, y = regression()
    _train(model, loss, x, y, 300)
    y = y.clone()
    y[41] += 100
    return model, loss, x, y


def bias_before_norm() -> Case:
    return convolution()


def _train(model: Any, loss: Any, x: Any, y: Any, steps: int) -> Any:
    import torch

    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    return optimizer


def never_in_training_mode() -> Case:
    """The running statistics are those of the start."""
    model, loss, x, y = convolution()
    return model.eval(), loss, x, y


MISTAKES: dict[Callable[[], Case], tuple[str, dict[str, Any]]] = {
    log_of_zero: ("nan-origin", {"where": "log", "rows": (17,)}),
    root_of_zero: ("nan-origin", {"where": "sqrt", "rows": (5,)}),
    nan_in_the_data: ("nan-origin", {"where": "input", "rows": (3,)}),
    nan_in_a_weight: ("nan-origin", {"where": "2.weight"}),
    backward_twice: ("missing-zero-grad", {"level": "error"}),
    no_zero_grad: ("missing-zero-grad", {"level": "warning"}),
    no_zero_grad_of_minibatches: ("missing-zero-grad", {"level": "warning"}),
    backward_without_a_factor: ("wrong-backward", {"level": "warning", "where": "Square in 1"}),
    one_hot_integers: (
        "wrong-target-range", {"advice": "Pass y.float(), or the classes y.argmax(1)."}
    ),
    all_keys_masked: ("nan-origin", {
        "where": "softmax in attention",
        "advice": "Leave at least one element of each row unmasked.",
    }),
    classes_as_floats: ("wrong-target-range", {"advice": "Pass y.long()."}),
    half_precision: ("nan-origin", {"rows": (11,), "advice": "Compute this call in float32, use "
                                    "bfloat16, or make the numbers that it reads smaller."}),
    most_units_dead: ("dead-units", {"level": "warning", "where": "relu in 3"}),
    recurrence_that_explodes: ("nan-origin", {"where": "mse_loss", "rows": (37,)}),
    sum_of_losses: ("loss-sum-not-mean", {}),
    two_softmaxes: ("double-softmax", {"where": "softmax in 5"}),
    two_sigmoids: ("double-softmax", {"where": "sigmoid in 5"}),
    no_logarithm: ("double-softmax", {"where": "softmax in 5"}),
    target_of_one_dimension: ("target-broadcast", {}),
    target_of_one_dimension_by_hand: ("target-broadcast", {}),
    classes_from_one: ("wrong-target-range", {"advice": "Subtract 1: classes count from 0."}),
    binary_of_minus_one: ("wrong-target-range", {"level": "error"}),
    out_of_reach_of_tanh: ("wrong-target-range", {"level": "warning", "where": "tanh in 5"}),
    dead_units: ("dead-units", {"where": "relu in 1", "units": tuple(range(9))}),
    saturated_units: ("saturated-units", {"where": "tanh in 3", "units": tuple(range(5))}),
    constant_start: ("identical-units", {"where": "2", "level": "error"}),
    deep_sigmoids: ("vanishing", {"where": "linear in 0"}),
    large_start: ("exploding", {"where": "linear in 0"}),
    learning_rate_too_large: ("exploding", {"level": "error"}),
    column_in_thousands: ("unscaled-input", {"units": (4,)}),
    pixels_to_255: ("unscaled-input", {"units": (0,)}),
    left_out_of_the_optimizer: ("frozen-or-unregistered", {"level": "error"}),
    optimizer_of_another_model: ("frozen-or-unregistered", {"level": "error"}),
    layers_in_a_list: ("frozen-or-unregistered", {"level": "error"}),
    detached: ("unused-parameters", {"level": "warning"}),
    blind: ("constant-output", {"level": "error"}),
    norm_over_the_batch: ("mixed-samples", {"level": "error"}),
    batch_first_forgotten: ("mixed-samples", {"where": "lstm"}),
    flipped_labels: ("suspect-labels", {"rows": {7, 30}}),
    a_decimal_mark: ("suspect-labels", {"rows": (41,)}),
    never_in_training_mode: ("norm-mode", {"level": "warning", "where": "1"}),
    bias_before_norm: ("bias-before-norm", {"level": "note", "where": "0.bias"}),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.__name__)
def test_a_mistake_is_found(case: Callable[[], Case]) -> None:
    import torch

    torch.manual_seed(0)
    code, wanted = MISTAKES[case]
    report = cr.diagnose(*case())
    (found,) = report[code][:1] or (None,)
    assert found is not None, report.text()
    for name, value in wanted.items():
        given = getattr(found, name)
        assert (set(given) if isinstance(value, set) else given) == value, str(found)
    assert found.words.endswith(".")
    assert all((found.factor, found.advice))
    assert report.ok is all(f.level == "note" for f in report)
    json.dumps(report.to_dict(), allow_nan=False)
    assert found.code in report.text(60)
    assert max(map(len, report.text(60).splitlines())) <= 60
    assert report.html().startswith("<!DOCTYPE html>")
    assert found.code in report.html()


# --- healthy twins: nothing to say, but for notes -------------------------------------------------


def trained(case: Callable[[], Case]) -> Callable[[], Case]:
    def train() -> Case:
        model, loss, x, y = case()[:4]
        return model, loss, x, y, _train(model, loss, x, y, 60)

    train.__name__ = f"{case.__name__}_after_training"
    return train


def before_the_step() -> Case:
    """backward has run, zero_grad before it: .grad is this batch's gradient."""
    import torch

    model, loss, x, y = regression()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(20):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    loss(model(x), y).backward()
    return model, loss, x, y, optimizer


def first_step_lowered_the_gradient() -> Case:
    """A step that lowers the gradient a hundredfold leaves a large one in .grad."""
    import torch
    from torch import nn

    x, y, _ = data()
    model = nn.Linear(6, 1)
    loss = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    y = 3 * y + 40
    loss(model(x), y).backward()
    optimizer.step()
    return model, loss, x, y


def micro_batches() -> Case:
    import torch

    model, loss, x, y = regression()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for part in torch.arange(64).chunk(8):
        (loss(model(x[part]), y[part]) / 8).backward()
    return model, loss, x[:8], y[:8], optimizer


def log_softmax_and_nll() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(nn.LogSoftmax(dim=1), n_out=3), nn.NLLLoss(), x, c


def sigmoid_and_its_loss() -> Case:
    from torch import nn

    x, _, c = data()
    return mlp(nn.Sigmoid()), nn.BCELoss(), x, (c[:, None] > 0).float()


def attention_softmax() -> Case:
    """A softmax that is not the last call before the loss, under a mask of -inf."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)
            self.query = nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            a = self.embed(x)
            scores = self.query(a) @ a.transpose(1, 2) / 4
            mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
            scores = scores.masked_fill(mask, float("-inf"))
            return self.head(torch.softmax(scores, -1) @ a).transpose(1, 2)

    x = torch.randint(0, 11, (32, 7))
    return Model(), nn.CrossEntropyLoss(), x, x


def soft_targets() -> Case:
    import torch

    model, loss, x, _ = classification()
    return model, loss, x, torch.softmax(torch.randn(64, 3), 1)


def ignored_targets() -> Case:
    model, loss, x, c = classification()
    c[::4] = -100
    return model, loss, x, c


def tanh_and_targets_in_reach() -> Case:
    from torch import nn

    x, y, _ = data()
    return mlp(nn.Tanh()), nn.MSELoss(), x, y.tanh()


def target_of_one_column() -> Case:
    model, _, x, y = regression()
    return model, lambda out, y: ((out.squeeze(1) - y) ** 2).mean(), x, y[:, 0]


def all_pairs_on_purpose() -> Case:
    """A loss over pairs of outputs is no mistake of the target."""
    model, _, x, y = regression()

    def ranking(out: Any, y: Any) -> Any:
        s = out.squeeze(1)
        return ((s[:, None] - s[None]) - (y - y.T)).square().mean()

    return model, ranking, x, y


def zeros_at_the_end() -> Case:
    """The last layer starts at 0: nothing arrives before it until its first step."""
    from torch import nn

    model, loss, x, c = classification()
    nn.init.zeros_(model[4].weight)
    nn.init.zeros_(model[4].bias)
    return model, loss, x, c


def low_rank() -> Case:
    import torch
    from torch import nn

    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(6, 3).requires_grad_(False)
            self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 3, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.up(self.down(x))

    x, _, c = data()
    model = Adapter()
    wanted = [p for p in model.parameters() if p.requires_grad]
    return model, nn.CrossEntropyLoss(), x, c, torch.optim.AdamW(wanted, 1e-3)


def deep_and_residual() -> Case:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            return x + self.linear(self.norm(x)).sigmoid()

    x, y, _ = data()
    blocks = [Block() for _ in range(20)]
    return nn.Sequential(nn.Linear(6, 16), *blocks, nn.Linear(16, 1)), nn.MSELoss(), x, y


def norm_at_the_input() -> Case:
    from torch import nn

    x, y, _ = data()
    return nn.Sequential(nn.BatchNorm1d(6), *mlp()), nn.MSELoss(), 1000 * x + 5000, y


def pixels_divided_inside() -> Case:
    from torch import nn

    class Scaled(nn.Module):
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Any) -> Any:
            return self.body(x / 255)

    model, loss, x, y = convolution()
    return Scaled(model), loss, x * 255, y


def lstm() -> Case:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Model(), nn.CrossEntropyLoss(), torch.randn(16, 5, 4), torch.arange(16) % 3


def time_first() -> Case:
    """The first dimension counts time steps, and targets have one for each: no mixed samples."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0]).transpose(1, 2)

    return Model(), nn.CrossEntropyLoss(), torch.randn(6, 16, 4), torch.zeros(6, 16).long()


def dropout() -> Case:
    from torch import nn

    x, _, c = data()
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    return model, nn.CrossEntropyLoss(), x, c


def noisy_labels_of_no_model() -> Case:
    """Before training the model contradicts labels by chance."""
    import torch

    model, loss, x, c = classification()
    return model, loss, 3 * x, c[torch.randperm(64)]


def hard_regression() -> Case:
    import torch

    model, loss, x, y = regression()
    return model, loss, x, y + torch.randn(64, 1)


def a_batch_far_off() -> Case:
    """The last gradient of a run is far larger than this one, and than those before it."""
    model, loss, x, y = regression()
    optimizer = _train(model, loss, x, y, 60)
    optimizer.zero_grad()
    loss(model(50 * x), y).backward()
    optimizer.step()
    return model, loss, x, y, optimizer


def bfloat16() -> Case:
    import torch

    model, loss, x, y = regression()

    class Autocast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.model(x).float()

    return Autocast(), loss, x, y


def right_backward() -> Case:
    return of_custom(1)


def tails_not_learned() -> Case:
    """Extreme targets of a model that has not learned all are no wrong labels."""
    import torch
    from torch import nn

    x = torch.cat([torch.linspace(-1, 1, 190), torch.full((5,), -3.5), torch.full((5,), 3.5)])
    model = nn.Sequential(nn.Linear(1, 1), nn.Hardtanh(-1.5, 1.5), nn.Linear(1, 1))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.fill_(0.95)
            layer.bias.fill_(0)
    return model, nn.MSELoss(), x[:, None], x[:, None]


def targets_in_reach_of_hardtanh() -> Case:
    from torch import nn

    x, y, _ = data()
    return mlp(nn.Hardtanh(-20, 20)), nn.MSELoss(), x, y


HEALTHY = [
    a_batch_far_off, bfloat16, right_backward, tails_not_learned, targets_in_reach_of_hardtanh,
    regression, classification, convolution, trained(regression), trained(classification),
    trained(convolution),
    before_the_step, first_step_lowered_the_gradient, micro_batches, log_softmax_and_nll,
    sigmoid_and_its_loss, trained(sigmoid_and_its_loss), attention_softmax,
    trained(attention_softmax), soft_targets, ignored_targets, tanh_and_targets_in_reach,
    trained(tanh_and_targets_in_reach), target_of_one_column, all_pairs_on_purpose,
    zeros_at_the_end, low_rank, deep_and_residual, norm_at_the_input, pixels_divided_inside, lstm,
    trained(lstm), time_first, dropout, trained(dropout), noisy_labels_of_no_model,
    hard_regression, trained(hard_regression),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.__name__)
def test_a_healthy_twin_raises_nothing(case: Callable[[], Case], seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    report = cr.diagnose(*case())
    assert report.ok, report.text()
    assert bool(report)


# --- public architectures, at their own start and after some steps --------------------------------


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("steps", [0, 8])
@pytest.mark.parametrize("name", [*NAMES, "regnet", "mobilenet", "distilbert"])
def test_public_architectures_raise_nothing(name: str, steps: int) -> None:
    import torch

    model, x = build(name)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**x).loss.backward()
        optimizer.step()
    report = cr.diagnose(model, None, x, None, optimizer)
    assert report.ok, report.text()


# --- what it leaves alone, and what it refuses ----------------------------------------------------


def test_the_model_is_left_as_it_was() -> None:
    import random

    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
    fired: list[str] = []
    model[0].register_forward_hook(lambda *_: fired.append("forward"))
    x, _, c = data()
    loss = nn.CrossEntropyLoss()
    optimizer = _train(model, loss, x, c, 3)
    model[4].bias.requires_grad_(False)
    model[2].eval()
    fired.clear()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    moments = [v.clone() for s in optimizer.state.values() for v in s.values()]
    flags = [m.training for m in model.modules()]
    given = x.clone(), c.clone()
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    drawn = torch.get_rng_state(), random.getstate(), numpy_state[1].copy()
    cr.diagnose(model, loss, x, c, optimizer)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    for p, (grad, numbers) in zip(model.parameters(), grads, strict=True):
        assert p.grad is grad
        assert grad is None or torch.equal(grad, numbers)
    now = [v for s in optimizer.state.values() for v in s.values()]
    assert all(map(torch.equal, now, moments))
    assert [m.training for m in model.modules()] == flags
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert torch.equal(x, given[0])
    assert torch.equal(c, given[1])
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert random.getstate() == drawn[1]
    numpy_state = np.random.get_state()  # noqa: NPY002
    assert (numpy_state[1] == drawn[2]).all()
    assert len(model[0]._forward_hooks) == 1


def test_a_batch_norm_that_takes_its_batch_is_said_where_nothing_is_trained() -> None:
    import copy

    import torch

    torch.manual_seed(0)
    model, loss, x, y = convolution()
    optimizer = _train(model, loss, x, y, 20)
    (found,) = cr.diagnose(model, loss, x, y)["norm-mode"]
    assert found.level == "note"
    for name, twin in (("loss", copy.deepcopy(model)),
                       ("loss in eval mode", copy.deepcopy(model).eval())):  # fmt: skip
        assert found.numbers[name] == pytest.approx(float(loss(twin(x), y)), rel=1e-6)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    cr.diagnose(model, loss, x, y)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not cr.diagnose(model, loss, x, y, optimizer)["norm-mode"]
    model.eval()
    assert not cr.diagnose(model, loss, x, y)["norm-mode"]
    assert not model.training


def test_rows_are_those_of_the_caller() -> None:
    import torch

    torch.manual_seed(0)
    model, loss, x, y = nan_in_the_data()
    (found,) = cr.diagnose(model, loss, x, y, rows=range(1000, 1064))["nan-origin"]
    assert found.rows == (1003,)
    assert "sample 1003" in found.words


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 3}, TypeError, "model is a int; expected a torch.nn.Module"),
        ({"loss_fn": 3}, TypeError, "loss_fn is a int; expected a function or None"),
        ({"x": 3}, TypeError, "x is a int; expected a tensor, or a tuple or dictionary of tensors"),
        ({"optimizer": 0.1}, TypeError, "optimizer is a float; expected a torch.optim.Optimizer"),
        ({"rows": [1, 2]}, ValueError, "rows has 2 numbers; expected one for each of the 64"),
        ({"loss_fn": lambda out, y: out}, ValueError, r"shape \(64, 1\); expected one number"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    model, loss, x, y = regression()
    given = {"model": model, "loss_fn": loss, "x": x, "y": y} | change
    with pytest.raises(error, match=message):
        cr.diagnose(**given)


def test_an_error_of_the_model_or_of_another_kind_is_the_users() -> None:
    import torch

    model, loss, x, _ = regression()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        cr.diagnose(model, loss, x[:, :3], x)

    def broken(out: Any, y: Any) -> Any:
        raise RuntimeError("nowhere")

    with pytest.raises(RuntimeError, match="nowhere"):
        cr.diagnose(model, broken, x, torch.zeros(64))


def test_codes_that_do_not_exist_are_named() -> None:
    report = cr.diagnose(*regression())
    assert report["vanishing"] == ()
    with pytest.raises(KeyError, match="'dead' is not a code; expected one of nan-origin"):
        report["dead"]

"""Plain models of PyTorch as networks, networks as models, and explanations that are the same."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr

pytestmark = pytest.mark.needs("torch")

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu",
               "softplus")  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_there_and_back(hidden: str, biases: bool, dtype: str) -> None:
    """Outputs and gradients of the model are the network's, and a network comes back."""
    import torch

    rng = np.random.default_rng(0)
    net = cr.Network([4, 6, 5, 3], hidden=hidden, output="softmax", loss="cross_entropy",
                     biases=biases, dtype=dtype, seed=0)  # fmt: skip
    X, y = rng.normal(size=(7, 4)).astype(dtype), rng.integers(0, 3, 7)
    model = net.to_torch(logits=True)
    loss_fn = torch.nn.CrossEntropyLoss()
    loss_fn(model(torch.tensor(X)), torch.tensor(y)).backward()
    g = net.gradient(X, y)
    allowed = 1e-12 if dtype == "float64" else 2e-5
    layers = [m for m in model if isinstance(m, torch.nn.Linear)]
    for l, layer in enumerate(layers, start=1):
        np.testing.assert_allclose(layer.weight.grad, g.dW[l], rtol=allowed, atol=allowed)
        if biases:
            np.testing.assert_allclose(layer.bias.grad, g.db[l], rtol=allowed, atol=allowed)
    whole = net.to_torch()
    with torch.no_grad():
        out = whole(torch.tensor(X)).numpy()
    np.testing.assert_allclose(out, net.predict(X), rtol=allowed, atol=allowed)
    back = cr.from_torch(model, loss_fn)
    assert repr(back) == repr(net)
    assert np.array_equal(back.parameters, net.parameters)
    assert [layer.activation.name for layer in back.layers[1:]] == [hidden, hidden, "softmax"]


def losses() -> list[Any]:
    from torch import nn
    from torch.nn import functional as F  # noqa: N812

    return [
        (nn.MSELoss(), 1, []), (nn.MSELoss(), 3, []), (F.mse_loss, 2, []), (nn.L1Loss(), 2, []),
        (nn.HuberLoss(), 3, []), (nn.SmoothL1Loss(), 1, []), (nn.CrossEntropyLoss(), 3, []),
        (F.cross_entropy, 3, []), (nn.NLLLoss(), 3, [nn.LogSoftmax(dim=1)]),
        (nn.BCEWithLogitsLoss(), 1, []), (nn.BCELoss(), 1, [nn.Sigmoid()]),
        (nn.MSELoss(), 2, [nn.Sigmoid()]),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(12))
def test_a_plain_model_is_explained_as_its_network_is(number: int) -> None:
    import torch
    from torch import nn

    loss_fn, units, end = losses()[number]
    torch.manual_seed(number)
    model = nn.Sequential(
        nn.Linear(4, 5), nn.Tanh(), nn.Sequential(nn.Linear(5, 4), nn.SiLU()), nn.Linear(4, units),
        *end,
    ).double()  # fmt: skip
    x = torch.randn(6, 4, dtype=torch.float64)
    classes = units == 3 and "MSE" not in str(loss_fn) and "Huber" not in str(loss_fn)
    y = torch.randint(0, 3, (6,)) if classes else torch.rand(6, units, dtype=torch.float64)
    net = cr.from_torch(model, loss_fn)
    for target, ours, path in (
        ("0.weight[3,1]", "w[1][3,1]", "0"),
        ("2.0.bias[2]", "b[2][2]", "2.0"),
    ):
        why = cr.explain_torch(model, loss_fn, x, y, target)
        expected = net.explain(ours, x.numpy(), y.numpy())
        path_of_call = why.recorded.terms[0].module
        assert isinstance(why, cr.Explanation)
        assert why.value == pytest.approx(expected.value, rel=1e-12)
        for mine, theirs in zip(why.terms, expected.terms, strict=True):
            np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-12)
            assert mine.symbol == theirs.symbol
        assert why.text() == expected.text()
        assert why.certificate.passed
        model.zero_grad()
        loss_fn(model(x), y).backward()
        parameter = model.get_parameter(target.partition("[")[0])
        index = tuple(int(i) for i in target.partition("[")[2].rstrip("]").split(","))
        assert why.value == float(parameter.grad[index])
        assert path_of_call == path


def test_in_float32_the_value_is_pytorchs() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
    x, y = torch.randn(6, 4), torch.randn(6, 1)
    why = cr.explain_torch(model, nn.MSELoss(), x, y, "0.weight[3,1]", notation="C-a-L")
    nn.MSELoss()(model(x), y).backward()
    assert why.value == float(model[0].weight.grad[3, 1])
    assert why.certificate.verdict == "pass"
    assert "(L-" in why.in_notation("C-a-L").latex()
    assert why.explain("2.bias[0]").terms[0].call == "linear"


def test_what_is_no_plain_model_is_explained_call_by_call() -> None:
    """Dropout that drops, targets that are spread, a sum for a mean, inputs of other shapes."""
    import torch
    from torch import nn

    plain = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    drops = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 1)).double()
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    for model, loss_fn, X, Y in (
        (drops, nn.MSELoss(), x, y),
        (plain, nn.MSELoss(reduction="sum"), x, y),
        (plain, lambda out, y: ((out - y) ** 2).mean(), x, y),
        (plain, nn.MSELoss(), x.view(3, 2, 4), y.view(3, 2, 1)),
        (plain, nn.MSELoss(), x, y[:, 0].expand(6, 6)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says of the last that it is spread
            why = cr.explain_torch(model, loss_fn, X, Y, "0.weight[3,1]")
        assert type(why).__name__ == "TorchExplanation"
        assert why.certificate.verdict == "pass"
    assert isinstance(
        cr.explain_torch(drops.eval(), nn.MSELoss(), x, y, "0.bias[1]"), cr.Explanation
    )


def test_dropout_goes_along() -> None:
    from torch import nn

    model = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.25), nn.Linear(5, 1)
    )
    net = cr.from_torch(model)
    assert [layer.dropout for layer in net.layers] == [0.0, 0.25, 0.0]
    assert isinstance(net.to_torch()[2], nn.Dropout)


def test_what_cannot_be_converted_is_named_layer_by_layer() -> None:
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.Linear(4, 5), nn.Tanh(), nn.ReLU(), nn.Softplus(beta=2),
        nn.Linear(6, 2, bias=False), nn.Dropout(0.1), nn.Tanh(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="cannot become a network") as error:
        cr.from_torch(model)
    for words in (
        "0 (Conv1d) is neither a Linear layer nor an activation",
        "3 (ReLU) follows another activation (tanh)",
        "4 (Softplus) is neither",
        "7 (Tanh) follows a Dropout; expected it before",
        "1 has a bias and 5 has none",
        "1 has 5 outputs and 5 6 inputs",
        "explain_torch explains it as it is",
    ):
        assert words in str(error.value)
    shared = nn.Linear(3, 3)
    hooked = nn.Linear(3, 3)
    hooked.register_forward_hook(lambda *given: None)
    two = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    for wrong, words in (
        (nn.Sequential(shared, nn.ReLU(), shared), "two Linear layers share one weight"),
        (nn.Sequential(nn.ReLU()), "stands before the first Linear layer"),
        (nn.Sequential(), "there is no Linear layer"),
        (hooked, r"the model \(Linear\) has a hook"),
        (nn.Linear(2, 2).to(torch.bfloat16), "is of bfloat16"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), "the last Linear layer is followed by"),
    ):
        with pytest.raises(ValueError, match=words):
            cr.from_torch(wrong)
    for loss, words in (
        (nn.CTCLoss(), "loss is CTCLoss; expected MSELoss"),
        (nn.MSELoss(reduction="sum"), "loss is MSELoss with reduction=sum"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "with label_smoothing=0.1"),
        (nn.BCEWithLogitsLoss(), "averages over the 2 outputs"),
        (nn.NLLLoss(), "expects a model that ends in LogSoftmax"),
        ("cross_entropy", "needs output='softmax'"),
    ):
        with pytest.raises(ValueError, match=words):
            cr.from_torch(two, loss)
    doubled = nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match="CrossEntropyLoss applies softmax by itself"):
        cr.from_torch(doubled, nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match=r"ends in LogSoftmax; pass loss=nn\.NLLLoss"):
        cr.from_torch(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1)))
    with pytest.raises(TypeError, match=r"model is a int; expected a torch\.nn\.Module"):
        cr.from_torch(3)


def test_a_custom_activation_does_not_go_to_pytorch() -> None:
    class Sine(cr.Activation):
        name, formula, derivative_formula = "sine", "sin(z)", "cos(z)"

        def value(self, z: Any) -> Any:
            return np.sin(z)

        def derivative(self, z: Any, a: Any) -> Any:
            return np.cos(z)

    with pytest.raises(ValueError, match="layer 1 has the activation 'sine'"):
        cr.Network([2, 3, 1], hidden=Sine(), seed=0).to_torch()

"""Explanations of PyTorch models: values, terms, samples, reasons, certificates, errors."""

from __future__ import annotations

import doctest
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr
from tests.tools import uncounted

from .cases import NAMES


@pytest.mark.parametrize("name", ["explain_torch", "from_torch", "to_torch"])
def test_without_pytorch_the_error_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, Any] = {
        "explain_torch": lambda: cr.explain_torch(None, None, None, None, "a"),
        "from_torch": lambda: cr.from_torch(None),
        "to_torch": cr.Network([1, 1]).to_torch,
    }
    monkeypatch.setitem(sys.modules, "torch", None)
    wanted = rf"{name} needs PyTorch, which is not installed: pip install 'chainrule\[torch\]'"
    with pytest.raises(ImportError, match=wanted):
        calls[name]()


def test_the_names_do_not_bring_pytorch_along() -> None:
    code = "import sys, chainrule as cr; cr.explain_torch, cr.from_torch, cr.Network.to_torch"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=uncounted())


needs_torch = pytest.mark.needs("torch")


def conv() -> tuple[Any, Any, Any, Any]:
    """A convolution with batch norm, in float64, with 3 samples."""
    from .torch_models import CASES

    return CASES["conv_batchnorm_training"]()


@needs_torch
@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_autograds_and_the_parts_sum_to_it(name: str) -> None:
    import torch

    from .torch_models import CASES

    model, loss_fn, x, y = CASES[name]()
    for key, parameter in model.named_parameters():
        index = tuple(size // 2 for size in parameter.shape)
        target = f"{key}[{','.join(map(str, index))}]"
        state = torch.get_rng_state()
        why = cr.explain_torch(model, loss_fn, x, y, target)
        model.zero_grad()
        loss_fn(model(x), y).backward()
        torch.set_rng_state(state)
        number = 0.0 if parameter.grad is None else float(parameter.grad[index])
        assert why.value == pytest.approx(number, rel=1e-13, abs=1e-17)
        recorded = getattr(why, "recorded", why)
        total = math.fsum(term.value for term in recorded.terms)
        size = math.fsum(abs(p) for t in recorded.terms for p in t.contributions.values)
        assert abs(total - why.value) <= (1e-9 if "custom" in name else 1e-14) * size + 1e-18
        assert why.certificate.verdict != "fail", why.certificate.text()
        json.dumps(why.to_dict())
        break  # of each model one, with all renderings
    assert why.text().startswith("∂C/∂")
    assert why.html().startswith("<!DOCTYPE html>")
    assert why.latex(standalone=True).startswith(r"\documentclass")


@needs_torch
def test_a_plain_sequential_says_why_a_derivative_is_zero() -> None:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        model[0].bias[1] = -100
    x, y = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    why = cr.explain_torch(model, nn.MSELoss(), x, y, "0.weight[1,2]")
    assert type(why).__name__ == "TorchNetworkExplanation"
    assert (why.value, why.kind) == (0, "zero")
    assert "relu in 1 is flat at its input" in why.reason
    alive = cr.explain_torch(model, nn.MSELoss(), x, y, "2.bias[0]")
    assert (alive.kind, alive.reason) == ("", "")


@needs_torch
def test_a_weight_of_a_convolution_is_a_sum_over_samples_and_positions() -> None:
    """Against the unfolded input: the derivative is Σ over n and y of adjoint times window."""
    import torch

    model, loss_fn, x, y = conv()
    why = cr.explain_torch(model, loss_fn, x, y, "0.weight[1,0,2,1]")
    (term,) = why.terms
    assert (term.call, term.module, term.result) == ("conv2d", "0", "0:output")
    adjoint = torch.autograd.grad(
        loss_fn(model[1:](kept := model[0](x)), y), kept, retain_graph=True
    )[0]
    window = torch.nn.functional.pad(x, (1, 1, 1, 1))[:, 0, 2:10, 1:9]
    parts = adjoint[:, 1] * window
    for row in why.samples:
        assert row.value == pytest.approx(float(parts[row.index].sum()), rel=1e-12)
    assert math.fsum(row.value for row in why.samples) == pytest.approx(why.value, rel=1e-12)
    positions = dict(term.by_position())
    assert positions[1, 1, 5] == pytest.approx(float(parts[:, 1, 5].sum()), rel=1e-12)
    largest, rest = term.contributions.largest(4)
    shown = math.fsum(part.value for part in largest)
    assert shown + rest == pytest.approx(why.value, rel=1e-13)
    assert [abs(p.value) for p in largest] == sorted((abs(p.value) for p in largest), reverse=True)
    n, o, i, j = (int(k) for k in largest[0].element.partition("[")[2].rstrip("]").split(","))
    assert (largest[0].sample, o) == (n, 1)
    assert largest[0].adjoint == pytest.approx(float(adjoint[n, o, i, j]), rel=1e-12)
    assert largest[0].local == float(window[n, i, j])


@needs_torch
def test_a_contribution_opens_down_to_the_loss() -> None:
    why = cr.explain_torch(*conv(), "0.weight[1,0,2,1]")
    calls, terms = [], why.terms
    while terms:
        term = max(terms, key=lambda t: abs(t.value))
        calls.append(term.call)
        (part,), _ = term.contributions.largest(1)
        terms = part.terms
        if terms:
            assert math.fsum(t.value for t in terms) == pytest.approx(part.adjoint, rel=1e-10)
    assert calls[:4] == ["conv2d", "batch_norm", "relu", "max_pool2d"]
    assert calls[-2:] == ["linear", "cross_entropy"]


@needs_torch
def test_every_kind_of_target() -> None:
    import torch

    model, loss_fn, x, y = conv()
    leaf = x.clone().requires_grad_()
    hidden = model[:3](leaf)
    loss = loss_fn(model[3:](hidden), y)
    of_input, of_hidden = torch.autograd.grad(loss, (leaf, hidden))
    found = cr.explain_torch(model, loss_fn, x, y, "input[0,1,2,3]")
    assert found.value == pytest.approx(float(of_input[0, 1, 2, 3]), rel=1e-13)
    found = cr.explain_torch(model, loss_fn, x, y, "2:output[2, 1, 0, -1]")
    assert found.target == "2:output[2,1,0,7]"
    assert found.value == pytest.approx(float(of_hidden[2, 1, 0, 7]), rel=1e-13)
    again = found.explain("1:batch_norm[2,1,0,7]")
    assert again.terms[0].call == "relu"
    assert found.explain("8.bias[0]").value == cr.explain_torch(*conv(), "8.bias[0]").value
    rows = found.explain("8")
    assert [row.name for row in rows.terms] == ["8.weight", "8.bias"]
    model.zero_grad()
    loss_fn(model(x), y).backward()
    norms = [float(p.grad.norm()) for p in model[8].parameters()]
    assert [row.norm for row in rows.terms] == pytest.approx(norms, rel=1e-12)
    assert rows.value == pytest.approx(math.hypot(*norms), rel=1e-12)
    largest = float(model[8].weight.grad.abs().max())
    assert abs(rows.terms[0].value) == pytest.approx(largest, rel=1e-12)
    for text in (str(rows), rows.html(), rows.latex(), json.dumps(rows.to_dict())):
        assert "8.weight" in text


@needs_torch
def test_several_inputs_have_their_names() -> None:
    import torch

    from .torch_models import Wrap, rand

    model = Wrap(lambda m, a, b: m.f(a) * b, f=torch.nn.Linear(2, 2)).double()
    a, b = rand(3, 2), rand(3, 2)

    def loss_fn(out: Any) -> Any:
        return out.sum()

    why = cr.explain_torch(model, loss_fn, (a, b), None, "input.1[2,0]")
    assert why.value == pytest.approx(float(model.f(a)[2, 0]))
    named = Wrap(None, f=torch.nn.Linear(2, 2)).double()
    named.forward = lambda left, right: {"loss": (named.f(left) * right).sum()}
    x = {"left": a, "right": b}
    assert cr.explain_torch(named, None, x, None, "input.right[2,0]").value == pytest.approx(
        float(named.f(a)[2, 0])
    )


@needs_torch
def test_a_weight_that_is_used_many_times_is_a_sum_over_its_calls() -> None:
    from .torch_models import CASES

    tied = cr.explain_torch(*CASES["embedding_tied"](), "e.weight[2,1]")
    assert [term.call for term in tied.terms] == ["embedding", "linear"]
    assert "embedding in e → e:output" in tied.text()
    recurrent = cr.explain_torch(*CASES["lstm_cell"](), "cell.weight_hh[1,2]")
    assert [term.call for term in recurrent.terms] == ["lstm_cell"] * 7  # h and c, h alone at last
    assert "is read by 7 calls" in recurrent.text()
    assert "no formula here" in recurrent.text()


@needs_torch
@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("d.weight[0,1]", "cut off", "d.weight is reached only through detach()"),
        ("c.weight[0,1]", "cut off", "only through linear under torch.no_grad() in c"),
        ("e.bias[1]", "not used", "e.bias is not used: no call of this run reads it"),
        ("a.weight[0,1]", "", ""),
    ],
)
def test_why_there_is_no_gradient(target: str, kind: str, words: str) -> None:
    from .torch_models import CASES

    why = cr.explain_torch(*CASES["detached_parts"](), target)
    assert why.kind == kind
    assert words in why.reason
    assert bool(why.reason) == bool(kind)
    assert (why.value == 0) == bool(kind)
    assert why.reason in why.text(width=1000)
    if kind:
        assert why.certificate.verdict == "no gradient"


@needs_torch
def test_more_reasons() -> None:
    import torch
    from torch import nn

    from .torch_models import Wrap

    def run(m: Any, x: Any) -> Any:
        m.unread(x).sum()
        rounded = m.rounded(x).argmax(1).double()
        shifted = m.norm(m.before(x))
        dead = torch.relu(m.dead(x) - 100)
        return shifted.square() * m.frozen(x) + rounded[:, None] + dead + m.nought(x[:, :3] * 0)

    names = ("unread", "rounded", "before", "dead", "frozen", "nought")
    torch.manual_seed(0)
    model = Wrap(run, norm=nn.BatchNorm1d(3), **{n: nn.Linear(3, 3) for n in names}).double()
    model.frozen.weight.requires_grad_(False)
    x, y = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)

    def why(target: str) -> Any:
        return cr.explain_torch(model, nn.MSELoss(), x, y, target)

    assert why("unread.bias[0]").kind == "not on the way"
    assert why("rounded.bias[0]").kind == "cut off"
    assert "argmax, which has no derivative" in why("rounded.bias[0]").reason
    before = why("before.bias[1]")
    assert before.kind == "cancels"
    assert "batch_norm in norm subtracts the mean" in before.reason
    dead = why("dead.weight[1,2]")
    assert (dead.kind, dead.value) == ("zero", 0)
    assert "relu is flat at its input (8 elements)" in dead.reason
    assert "linear in nought multiplies it by 0" in why("nought.weight[1,2]").reason
    frozen = why("frozen.weight[1,2]")
    assert (frozen.kind, frozen.certificate.verdict) == ("frozen", "pass")
    assert not model.frozen.weight.requires_grad
    model.frozen.weight.requires_grad_(True)
    assert frozen.value == why("frozen.weight[1,2]").value != 0


@needs_torch
def test_a_kink_is_told() -> None:
    import torch

    from .torch_models import Wrap

    model = Wrap(lambda m, x: torch.relu(m.a(x)), a=torch.nn.Linear(2, 1)).double()
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor([[1.0, -1.0]]))
        model.a.bias.zero_()
    x = torch.ones(1, 2, dtype=torch.float64)  # z = 0
    why = cr.explain_torch(model, lambda out: out.sum(), x, None, "a.weight[0,1]")
    assert (why.value, why.certificate.verdict) == (0, "kink")


# --- custom autograd Functions --------------------------------------------------------------------


def wrong(fault: str) -> tuple[Any, Any, Any, Any]:
    """A model with a matrix product whose backward has a planted fault."""
    import torch

    from .torch_models import Wrap

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            ctx.save_for_backward(x, w)
            return 3 * (x @ w) / (4 if fault == "sum for mean" else 1)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, w = ctx.saved_tensors
            scale = {"factor": 1, "sign": -3, "zero": 0}.get(fault, 3)
            of_w = scale * (x.T @ grad)
            if fault == "transposed":
                of_w = of_w.T
            return 3 * (grad @ w.T) / (4 if fault == "sum for mean" else 1), of_w

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Any) -> Any:
            return Planted.apply(x, self.w * 1)

    torch.manual_seed(0)
    model = Wrap(lambda m, x: m.inner(m.a(x)), a=torch.nn.Linear(3, 4), inner=Holder()).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    return model, lambda out: out.square().mean(), x, None


@needs_torch
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("factor", "a forgotten factor: its result is 0.3333 times the derivative"),
        ("sign", "a forgotten minus sign"),
        ("zero", "a backward that returns 0, or None"),
        ("transposed", "a transposed matrix"),
        ("sum for mean", "a sum for a mean over 4 (a forgotten factor 1/4)"),
    ],
)
def test_a_wrong_backward_is_found_and_named(fault: str, words: str) -> None:
    certificate = cr.explain_torch(*wrong(fault), "inner.w[1,2]").certificate
    assert certificate.verdict == "fail"
    (note,) = certificate.notes
    assert note.startswith("Planted.backward in inner is wrong: at element [")
    assert note.endswith(words)
    assert "of its input 1 it returns" in note


@needs_torch
def test_a_right_backward_passes() -> None:
    assert cr.explain_torch(*wrong(""), "inner.w[1,2]").certificate.verdict == "pass"
    assert cr.explain_torch(*wrong("factor"), "a.bias[1]").certificate.verdict == "pass"


# --- wrappers and wrong arguments -----------------------------------------------------------------


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_wrapped_models_are_unwrapped() -> None:
    import torch

    model, loss_fn, x, y = conv()
    plain = cr.explain_torch(model, loss_fn, x, y, "8.bias[1]").value
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        assert cr.explain_torch(wrapped, loss_fn, x, y, "8.bias[1]").value == plain
    with pytest.raises(TypeError, match="runs outside of Python; expected the module that it was"):
        cr.explain_torch(torch.jit.trace(model, x), loss_fn, x, y, "8.bias[1]")


@needs_torch
def test_a_model_of_a_process_group_is_unwrapped(tmp_path: Path) -> None:
    import torch

    group = torch.distributed
    group.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        model, loss_fn, x, y = conv()
        plain = cr.explain_torch(model, loss_fn, x, y, "8.bias[1]").value
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        loss_fn(wrapped(x), y).backward()
        before = [p.grad.clone() for p in wrapped.parameters()]
        assert cr.explain_torch(wrapped, loss_fn, x, y, "8.bias[1]").value == plain
        now = [p.grad for p in wrapped.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
        loss_fn(wrapped(x), y).backward()  # its own hooks still answer
    finally:
        group.destroy_process_group()


@needs_torch
@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (3, TypeError, "target is 3; expected a text such as"),
        ("a[b]c", ValueError, "expected a text such as"),
        ("0.weight[a]", ValueError, "expected whole numbers between the brackets"),
        ("0.wieght[0]", ValueError, r"there is no '0.wieght'. Did you mean 0.weight"),
        ("9:output[0]", ValueError, r"there is no '9'. Did you mean"),
        ("8:softmax[0]", ValueError, "this run of 8 made 8:linear or 8:output"),
        ("0.weight", ValueError, r"0.weight has shape \(4, 2, 3, 3\); expected the index of an"),
        ("8.bias[3]", ValueError, r"8.bias\[3\] does not exist: 8.bias has shape \(3,\)"),
        ("8.bias[0,0]", ValueError, r"such as 8.bias\[1\]"),
        ("8[0]", ValueError, r"8 is a module; expected 8 alone, or 8.weight\[...\]"),
        ("1.running_mean[0]", ValueError, "1.running_mean is a buffer"),
        ("input[0]", ValueError, r"input has shape \(3, 2, 8, 8\)"),
    ],
)
def test_wrong_targets(target: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cr.explain_torch(*conv(), target)


@needs_torch
def test_wrong_models_and_losses() -> None:
    import torch

    model, loss_fn, x, y = conv()

    def explain(m: Any = model, f: Any = loss_fn, X: Any = x, t: str = "8.bias[1]") -> Any:
        return cr.explain_torch(m, f, X, y, t)

    for error, words, call in [
        (TypeError, "model is a int; expected a torch.nn.Module", lambda: explain(m=3)),
        (TypeError, "loss_fn is a str; expected a function or None", lambda: explain(f="mse")),
        (TypeError, "x is a list; expected a tensor", lambda: explain(X=[1.0])),
        (TypeError, "loss_fn returned float", lambda: explain(f=lambda out, y: 1.0)),
        (ValueError, r"returned a tensor of shape \(3, 3\)", lambda: explain(f=lambda o, y: o)),
        (ValueError, r"the loss has no gradient.* cuts it off is detach\(\)\. Look",
         lambda: explain(f=lambda o, y: o.detach().sum())),
        (ValueError, r"cuts it off is argmax, which has no derivative\.",
         lambda: explain(f=lambda o, y: (o.argmax(1).float() - y.float()).square().mean())),
        (ValueError, "unknown notation", lambda: cr.explain_torch(
            model, loss_fn, x, y, "8.bias[1]", notation="mine")),
    ]:  # fmt: skip
        with pytest.raises(error, match=words):
            call()
    ids = {"input": torch.ones(2, 3, dtype=torch.long)}["input"]
    embedding = torch.nn.Embedding(5, 2)
    with pytest.raises(ValueError, match="input holds int64, which has no derivative"):
        cr.explain_torch(embedding, lambda out: out.sum(), ids, None, "input[0,1]")


@needs_torch
def test_notation_and_repr() -> None:
    why = cr.explain_torch(*conv(), "8.bias[1]", notation="L-h")
    assert why.text().startswith("∂L/∂8.bias[1] = −0.0185")
    assert why.in_notation("default").text().startswith("∂C/∂8.bias[1]")
    assert repr(why).startswith("TorchExplanation(8.bias[1], value=-0.0185")
    assert "<math" in why._repr_html_()


@needs_torch
@pytest.mark.parametrize("documented", [cr.explain_torch, cr.from_torch, cr.Network.to_torch])
def test_the_examples_of_the_docstrings(documented: Any) -> None:
    """They are skipped where they stand, as PyTorch is optional."""
    text = documented.__doc__.replace("  # doctest: +SKIP", "")
    example = doctest.DocTestParser().get_doctest(text, {}, documented.__name__, None, None)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)
    assert len(example.examples) > 2

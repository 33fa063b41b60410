"""The table of formulas: each entry against the columns that PyTorch's forward mode gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .cases import NAMES

pytestmark = pytest.mark.needs("torch")


def disagreements(run: Any, covered: Counter[str], most: int = 5) -> list[str]:
    """Compare the formula of every pair of elements with forward mode, for some of each value."""
    import torch

    from chainrule.foreign.torch import formulas
    from chainrule.foreign.torch.columns import columns, dense

    wrong = []
    for value in run.values:
        count = value.data.numel()
        for call in value.users:
            if formulas.find(call) is None or not count:
                continue
            for flat in {0, count // 2, count - 1}:
                at = torch.unravel_index(torch.tensor(flat), value.data.shape)
                index = tuple(int(i) for i in at) if value.data.dim() else ()
                # the row of padding stands still in reverse mode alone
                way = columns if call.name == "embedding" else dense
                for column in way(call, value, index):
                    whole = torch.zeros(column.out.data.numel(), dtype=torch.float64)
                    whole[column.at] = column.local
                    places = {0, len(whole) // 3, len(whole) - 1, *column.at[:most].tolist()}
                    for place in places:
                        o = torch.unravel_index(torch.tensor(place), column.out.data.shape)
                        where = tuple(int(i) for i in o) if column.out.data.dim() else ()
                        found = formulas.local(call, value, index, column.out, where)
                        covered[call.name] += found is not None
                        covered[f"not {call.name}"] += found is None
                        if found is None:
                            continue
                        right = float(whole[place])
                        allowed = 1e-7 if call.name == "hardsigmoid" else 1e-11  # PyTorch's 1/6
                        size = abs(right) + float(whole.abs().max()) * 1e-3 + 1e-12
                        if not abs(found.value - right) <= allowed * size:
                            wrong.append(f"{call.name} {found} {found.value} {right}")
                        found.sides()
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_the_entries_of_the_small_models(name: str) -> None:
    from chainrule.foreign.torch.run import Run

    from .torch_models import CASES

    covered: Counter[str] = Counter()
    assert disagreements(Run(*CASES[name]()), covered) == []
    assert any(count for key, count in covered.items() if not key.startswith("not "))


def unary() -> dict[str, Callable[..., Any]]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    plain = (
        "sigmoid tanh exp expm1 log log1p log2 log10 sqrt rsqrt reciprocal square abs neg sin cos "
        "erf atan sinh cosh sign floor round"
    )
    of_nn = (
        "relu silu softsign logsigmoid tanhshrink relu6 hardsigmoid hardswish selu mish elu celu "
        "gelu softplus leaky_relu hardtanh"
    )
    calls: dict[str, Callable[..., Any]] = {n: getattr(torch, n) for n in plain.split()}
    calls |= {n: getattr(F, n) for n in of_nn.split()}
    calls |= {
        "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
        "softplus steep": lambda x: F.softplus(x, 3.0, 5.0),
        "elu 2": lambda x: F.elu(x, 2.0),
        "leaky 0.3": lambda x: F.leaky_relu(x, negative_slope=0.3),
        "clamp": lambda x: x.clamp(0.6, 1.5),
        "clamp below": lambda x: torch.clamp(x, min=1.0),
        "hardtanh 2": lambda x: F.hardtanh(x, -2.0, 2.0),
        "pow 3": lambda x: x**3,
        "2 pow": lambda x: 2.0**x,
        "1 - x": lambda x: 1 - x,
        "3 / x": lambda x: 3 / x,
        "x - 3": lambda x: x.sub(3, alpha=2),
        "minus": lambda x: -x,
        "prelu": lambda x: F.prelu(x, x.detach().mean().reshape(1)),
    }
    return calls


def shaped(run: Callable[..., Any], *inputs: Any) -> Any:
    """A recorded run of a function whose result is weighted, so that each element counts."""
    import torch

    from chainrule.foreign.torch.run import Run

    from .torch_models import Wrap

    def loss_fn(out: Any) -> Any:
        weights = torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64).view(out.shape)
        return (out * weights).sum()

    model = Wrap(lambda m, *x: run(*x))
    return Run(model, loss_fn, inputs, None, trace_input=True)


@settings(max_examples=30)
@given(st.data())
def test_calls_element_by_element(data: st.DataObject) -> None:
    import torch

    calls = unary()
    name = data.draw(st.sampled_from(sorted(calls)))
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    x = torch.rand(shape, dtype=torch.float64) * 2 + 0.05  # where log and sqrt exist
    if name.partition(" ")[0] in (
        "relu",
        "relu6",
        "hardswish",
        "hardsigmoid",
        "elu",
        "selu",
        "mish",
    ):
        x = x * 4 - 4
    covered: Counter[str] = Counter()
    assert disagreements(shaped(calls[name], x), covered) == []
    assert not [k for k in covered if k.startswith("not ") and covered[k]], covered


@settings(max_examples=30)
@given(st.data())
def test_calls_of_two_arguments(data: st.DataObject) -> None:
    import torch

    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    drop = data.draw(st.integers(0, len(shape)))
    other = [1 if data.draw(st.booleans()) else size for size in shape[drop:]]
    torch.manual_seed(data.draw(st.integers(0, 99)))
    x = torch.rand(shape, dtype=torch.float64) + 0.5
    y = torch.rand(other, dtype=torch.float64) + 0.7
    if data.draw(st.booleans()):
        x, y = y, x
    call = data.draw(st.sampled_from([
        torch.add, torch.sub, torch.mul, torch.div, torch.pow, torch.maximum, torch.minimum,
        lambda a, b: torch.add(a, b, alpha=3), lambda a, b: torch.sub(a, b, alpha=2),
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
        lambda a, b: torch.rsub(a, b), lambda a, b: torch.lerp(a, b, 0.3),
        lambda a, b: torch.where(a > 1, a, b),
    ]))  # fmt: skip
    covered: Counter[str] = Counter()
    assert disagreements(shaped(call, x, y), covered) == []
    assert not [k for k in covered if k.startswith("not ") and covered[k]], covered


@settings(max_examples=20)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    import torch
    from torch.nn import functional as F  # noqa: N812

    from chainrule.foreign.torch.columns import columns, dense

    dims = data.draw(st.integers(1, 2))
    groups, per_in, per_out = (data.draw(st.integers(1, 2)) for _ in range(3))
    size = [data.draw(st.integers(3, 5)) for _ in range(dims)]
    kernel = [data.draw(st.integers(1, 3)) for _ in range(dims)]
    options = {
        "stride": data.draw(st.integers(1, 2)), "padding": data.draw(st.integers(0, 2)),
        "dilation": data.draw(st.sampled_from([1, 1, 2])), "groups": groups,
    }  # fmt: skip
    if min(size) + 2 * options["padding"] < (max(kernel) - 1) * options["dilation"] + 1:
        return
    torch.manual_seed(0)
    x = torch.randn(2, groups * per_in, *size, dtype=torch.float64)
    w = torch.randn(groups * per_out, per_in, *kernel, dtype=torch.float64)
    b = torch.randn(groups * per_out, dtype=torch.float64)
    call = (F.conv1d, F.conv2d)[dims - 1]
    run = shaped(lambda x, w, b: call(x, w, b, **options), x, w, b)
    covered: Counter[str] = Counter()
    assert disagreements(run, covered, most=12) == []
    assert not covered[f"not conv{dims}d"]
    (recorded,) = (c for c in run.calls if c.name.startswith("conv"))
    for value in recorded.reads():  # the closed form against forward mode, every element
        for flat in range(value.data.numel()):
            index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), value.data.shape))
            (quick,), (slow,) = columns(recorded, value, index), dense(recorded, value, index)
            assert (quick.way, slow.way) == ("closed form", "forward mode")
            whole = torch.zeros(2, recorded.outs[0].data.numel(), dtype=torch.float64)
            whole[0, quick.at], whole[1, slow.at] = quick.local, slow.local
            torch.testing.assert_close(whole[0], whole[1], rtol=1e-12, atol=1e-14)


def kinds() -> dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]]:
    """Calls with the shapes of their arguments."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    t = torch.tensor
    return {
        "matmul 2d": (torch.matmul, [(2, 3), (3, 4)]),
        "matmul batch": (torch.matmul, [(5, 1, 2, 3), (2, 3, 4)]),
        "matmul vector": (torch.matmul, [(2, 2, 3), (3,)]),
        "vector matmul": (torch.matmul, [(3,), (3, 2)]),
        "bmm": (torch.bmm, [(2, 2, 3), (2, 3, 2)]),
        "addmm": (lambda b, x, y: torch.addmm(b, x, y, beta=2, alpha=3), [(4,), (2, 3), (3, 4)]),
        "einsum": (lambda x, y: torch.einsum("bik,bjk->bij", x, y), [(2, 2, 3), (2, 4, 3)]),
        "linear 3d": (F.linear, [(2, 3, 4), (2, 4), (2,)]),
        "addcmul": (lambda a, b, c: torch.addcmul(a, b, c, value=2), [(2, 3), (3,), (2, 1)]),
        "prelu": (F.prelu, [(2, 3, 2), (3,)]),
        "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
                       [(4, 2, 3), (2,), (2,)]),
        "batch_norm eval": (
            lambda x, w, b: F.batch_norm(x, t([0.1, 0.2]).double(), t([1.1, 0.9]).double(), w, b),
            [(4, 2, 3), (2,), (2,)],
        ),
        "instance_norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
                          [(2, 2, 4), (2,), (2,)]),
        "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
        "layer_norm": (lambda x, w, b: F.layer_norm(x, (2, 3), w, b), [(2, 2, 3), (2, 3), (2, 3)]),
        "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [(2, 2, 3), (3,)]),
        "softmax": (lambda x: x.softmax(1), [(2, 3, 2)]),
        "log_softmax": (lambda x: F.log_softmax(x, dim=-1), [(2, 3)]),
        "normalize": (lambda x: F.normalize(x, dim=1), [(2, 3)]),
        "mse": (lambda x, y: F.mse_loss(x, y), [(2, 3), (2, 3)]),
        "mse none": (lambda x, y: F.mse_loss(x, y, reduction="none"), [(2, 3), (2, 3)]),
        "l1": (lambda x, y: F.l1_loss(x, y, reduction="sum"), [(2, 3), (2, 3)]),
        "smooth_l1": (lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), beta=0.5), [(2, 3)]),
        "huber": (lambda x: F.huber_loss(x, torch.zeros_like(x), delta=0.5), [(2, 3)]),
        "bce": (lambda x: F.binary_cross_entropy(x.sigmoid(), torch.full_like(x, 0.3)), [(2, 3)]),
        "bce logits": (
            lambda x: F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.3)), [(2, 3)]
        ),
        "kl": (lambda x: F.kl_div(x, torch.full_like(x, 0.3), reduction="sum"), [(2, 3)]),
        "cross_entropy": (lambda x: F.cross_entropy(x, t([0, 2])), [(2, 3)]),
        "cross_entropy ignored": (
            lambda x: F.cross_entropy(x, t([0, -100, 1]), label_smoothing=0.2), [(3, 3)]
        ),
        "cross_entropy of places": (
            lambda x: F.cross_entropy(x, t([[0, 2], [1, 1]]), reduction="sum"), [(2, 3, 2)]
        ),
        "cross_entropy of shares": (
            lambda x: F.cross_entropy(x, torch.full_like(x, 1 / 3)), [(2, 3)]
        ),
        "nll": (lambda x: F.nll_loss(x, t([0, 2])), [(2, 3)]),
        "avg_pool2d": (lambda x: F.avg_pool2d(x, 2, 1, padding=1), [(1, 2, 3, 4)]),
        "avg_pool1d": (lambda x: F.avg_pool1d(x, 2, count_include_pad=False, padding=1),
                       [(1, 2, 6)]),
        "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(1, 2, 5, 4)]),
        "max_pool2d": (lambda x: F.max_pool2d(x, 2, stride=1, padding=1), [(1, 2, 3, 4)]),
        "dropout": (lambda x: F.dropout(x, 0.4), [(3, 4)]),
        "dropout2d": (lambda x: F.dropout2d(x, 0.4), [(2, 3, 2, 2)]),
        "sum": (lambda x: x.sum((0, 2)), [(2, 3, 2)]),
        "mean": (lambda x: x.mean(1, keepdim=True), [(2, 3, 2)]),
        "mean of all": (lambda x: x.mean(), [(2, 3)]),
        "var": (lambda x: x.var(1), [(2, 3)]),
        "var biased": (lambda x: x.var(-1, unbiased=False), [(2, 3)]),
        "std": (lambda x: x.std(0), [(4, 3)]),
        "prod": (lambda x: x.prod(1), [(2, 3)]),
        "logsumexp": (lambda x: x.logsumexp(1), [(2, 3)]),
        "amax": (lambda x: x.amax(1), [(2, 3)]),
        "max": (lambda x: x.max(1).values, [(2, 3)]),
        "norm": (lambda x: x.norm(dim=1), [(2, 3)]),
        "vector_norm": (lambda x: torch.linalg.vector_norm(x, dim=1), [(2, 3)]),
        "cumsum": (lambda x: x.cumsum(1), [(2, 3)]),
        "embedding": (lambda w: F.embedding(t([[1, 0], [1, 2]]), w), [(3, 2)]),
        "attention": (F.scaled_dot_product_attention, [(2, 3, 2), (2, 4, 2), (2, 4, 3)]),
        "attention causal": (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            [(2, 3, 2), (2, 3, 2), (2, 3, 2)],
        ),
        "attention masked": (
            lambda q, k, v: F.scaled_dot_product_attention(
                q, k, v, attn_mask=t([[True, False, True]] * 3), scale=0.7),
            [(2, 3, 2), (2, 3, 2), (2, 3, 2)],
        ),
        "reshape": (lambda x: x.reshape(3, -1).t().flatten(), [(2, 3)]),
        "index": (lambda x: x[:, [2, 0, 2]], [(2, 3)]),
        "cat": (lambda x, y: torch.cat([x, y, x * 1], 1), [(2, 3), (2, 1)]),
        "stack": (lambda x, y: torch.stack((x, y), 1), [(2, 3), (2, 3)]),
        "chunk": (lambda x: x.chunk(2, 1)[1] * 2, [(2, 4)]),
        "pad": (lambda x: F.pad(x, (1, 2), value=3.0), [(2, 3)]),
        "roll": (lambda x: x.roll(1, 1), [(2, 3)]),
        "expand": (lambda x: x.expand(3, 2, 2), [(2, 1)]),
        "gather": (lambda x: x.gather(1, t([[2, 0], [1, 1]])), [(2, 3)]),
        "masked_fill": (lambda x: x.masked_fill(x > 0, 1.0), [(2, 3)]),
        "written": (lambda x, y: (h := x * 1).__setitem__((slice(None), 1), y) or h,
                    [(2, 3), (2,)]),
    }  # fmt: skip


@settings(max_examples=3)
@given(st.integers(0, 9999))
def test_all_other_calls(seed: int) -> None:
    """Every entry on other numbers, in the shapes that its arguments need."""
    import torch

    for name, (call, shapes) in kinds().items():
        torch.manual_seed(seed)
        inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        covered: Counter[str] = Counter()
        assert disagreements(shaped(call, *inputs), covered, most=12) == [], name
        missing = [k for k in covered if k.startswith("not ") and covered[k]]
        assert not missing, (name, covered)


def test_every_entry_says_what_it_is_in_one_equation() -> None:
    from chainrule.foreign.torch.formulas import ENTRIES, TABLE

    assert len(TABLE) == sum(len(entry.calls) for entry in ENTRIES), "a call has two entries"
    for entry in ENTRIES:
        assert " = " in entry.says, entry.calls
        assert entry.depends, entry.calls

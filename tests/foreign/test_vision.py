"""Models that others wrote: those of torchvision and timm, held to autograd."""

from __future__ import annotations

from typing import Any

import pytest

import chainrule as cr

from .vision import TIMM, TORCHVISION, build

pytestmark = [
    pytest.mark.needs("torch", "vision"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
NAMES = (*TORCHVISION, *TIMM)


def weight_of(model: Any) -> tuple[str, Any]:
    """The largest element of the gradient of a weight in the middle of a model."""
    import torch

    weights = [(n, p) for n, p in model.named_parameters() if p.dim() > 1 and p.grad is not None]
    name, p = weights[len(weights) // 2]
    at = torch.unravel_index(p.grad.abs().argmax(), p.shape)
    return f"{name}[{','.join(str(int(i)) for i in at)}]", p.grad[at]


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_and_the_identity_on_values(name: str) -> None:
    import torch

    from chainrule.foreign.torch.run import Run

    from .identity import errors

    model, x, y = build(name)
    loss_fn = torch.nn.CrossEntropyLoss()
    state = torch.get_rng_state()
    loss_fn(model(x), y).backward()
    target, expected = weight_of(model)
    model.zero_grad()
    torch.set_rng_state(state)
    why = cr.explain_torch(model, loss_fn, x, y, target)
    assert why.value == pytest.approx(float(expected), rel=1e-9)
    assert sum(term.value for term in why.terms) == pytest.approx(why.value, rel=1e-9)
    run = Run(model, loss_fn, x, y)
    assert not run.tape.gaps
    found = list(errors(run, step=max(len(run.values) // 25, 1)))
    assert len(found) > 15
    assert [each for each in found if each[0] > 1e-9] == []


@pytest.mark.parametrize("name", NAMES)
def test_diagnose_raises_nothing_untrue(name: str) -> None:
    import torch

    model, x, y = build(name)
    report = cr.diagnose(
        model.float(), torch.nn.CrossEntropyLoss(), x.float(), y,
        torch.optim.AdamW(model.parameters(), 1e-3),
    )  # fmt: skip
    assert report.ok, report.text()

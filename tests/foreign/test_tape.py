"""The tape of PyTorch's calls: complete, exact, and without a trace in the model."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest

from .cases import NAMES

pytestmark = pytest.mark.needs("torch")


def test_the_names_are_those_of_the_models() -> None:
    from .torch_models import CASES

    assert tuple(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_contributions_sum_to_autograds_gradient(name: str) -> None:
    from chainrule.foreign.torch.run import Run

    from .identity import errors
    from .torch_models import CASES

    run = Run(*CASES[name]())
    assert not run.tape.gaps
    allowed = 1e-9 if name == "custom_function" else 5e-15  # that one is differenced
    found = list(errors(run))
    assert len(found) > 10
    assert [each for each in found if each[0] > allowed] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_gradients_are_those_of_a_run_without_a_tape(name: str) -> None:
    """To the bit: the tape changes no kernel and no order of the backward pass."""
    import torch

    from chainrule.foreign.torch.run import Run

    from .torch_models import CASES

    model, loss_fn, x, y = CASES[name]()
    state = torch.get_rng_state()
    run = Run(model, loss_fn, x, y)
    torch.set_rng_state(state)
    loss = loss_fn(model(x), y)
    loss.backward()
    assert run.loss == float(loss)
    for key, parameter in model.named_parameters():
        value = run.named[key]
        if parameter.grad is None:
            assert value is None or value.grad is None, key
        else:
            np.testing.assert_allclose(value.grad, parameter.grad, rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_in_float64_gives_the_loss_again(name: str) -> None:
    from chainrule.foreign.torch.replay import replay
    from chainrule.foreign.torch.run import Run

    from .torch_models import CASES

    run = Run(*CASES[name]())
    value = next(v for v in run.named.values() if v is not None and v.grad is not None)
    assert replay(run, value, (0,) * value.data.dim(), 0.0) == pytest.approx(run.loss, rel=1e-13)


def state(model: Any) -> dict[str, Any]:
    """All that a run must leave alone."""
    import torch

    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "grads": {k: p.grad for k, p in model.named_parameters()},
        "flags": {k: p.requires_grad for k, p in model.named_parameters()},
        "modes": [m.training for m in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        "attributes": [set(vars(m)) for m in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "apply": torch.autograd.Function.apply,
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    import torch

    for key, t in before["tensors"].items():
        assert torch.equal(t, after["tensors"][key]), key
    assert torch.equal(before["torch"], after["torch"])
    for key, grad in before["grads"].items():
        assert after["grads"][key] is grad
    for part in ("flags", "modes", "hooks", "attributes", "numpy", "python", "apply"):
        assert before[part] == after[part], part


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_left_as_it_was(name: str) -> None:
    from chainrule.foreign.torch.run import Run

    from .torch_models import CASES

    model, loss_fn, x, y = CASES[name]()
    before, given = state(model), copy.deepcopy((x, y))
    Run(model, loss_fn, x, y)
    assert_same(before, state(model))
    for now, then in zip((x, y), given, strict=True):
        assert bool((now == then).all())
        assert not now.requires_grad


def test_a_model_is_left_as_it_was_by_an_error_too() -> None:
    """In forward, in the loss and in backward, after buffers, attributes and flags changed."""
    import torch
    from torch import nn

    from chainrule.foreign.torch.run import Run

    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            raise RuntimeError("in backward")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.a = nn.BatchNorm1d(3), nn.Linear(3, 2)
            self.steps, self.where = 0, ""

        def forward(self, x: Any) -> Any:
            self.steps += 1
            self.seen = x
            self.a.bias.requires_grad_(False)
            random.random()
            with torch.no_grad():
                self.a.weight.mul_(2)
            out = self.a(self.norm(x)) + torch.randn(2)
            if self.where == "forward":
                raise RuntimeError("in forward")
            return Breaks.apply(out) if self.where == "backward" else out

    def loss_fn(out: Any) -> Any:
        if model.where == "loss":
            raise RuntimeError("in loss")
        return out.square().mean()

    model = Model()
    for where in ("", "forward", "loss", "backward"):
        model.where = where
        before = state(model)
        if where:
            with pytest.raises(RuntimeError, match=f"in {where}"):
                Run(model, loss_fn, torch.ones(4, 3), None, frozen=("norm.weight",))
        else:
            Run(model, loss_fn, torch.ones(4, 3), None)
        assert_same(before, state(model))
        assert model.steps == 0
        assert not hasattr(model, "seen")


def test_hooks_run_once() -> None:
    import torch
    from torch import nn

    import chainrule as cr

    seen: list[str] = []
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].register_forward_hook(lambda *given: seen.append("forward"))
    model[2].register_forward_pre_hook(lambda *given: seen.append("before"))
    model[2].register_full_backward_hook(lambda *given: seen.append("backward"))
    model[0].weight.register_hook(lambda grad: seen.append("parameter"))
    x = torch.randn(5, 3)
    why = cr.explain_torch(model, nn.MSELoss(), x, torch.zeros(5, 2), "0.bias[1]")
    assert why.certificate.text() in why.text()  # further runs are replays, without hooks
    assert sorted(seen) == ["backward", "before", "forward", "parameter"]


def test_numbers_stay_when_training_goes_on() -> None:
    import torch
    from torch import nn

    import chainrule as cr

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(8, 1))
    x, y = torch.randn(3, 1, 5), torch.randn(3, 1)
    why = cr.explain_torch(model, nn.MSELoss(), x, y, "0.weight[1,0,1]")
    expected = cr.explain_torch(model, nn.MSELoss(), x, y, "0.weight[1,0,1]").text(depth=4)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
        x.zero_()
        model[1].running_mean.fill_(7)
    assert why.text(depth=4) == expected


def test_autocast_is_that_of_the_run() -> None:
    import torch
    from torch import nn

    import chainrule as cr

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    x, y = torch.randn(3, 1, 5), torch.tensor([0, 1, 2])

    def loss_fn(out: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(out.float(), y)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss_fn(model(x), y).backward()
        why = cr.explain_torch(model, loss_fn, x, y, "3.weight[1,2]")
    assert why.value == float(model[3].weight.grad[1, 2])
    assert sum(t.value for t in why.terms) == pytest.approx(why.value, rel=0.02)
    assert why.certificate.verdict in ("pass", "not resolved")


def test_a_function_that_the_tape_cannot_see_is_named() -> None:
    """A tensor that comes from elsewhere: from a graph that was there before the run."""
    import torch
    from torch import nn

    import chainrule as cr

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)
            self.outside = [self.a.weight.sum()]  # made before the run

        def forward(self, x: Any) -> Any:
            return self.a(x) * self.outside[0]

    why = cr.explain_torch(
        Model(), lambda out: out.square().sum(), torch.ones(3, 2), None, "a.weight[0,1]"
    )
    assert why.certificate.verdict == "fail"
    assert "comes from SumBackward0, which was not recorded" in why.certificate.text()

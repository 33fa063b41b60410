"""The tape on public architectures: the identity on every value."""

from __future__ import annotations

import pytest

from .architectures import NAMES

pytestmark = [pytest.mark.needs("torch", "transformers"), pytest.mark.slow]

# Their code casts to float32 on the way (norms, logits), and small groups make batch norm stiff.
ALLOWED = {"gpt2": 1e-6, "llama": 1e-6, "t5": 1e-6, "mamba": 1e-6, "resnet": 1e-10}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_contributions_sum_to_autograds_gradient(name: str) -> None:
    from chainrule.foreign.torch.run import Run

    from .architectures import build
    from .identity import errors

    model, x = build(name)
    run = Run(model, None, x, None)
    assert not run.tape.gaps
    found = list(errors(run))
    assert len(found) > 50
    assert [each for each in found if each[0] > ALLOWED.get(name, 1e-13)] == []

"""Learning-rate schedules: against values worked out by hand, and against PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.equations.optimizers import Adam, GradientDescent
from chainrule.equations.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)
from chainrule.network import Network


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Constant(0.1), {0: 0.1, 7.3: 0.1}),
        (StepDecay(0.8, every=2, factor=0.5), {0: 0.8, 1.99: 0.8, 2: 0.4, 3.9: 0.4, 4: 0.2}),
        (StepDecay(1, every=3), {2.5: 1, 3: 0.1, 6: 0.01}),
        (ExponentialDecay(0.8, 0.25), {0: 0.8, 0.5: 0.4, 1: 0.2, 1.5: 0.1}),
        (
            Cosine(1.0, epochs=6, final=0.2),
            {0: 1.0, 1: 0.6 + 0.2 * math.sqrt(3), 2: 0.8, 3: 0.6, 4: 0.4, 6: 0.2, 9: 0.2},
        ),
        (WarmUp(2, 0.5), {0: 0, 0.5: 0.125, 1: 0.25, 1.5: 0.375, 2: 0.5, 8: 0.5}),
        # what follows begins when the warm-up has ended
        (WarmUp(1.5, StepDecay(0.8, every=2, factor=0.5)), {0.75: 0.4, 3.4: 0.8, 3.5: 0.4}),
    ],
    ids=repr,
)
def test_by_hand(schedule: Schedule, rates: dict[float, float]) -> None:
    for epoch, rate in rates.items():
        assert schedule.rate(epoch) == pytest.approx(rate, rel=1e-14, abs=0)


def test_reduce_on_plateau_by_hand() -> None:
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2, min_delta=0.1, minimum=0.2)
    # the loss of each epoch, and η after it; 0.95 is not better than 1 by more than 0.1
    expected = [
        (1.0, 1.0), (0.95, 1.0), (0.92, 0.5), (0.5, 0.5), (0.6, 0.5), (math.nan, 0.25),
        (0.5, 0.25), (0.45, 0.2), (0.9, 0.2), (0.9, 0.2),
    ]  # fmt: skip
    losses: list[float] = []
    assert schedule.rate(0, losses) == 1.0
    for epoch, (loss, rate) in enumerate(expected, start=1):
        losses.append(loss)
        assert schedule.rate(epoch, losses) == rate


def test_the_plateau_after_a_warm_up_counts_its_own_epochs() -> None:
    schedule = WarmUp(2, ReduceOnPlateau(1.0, factor=0.5, patience=1))
    assert schedule.rate(3, [1.0, 2.0, 3.0]) == 1.0  # the first loss that counts is 3
    assert schedule.rate(4, [1.0, 2.0, 3.0, 3.0]) == 0.5


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.3),
        StepDecay(0.3, every=2),
        Cosine(0.3, epochs=4),
        WarmUp(1.5, 0.3),
        ReduceOnPlateau(0.3, patience=1),
    ],
    ids=repr,
)
def test_the_rates_of_an_epoch_are_those_of_its_steps(schedule: Schedule) -> None:
    losses = [1.0, 1.0, 1.0]
    want = [schedule.rate(position, losses) for position in (3, 16 / 5, 17 / 5, 18 / 5, 19 / 5)]
    assert schedule.rates(3, 5, losses).tolist() == want
    assert schedule.rates(3, 5, losses).dtype == np.float64


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("schedule", "name", "options"),
    [
        (StepDecay(0.5, every=3, factor=0.7), "StepLR", {"step_size": 3, "gamma": 0.7}),
        (ExponentialDecay(0.5, 0.9), "ExponentialLR", {"gamma": 0.9}),
        (Cosine(0.5, epochs=20, final=0.01), "CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}),
        (
            ReduceOnPlateau(0.5, factor=0.3, patience=2, min_delta=0.05, minimum=0.01),
            "ReduceLROnPlateau",
            # PyTorch reduces when more than `patience` epochs were no better
            {
                "factor": 0.3,
                "patience": 1,
                "threshold": 0.05,
                "threshold_mode": "abs",
                "min_lr": 0.01,
            },
        ),
    ],
    ids=repr,
)
def test_as_pytorch(schedule: Schedule, name: str, options: dict[str, Any]) -> None:
    import torch

    losses = np.random.default_rng(2).uniform(size=20).tolist()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    for epoch in range(1, 21):
        optimizer.step()
        theirs.step(losses[epoch - 1]) if name == "ReduceLROnPlateau" else theirs.step()
        want = optimizer.param_groups[0]["lr"]
        assert schedule.rate(epoch, losses[:epoch]) == pytest.approx(want, rel=1e-12)


NO_SCHEDULE = (
    "must be a number, or a schedule: an object with rate(epoch, losses), such as "
    "Cosine(0.01, epochs=20); got"
)


class Halving:
    """A schedule that derives from nothing."""

    def __init__(self, initial: float) -> None:
        self.initial = initial

    def rate(self, epoch: float, losses: Sequence[float]) -> Any:
        return self.initial / 2 ** int(epoch)


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_a_class_with_rate_is_a_schedule(engine: str, tmp_path: Path) -> None:
    X, y = np.ones((8, 2)), np.zeros((8, 1))

    def fit(schedule: Any, **options: Any) -> tuple[list[float], bytes]:
        net = Network([2, 3, 1], seed=0, engine=engine)
        options = {"epochs": 4, "batch_size": 3, "verbose": 0} | options
        history = net.fit(X, y, optimizer=GradientDescent(schedule), **options)
        return history.learning_rate, net.parameters.tobytes()

    assert fit(Halving(0.4)) == fit(StepDecay(0.4, every=1, factor=0.5))
    assert fit(Halving(0.4))[0] == [0.4, 0.2, 0.1, 0.05]
    warm = fit(WarmUp(1, Halving(0.4)))[0]
    assert warm == [0.0, 0.4, 0.2, 0.1]
    # a run that is resumed knows the schedule's settings
    fit(Halving(0.4), epochs=2, checkpoint=tmp_path)
    assert fit(Halving(0.4), checkpoint=tmp_path, resume=True) == fit(Halving(0.4))
    with pytest.raises(ValueError, match=r"Halving\(initial=0.4\) there, Halving\(initial=0.8\)"):
        fit(Halving(0.8), checkpoint=tmp_path, resume=True)


def test_a_rate_that_is_no_number() -> None:
    class Wrong(Halving):
        def __repr__(self) -> str:
            return "Wrong()"

        def rate(self, epoch: float, losses: Sequence[float]) -> Any:
            return self.initial

    net = Network([2, 1], seed=0)
    before = net.parameters.copy()
    for value in (None, "0.1", [0.1], np.array([0.1, 0.2])):
        with pytest.raises(
            TypeError, match=r"the schedule Wrong\(\) returned .*; expected a number"
        ):
            net.fit(np.ones((8, 2)), np.zeros(8), optimizer=Adam(Wrong(value)), verbose=0)
    assert (net.parameters == before).all()
    rate: Any = np.array(0.1)
    history = net.fit(
        np.ones((8, 2)), np.zeros(8), optimizer=Adam(Wrong(rate)), epochs=1, verbose=0
    )
    assert history.learning_rate == [0.1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(-1), ValueError, "initial must be above 0, got -1"),
        (lambda: StepDecay(0.1, every=0), ValueError, "every must be above 0, got 0"),
        (lambda: StepDecay(0.1, 1, factor="x"), TypeError, "factor must be a number, got 'x'"),
        (lambda: ExponentialDecay(0.1, math.inf), ValueError, "factor must be above 0, got inf"),
        (lambda: Cosine(0.1, epochs=-1), ValueError, "epochs must be above 0, got -1"),
        (
            lambda: Cosine(0.1, 5, final=0.2),
            ValueError,
            "final must be from 0 to initial = 0.1, got 0.2",
        ),
        (lambda: WarmUp(0, 0.1), ValueError, "epochs must be above 0, got 0"),
        (lambda: WarmUp(1, None), TypeError, f"then {NO_SCHEDULE} None"),
        (
            lambda: ReduceOnPlateau(0.1, factor=1),
            ValueError,
            "factor must be between 0 and 1, got 1",
        ),
        (
            lambda: ReduceOnPlateau(0.1, patience=2.5),
            TypeError,
            "patience must be an integer, got 2.5",
        ),
        (
            lambda: ReduceOnPlateau(0.1, patience=0),
            ValueError,
            "patience must be at least 1, got 0",
        ),
        (
            lambda: ReduceOnPlateau(0.1, min_delta=math.nan),
            ValueError,
            "min_delta must be 0 or more, got nan",
        ),
        (
            lambda: ReduceOnPlateau(0.1, minimum=-0.1),
            ValueError,
            "minimum must be 0 or more, got -0.1",
        ),
        (lambda: as_schedule([0.1]), TypeError, f"learning_rate {NO_SCHEDULE} [0.1]"),
        (lambda: as_schedule(True), TypeError, f"learning_rate {NO_SCHEDULE} True"),
        (
            lambda: Adam(Halving),
            TypeError,
            "learning_rate is the class Halving; expected an object of it, such as Halving()",
        ),
    ],
)
def test_bad_hyperparameters(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        make()
    assert str(raised.value) == message

"""Runs: every step of every engine, and whole runs by `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr

from .bounds import Bounds, bounds
from .cases import Built, build_network, flat
from .exact import Exact, Problem, solve
from .functions import Array, Real
from .local import Arithmetic
from .package import Epoch, Plan, Samples, State, called, epoch_order, sample_weights
from .record import Record
from .updates import Rule, Updated, clip, update

_STEPS = 6  # of a run that are followed
_REFUSES_WEIGHTS = ("1e-46", "1e-300", "1e50", "1e300")  # which an engine may refuse, with a word


@dataclass(frozen=True)
class Step:
    """One step by the oracle: what must come out, and within which bounds."""

    problem: Problem
    exact: Exact
    bounds: Bounds
    updated: Updated

    @property
    def comparable(self) -> bool:
        errors = (self.updated.theta_error, *self.updated.slot_errors.values())
        known = all(np.isfinite(error).all() for error in errors)
        return bool(self.bounds.resolved.all()) and known and not self.overflows

    @property
    def overflows(self) -> bool:
        return self.bounds.overflows or self.updated.overflows


def exact_step(
    built: Built, rows: Array, theta: Array, slots: dict[str, Array], eta: float, step: int
) -> Step:
    """Take the step numbered ``step``, from 0, from the parameters and slots as they stand."""
    case = built.case
    X, y, weights = built.numbers
    t = Arithmetic.of(case.dtype)
    p = built.problem(
        X[rows], y[rows], None if weights is None else weights[rows], dtype=case.dtype,
        theta=theta, dropout_step=step,
    )  # fmt: skip
    x = solve(p)
    b = bounds(p, x, t)
    g, e = clip(flat(case, x.dW, x.db), flat(case, b.dW, b.db), case.clip_norm, t)
    optimizer = built.optimizer()
    names = ("momentum", "nesterov", "decay", "beta1", "beta2", "epsilon", "weight_decay")
    values = {name: float(getattr(optimizer, name)) for name in names if hasattr(optimizer, name)}
    exact_slots = {name: slot.astype(Real) for name, slot in slots.items()}
    rule = Rule(case.optimizer, values)
    updated = update(rule, theta.astype(Real), exact_slots, g, e, eta, step + 1, t)
    return Step(p, x, b, updated)


@dataclass
class Run:
    """A run by `fit`: the state after each epoch, the history, and how it ended."""

    states: list[tuple[Array, dict[str, Array]]]
    history: Any
    error: Exception | None


def run_fit(built: Built, engine: str) -> Run:
    """Train as the case says, on the arrays as given."""
    case = built.case
    net = build_network(case, built.network, engine)
    states: list[tuple[Array, dict[str, Array]]] = []
    seen: list[Any] = []

    def note(run: Any) -> None:
        slots = {name: slot.copy() for name, slot in run.state.slots.items()}
        states.append((run.network.parameters.copy(), slots))
        seen[:] = [run.history]

    error: Exception | None = None
    history = None
    validation = (built.X, built.y) if built.weights is None else (built.X, built.y, built.weights)
    try:
        with called():
            history = net.fit(
                built.X, built.y, optimizer=built.optimizer(), epochs=case.epochs,
                batch_size=case.batch_size, shuffle=case.shuffle, sample_weight=built.weights,
                clip_norm=case.clip_norm, callbacks=[note], verbose=0, metrics=[],
                validation_data=validation if case.seed % 2 else None,
            )  # fmt: skip
    except (cr.NonFiniteError, ValueError) as caught:
        error, history = caught, getattr(caught, "history", seen[0] if seen else None)
    return Run(states, history, error)


def check_runs(record: Record, built: Built, engines: dict[str, Any]) -> None:
    """Follow a run step by step, with every engine from the same state, and hold `fit` to it."""
    case = built.case
    names = list(engines)
    leader = names[case.seed % len(names)] if case.seed % 4 == 0 else names[0]
    run = run_fit(built, leader)
    if not isinstance(run.error, ValueError):
        _Followed(record, built, engines, leader, run).follow()
    elif case.weights in _REFUSES_WEIGHTS and "weight" in str(run.error):
        record.counts["refused weights"] += 1
    else:
        record.fault("fit: refused", f"{leader}: {run.error}")


class _Followed:
    """A run of `fit`, and the same run in single steps.

    The parameters and slots after an epoch are those of `fit`; from there the leading engine goes
    on by itself, one batch at a time, and all engines take each of its steps beside it.
    """

    def __init__(
        self, record: Record, built: Built, engines: dict[str, Any], leader: str, run: Run
    ) -> None:
        case = built.case
        self.record, self.built, self.engines = record, built, engines
        self.leader, self.run = leader, run
        X, y, weights = built.numbers
        s = sample_weights(weights, case.n)
        self.samples = Samples(X.astype(case.dtype), y.astype(case.dtype), s)
        self.optimizer = built.optimizer()
        self.plan = Plan(self.optimizer, min(case.batch_size, case.n), case.clip_norm)
        self.theta = built.network.parameters.copy()
        self.slots: dict[str, Array] = self.optimizer.start(self.theta)
        self.number = 0  # of the step of the run

    def follow(self) -> None:
        """Follow all epochs, or as many as `_STEPS` allows."""
        case, run = self.built.case, self.run
        steps = -(-case.n // self.plan.batch_size)
        validated = case.seed % 2
        for epoch in range(case.epochs):
            if self.number + steps > _STEPS:
                self.record.counts["runs cut short"] += 1
                return
            losses = run.history["val_loss" if validated else "loss"][:epoch] if epoch else []
            rates = self.optimizer.schedule.rates(epoch, steps, losses)
            followed = self.epoch(epoch, rates)
            if not followed:
                return
            if len(run.states) <= epoch:
                if all(step.comparable for step in followed):
                    place = f"in epoch {epoch + 1}: {run.error}"
                    self.record.fault("fit: stopped", f"{self.leader} stopped {place}")
                return
            self.theta, self.slots = run.states[epoch]
            if validated:
                _check_validation(self.record, self.built, self.leader, run, epoch, self.theta)

    def epoch(self, epoch: int, rates: Array) -> list[Step]:
        """Take an epoch's steps, and compare its end; nothing where it stopped."""
        case, record, n = self.built.case, self.record, self.built.case.n
        order = epoch_order(case.seed, epoch, n) if case.shuffle else np.arange(n)
        theta, slots = self.theta, self.slots
        followed: list[Step] = []
        total = weight = 0.0
        for i, start in enumerate(range(0, n, self.plan.batch_size)):
            rows = order[start : start + self.plan.batch_size]
            samples = self.of(rows)
            step = exact_step(self.built, rows, theta, slots, float(rates[i]), self.number)
            moved = {
                name: _take(
                    record, self.built, name, engine, samples, self.plan, theta, slots, rates[i],
                    self.number, step,
                )
                for name, engine in self.engines.items()
            }  # fmt: skip
            record.counts["steps"] += 1
            record.counts["steps compared"] += step.comparable
            record.counts["steps that may overflow"] += step.overflows
            ours = moved[self.leader]
            if ours is None:  # not finite
                _must_have_stopped(record, self.run, self.leader, epoch, self.number)
                return []
            theta, slots, loss = ours
            of_batch = len(rows) if samples.weights is None else float(samples.weights.sum())
            total, weight = total + of_batch * loss, weight + of_batch
            followed.append(step)
            self.number += 1
        if len(self.run.states) > epoch:
            self.compare_state(epoch, order, rates, theta, slots, followed[-1])
            if weight and all(step.comparable for step in followed):
                got, expected = self.run.history["loss"][epoch], Real(total / weight)
                # the same numbers, but a short last batch, and added up in another order
                t, last = Arithmetic.of(case.dtype), followed[-1]
                room = 2 * last.bounds.loss + t.gamma(2 * n + 16) * abs(float(expected)) + t.eta
                record.compare("fit: loss", f"{self.where(epoch)}: loss", got, expected, room)
        return followed

    def of(self, rows: Array) -> Samples:
        s = self.samples
        return Samples(s.X[rows], s.y[rows], None if s.weights is None else s.weights[rows])

    def where(self, epoch: int) -> str:
        return f"{self.leader}, epoch {epoch + 1}"

    def compare_state(
        self, epoch: int, order: Array, rates: Array, theta: Array, slots: dict[str, Array],
        last: Step,
    ) -> None:  # fmt: skip
        """Hold the state that `fit` had after an epoch to the one that single steps lead to.

        They are equal to the bit, but for two things: a short last batch may be added up in another
        order when it comes alone, and the powers of Adam's β may be multiplied up over an epoch.
        Then the last step of `fit` is held to the bounds that it has from where it began.
        """
        after, slots_after = self.run.states[epoch]
        where, batch = self.where(epoch), self.plan.batch_size
        adam = self.built.case.optimizer.startswith("Adam")
        if adam and len(rates) > 1:
            before = self.prefix(order[: batch * (len(rates) - 1)], rates[:-1])
            rows = order[batch * (len(rates) - 1) :]
            last = exact_step(self.built, rows, *before, float(rates[-1]), self.number - 1)
        elif len(order) % batch == 0:
            self.record.same("fit: run", f"{where}: parameters", after, theta)
            for key, slot in slots.items():
                self.record.same("fit: run", f"{where}: {key}", slots_after[key], slot)
            return
        if last.comparable:
            u = last.updated
            kind = "fit: last batch"
            self.record.compare(kind, f"{where}: parameters", after, u.theta, u.theta_error)
            for key, slot in u.slots.items():
                room = u.slot_errors[key]
                self.record.compare(kind, f"{where}: {key}", slots_after[key], slot, room)

    def prefix(self, rows: Array, rates: Array) -> tuple[Array, dict[str, Array]]:
        """Take the first steps of an epoch in one go, as `fit` does."""
        twin = self.built.network.copy()
        twin.parameters[...] = self.theta
        slots = {name: slot.copy() for name, slot in self.slots.items()}
        state = State(self.number - len(rates) - 1, slots)
        with called():
            self.engines[self.leader].run_epoch(twin, Epoch(self.of(rows), self.plan, rates), state)
        return twin.parameters, state.slots


def _take(
    record: Record, built: Built, name: str, engine: Any, samples: Any, plan: Any, theta: Array,
    slots: dict[str, Array], eta: float, number: int, step: Step,
) -> tuple[Array, dict[str, Array], float] | None:  # fmt: skip
    """Let an engine take one step; give θ, slots and loss, or None where it stopped."""
    case = built.case
    twin = built.network.copy()
    twin.parameters[...] = theta
    state = State(number, {key: slot.copy() for key, slot in slots.items()})
    outputs = np.full((len(samples), case.sizes[-1]), np.nan, case.dtype)
    parts = np.full((1, 2), np.nan)
    rates = np.array([float(eta)])
    with called():
        epoch = Epoch(samples, plan, rates, outputs=outputs, step_losses=parts)
        result = engine.run_epoch(twin, epoch, state)
    where = f"{name}, step {number}"
    if result.failure is not None:
        if step.comparable:
            record.fault(f"{name}: stops", f"{where}: {result.failure}, where all is finite")
        same = np.array_equal(twin.parameters, theta) and state.step == number
        if not same:
            record.fault(f"{name}: stops", f"{where}: the parameters changed in a step that failed")
        return None
    if state.step != number + 1:
        record.fault(f"{name}: step", f"{where}: counts {state.step} after step {number}")
    if step.comparable:
        b, x, u = step.bounds, step.exact, step.updated
        for key in u.slots:
            record.compare(
                f"{name}: slots",
                f"{where}: {key}",
                state.slots[key],
                u.slots[key],
                u.slot_errors[key],
            )
        record.compare(
            f"{name}: parameters", f"{where}: parameters", twin.parameters, u.theta, u.theta_error
        )
        record.compare(f"{name}: outputs", f"{where}: a", outputs, x.output.a, b.a)
        record.compare(f"{name}: loss", f"{where}: loss", result.loss, _loss_of(step), b.loss)
        if step.problem.shares.any():
            told = np.array([x.loss - x.penalty, x.penalty])
            record.compare(
                f"{name}: loss", f"{where}: step_losses", parts[0], told, [b.loss, b.penalty]
            )
    return twin.parameters, state.slots, result.loss


def _loss_of(step: Step) -> Any:
    """The mean that an epoch of this step alone reports; 0 where no sample counts."""
    return step.exact.loss if step.problem.shares.any() else Real(0)


def _must_have_stopped(record: Record, run: Run, leader: str, epoch: int, number: int) -> None:
    record.counts["runs that stopped"] += 1
    error = run.error
    if not isinstance(error, cr.NonFiniteError):
        record.fault("fit: stopped", f"{leader}: step {number} is not finite, and fit went on")
    elif (error.epoch, error.step) != (epoch + 1, number):
        place = f"epoch {error.epoch}, step {error.step}"
        record.fault("fit: stopped", f"{leader}: {place}; alone it is step {number} that fails")


def _check_validation(
    record: Record, built: Built, leader: str, run: Run, epoch: int, theta: Array
) -> None:
    X, y, weights = built.numbers
    dtype = built.case.dtype
    p = built.problem(X, y, weights, dtype=dtype, theta=theta)
    x = solve(p)
    b = bounds(p, x, Arithmetic.of(dtype))
    if b.overflows or not b.resolved.all():
        record.counts["validation not compared"] += 1
        return
    got = run.history["val_loss"][epoch]
    record.compare("fit: val_loss", f"{leader}: val_loss of epoch {epoch + 1}", got, x.loss, b.loss)

"""Predictions and losses of every engine, and the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .bounds import bounds
from .cases import Built, build_network
from .exact import solve
from .local import Arithmetic
from .package import Epoch, Plan, Samples, State, called, sample_weights
from .record import Record


def check_predictions(record: Record, built: Built, engines: dict[str, Any]) -> None:
    """Hold predictions to the oracle: every layout, every engine, one row, the second call."""
    case = built.case
    X, y, _ = built.numbers
    p = built.problem(X, y, None, dtype=case.dtype)
    x = solve(p)
    b = bounds(p, x, Arithmetic.of(case.dtype))
    keep = b.resolved
    record.counts["predictions"] += case.n
    if b.overflows:
        record.counts["predictions that may overflow"] += case.n
        return
    record.counts["predictions compared"] += int(keep.sum())
    plain = X.astype(case.dtype)
    for name, engine in engines.items():
        net, at = build_network(case, built.network, name), case.n // 2
        outputs = np.full((case.n, case.sizes[-1]), np.nan, case.dtype)
        with called():
            first = net.predict(built.X)
            second = net.predict(built.X)
            again = net.predict(plain)
            row = net.predict(np.asarray(built.X)[at])
            C = engine.losses(built.network, plain, y.astype(case.dtype), outputs)
        record.compare(
            f"{name}: predict",
            f"{name}: predict of {case.layout_X}",
            first[keep],
            x.output.a[keep],
            b.a[keep],
        )
        record.same(
            f"{name}: predict again",
            f"{name}: the second predict of {case.layout_X}",
            second,
            first,
        )
        record.compare(
            f"{name}: predict", f"{name}: predict", again[keep], x.output.a[keep], b.a[keep]
        )
        if keep[at]:
            record.compare(
                f"{name}: predict", f"{name}: predict of row {at}", row, x.output.a[at], b.a[at]
            )
        record.compare(f"{name}: losses", f"{name}: C", C[keep], x.output.C[keep], b.C[keep])
        record.compare(f"{name}: losses", f"{name}: a", outputs[keep], x.output.a[keep], b.a[keep])


def check_threads(record: Record, built: Built, engine_of: Callable[[int], Any]) -> None:
    """An epoch has the same bits with any number of threads."""
    case = built.case
    X, y, weights = built.numbers
    samples = Samples(X.astype(case.dtype), y.astype(case.dtype), sample_weights(weights, case.n))
    optimizer = built.optimizer()
    plan = Plan(optimizer, min(case.batch_size, case.n), case.clip_norm)
    steps = -(-case.n // plan.batch_size)
    rates = optimizer.schedule.rates(0, steps)
    ends = []
    for threads in (1, max(2, case.threads)):
        twin = built.network.copy()
        state = State(slots=optimizer.start(twin.parameters))
        with called():
            engine_of(threads).run_epoch(twin, Epoch(samples, plan, rates), state)
        ends.append((twin.parameters, state.slots))
    record.same(
        "native: threads", f"parameters with {max(2, case.threads)} threads", ends[1][0], ends[0][0]
    )
    for key, slot in ends[0][1].items():
        record.same("native: threads", key, ends[1][1][key], slot)

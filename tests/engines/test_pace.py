"""How many threads a step takes: simulated machines, without a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")

Speed = Callable[[int, float], float]  # threads and seconds since the start to seconds a step


@dataclass
class Machine:
    """Runs steps whose time is known, and keeps what was chosen when."""

    speed: Speed
    most: int
    likely: int
    noise: float = 0.0
    now: float = 0.0
    steps: int = 0
    log: list[tuple[float, int, bool]] = field(default_factory=list)  # until, threads, settled

    def __post_init__(self) -> None:
        self._pace = _native.Pace(self.most, self.likely)
        self._rng = np.random.default_rng(0)

    def run(self, seconds: float) -> Machine:
        end = self.now + seconds
        while self.now < end:
            threads, settled = self._pace.threads, self._pace.settled
            count = self._pace.steps(self.speed(self.likely, 0.0))
            took = count * self.speed(threads, self.now)
            if self.speed(threads, self.now + took) * count != took:  # conditions change in it
                took = 0.0
                for _ in range(count):
                    took += self.speed(threads, self.now + took)
            took *= 1 + self.noise * self._rng.exponential()
            self._pace.note(took, count)
            self.now, self.steps = self.now + took, self.steps + count
            self.log.append((self.now, threads, settled))
        return self

    def share(self, threads: int, since: float) -> float:
        """The share of the time since then that this number of threads was at work."""
        total = mine = 0.0
        before = 0.0
        for until, n, _ in self.log:
            if until > since:
                total += until - max(before, since)
                mine += (until - max(before, since)) * (n == threads)
            before = until
        return mine / total


def ideal(work: float, meeting: float, each: float = 0.0) -> Speed:
    return lambda n, now: work / n + (meeting + each * n if n > 1 else 0.0)


@pytest.mark.parametrize("most", [2, 3, 4, 6, 8, 16, 24, 32, 48, 64])
@pytest.mark.parametrize(("work", "meeting", "each"), [
    (15e-6, 1e-6, 0.1e-6), (15e-6, 20e-6, 0), (150e-6, 2e-6, 1e-6), (500e-6, 1e-6, 0.2e-6),
    (5e-3, 5e-6, 1e-6),
])  # fmt: skip
def test_the_fastest_number_is_found(work: float, meeting: float, each: float, most: int) -> None:
    """From any first guess, and it is at work nearly all the time."""
    speed = ideal(work, meeting, each)
    ways = [n for n in (1, 2, 4, 8, 16, 32) if n < most] + [most]
    best = min(speed(n, 0) for n in ways)
    for likely in sorted({1, 2, most // 2, most} - {0}):
        machine = Machine(speed, most, likely).run(0.3)
        started = machine.steps
        machine.run(2.0)
        lost = 1 - (machine.steps - started) * best / (machine.now - 0.3)
        assert lost < 0.04, (likely, machine.log[-1])


def test_one_thread_alone_has_no_choice() -> None:
    assert {threads for _, threads, _ in Machine(ideal(1e-5, 0), 1, 1).run(0.2).log} == {1}


def test_long_steps_take_all_threads() -> None:
    pace = _native.Pace(64, 8, choice=False)
    for _ in range(20):
        assert pace.threads == 64
        pace.note(0.1, 1)


@pytest.mark.parametrize("spin", [0.005, 0.025, 0.05, 0.2])
@pytest.mark.parametrize("most", [2, 4, 8])
@pytest.mark.parametrize("settled", [0.0, 0.5, 5.0])
def test_it_recovers_when_threads_of_another_library_go_to_sleep(
    settled: float, most: int, spin: float
) -> None:
    """Within 20 ms, whether the product came before the first step or in the middle of a run."""
    begin = settled
    end = begin + spin

    def speed(threads: int, now: float) -> float:
        alone, together = 480e-6, 40e-6 + 440e-6 / threads
        if begin <= now < end:  # each waits for one whose core is taken
            return alone * 1.15 if threads == 1 else 2.5 * together + 300e-6
        return alone if threads == 1 else together

    machine = Machine(speed, most, most).run(settled or 1e-9)
    machine.run(end - machine.now + 0.02 if machine.now < end else 0.02)
    since = machine.now
    machine.run(0.2)
    assert machine.share(most, since) > 0.85


@pytest.mark.parametrize("most", [2, 8])
def test_one_thread_is_taken_while_cores_are_busy(most: int) -> None:
    """On a machine that others use for good, threads that wait for each other lose."""

    def speed(threads: int, now: float) -> float:
        return 100e-6 if threads == 1 else 100e-6 / threads + 250e-6

    machine = Machine(speed, most, most).run(0.3)
    since = machine.now
    machine.run(3.0)
    assert machine.share(1, since) > 0.97


@pytest.mark.parametrize("most", [2, 4])
def test_good_moments_of_a_busy_machine_cost_little(most: int) -> None:
    """A trial meets cores that are free, which they are not a moment later."""

    def speed(threads: int, now: float) -> float:
        free = now % 0.013 < 0.003
        return 100e-6 if threads == 1 else 60e-6 if free else 650e-6

    machine = Machine(speed, most, most).run(0.3)
    started, begun = machine.steps, machine.now
    machine.run(5.0)
    assert (machine.steps - started) * 100e-6 / (machine.now - begun) > 0.7


def test_a_moment_s_disturbance_changes_little() -> None:
    speed = ideal(100e-6, 2e-6)
    machine = Machine(speed, 4, 4, noise=0.05).run(0.3)
    started, begun = machine.steps, machine.now
    machine.run(5.0)
    best = speed(4, 0) * 1.05
    assert (machine.steps - started) * best / (machine.now - begun) > 0.9


# The first guess


def test_the_guess_is_the_model_s_best() -> None:
    for flops in (2.5e5, 1e6, 1e7, 1e8, 9e8):
        for size in (0, 1e4, 1e6):
            for most in (1, 2, 4, 16, 64):
                found = _native.likely_threads(flops, size, 5, most)
                times = [_native.likely_seconds(flops, size, 5, n) for n in range(1, most + 1)]
                assert times[found - 1] == min(times)


def test_the_guess_grows_with_the_work_and_falls_with_the_meetings() -> None:
    by_work = [_native.likely_threads(flops, 1e4, 2, 64) for flops in (1e5, 1e6, 1e7, 1e8, 1e9)]
    assert by_work == sorted(by_work)
    assert by_work[0] < 8
    assert by_work[-1] == 64
    by_meetings = [_native.likely_threads(1e7, 1e4, meetings, 64) for meetings in (2, 5, 20, 80)]
    assert by_meetings == sorted(by_meetings, reverse=True)


@pytest.mark.parametrize(
    ("flops", "size", "meetings", "alone", "two"),
    [(1.0e6, 65e3, 2, 12.6, 10.6), (13e6, 230e3, 7, 143.0, 87.8), (7.7e6, 84e3, 1, 106.4, 62.1),
     (52e6, 420e3, 5, 497, 268)],
    ids=["64-64-32-10, 32", "300-128-64-1, 64, Adam", "32, 20 layers, 64", "784-128-10, 128"],
)  # fmt: skip
def test_the_model_is_near_what_was_measured(
    flops: float, size: float, meetings: int, alone: float, two: float
) -> None:
    """Two cores of an AMD Zen 4, the least of some thousand steps, in µs."""
    gain = _native.likely_seconds(flops, size, meetings, 1)
    gain /= _native.likely_seconds(flops, size, meetings, 2)
    assert gain == pytest.approx(alone / two, rel=0.2)

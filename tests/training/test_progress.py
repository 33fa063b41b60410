"""The progress bar: what stands in the line, when it is drawn, and when nothing is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
from typing import Any

import numpy as np
import pytest

from chainrule.training import progress
from chainrule.training.history import History

PROGRAM = """
    import numpy as np, sys, time
    from chainrule.network import Network
    X = np.random.default_rng(0).normal(size=(600, 2))
    net = Network([2, 4, 1], output="sigmoid", loss="binary_cross_entropy", seed=0)
    def nap(run):
        time.sleep(0.11)
        if run.epoch == 2:
            print("second epoch")
    net.fit(X, X[:, 0] > 0, epochs=4, validation_data=(X, X[:, 0] > 0), callbacks=[nap], {options})
    sys.exit("rich" in sys.modules)
"""


def program(options: str = "") -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(PROGRAM).format(options=options)]


def test_quiet_where_there_is_no_terminal() -> None:
    run = subprocess.run(program(), capture_output=True, text=True, timeout=300, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("second epoch\n", "", 0)


if sys.platform != "win32":
    import pty
    import termios

    def on_terminal(command: list[str], **environment: str) -> tuple[str, int]:
        """What a program writes on a terminal of 100 columns, and its exit status."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        environment = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | environment
        environment.pop("COLUMNS", None)
        process = subprocess.Popen(
            command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment
        )
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        return written.decode(), process.wait(timeout=300)

    def test_on_a_terminal() -> None:
        screen, status = on_terminal(program(), NO_COLOR="1")
        assert status == 1  # rich was imported
        assert "\r\nsecond epoch\r\n" in screen or "second epoch\r\n" in screen
        assert "\x1b[?25l" in screen  # no cursor while the line lives
        assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
        drawn = [line for line in screen.split("\r") if "epoch " in line and "loss" in line]
        assert len(drawn) >= 3
        line = drawn[-2]
        for part in ("epoch 4/4", "━", "val_loss 0.", "accuracy 0.", "samples/s", " left"):
            assert part in line
        assert "samples/s" not in screen[screen.index("4 epochs in ") :]
        assert "; best epoch 4" in screen

    def test_quiet_when_told_to_be() -> None:
        assert on_terminal(program("verbose=0")) == ("second epoch\r\n", 0)

    def test_a_terminal_that_knows_only_ascii() -> None:
        screen, _ = on_terminal(program(), LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        assert "##" in screen
        assert "4 epochs in " in screen


class Paper:
    """A display that keeps what was drawn."""

    def __init__(self, width: int = 140) -> None:
        self.width = width
        self.lines: list[str] = []
        self.summaries: list[str | None] = []

    def draw(self, line: Any) -> None:
        self.lines.append(str(line))

    def close(self, summary: str | None) -> None:
        self.summaries.append(summary)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: now[0])
    return now


def epoch(screen: progress.Screen, number: int, clock: list[float], seconds: float = 1.25) -> None:
    """An epoch of ten steps of 50 samples, and half as long again for its validation."""
    screen.begin(number)
    for step in range(1, 11):
        clock[0] += seconds / 10
        screen.step(step, 1 / number)
    screen.trained(500)
    clock[0] += seconds / 2
    screen.end({"loss": 1 / number, "learning_rate": 0.1, "accuracy": 0.9, "val_loss": 0.25})


def test_the_line(clock: list[float]) -> None:
    paper = Paper()
    screen = progress._LiveScreen(paper, 20, 10, 50, 500)
    epoch(screen, 1, clock)
    assert paper.lines[0].startswith("epoch  1/20 ─────")
    assert paper.lines[0].endswith(
        "─  loss 1.000  400 samples/s  0:25 left"
    )  # 199 steps of 0.125 s
    assert paper.lines[-1].endswith("─  loss 1.000  400 samples/s  0:24 left")
    epoch(screen, 2, clock)
    # 20 steps in 3.125 s, 180 are left; the speed is that of training alone
    assert paper.lines[-1] == (
        f"epoch  2/20 {'━' * 4}{'─' * 36}  loss 0.5000  accuracy 0.9000  val_loss 0.2500"
        "  400 samples/s  0:28 left"
    )
    screen.stopping()
    epoch(screen, 3, clock)
    assert paper.lines[-1].endswith("400 samples/s  stopping")


def test_drawn_at_most_ten_times_a_second(clock: list[float]) -> None:
    paper = Paper()
    screen = progress._LiveScreen(paper, 10_000, 10, 50, 500)
    for number in range(1, 2001):
        epoch(screen, number, clock, seconds=0.002)  # 6 s in all, 20,000 steps
    assert 40 <= len(paper.lines) <= 60


@pytest.mark.parametrize("width", range(20, 141, 10))
def test_the_line_fits(clock: list[float], width: int) -> None:
    paper = Paper(width)
    screen = progress._LiveScreen(paper, 20, 10, 50, 500)
    epoch(screen, 1, clock)
    epoch(screen, 2, clock)
    line = paper.lines[-1]
    assert len(line) < max(width, 26)
    assert "epoch  2/20 " in line
    assert "loss 0.5000" in line
    assert ("0:28 left" in line) == (width >= 50)
    assert ("val_loss" in line) == (width >= 70)
    assert ("samples/s" in line) == (width >= 80)
    assert ("accuracy" in line) == (width >= 100)


def test_hours_are_left(clock: list[float]) -> None:
    paper = Paper()
    screen = progress._LiveScreen(paper, 20, 10, 50, 500)
    epoch(screen, 1, clock, seconds=1000)
    assert paper.lines[-1].endswith("0.5 samples/s  5:16:40 left")  # 19 epochs of 1000 s


def test_the_time_left_of_a_run_that_was_resumed(clock: list[float]) -> None:
    paper = Paper()
    screen = progress._LiveScreen(paper, 20, 10, 50, 500)
    epoch(screen, 11, clock)
    assert paper.lines[-1].startswith(f"epoch 11/20 {'━' * 22}─")
    assert paper.lines[-1].endswith("400 samples/s  0:11 left")  # 90 steps of 0.125 s


def test_the_summary_stays_if_nothing_went_wrong(clock: list[float]) -> None:
    history = History(["epoch", "loss", "seconds"])
    history.append({"epoch": 1, "loss": 0.5, "seconds": 2.0})
    paper = Paper()
    with progress._LiveScreen(paper, 1, 1, 1, 1).showing(history):
        pass
    with pytest.raises(LookupError), progress._LiveScreen(paper, 1, 1, 1, 1).showing(history):
        raise LookupError
    assert paper.summaries == ["1 epoch in 2.00 s: loss 0.5000", None]


def test_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(f"again {bundle['text/plain']}")

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(bundle["text/plain"])
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    for name, module in {
        "IPython": ipython,
        "IPython.display": types.SimpleNamespace(display=display),
        "ipykernel": types.ModuleType("ipykernel"),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(progress, "_PAUSE", 0.0)

    from chainrule.network import Network

    net = Network([1, 1], seed=0, engine="reference")  # tells every step
    net.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, batch_size=2)
    assert len(shown) == 5
    assert shown[0].startswith("epoch 1/2 ━━━━━━━━━━──────────")
    assert shown[3].startswith("again epoch 2/2 ━━━━━━━━")
    assert shown[4].startswith("again 2 epochs in 0.0")


def test_nobody_is_told_when_there_is_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert type(progress.screen(True, 1, 1, 1, 1)) is progress.Screen

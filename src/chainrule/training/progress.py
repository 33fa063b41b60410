"""Progress: one line that lives while a network trains, and one that stays when it has.

Nothing is drawn where nobody looks: output that is not a terminal or a notebook stays quiet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from chainrule.training.history import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PAUSE = 0.1  # seconds between two drawings
_NARROW, _WIDE = 8, 40  # columns of the bar


class _Display(Protocol):
    """Where lines are shown."""

    @property
    def width(self) -> int:
        """How many columns a line has."""
        ...

    def draw(self, line: _Line) -> None:
        """Show a line in place of the one before."""
        ...

    def close(self, summary: str | None) -> None:
        """Take the line away, and leave a summary."""
        ...


class Summarised(Protocol):
    """What a screen leaves behind when a run ends: a history, or those of many networks."""

    def summary(self) -> str:
        """Return one line."""
        ...


class _Line:
    """A line in parts: before the bar, how much of the bar is full, and after it."""

    def __init__(self, before: str, done: float, after: str, width: int) -> None:
        self.before, self.after = before, after
        self.bar = max(0, min(_WIDE, width - len(before) - len(after) - 1))
        self.full = round(self.bar * done)

    def __str__(self) -> str:
        return f"{self.before}{'━' * self.full}{'─' * (self.bar - self.full)}{self.after}"


class Screen:
    """What training tells a screen; this one is for nobody."""

    def begin(self, epoch: int) -> None:
        """Show that an epoch begins, counted from 1."""

    def step(self, steps: int, loss: float) -> None:
        """Show the steps done in this epoch, and its mean loss so far."""

    def reach(self, share: float, samples: float) -> None:
        """Show what share of all is done, and how many samples have been taken."""

    def trained(self, samples: int) -> None:
        """Show that the training passes of an epoch are done."""

    def end(self, row: Mapping[str, float]) -> None:
        """Show what an epoch came to."""

    def stopping(self) -> None:
        """Show that the run ends after this step."""

    def showing(self, history: Summarised) -> AbstractContextManager[None]:
        """Show the run while it lasts, and what it came to if nothing went wrong."""
        return nullcontext()


class _LiveScreen(Screen):
    """Draws the run as one line, at most ten times a second."""

    def __init__(
        self, display: _Display, epochs: int, steps: int, batch_size: int, n_samples: int
    ) -> None:
        self._display, self._epochs, self._steps = display, epochs, steps
        self._batch_size, self._n_samples = batch_size, n_samples
        self._epoch, self._step, self._loss = 1, 0, float("nan")
        self._first: int | None = None  # epoch; a run that was resumed begins later than with 1
        self._row: dict[str, float] = {}
        self._stopping = False
        self._began = self._epoch_began = self._drawn = perf_counter()
        self._trained, self._passed = 0.0, 0  # seconds in training passes, and their samples

    def begin(self, epoch: int) -> None:
        self._epoch, self._step = epoch, 0
        self._first = self._first or epoch
        self._epoch_began = perf_counter()

    def step(self, steps: int, loss: float) -> None:
        now = perf_counter()
        self._step, self._loss = steps, loss
        if now - self._drawn >= _PAUSE:
            self._draw(now)

    def reach(self, share: float, samples: float) -> None:
        done = min(int(share * self._epochs * self._steps), self._epochs * self._steps - 1)
        self._epoch, self._step = done // self._steps + 1, done % self._steps
        self._first = self._first or self._epoch
        now = perf_counter()
        self._trained, self._passed, self._epoch_began = now - self._began, int(samples), now
        if now - self._drawn >= _PAUSE:
            self._draw(now)

    def trained(self, samples: int) -> None:
        self._trained += perf_counter() - self._epoch_began
        self._passed += samples

    def end(self, row: Mapping[str, float]) -> None:
        self._row = dict(row)

    def stopping(self) -> None:
        self._stopping = True

    @contextmanager
    def showing(self, history: Summarised) -> Iterator[None]:
        summary = None
        try:
            yield
            summary = history.summary()
        finally:
            self._display.close(summary)

    def _draw(self, now: float) -> None:
        self._drawn = now
        width = self._display.width
        done = ((self._epoch - 1) * self._steps + self._step) / (self._epochs * self._steps)
        before = f"epoch {self._epoch:{len(str(self._epochs))}}/{self._epochs} "
        after = self._after(now, done, width - len(before) - _NARROW - 1)
        self._display.draw(_Line(before, done, after, width))

    def _after(self, now: float, done: float, room: int) -> str:
        """Return loss, metrics, speed and time left, as many as there is room for."""
        measured = {k: v for k, v in self._row.items() if k not in ("loss", "learning_rate")}
        parts = [f"loss {number(self._loss)}"]
        parts += [f"{name} {number(value)}" for name, value in measured.items()]
        speed = self._speed(now)
        parts += [f"{speed:,.{0 if speed >= 10 else 1}f} samples/s", self._left(now, done)]
        # what goes first where there is little room: metrics, then speed, then the validation loss
        last = len(parts) - 1
        order = [i for i in range(last - 2, 0, -1) if not parts[i].startswith("val_loss")]
        order += [last - 1] + [i for i in range(1, last - 1) if i not in order] + [last]
        for i in order:
            if sum(len(part) + 2 for part in parts if part) <= room:
                break
            parts[i] = ""
        return "".join(f"  {part}" for part in parts if part)

    def _speed(self, now: float) -> float:
        seconds = self._trained + now - self._epoch_began
        samples = self._passed + min(self._step * self._batch_size, self._n_samples)
        return samples / max(seconds, 1e-9)

    def _left(self, now: float, done: float) -> str:
        if self._stopping:
            return "stopping"
        before = ((self._first or 1) - 1) / self._epochs  # done by an earlier process
        seconds = round((now - self._began) * (1 - done) / (done - before))
        hours, minutes = divmod(seconds // 60, 60)
        clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
        return f"{clock}:{seconds % 60:02d} left"


class _Terminal:
    """A terminal, through rich, which also keeps what callbacks print above the line."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    @property
    def width(self) -> int:
        return self._console.width

    def draw(self, line: _Line) -> None:
        self._live.start()
        self._live.update(self._text(line), refresh=True)

    def close(self, summary: str | None) -> None:
        self._live.stop()
        if summary is not None:
            self._console.print(summary, highlight=False, markup=False)

    def _text(self, line: _Line) -> Text:
        from rich.text import Text

        full, rest = ("#", "-") if self._console.options.ascii_only else ("━", "─")
        text = Text(line.before, no_wrap=True, overflow="crop", end="")
        text.append(full * line.full, style="bar.complete")
        text.append(rest * (line.bar - line.full), style="bar.back")
        return text.append(line.after)


class _Notebook:
    """A notebook's output cell, whose text is replaced."""

    width = 110

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, line: _Line) -> None:
        self._show(str(line))

    def close(self, summary: str | None) -> None:
        if summary is not None or self._handle is not None:
            self._show(summary or "")

    def _show(self, text: str) -> None:
        bundle = {"text/plain": text}
        if self._handle is None:
            display = import_module("IPython.display").display
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def screen(verbose: bool, epochs: int, steps: int, batch_size: int, n_samples: int) -> Screen:
    """Return the screen of a run: a live one if asked for and if somebody can see it."""
    if not verbose:
        return Screen()
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if getattr(shell, "kernel", None) is not None:
            return _LiveScreen(_Notebook(), epochs, steps, batch_size, n_samples)
    if sys.stdout is not None and sys.stdout.isatty():
        return _LiveScreen(_Terminal(), epochs, steps, batch_size, n_samples)
    return Screen()

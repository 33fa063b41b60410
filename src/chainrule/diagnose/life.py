"""Life: whether a watched run goes on, has ended or has died, from what its folder says."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.diagnose import folder as folders
from chainrule.diagnose import process

RUNNING, ENDED, DIED, UNKNOWN = "running", "ended", "died", "unknown"
_LONGEST = 200  # characters of an error's message that are kept
_SILENT = 60.0  # seconds without a new step after which it is said how long ago the last one was


@dataclass(frozen=True)
class Life:
    """Whether a run goes on.

    Attributes:
        state: "running", "ended", "died" or, where nothing tells, "unknown".
        error: What ended it, such as "ValueError: ..."; "" if it ended without an error.
        process: The number of the process that writes it, if it is on this machine.
        written: When something was last written, in seconds since 1970.
    """

    state: str
    error: str
    process: int | None
    written: float

    def words(self, now: float | None = None) -> str:
        """Return a sentence about it.

        Args:
            now: The time, in seconds since 1970; None takes the clock.
        """
        quiet = (time.time() if now is None else now) - self.written
        ago = f"nothing new for {_span(quiet)}" if quiet >= _SILENT else ""
        if self.state == RUNNING:
            return f"The run goes on{f'; {ago}' if ago else ''}."
        if self.state == DIED:
            return (
                f"The run died: its process {self.process} is gone, and did not close the "
                "recording. All that was recorded is here."
            )
        if self.state == ENDED:
            return f"The run ended with {self.error}." if self.error else "The run has ended."
        return f"The run goes on, or its process is gone: {ago or 'something new just came'}."


def of_run(folder: Path, about: Mapping[str, Any]) -> Life:
    """Return whether the run in a folder goes on.

    Args:
        folder: The folder.
        about: What its ``run.json`` holds.
    """
    names = (folders.RUN, folders.STEPS, folders.ROWS, folders.END)
    times = [(folder / name).stat().st_mtime for name in names if (folder / name).is_file()]
    written = max(times, default=0.0)
    if (folder / folders.END).is_file():
        return Life(ENDED, _error_of(folder / folders.END), None, written)
    writer = about.get("writer")
    lives = process.lives(writer) if isinstance(writer, dict) else None
    if lives is None or not isinstance(writer, dict):
        return Life(UNKNOWN, "", None, written)
    return Life(RUNNING if lives else DIED, "", writer["process"], written)


def error(at_exit: bool = False) -> str:
    """Return the error that is being handled, in words; "" for none.

    Args:
        at_exit: Whether the process ends, so that it may be the error that ends it.
    """
    kind, found = sys.exc_info()[:2]
    if kind is None and at_exit and not hasattr(sys, "ps1"):  # a session goes on after an error
        kind, found = getattr(sys, "last_type", None), getattr(sys, "last_value", None)
    return "" if kind is None else f"{kind.__name__}: {found}".strip().rstrip(":.")[:_LONGEST]


def end(folder: Path, error: str = "") -> None:
    """Write that a run has ended, and with which error."""
    text = folders.encoded({"error": error})
    folders.rename_over(folder / folders.END, lambda name: Path(name).write_text(text, "utf-8"))


def _error_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))["error"])
    except (ValueError, OSError, KeyError, TypeError):
        return ""


def _span(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{int(seconds)} seconds"

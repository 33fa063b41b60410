"""Desk: what the pages of a watched run are made of, as it is on file when they are asked for."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import _forks as forks
from chainrule.diagnose import folder as folders
from chainrule.diagnose import life
from chainrule.diagnose.curves import Curves, Known
from chainrule.diagnose.found import SampleNorms, Suspect
from chainrule.diagnose.record import RunRecord

SUSPECTS = 20  # rows that are listed, and marked among the samples of a step
_REPLAYED = 2  # steps whose model and batch stay in memory
SPARE = 20  # what took a second is made again every so many seconds


class Desk:
    """A run, and what is known of it now.

    Args:
        run: The run, as it is read.
    """

    def __init__(self, run: RunRecord) -> None:
        self.run = run
        self._one, self._again = forks.Lock(), forks.Lock()
        self._replayed: OrderedDict[int, Any] = OrderedDict()
        self._suspects: tuple[float, tuple[Any, ...], list[Suspect] | str] = (0.0, (), "")
        self._stamp = self._stat(folders.RUN)
        self._curves = self._new_curves()

    def _new_curves(self) -> Curves:
        return Curves(self.run.folder, [p["name"] for p in self.run.about["parameters"]])

    # --- what is known now ------------------------------------------------------------------------

    def version(self) -> str:
        """Return a text that changes when anything on file does, or what is said of the run."""
        names = (folders.STEPS, folders.SAMPLES, folders.ROWS, folders.END, folders.SPIKES)
        stats = [self._stat(name) for name in (folders.RUN, *names)]
        words = self.life().words()
        return hashlib.sha256(repr((stats, words)).encode()).hexdigest()[:24]

    def _stat(self, name: str) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.run.folder / name)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def life(self) -> life.Life:
        """Return whether the run goes on."""
        return life.of_run(self.run.folder, self.run.about)

    def read(self) -> Known:
        """Return what is known now; a new run in the same folder takes the place of the old one."""
        with self._one:
            stamp = self._stat(folders.RUN)
            if stamp != self._stamp:
                self.run.about = folders.read_about(self.run.folder)
                self._stamp, self._curves = stamp, self._new_curves()
                self._replayed.clear()
            return self._curves.read()

    def suspects(self) -> list[Suspect] | str:
        """Return the rows with the largest losses, or why there are none.

        They are looked for again at most so often that the run beside it is not held up.
        """
        stamp = (self._stat(folders.ROWS),)
        due, known, found = self._suspects
        if known == stamp or (known and time.monotonic() < due):
            return found
        begun = time.monotonic()
        try:
            found = self.run.suspects(SUSPECTS)
        except ValueError as error:
            found = str(error)
        now = time.monotonic()
        self._suspects = (now + SPARE * (now - begun), stamp, found)
        return found

    def samples(self, step: int) -> SampleNorms | str:
        """Return the samples of a step, or why there are none."""
        try:
            return self.run.samples(step)
        except ValueError as error:
            return str(error)

    def visits(self, row: int, most: int) -> list[tuple[int, float | None, float | None]]:
        """Return (step, loss, norm) of the last recorded steps that had a row, the latest first."""
        path = self.run.folder / folders.SAMPLES
        found: list[tuple[int, float | None, float | None]] = []
        for file in (path, path.with_name(f"old-{path.name}")):
            for line in folders.with_row(file, row):
                at = int(np.flatnonzero(np.asarray(line["rows"]) == row)[0])
                loss, norm = (
                    None if line[key] is None else folders.number(line[key][at])
                    for key in ("losses", "norms")
                )
                found.append((line["step"], loss, norm))
                if len(found) == most:
                    return found
        return found

    # --- steps taken again ------------------------------------------------------------------------

    def why_moved(self, target: str, step: int) -> Any:
        """Return why a weight moved; one at a time, as random generators are set for it."""
        with self._again:
            return self.run.why_moved(target, step)

    def replayed(self, step: int, use: Callable[[Any], str]) -> str:
        """Return what is made of a step that was taken again."""
        with self._again:
            if step not in self._replayed:
                self._replayed[step] = self.run.replay(step)
                while len(self._replayed) > _REPLAYED:
                    self._replayed.popitem(last=False)
            self._replayed.move_to_end(step)
            return use(self._replayed[step])

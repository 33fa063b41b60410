"""Record: what a watched run left in its folder, and what it says."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chainrule._exports import exported
from chainrule.diagnose import folder as folders
from chainrule.diagnose import life, noise, record_page, record_text
from chainrule.diagnose.curves import RECENT
from chainrule.diagnose.elements import element
from chainrule.diagnose.found import LayerNorms, Line, SampleNorms, Source, Spike, Suspect
from chainrule.diagnose.moves import Move, split
from chainrule.diagnose.rows import history
from chainrule.diagnose.rules import Taken
from chainrule.equations.checks import whole

_RECORDED = b'"recorded":true'  # in a line of a step with norms
_NEEDS_MODEL = (
    "this run has to take steps again, which needs the model: "
    "load_run(folder, model=model, optimizer=optimizer, loss_fn=loss_fn)"
)


@exported("chainrule")
class RunRecord:
    """Read a run that was watched. `load_run` returns it, and a `WatchedRun` is one.

    Attributes:
        folder: The folder of the run.
        about: What was watched, as ``run.json`` has it.

    Examples:
        >>> import chainrule as cr
        >>> run = cr.load_run("run")  # doctest: +SKIP
        >>> print(run)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, source: Source | None) -> None:
        self.folder, self._source = folder, source
        self.about = folders.read_about(folder)

    @property
    def state(self) -> str:
        """Return "running", "ended", "died" (its process is gone), or "unknown"."""
        return life.of_run(self.folder, self.about).state

    def flush(self) -> None:
        """Do nothing: what is read from a folder has been written."""

    # --- steps ------------------------------------------------------------------------------------

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Return a dictionary for each step: "step", "loss", "rates", norms where recorded."""
        self.flush()
        return list(folders.lines(self.folder / folders.STEPS))

    def line(self, step: int) -> Line:
        """Return one step."""
        if self._cached_lines is None:
            self.flush()
            found = folders.line_of(self.folder / folders.STEPS, step)
        else:
            found = next((x for x in self._cached_lines if x["step"] == step), None)
        if found is None:
            raise ValueError(f"step is {step}; {self._has_steps()}")
        rates = found.get("rates")
        cast = found.get("autocast")
        return Line(
            step, folders.number(found["loss"]), rates, None if cast is None else tuple(cast), found
        )

    def _lines(self) -> list[dict[str, Any]]:
        return self._cached_lines if self._cached_lines is not None else self.steps

    _cached_lines: list[dict[str, Any]] | None = None

    def _has_steps(self) -> str:
        found = self._lines()
        if not found:
            return "no step has been recorded yet"
        return f"this run has the steps {found[0]['step']} to {found[-1]['step']}"

    def settings_at(self, step: int) -> list[dict[str, Any]]:
        """Return the hyperparameters of each parameter group in a step."""
        groups: list[dict[str, Any]] = []
        rates: list[float] | None = None
        for line in self._lines():
            if line["step"] > step:
                break
            groups = line.get("settings", groups)
            rates = line.get("rates", rates)
        return [
            {**group, "lr": rate} for group, rate in zip(groups, rates or (), strict=True)
        ]  # fmt: skip

    def first_rate(self, group: int) -> float:
        """Return the first learning rate of a parameter group."""
        return next(float(x["rates"][group]) for x in self._lines() if x.get("rates"))

    def taken(
        self, step: int, name: str, before: float, after: float, gradient: float, used: float
    ) -> Taken:
        """Return what a step had and did, with the hyperparameters of the parameter's group."""
        settings = self.settings_at(step)[self.place_of(name)[0]]
        decoupled = self.rule == "AdamW" or bool(settings.get("decoupled_weight_decay"))
        return Taken(
            step, before, after, gradient, used, settings["lr"],
            {**settings, "decoupled": decoupled},
        )  # fmt: skip

    # --- questions --------------------------------------------------------------------------------

    def spikes(self) -> list[Spike]:
        """Return the steps whose loss was a spike, in order."""
        self.flush()
        found = []
        for path in sorted((self.folder / folders.SPIKES).glob("*/spike.json")):
            try:
                about = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:  # no longer kept
                continue
            worst = tuple(
                (each["sample"], each["row"], folders.number(each["loss"]))
                for each in about.get("worst", ())
            )
            found.append(
                Spike(about["step"], folders.number(about["loss"]), about["reason"], worst)
            )
        return found

    def samples(self, step: int | None = None) -> SampleNorms:
        """Return the losses and gradient norms of the samples of a recorded step.

        The norms are scaled so that the gradient of the batch is the mean of the samples' (their
        sum, for a loss that adds up).

        Args:
            step: The number of the step; None is the last one that was recorded.

        Raises:
            ValueError: Norms were not recorded in that step, or are no longer kept.
        """
        self.flush()
        path = self.folder / folders.SAMPLES
        files = (path, path.with_name(f"old-{path.name}"))
        if step is None:
            found = (folders.last_of(file, b'{"step":') for file in files)
        else:
            found = (folders.line_of(file, step) for file in files)
        line = next(filter(None, found), None)
        if line is None:
            known = [each for file in files for each in folders.steps_of(file)]
            if step is None or not known:
                raise ValueError("no step with norms has been recorded yet")
            near = min(known, key=lambda k: (abs(k - step), k))
            raise ValueError(
                f"step is {step}, in which samples were not recorded (every is "
                f"{self.about['every']}). The nearest recorded step is {near}; every=1 records all"
            )

        def array(key: str) -> Any:
            values = line[key]
            return None if values is None else np.array([folders.number(v) for v in values])

        rows = None if line["rows"] is None else np.array(line["rows"], dtype=np.int64)
        return SampleNorms(line["step"], rows, array("losses"), array("norms"))

    def suspects(self, count: int = 20) -> list[Suspect]:
        """Return the rows with the largest mean loss over the run, from the largest on.

        A wrong label is learned late or never, so its loss stays large while others fall. The loss
        over the whole run tells it better than the gradient norm of one step.

        Args:
            count: How many to return.

        Raises:
            ValueError: The loop did not say the rows of its samples, or count is not positive.

        Source:
            Swayamdipta et al., arXiv:2009.10795; Pleiss et al., arXiv:2001.10528, for the losses of
            samples over a run.
        """
        count = whole(count, "count")
        with self._row_losses() as arrays:
            sums, counts = arrays.get_tensor("sums"), arrays.get_tensor("counts")
            with np.errstate(invalid="ignore", divide="ignore"):
                means = np.where(counts > 0, sums / counts, -np.inf)
            count = min(count, len(means))
            least = np.partition(means, len(means) - count)[len(means) - count]
            among = np.flatnonzero(means >= least)
            order = among[np.argsort(-means[among], kind="stable")][:count]
            return [self._row(arrays, int(row)) for row in order if counts[row]]

    def row(self, row: int) -> Suspect:
        """Return the losses of one row over the run.

        Args:
            row: The number of the row, from 0.

        Raises:
            ValueError: The loop did not say the rows of its samples, or never saw this one.
        """
        with self._row_losses() as arrays:
            n = arrays.get_slice("counts").get_shape()[0]
            if 0 <= row < n and arrays.get_slice("counts")[row : row + 1][0]:
                return self._row(arrays, row)
        raise ValueError(f"row is {row}, which this run did not see; its rows go up to {n - 1:,}")

    @contextmanager
    def _row_losses(self) -> Iterator[Any]:
        """Open the losses of the rows; a row is read without the others."""
        self.flush()
        path = self.folder / folders.ROWS
        if not path.is_file():
            raise ValueError(
                "no rows have been recorded. Pass the row of each sample: run.step(x, y, rows=rows)"
            )
        from safetensors import SafetensorError, safe_open  # heavy for those who do not read a run

        try:
            with safe_open(path, framework="numpy") as arrays:
                yield arrays
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged, and cannot be read: {error}") from None

    def _row(self, arrays: Any, row: int) -> Suspect:
        at = slice(row, row + 1)
        total, count, last = (arrays.get_slice(name)[at][0] for name in ("sums", "counts", "last"))
        found = tuple(history(last, int(count)))
        return Suspect(row, float(total / count), int(count), found)

    @property
    def noise_scale(self) -> float:
        """Return tr Σ / ‖G‖² over the last recorded steps; NaN before there are any.

        It is about the batch size up to which a larger batch still saves steps. Infinity says that
        the gradient cannot be told from noise.
        """
        found = [line for line in self.steps if "noise" in line][-RECENT:]
        return noise.scale(
            (folders.number(x["noise"][0]), folders.number(x["noise"][1]), x["samples"])
            for x in found
        )

    @property
    def suggested_batch_size(self) -> int | None:
        """Return the noise scale as a power of two; None where it is not known or not finite."""
        found = self.noise_scale
        if not math.isfinite(found):
            return None
        return int(2 ** round(math.log2(max(found, 1.0))))

    def layers(self, step: int | None = None) -> list[LayerNorms]:
        """Return the norms of each parameter in a recorded step.

        Args:
            step: The number of the step; None is the last one that was recorded.

        Raises:
            ValueError: Norms were not recorded in that step.
        """
        self.flush()
        path = self.folder / folders.STEPS
        line = folders.last_of(path, _RECORDED) if step is None else folders.line_of(path, step)
        if line is None or not line.get("recorded"):
            known = [line["step"] for line in self.steps if line.get("recorded")]
            if step is None or not known:
                raise ValueError("no step with norms has been recorded yet")
            near = min(known, key=lambda k: (abs(k - step), k))
            raise ValueError(f"step is {step}, in which norms were not recorded; {near} was")
        return [
            LayerNorms(
                p["name"], folders.number(line["weights"][i]),
                None if line["gradients"][i] is None else folders.number(line["gradients"][i]),
                folders.number(line["updates"][i]),
            )
            for i, p in enumerate(self.about["parameters"])
        ]  # fmt: skip

    # --- moves ------------------------------------------------------------------------------------

    @property
    def rule(self) -> str:
        """Return the name of the optimiser's rule.

        Raises ValueError where there is none that can be split.
        """
        found = self.about["rule"]
        if found is None:
            own = self.about["kind"] == "network"
            known = "GradientDescent, AdaGrad, RMSProp" if own else "SGD, Adagrad, RMSprop"
            raise ValueError(
                f"the optimiser is {self.about['optimizer'] or 'not known'}; why_moved can split "
                f"the steps of {known}, Adam and AdamW"
            )
        return str(found)

    def place_of(self, name: str) -> tuple[int, int]:
        """Return the parameter group of a parameter, and its place in the optimiser.

        Raises ValueError where the optimiser does not have it.
        """
        about = next(p for p in self.about["parameters"] if p["name"] == name)
        if about["group"] is None:
            raise ValueError(
                f"{name} is not in the optimiser: none of its param_groups holds it, so it never "
                "moves. Pass model.parameters() to the optimiser"
            )
        return about["group"], about["place"]

    def why_moved(self, target: str, step: int | None = None) -> Move:
        """Return why one parameter moved in one step, split exactly into what moved it.

        The steps before it, back to the last state that was kept, are taken again on a copy of the
        model, and give the gradients that momentum and denominators are made of. A run that was
        watched with ``dense=True`` has them on file.

        Args:
            target: An element of a parameter: "fc1.weight[3,7]"; "w[2][1,2]" or "b[2][1]" of a
                `Network`.
            step: The number of the step; None is the last one.

        Raises:
            TypeError: The target is not a text.
            ValueError: There is no such parameter, element or step, the optimiser has no known
                rule, or a step taken again differs from the run.
        """
        name, index = element(target, self.about["parameters"])
        rule = self.rule
        self.place_of(name)
        self._cached_lines = self.steps
        try:
            last = self._cached_lines[-1]["step"] if self._cached_lines else 0
            step = last if step is None else step
            line = self.line(step)
            if line.rates is None:
                raise ValueError(
                    f"the optimiser took no step in step {step}: it only added up gradients"
                )
            if self._source is None:
                raise ValueError(_NEEDS_MODEL)
            kept = self._source.kept(self, name, index, step)
        finally:
            self._cached_lines = None
        text = f"{name}[{','.join(map(str, index))}]"
        taken = [each for each in kept.steps if each is not None]
        if kept.steps[-1] is None:
            return Move(text, step, rule, math.nan, math.nan, None, (), {}, {})
        return split(text, rule, taken, kept.memory, kept.base_rate)

    def replay(self, step: int) -> Any:
        """Return a step taken again, to the same bits: from its bundle if it was a spike.

        Args:
            step: The number of the step.

        Raises:
            ValueError: The step is no longer kept, or a step before it, taken again, differs from
                the run.
        """
        if self._source is None:
            raise ValueError(_NEEDS_MODEL)
        self._cached_lines = self.steps
        try:
            return self._source.replay(self, step)
        finally:
            self._cached_lines = None

    def segments(self) -> list[int]:
        """Return the steps before which the state was kept, in order."""
        found = (self.folder / folders.SEGMENTS).glob("*/state.safetensors")
        return sorted(int(path.parent.name) for path in found)

    def segment_of(self, step: int) -> int:
        """Return the last kept step from which a step can be reached.

        Raises ValueError where it is no longer kept.
        """
        found = [start for start in self.segments() if start <= step]
        if not found:
            first = min(self.segments(), default=None)
            raise ValueError(
                f"step is {step}, which is no longer kept: the run keeps the last "
                f"{len(self.segments())} states, from step {first} on. keep= keeps more"
            )
        return found[-1]

    # --- words ------------------------------------------------------------------------------------

    def text(self) -> str:
        """Return what happened in the run, in a few lines."""
        return record_text.text(self)

    def html(self) -> str:
        """Return a page of the run, in one file: curves, spikes, layers, samples, suspects."""
        return record_page.page(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values, for JSON: what was watched, its steps and spikes."""
        return record_text.to_dict(self)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.folder)!r})"

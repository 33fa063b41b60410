"""What `chainrule train` does and says: the table, the training, and its loss curves."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chainrule.cli.shared import Page, a_number, test_rows, without_target
from chainrule.storage.atomic import write_atomically

if TYPE_CHECKING:
    from chainrule.tables.held_out import HeldOut
    from chainrule.tables.model import TableModel
    from chainrule.tables.training import Prepared
    from chainrule.training.history import History

_LISTED = 30  # columns; if there are more, only the number of each kind is shown


def learn(
    page: Page, prepared: Prepared, keeping: dict[str, Any]
) -> tuple[TableModel, list[History]] | None:
    """Train, measure and train again, and say so; return None if that was interrupted."""
    from chainrule.tables import members
    from chainrule.tables.trust import of_test

    keeping = {"verbose": int(page.live), **keeping}
    networks = members.make_networks(prepared)
    many = f"{len(networks)} × " if len(networks) > 1 else ""
    page.fact("network", f"{many}{networks[0]}")
    histories = members.fit(networks, prepared, **keeping)
    if any(history.stop_reason == "interrupted" for history in histories):
        return None
    if not page.live:  # otherwise the progress bar has shown it
        page.fact("trained", _each_trained(histories) if many else histories[0].summary())
    measured, beside = members.assess(networks, prepared)
    tell_measures(page, prepared, measured, beside)
    held_out = of_test(networks, prepared)
    tell_held_out(page, held_out)
    learned = 0
    if prepared.is_refit:
        networks, again = members.refit(prepared, histories, **keeping)
        if any(history.stop_reason == "interrupted" for history in again):
            return None
        learned = prepared.n_own
        page.say()
        page.fact("refit", refit_words(learned, again, bool(measured)))
    model = members.model(networks, prepared, histories, measured, beside, learned)
    return replace(model, held_out=held_out), histories


def _each_trained(histories: list[History]) -> str:
    """Return the summary of the training of several networks."""
    from chainrule.training.history import number

    epochs = [len(history["epoch"]) for history in histories]
    words = f"{len(histories)} members, {_range(epochs)} epochs"
    best = [history.best_epoch for history in histories if history.best_epoch is not None]
    if "val_loss" in histories[0]:
        least = [min(history["val_loss"], default=math.nan) for history in histories]
        words += f"; best val_loss {number(min(least))} to {number(max(least))}"
    return f"{words}, in epochs {_range(best)}" if best else words


def _range(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def refit_words(rows: int, histories: list[History], measured: bool) -> str:
    """Return what the saved model has learned from, beside the one that was measured."""
    lengths = [len(history["epoch"]) for history in histories]
    epochs = f"{_range(lengths)} epoch{'s' * (max(lengths) != 1)}"
    words = f"the saved model has learned again, from all {rows:,} rows, for {epochs}"
    return f"{words}; the measures are of the model before that" if measured else words


def tell_table(page: Page, prepared: Prepared) -> None:
    """Print what became of a table: its target, columns and rows."""
    schema, target = prepared.schema, prepared.schema.target
    n_columns = len(schema.columns) + len(schema.left_out) + len(schema.targets)
    page.say(f"{prepared.path}: {prepared.n_rows:,} rows, {n_columns:,} columns", "bold")
    page.fact("target", f"{target.name}: {_target_words(prepared)}")
    for other in schema.more:
        page.fact("", f"{other.name}: {a_number(other)}")
    if prepared.without_target:
        from chainrule.tables.target import taken_for_none

        page.fact("", without_target(prepared.without_target) + taken_for_none(prepared.none))
    kept: list[tuple[str, str, str]] = [(c.kind, c.name, c.words) for c in schema.columns]
    page.fact("columns", "")
    if len(kept) > _LISTED:
        for kind, plural in (("number", "numbers"), ("category", "categories"), ("date", "dates")):
            names = [name for of, name, _ in kept if of == kind]
            if names:
                few = names if len(names) < 6 else [*names[:3], "...", names[-1]]
                page.say(f"  {len(names)} {plural}: {', '.join(few)}")
        page.say("  (chainrule inspect shows each)")
        kept = []
    kept += [("left out", c.name, c.why) for c in schema.left_out]
    width = min(max((len(name) for _, name, _ in kept), default=0), 30)
    for kind, name, words in kept:
        page.say(f"  {kind:<8}  {name:<{width}}  {words}", "dim" if kind == "left out" else None)
    counts = prepared.counts
    roles = prepared.settings.roles
    how = "stratified by class, " if target.task == "classify" else ""
    how += f"seed {prepared.settings.seed}"
    if roles.group is not None:
        how = f"whole groups of {roles.group}, seed {prepared.settings.seed}"
    elif roles.time is not None:
        how = f"the latest by {roles.time} are the test"
    if prepared.own_validation:
        how += "; the validation is a file of its own"
    watched = f"{counts['validation']:,} for validation, "
    if prepared.settings.recipe == "tuned":
        watched = "validated on five folds of them, "
    page.fact(
        "rows",
        f"{counts['training']:,} for training, {watched}{counts['test']:,} for the test ({how})",
    )
    if prepared.single:
        shown = ", ".join(prepared.single[:5]) + (", ..." if len(prepared.single) > 5 else "")
        page.fact("", f"classes without a test row: {shown}")


def _target_words(prepared: Prepared) -> str:
    import numpy as np

    target = prepared.schema.target
    if target.task == "regress":
        return f"{a_number(target)} (task regress)"
    y = np.concatenate(list(prepared.y.values()))
    counts = np.bincount(y, minlength=len(target.classes))
    shown = [f"{name[:40]} {counts[i]:,}" for i, name in enumerate(target.classes[:10])]
    more = ["..."] if len(target.classes) > 10 else []
    return f"{len(target.classes)} classes (task classify): {', '.join([*shown, *more])}"


def tell_measures(page: Page, prepared: Prepared, measured: Any, beside: Any) -> None:
    """Print how good the model is on the test rows, beside the baseline."""
    from chainrule.tables.measures import lines

    if not measured:
        page.fact("test", "no rows were held out, so the model was not measured")
        return
    page.say()
    page.say(f"On the {test_rows(prepared.counts['test'])}", "bold")
    classify = prepared.schema.target.task == "classify"
    if prepared.schema.more:
        return  # what is said of each target says more
    for line in lines(measured, beside, "largest class" if classify else "mean"):
        page.say(f"  {line}")


def tell_held_out(page: Page, held_out: HeldOut) -> None:
    """Print how far predictions can be trusted: calibration, and the width of intervals."""
    for name, words in held_out_words(held_out):
        page.say(f"  {name}: {words}")
    if held_out.several:
        from chainrule.tables.measures import lines

        for target, of in held_out.several.items():
            page.say(f"  {target}")
            for line in lines(of.model, of.baseline, "mean"):
                page.say(f"    {line}")
            page.say(f"    intervals: {of.intervals.words()}")


def held_out_words(held_out: HeldOut) -> Iterator[tuple[str, str]]:
    """Yield what held-out rows tell, each with its name."""
    if held_out.calibration is not None:
        yield "calibration", held_out.calibration.words()
    if held_out.intervals is not None:
        yield "intervals", held_out.intervals.words()


def draw(histories: list[History], path: str, data: str) -> bool:
    """Draw the loss curves into a file; return False if matplotlib is not installed."""
    history = histories[0]
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    columns = [name for name in ("loss", "accuracy") if name in history]
    figure = Figure(figsize=(5 * len(columns), 4), layout="constrained")
    for i, column in enumerate(columns, start=1):
        axes = figure.add_subplot(1, len(columns), i)
        history.plot(axes, [column])
        for other in histories[1:]:
            for line, name in zip(axes.lines, (column, f"val_{column}"), strict=False):
                if name in other:
                    axes.plot(other["epoch"], other[name], color=line.get_color(), alpha=0.4)
    figure.suptitle(os.path.basename(data))
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomically(path, image.getvalue())
    return True

"""`chainrule train --by`: a model for each group of a table, in one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.shared import Page, test_rows
from chainrule.tables.source import counted

if TYPE_CHECKING:
    from chainrule.tables.by import Groups
    from chainrule.tables.groups import GroupedModel
    from chainrule.tables.source import Source
    from chainrule.tables.training import Settings

_LISTED = 40  # groups; if there are more, the best and the worst are shown
_SHOWN = 10  # of each


def train_groups(
    page: Page, source: Source, settings: Settings, keeping: dict[str, Any], out: str, as_json: bool
) -> bool:
    """Train, measure, train again and save; return False if that was interrupted."""
    from chainrule.tables import by
    from chainrule.tables.groups import about_groups

    with page.working(f"reading {source.path}"):
        groups = by.prepare(source, settings)
    _tell_table(page, groups, settings)
    by.fit(groups, verbose=int(page.live), **keeping)
    if groups.is_interrupted:
        return False
    measured = by.assess(groups)
    model = by.model(groups, measured, refitted=False)
    model = replace(model, measures=by.overall(groups, model))
    if any(prepared.is_refit for prepared in groups.prepared.values()):
        again = by.refit(groups, verbose=int(page.live), **keeping)
        if any(h.stop_reason == "interrupted" for histories in again.values() for h in histories):
            return False
        model = replace(by.model(groups, measured, refitted=True), measures=model.measures)
    tell(page, model)
    if again_words := _refit_words(model):
        page.say()
        page.fact("refit", again_words)
    model.save(out)
    page.say()
    page.say(f"Saved: {out}", "bold")
    if as_json:
        files = {"model": out, "data": source.path, "rows": groups.n_rows}
        click.echo(json.dumps(files | about_groups(model), indent=2, ensure_ascii=False))
    return True


def _tell_table(page: Page, groups: Groups, settings: Settings) -> None:
    first = next(iter(groups.prepared.values()))
    schema, target = first.schema, first.schema.target
    n_columns = len(schema.columns) + len(schema.left_out) + 1
    page.say(f"{groups.path}: {groups.n_rows:,} rows, {n_columns:,} columns", "bold")
    page.fact("target", f"{target.name} (task {target.task})")
    many = counted(len(groups.prepared) + len(groups.left_out), "group")
    page.fact("by", f"{groups.by}: {many}")
    _tell_left_out(page, groups.left_out)
    members = f", {settings.members} each" if settings.members > 1 else ""
    words = f"a model for each of {counted(len(groups.prepared), 'group')}{members}; columns"
    kept = dict.fromkeys(c.name for p in groups.prepared.values() for c in p.schema.columns)
    page.fact("networks", f"{words} {', '.join(kept)}")


def _tell_left_out(page: Page, left_out: Mapping[str, str]) -> None:
    for name, why in list(left_out.items())[:_SHOWN]:
        page.fact("", f"no model for {name}: {why}")
    if len(left_out) > _SHOWN:
        page.fact(
            "",
            f"no model for {len(left_out) - _SHOWN:,} others: {', '.join(list(left_out)[_SHOWN:])}",
        )


def _refit_words(model: GroupedModel) -> str:
    rows = sum(int(one.training["refit_rows"]) for one in model.values())
    if not rows:
        return ""
    words = f"the saved models have learned again, from all {rows:,} rows"
    return f"{words}; the measures are of the models before that" if model.measures else words


def tell(page: Page, model: GroupedModel) -> None:
    """Print how good the models are: each, and all together."""
    from chainrule.tables.measures import lines

    page.say()
    page.say("The groups", "bold")
    for line in _rows(model):
        page.say(f"  {line}")
    if not model.measures:
        page.fact("test", "no rows were held out, so the models were not measured")
        return
    total = sum(one.training["rows"]["test"] for one in model.values())
    page.say()
    page.say(f"All on the {test_rows(total)}", "bold")
    whose = "largest class" if model.target.task == "classify" else "mean"
    for line in lines(model.measures["model"], model.measures["baseline"], whose):
        page.say(f"  {line}")


def _rows(model: GroupedModel) -> list[str]:
    """Return a line for each group, the worst first if there are many."""
    from chainrule.tables.measures import NAMES, text

    measure = "r2" if model.target.task == "regress" else "accuracy"
    rows = [(model.by, "rows", "epochs", NAMES[measure], "baseline")]
    values: list[tuple[float, int]] = []
    for i, (name, one) in enumerate(model.items(), start=1):
        mine = one.measures.get("model", {}).get(measure)
        beside = one.measures.get("baseline", {}).get(measure)
        count = sum(one.training["rows"].values())
        rows.append((name, f"{count:,}", str(one.training["epochs"]), text(mine), text(beside)))
        values.append((float("-inf") if mine is None else mine, i))
    chosen = list(range(len(rows)))
    if len(model) > _LISTED:
        order = [i for _, i in sorted(values)]
        chosen = [0, *order[:_SHOWN], *order[-_SHOWN:]]
    widths = [min(40, max(len(rows[i][k]) for i in chosen)) for k in range(5)]
    made = [
        f"{rows[i][0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(rows[i][1:], widths[1:], strict=True))
        for i in chosen
    ]
    if len(model) > _LISTED:
        made.insert(1 + _SHOWN, f"... {len(model) - 2 * _SHOWN:,} between them ...")
    return made


def tell_file(page: Page, path: str, model: GroupedModel) -> None:
    """Print a description of a file of models."""
    page.say(f"{path}: {counted(len(model), 'model')}, one for each {model.by}", "bold")
    page.fact("target", f"{model.target.name} (task {model.target.task})")
    _tell_left_out(page, model.left_out)
    tell(page, model)
    page.fact("written", f"by chainrule {model.version}. --of GROUP describes one model")

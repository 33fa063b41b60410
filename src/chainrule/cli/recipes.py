"""The recipes of `chainrule train`: how a prepared table becomes a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from chainrule.cli.shared import Page
from chainrule.cli.told import refit_words, tell_held_out, tell_measures

if TYPE_CHECKING:
    from chainrule.tables.model import TableModel
    from chainrule.tables.training import Prepared
    from chainrule.training.history import History

# What the recipe of one network has and the tuned one, which validates on folds, has not.
_OF_PLAIN = (
    "validation", "validation_data", "group", "time", "patience", "checkpoint", "members", "watch",
    "by", "micro_batches",
)  # fmt: skip


def recipe_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--recipe`` to a command."""
    return click.option(
        "--recipe", type=click.Choice(["tuned", "plain"]),
        help="tuned: try several ways to encode numbers and to train on folds of the rows, and "
        "average the networks of the best. plain: one network. [tuned; plain with "
        f"{', '.join(map(_flag, _OF_PLAIN))}, and for large tables]",
    )(command)  # fmt: skip


def recipe_of(given: dict[str, Any], is_said: Callable[[str], bool]) -> Literal["tuned", "plain"]:
    """Return the recipe that the options ask for; raise UsageError for a contradiction."""
    said = [name for name in _OF_PLAIN if is_said(name)]
    if given["recipe"] == "tuned" and said:
        raise click.UsageError(
            f"--recipe tuned and {_flag(said[0])} contradict each other: it validates on folds of "
            "its own. Use --recipe plain."
        )
    return "plain" if said or given["recipe"] == "plain" else "tuned"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def learn_tuned(page: Page, prepared: Prepared) -> tuple[TableModel, list[History]] | None:
    """Train by the tuned recipe, measure, train again, say so; return None if interrupted."""
    from chainrule.tables import training, tuning
    from chainrule.tables.trust import of_test

    verbose = int(page.live)
    tuned = tuning.tune(prepared, verbose=verbose)
    if tuned.found.interrupted:
        return None
    prepared = tuned.prepared
    page.fact("recipe", tuned.words())
    page.fact("network", str(tuned.network))
    measured, beside = training.assess(tuned.network, prepared)
    tell_measures(page, prepared, measured, beside)
    held_out = of_test([tuned.network], prepared)
    tell_held_out(page, held_out)
    last, learned = tuned, 0
    if prepared.is_refit:
        last, learned = tuning.tune_again(tuned, verbose=verbose), prepared.n_own
        if last.found.interrupted:
            return None
        page.say()
        page.fact("refit", refit_words(learned, last.histories, bool(measured)))
    model = training.model(last.network, prepared, tuned.histories[0], measured, beside, learned)
    facts = model.training | tuned.facts
    return replace(model, training=facts, held_out=held_out), tuned.histories

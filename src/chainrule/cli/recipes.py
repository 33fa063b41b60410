"""The recipes of `chainrule train`: how a prepared table becomes a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import click

from chainrule.cli.shared import Page
from chainrule.cli.told import refit_words

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.training import Prepared
    from chainrule.tables.tuning import Tuned
    from chainrule.training.history import History

# What the recipe of one network has and the tuned one, which validates on folds, has not.
_OF_PLAIN = ("validation", "validation_data", "group", "time", "patience", "checkpoint")


def recipe_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--recipe`` to a command."""
    return click.option(
        "--recipe", type=click.Choice(["tuned", "plain"]),
        help="tuned: try several ways to encode numbers and to train on folds of the rows, and "
        "average the five networks of the best. plain: one network. [tuned; plain with "
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


@dataclass(frozen=True)
class Learned:
    """A network that has learned from a table, and the table as the network takes it."""

    prepared: Prepared
    network: Network
    history: History
    tuned: Tuned | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended the training."""
        return self.history.stop_reason == "interrupted"


def learn(prepared: Prepared, page: Page, keeping: dict[str, Any]) -> Learned:
    """Train on the training rows by the recipe of the settings, and tell about it."""
    from chainrule.tables import training, tuning

    if prepared.settings.recipe == "tuned":
        tuned = tuning.tune(prepared, verbose=int(page.live))
        made = Learned(tuned.prepared, tuned.network, tuned.history, tuned, tuned.facts)
        if not made.interrupted:
            page.fact("recipe", tuned.words())
            page.fact("network", str(tuned.network))
        return made
    network = training.make_network(prepared)
    page.fact("network", str(network))
    history = training.fit(network, prepared, verbose=int(page.live), **keeping)
    if not page.live and history.stop_reason != "interrupted":  # a progress bar has shown it
        page.fact("trained", history.summary())
    return Learned(prepared, network, history)


def learn_again(first: Learned, page: Page, keeping: dict[str, Any], measured: bool) -> Learned:
    """Train on all rows as on the training rows before, and tell about it."""
    from chainrule.tables import training, tuning

    prepared = first.prepared
    if first.tuned is not None:
        tuned = tuning.tune_again(first.tuned, verbose=int(page.live))
        made = Learned(prepared, tuned.network, tuned.history, tuned)
    else:
        network, history = training.refit(
            prepared, first.history, verbose=int(page.live), **keeping
        )
        made = Learned(prepared, network, history)
    if not made.interrupted:
        page.say()
        page.fact("refit", refit_words(prepared.n_own, made.history, measured))
    return made

"""Again: the pages of a step that is taken again: its samples, gradients, and any number of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from chainrule.diagnose.curves import Known
from chainrule.explorer.paper import number
from chainrule.explorer.runs import pages, weights
from chainrule.explorer.runs.asked import Asked
from chainrule.explorer.runs.pages import link, row_link, step_link, table

if TYPE_CHECKING:
    from chainrule.explorer.runs.desk import Desk


def step(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page of a step that was taken again."""
    at = asked.whole("step")
    title = f"Step {at:,} taken again"
    try:
        return desk.replayed(at, lambda again: _taken(desk, at, again, asked, title))
    except ValueError as error:
        return _not(desk, at, title, error)


def _not(desk: Desk, at: int, title: str, error: ValueError) -> str:
    reason = escape(str(error)[:1].upper() + str(error)[1:])
    body = (
        f"<h1>{escape(title)}</h1><p>This step cannot be taken again: {reason}.</p>"
        f"{weights.in_python(desk)}<p>Back to step {step_link(at)}.</p>"
    )
    return pages.served(title, body)


def _taken(desk: Desk, at: int, again: Any, asked: Asked, title: str) -> str:
    same = (
        "The same bits as in the run"
        if again.same
        else f"Not the same bits: the run had {number(again.recorded)}"
    )
    sizes = {name: float(np.linalg.norm(_numbers(g))) for name, g in again.gradient.items()}
    rows = [
        [link("/weight", name, name=name, step=at), number(size)]
        for name, size in sorted(sizes.items(), key=lambda item: -item[1])
    ]
    body = (
        f"<h1>{title}</h1><p>Loss {number(again.loss)}. {same}. The model, the batch and the "
        f"random numbers are those of step {step_link(at)}.</p>{_explain_form(desk, at)}"
        f"{_samples(again, at, asked)}"
        f"<h2>Gradients</h2>{table('Norms of the gradients', ['parameter', 'gradient norm'], rows)}"
    )
    return pages.served(title, body)


def _numbers(tensor: Any) -> Any:
    found = tensor.detach().cpu().double().numpy() if hasattr(tensor, "detach") else tensor
    return np.asarray(found, dtype=float).ravel()


def _samples(again: Any, at: int, asked: Asked) -> str:
    if again.sample_losses is None:
        return "<p>The loss has no losses of samples.</p>"
    losses = _numbers(again.sample_losses)
    known_rows = None if again.rows is None else np.asarray(again.rows)
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")
    count = len(order)
    first = min(asked.whole("first", 0), (count - 1) // pages.ROWS * pages.ROWS)
    rows = [
        [f"{int(i):,}", "not known" if known_rows is None else row_link(int(known_rows[i])),
         number(float(losses[i]))]
        for i in order[first : first + pages.ROWS]
    ]  # fmt: skip
    ways = pages.leaf("/again", {"step": at}, first, count)
    caption = "Samples, from the largest loss on"
    return f"<h2>Samples</h2>{table(caption, ['sample', 'row', 'loss'], rows)}{ways}"


def _explain_form(desk: Desk, at: int, target: str = "") -> str:
    value = escape(target or weights.example(desk))
    return (
        f'<form action="/explain"><input type="hidden" name="step" value="{at}"/><div>'
        '<label for="number">Explain a number of this step</label><input id="number" '
        f'name="target" required value="{value}" autocomplete="off" spellcheck="false" '
        'maxlength="300"/></div><button>Explain</button></form>'
    )


def explain(desk: Desk, known: Known, asked: Asked) -> str:
    """Return the page that explains one number of a step that is taken again."""
    at, target = asked.whole("step"), asked.text("target")
    title = f"{target} in step {at:,}"
    try:
        return desk.replayed(at, lambda again: _explained(desk, at, again, target))
    except ValueError as error:
        return _not(desk, at, title, error)


def _explained(desk: Desk, at: int, again: Any, target: str) -> str:
    back = link("/again", f"Step {at:,} taken again", step=at)
    if desk.run.about.get("kind") == "network":
        text = escape(again.explain(target).text())
        body = f'<h1>{escape(target)}</h1><pre class="wide" tabindex="0">{text}</pre>'
        return pages.served(target, f"<p>{back}</p>{_explain_form(desk, at, target)}{body}")
    from chainrule.explorer.torch import pages as opened  # PyTorch is there: it took the step
    from chainrule.foreign.torch.overview import TorchGradients

    why = again.explain(target)
    if isinstance(why, TorchGradients):
        raise ValueError(f"target is {target!r}, a module; expected a number such as "
                         f"'{weights.example(desk)}'")  # fmt: skip

    modules = {name for name, _ in again.model.named_modules()}
    parameters = {name for name, _ in again.model.named_parameters(remove_duplicate=False)}

    def address(target: str) -> str:
        name, mark, _ = target.partition("[")
        module, result, _ = name.partition(":")
        known = module in modules if result else name in parameters or name.startswith("input")
        if not (mark and known):
            return ""
        return f"/explain?{urlencode({'step': at, 'target': target})}"

    body = opened.explained(why, address)
    return pages.served(why.target, f"<p>{back}</p>{_explain_form(desk, at, why.target)}{body}")

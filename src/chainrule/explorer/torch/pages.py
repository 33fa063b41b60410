"""Pages: a PyTorch model as HTML without scripts: the tree, a tensor, a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote

from chainrule.explain import page_html
from chainrule.explorer import paper
from chainrule.explorer.paper import number
from chainrule.explorer.torch.tree import Module, Tensor, Tree
from chainrule.foreign import rendering
from chainrule.foreign.torch.explanation import TorchExplanation

Link = Callable[[str], str]  # from a target to the address that opens it, or ""
ROWS, COLUMNS = 16, 8  # of a matrix that are shown at once
_LARGEST = 10  # derivatives of a tensor, contributions of a call
_DECADES = 8  # that the bar of a gradient's size spans

_INSIDE = {  # what a derivation is inside a page: without a style, and scrolled by the keyboard
    f"<style>{page_html.STYLE}</style>": "",
    "<h1 ": '<h2 class="top" tabindex="0" ',
    "</h1>": "</h2>",
    '<div class="formula wide">': '<div class="formula wide" tabindex="0">',
    '<pre class="wide">': '<pre class="wide" tabindex="0">',
}


def address(target: str) -> str:
    """Return the address at which a server opens a target."""
    return f"/open?target={quote(target)}"


def nowhere(target: str) -> str:
    """Return no address, for a page that opens nothing."""
    return ""


def element(body: str) -> str:
    """Return a body as one element in a frame of its own, whose style stays inside."""
    inside = escape(saved("chainrule", body))
    return (
        f'<iframe srcdoc="{inside}" title="Modules of the model" width="100%" height="500" '
        'style="border: 0"></iframe>'
    )


def text(words: str) -> str:
    """Return words for HTML."""
    return escape(words)


def served(title: str, body: str) -> str:
    """Return a page of the server, with the way back and a box for any target."""
    head = (
        '<p><a href="/">All modules</a></p><form action="/open">'
        '<div><label for="target">Open a module, a tensor or a number</label>'
        '<input id="target" name="target" required placeholder="fc1.weight[3,7]" '
        'autocomplete="off" spellcheck="false" maxlength="300"/></div>'
        "<button>Open</button></form>"
    )
    return paper.served(title, head, body)


def saved(title: str, body: str) -> str:
    """Return a page that needs no other file."""
    body, style = f"<main>\n{body}\n</main>", f"<style>{paper.style()}</style>"
    return paper.document(f"{title} - chainrule", body, style)


def error(message: str) -> str:
    """Return the page that says why a target can't be opened."""
    return served("Not found", f"<h1>This can’t be opened</h1>\n<p>{escape(message)}</p>")


# --- the tree -------------------------------------------------------------------------------------


def tree(found: Tree, link: Link) -> str:
    """Return all modules, each with its parameters and results."""
    root, run = found.root, found.run
    samples = "1 sample" if run.n_samples == 1 else f"{run.n_samples} samples"
    grads = [module.grad_norm for module in root.walk() if module.grad_norm]
    largest = max(grads, default=1.0)
    said = (
        f"{root.count:,} parameters; loss C = {number(run.loss)}; {samples}. The bars show "
        f"‖∂C/∂parameters‖ of a module on a logarithmic scale of {_DECADES} decades."
    )
    lines = [f"<h1>{escape(root.kind)}</h1>", f"<p>{said}</p>"]
    if found.inputs:
        lines.append(_tensors("Inputs", found.inputs, link))
    lines.append(_module(root, largest, link, depth=0))
    return "\n".join(lines)


def _module(module: Module, largest: float, link: Link, depth: int) -> str:
    name = module.name or "the model"
    size = "no gradient" if module.grad_norm is None else f"‖∂C‖ {number(module.grad_norm)}"
    if not module.count:
        size = ""
    summary = (
        f'<span class="name">{escape(name)}</span><span>{escape(module.kind)}</span>'
        f'<span class="small">{_count(module.count)}</span>'
        f'{_bar(module.grad_norm, largest)}<span class="small">{size}</span>'
    )
    inside = []
    if module.parameters:
        inside.append(_tensors(f"Parameters of {name}", module.parameters, link))
    if module.results:
        inside.append(_tensors(f"Results of {name}", module.results, link))
    inside += [_module(part, largest, link, depth + 1) for part in module.parts]
    opened = " open" if depth < 1 else ""
    place = f' id="{escape(anchor(module.name))}"'
    return (
        f"<details{place}{opened}><summary>{summary}</summary>\n" + "\n".join(inside) + "</details>"
    )


def anchor(name: str) -> str:
    """Return the place of a module in the page."""
    return f"module-{name}" if name else "module"


def _count(count: int) -> str:
    return (
        "no parameters" if not count else "1 parameter" if count == 1 else f"{count:,} parameters"
    )


def _bar(norm: float | None, largest: float) -> str:
    """Return the size of a gradient as a bar, which the number beside it says in digits."""
    if not norm or not math.isfinite(norm):
        return ""
    share = 1 + math.log10(norm / largest) / _DECADES if largest > 0 else 0.0
    width = round(120 * min(max(share, 0.01), 1.0), 1)
    return (
        '<svg class="bar" width="120" height="10" aria-hidden="true">'
        f'<rect width="{width}" height="10"/></svg>'
    )


def _tensors(caption: str, tensors: tuple[Tensor, ...], link: Link) -> str:
    rows = []
    for tensor in tensors:
        where = link(tensor.name)
        name = escape(tensor.name)
        shown = f'<a href="{escape(where)}">{name}</a>' if where else name
        grad = "none" if tensor.grad_norm is None else number(tensor.grad_norm)
        rows.append(
            f'<tr><td>{shown}</td><td class="shape">{_shape(tensor.shape)}</td>'
            f"<td>{number(tensor.norm)}</td><td>{grad}</td>"
            f'<td class="words">{escape(tensor.reason)}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{h}</th>' for h in ("name", "shape", "‖·‖", "‖∂C/∂·‖"))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}<td></td></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# --- a tensor -------------------------------------------------------------------------------------


def tensor(found: Tensor, at: tuple[int, ...], row: int, column: int) -> str:
    """Return a window of a tensor's last two dimensions, each number with its derivative."""
    shape = found.shape
    lead, (height, width) = shape[:-2], (1, 1, *shape)[-2:]
    data = found.data[at].reshape(height, width)
    grad = None if found.grad is None else found.grad[at].reshape(height, width)
    rows = range(row, min(row + ROWS, height))
    columns = range(column, min(column + COLUMNS, width))
    lines = [f"<h1>{escape(found.name)}</h1>", f"<p>Shape {_shape(shape)}. {_sizes(found)}</p>"]
    if found.reason:
        lines.append(f"<p>{escape(found.reason)}.</p>")
    lines.append(_choose(found, lead, at, height, width, row, column))
    heads = "".join(f'<th scope="col">{j}</th>' for j in columns)
    body = []
    for i in rows:
        cells = []
        for j in columns:
            target = found.target((*at, *((i, j)[2 - min(len(shape), 2) :])))
            derivative = "none" if grad is None else number(float(grad[i, j]))
            cells.append(
                f'<td><a href="{escape(address(target))}">{number(float(data[i, j]))}</a>'
                f'<span class="cell small">{derivative}</span></td>'
            )
        body.append(f'<tr><th scope="row">{i}</th>{"".join(cells)}</tr>')
    caption = f"{found.target(at)}: the number, and its derivative below it"
    lines.append(
        f'<div class="wide" tabindex="0" role="region" aria-label="Numbers"><table><caption>'
        f"{escape(caption)}</caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
    if largest := found.largest(_LARGEST):
        lines.append(_numbers("The largest derivatives", largest, address))
    return "\n".join(lines)


def _sizes(found: Tensor) -> str:
    said = f"‖·‖ = {number(found.norm)}"
    if found.grad_norm is not None:
        said += f", ‖∂C/∂·‖ = {number(found.grad_norm)}"
    return f"{said}."


def _choose(
    found: Tensor, lead: tuple[int, ...], at: tuple[int, ...], height: int, width: int, row: int,
    column: int,
) -> str:  # fmt: skip
    """Return the form that chooses what is shown, where a tensor does not fit."""
    if not lead and height <= ROWS and width <= COLUMNS:
        return ""
    fields = [f'<input type="hidden" name="target" value="{escape(found.name)}"/>']
    fields += [
        _field(f"at{d}", f"Dimension {d} (0 to {size - 1})", at[d], size - 1)
        for d, size in enumerate(lead)
    ]
    if height > ROWS:
        fields.append(_field("row", f"From row (0 to {height - 1})", row, height - 1))
    if width > COLUMNS:
        fields.append(_field("column", f"From column (0 to {width - 1})", column, width - 1))
    return f'<form action="/open">{"".join(fields)}<button>Show</button></form>'


def _field(name: str, label: str, value: int, most: int) -> str:
    return (
        f'<div><label for="{name}">{label}</label><input id="{name}" name="{name}" type="number" '
        f'min="0" max="{most}" value="{value}" required/></div>'
    )


def _numbers(caption: str, rows: list[tuple[str, float]], link: Link) -> str:
    body = "".join(f"<tr><td>{_open(t, link)}</td><td>{number(v)}</td></tr>" for t, v in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table><caption>'
        f'{caption}</caption><thead><tr><th scope="col">number</th><th scope="col">∂C/∂·</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


# --- a number -------------------------------------------------------------------------------------


def opened(why: TorchExplanation, found: Tree, link: Link, proof: bool, depth: int = 1) -> str:
    """Return the derivation of a number, with what it is made of as links."""
    lines = [_head(why, link)]

    def known(target: str) -> str:
        return link(target) if found.tensor(target.partition("[")[0]) is not None else ""

    lines += _through(why, known)
    lines.append(_inside(rendering.fragment(why, depth, proof)))
    if not proof:
        proving = escape(f"{address(why.target)}&prove=1")
        lines.append(f'<p><a href="{proving}">Prove it</a>: forward mode and a difference.</p>')
    return "\n".join(lines)


def explained(why: Any, link: Link) -> str:
    """Return the proven derivation of a number that stands alone, without its run's other pages.

    Args:
        why: A `TorchExplanation`, or the `Explanation` of a model that is a `Network`.
        link: Returns the address that opens a target, or "" for one that is not opened.
    """
    if not isinstance(why, TorchExplanation):
        target = escape(str(why.target))
        return f"<h1>{target}</h1>{_inside(page_html.fragment(why, 1))}"
    parts = [
        _head(why, link),
        *_through(why, link),
        _inside(rendering.fragment(why, 1, proof=True)),
    ]
    return "\n".join(parts)


def _head(why: TorchExplanation, link: Link) -> str:
    name = why.target.partition("[")[0]
    said = f"The number is {number(why.number)}, ∂C/∂· is {number(why.value)}."
    return f"<h1>{escape(why.target)}</h1>\n<p>{said} It stands in {_open(name, link)}.</p>"


def _inside(derivation: str) -> str:
    for old, new in _INSIDE.items():
        derivation = derivation.replace(old, new)
    return derivation


def _through(why: TorchExplanation, link: Link) -> list[str]:
    """Return a table for each call that reads a number, of what it makes of it."""
    lines = []
    for term in why.terms:
        parts, rest = term.contributions.largest(_LARGEST)
        rows = []
        for part in parts:
            sample = "" if part.sample is None else str(part.sample)
            cells = [sample, number(part.adjoint), number(part.local), number(part.value)]
            cells = [f"<td>{cell}</td>" for cell in cells]
            rows.append(f"<tr><td>{_open(part.element, link)}</td>{''.join(cells)}</tr>")
        if left := len(term.contributions) - len(parts):
            rows.append(
                f"<tr><td>the other {left}</td>{'<td></td>' * 3}<td>{number(rest)}</td></tr>"
            )
        place = f"{term.call} in {term.module}" if term.module else term.call
        caption = escape(f"Through {place}: open what it is made of")
        label = escape(f"{why.target} through {place} to {term.result}")
        heads = "".join(
            f'<th scope="col">{h}</th>'
            for h in ("element e", "sample", "∂C/∂e", "∂e/∂·", "product")
        )
        lines.append(
            f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>'
            f"<caption>{caption}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
    return lines


def _open(target: str, link: Link) -> str:
    where = link(target)
    return f'<a href="{escape(where)}">{escape(target)}</a>' if where else escape(target)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"

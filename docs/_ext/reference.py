"""The reference: a page for each public name, written from the docstrings.

Docstrings are Markdown, as the pages are, with the sections of Google's style (Args, Returns,
Raises, ...). Autodoc expects reStructuredText, so each docstring is handed to it as one directive
that turns the text into nodes. A name in backquotes that has a page becomes a link to it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import catalogue
import docstrings
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, new_document
from sphinx.util.inspect import TypeAliasForwardRef
from sphinx.util.nodes import make_refnode

PAGES = Path("reference", "api")

# --- docstrings -----------------------------------------------------------------------------------

_FIELDS = {  # sections whose entries have names: the field that Sphinx knows them by
    "Args": "param", "Raises": "raises", "Attributes": "Attributes", "Warns": "Warns",
}  # fmt: skip
_TEXTS = {"Returns": "returns", "Yields": "Yields", "Source": "Source", "Note": "Note"}


class MarkdownDocstring(SphinxDirective):
    """Turn a docstring into nodes."""

    has_content = True
    optional_arguments = 1  # the name of what is documented

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the text, then a field list, then the example."""
        text, sections = docstrings.parts_of("\n".join(self.content))
        if self.arguments and self.arguments[0] in catalogue.NOT_MADE:
            arguments = sections.pop("Args", "")
            sections = {"Attributes": sections.get("Attributes") or arguments, **sections}
        result = self._markdown(text)
        fields = nodes.field_list()
        for name, content in sections.items():
            if name in _FIELDS:
                fields += self._named(name, content)
            elif name in _TEXTS:
                fields += _field(_TEXTS[name], self._markdown(content))
        if len(fields):
            result.append(fields)
        if "Example" in sections:
            result += [nodes.rubric("", "Example"), *self._markdown(sections["Example"])]
        return result

    def _named(self, name: str, content: str) -> list[nodes.field]:
        found = [(entry, self._markdown(text)) for entry, text in docstrings.entries(content)]
        if self.arguments and self.arguments[0].startswith("chainrule.Network."):
            found = [(entry, text) for entry, text in found if entry != "network"]  # that is self
        kind = _FIELDS[name]
        if kind in ("param", "raises"):
            return [_field(f"{kind} {entry}", body) for entry, body in found]
        items = nodes.bullet_list()
        for entry, body in found:
            first = body[0] if body and isinstance(body[0], nodes.paragraph) else None
            if first is None:
                body.insert(0, first := nodes.paragraph())
            mark = nodes.literal if kind == "Warns" else addnodes.literal_strong
            first[:0] = [mark("", entry), *self._type_of(entry), nodes.Text(" – ")]
            items += nodes.list_item("", *body)
        return [_field(kind, [items])]

    def _type_of(self, attribute: str) -> list[nodes.Node]:
        """Return the type of a class's attribute, if the class states it."""
        types: dict[str, Any] = {}
        if self.arguments and self.arguments[0] in catalogue.NOT_MADE:
            for cls in reversed(docstrings.found(self.arguments[0]).__mro__):
                types |= vars(cls).get("__annotations__", {})
        if not isinstance(types.get(attribute), str) or "ClassVar" in types[attribute]:
            return []
        return [nodes.Text(" ("), nodes.literal("", types[attribute]), nodes.Text(")")]

    def _markdown(self, text: str) -> list[nodes.Node]:
        # Doctests become code blocks.
        text = re.sub(r"(?m)^>>> (?:.+\n?)+", lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", text)
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        document.settings.env = self.env
        MystParser().parse(text, document)
        return list(document.children)


def _field(name: str, body: list[nodes.Node]) -> nodes.field:
    return nodes.field("", nodes.field_name("", name), nodes.field_body("", *body))


def as_markdown(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Wrap a docstring for `MarkdownDocstring`."""
    text = "\n".join(lines).strip()
    if text:
        body = ("   " + line for line in text.splitlines())
        lines[:] = [f".. markdown-docstring:: {name}", "", *body, ""]


def tidy_signature(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str | None, result: str
) -> tuple[str | None, str | None]:
    """Leave out the constructor of a class that users do not make, and types, which stand below."""
    types = app.env.current_document.autodoc_annotations
    if name in catalogue.NOT_MADE:
        types.pop(name, None)
        return "", None
    if name.startswith("chainrule.Network.") and name in types:
        types[name].pop("network", None)  # that is self
    return signature, None


# --- pages ----------------------------------------------------------------------------------------


def write_pages(app: Sphinx) -> None:
    """Write a page for each name, and the index of them all."""
    folder = app.srcdir / PAGES
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"index.md"}
    index = [catalogue.INTRODUCTION]
    for group in catalogue.GROUPS:
        index += [f"## {group.title}\n", f"{group.text}\n", "| Name | |", "|---|---|"]
        pages = []
        for name in group.names:
            obj, short = docstrings.found(name), name.removeprefix("chainrule.")
            module, _, attribute = name.rpartition(".")
            setattr(importlib.import_module(module), attribute, obj)  # where autodoc looks for it
            page = f"{short}.md"
            _write(folder / page, _page(app, name, obj))
            wanted.add(page)
            pages.append(page.removesuffix(".md"))
            said = docstrings.summary(obj).replace("|", "\\|")
            index.append(f"| [`{short}`]({page}) | {said} |")
        index += [
            "", f"```{{toctree}}\n:hidden:\n:caption: {group.title}\n", *pages, "```\n",
        ]  # fmt: skip
    _write(folder / "index.md", "\n".join(index))
    for old in {p.name for p in folder.glob("*.md")} - wanted:
        (folder / old).unlink()


def _page(app: Sphinx, name: str, obj: Any) -> str:
    kind = "autoclass" if inspect.isclass(obj) else "autofunction"
    short = name.rpartition(".")[2]
    lines = [f"# {short}", "", "```{eval-rst}", f".. currentmodule:: {name.rpartition('.')[0]}", ""]
    lines += [f".. {kind}:: {name}"]
    if kind == "autoclass":
        for member, value in docstrings.members(name, obj).items():
            lines += ["", f"   .. auto{docstrings.kind(value)}:: {member}"]
    lines += ["```", ""]
    if _is_used(app, name):
        lines += ["## In the gallery", "", "```{eval-rst}", f".. minigallery:: {name}", "```", ""]
    return "\n".join(lines)


def _is_used(app: Sphinx, name: str) -> bool:
    """Tell whether a program of the gallery uses a name; it has been run before."""
    file = app.srcdir / "gallery" / "used" / f"{name}.examples"
    return file.exists() and "sphx-glr-thumbcontainer" in file.read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


# --- links ----------------------------------------------------------------------------------------


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: nodes.Element
) -> nodes.Node | None:
    """Find what a type or a name in a docstring refers to: a page of the reference, or a site."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    name = target.rpartition(".")[2]
    name = catalogue.ALIASES.get(name, name)
    if target.count(".") == 1 and target[0].isupper():  # Network.fit
        name = target
    documented = env.domains["py"].objects
    for full, entry in documented.items():
        if full == target or full.endswith(f".{name}"):
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode)
    for place in (target, name):
        if url := catalogue.EXTERNAL.get(place):
            return nodes.reference("", "", contnode, refuri=url, internal=False)
    if name in catalogue.PLAIN or node.get("if_known"):
        return contnode
    return None


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Make a link of each public name that stands in a text as code: `Network.fit`, `cr.Adam`."""
    names = catalogue.names()
    for literal in list(doctree.findall(nodes.literal)):
        text = literal.astext().removesuffix("()")
        text = re.sub(r"^(?:cr|chainrule)\.", "", text)
        head = text.partition(".")[0]
        if "classes" in literal and "xref" in literal["classes"]:
            continue
        if isinstance(literal.parent, nodes.reference | nodes.title | addnodes.pending_xref):
            continue
        if head in names and re.fullmatch(r"[A-Za-z_]\w*(\.[a-z_]\w*)?", text):
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=text, refdoc=app.env.docname,
                refwarn=False, refexplicit=True, if_known=True,
            )  # fmt: skip
            literal.replace_self(link)
            link += literal


def join_result(app: Sphinx, doctree: nodes.document) -> None:
    """Put the type of a result beside what is said of it, as it stands beside a parameter."""
    for fields in doctree.findall(nodes.field_list):
        by_name = {field[0].astext(): field for field in fields if isinstance(field, nodes.field)}
        said, kind = by_name.get("Returns"), by_name.get("Return type")
        if said is None or kind is None:
            continue
        paragraphs = list(said[1].findall(nodes.paragraph))
        types = next(iter(kind[1].findall(nodes.paragraph)), None)
        if paragraphs and types is not None:
            paragraphs[0][:0] = [nodes.Text("("), *types.children, nodes.Text(") – ")]
            fields.remove(kind)


def source_module(app: Sphinx, module: str, name: str) -> str | None:
    """Say in which module a public class is written, for the link to its source."""
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    functions = [value, *vars(value).values()] if inspect.isclass(value) else [value]
    for function in functions:
        code = (
            getattr(inspect.unwrap(function), "__globals__", None) if callable(function) else None
        )
        if code and code["__name__"].startswith("chainrule"):
            return str(code["__name__"])
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the above."""
    # A type alias in a union is printed by its name, not as "TypeAliasForwardRef('Array')".
    TypeAliasForwardRef.__repr__ = lambda self: self.name
    app.add_directive("markdown-docstring", MarkdownDocstring)
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-process-signature", tidy_signature)
    app.connect("doctree-read", link_names)
    app.connect("doctree-read", join_result)
    app.connect("missing-reference", resolve)
    app.connect("viewcode-follow-imported", source_module)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

"""The reference: a page for each public name, written from the docstrings.

Docstrings are Markdown, as the pages are, with the sections of Google's style (Args, Returns,
Raises, ...). Autodoc expects reStructuredText, so each docstring is handed to it as one directive
that turns the text into nodes. A name in backquotes that has a page becomes a link to it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalogue
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, new_document
from sphinx.util.nodes import make_refnode

import chainrule

PAGES = Path("reference", "api")

# --- docstrings -----------------------------------------------------------------------------------

_FIELDS = {  # sections whose entries have names: the field that Sphinx knows them by
    "Args": "param", "Raises": "raises", "Attributes": "Attributes", "Warns": "Warns",
}  # fmt: skip
_TEXTS = {"Returns": "returns", "Yields": "Yields", "Source": "Source", "Note": "Note"}
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns|Source|Note|Examples?):$")
_ENTRY = re.compile(r"^\*{0,2}([\w.]+)(?: \([^)]*\))?: +")


def parts_of(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and its sections, each dedented."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    current = text
    for line in inspect.cleandoc(docstring).splitlines():
        if match := _SECTION.match(line):
            current = sections.setdefault(match[1].replace("Examples", "Example"), [])
        elif line and not line.startswith(" ") and current is not text:
            current = text  # what is not indented under a section belongs to none
            current += ["", line]
        else:
            current.append(line)
    return "\n".join(text).strip(), {
        name: textwrap.dedent("\n".join(lines)).strip() for name, lines in sections.items()
    }


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Find the names of a section such as Args, each with its text."""
    name, lines = "", []
    for line in section.splitlines():
        if match := _ENTRY.match(line):
            if name:
                yield name, textwrap.dedent("\n".join(lines))
            name, lines = match[1], [" " * 4 + line[match.end() :]]
        else:
            lines.append(line)
    if name:
        yield name, textwrap.dedent("\n".join(lines))


class MarkdownDocstring(SphinxDirective):
    """Turn a docstring into nodes."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the text, then a field list, then the example."""
        text, sections = parts_of("\n".join(self.content))
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
        found = [(entry, self._markdown(text)) for entry, text in entries(content)]
        kind = _FIELDS[name]
        if kind in ("param", "raises"):
            return [_field(f"{kind} {entry}", body) for entry, body in found]
        items = nodes.bullet_list()
        for entry, body in found:
            first = body[0] if body and isinstance(body[0], nodes.paragraph) else None
            if first is None:
                body.insert(0, first := nodes.paragraph())
            mark = nodes.literal if kind == "Warns" else addnodes.literal_strong
            first[:0] = [mark("", entry), nodes.Text(" – ")]
            items += nodes.list_item("", *body)
        return [_field(kind, [items])]

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
        lines[:] = [
            ".. markdown-docstring::", "", *("   " + line for line in text.splitlines()), "",
        ]  # fmt: skip


def short_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str | None, result: str
) -> tuple[str | None, str | None]:
    """Print the type aliases in a union by their names; Sphinx prints its wrapper around them."""
    wrapper = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return wrapper.sub(r"\1", signature or "") or None, wrapper.sub(r"\1", result or "") or None


# --- pages ----------------------------------------------------------------------------------------


def found(name: str) -> Any:
    """Find a public object, or a class of the package that is met but not imported by users."""
    module, _, attribute = name.rpartition(".")
    package = importlib.import_module(module)
    if attribute in getattr(package, "__all__", ()) or hasattr(package, attribute):
        return getattr(package, attribute)
    for info in pkgutil.walk_packages(chainrule.__path__, "chainrule."):
        if info.name.endswith("__main__") or "._" in info.name:
            continue
        value = getattr(importlib.import_module(info.name), attribute, None)
        if inspect.isclass(value) and value.__module__.startswith("chainrule"):
            return value
    raise LookupError(f"{name}: no such class")


def summary(obj: Any) -> str:
    """Return the first sentence of a docstring."""
    text, _ = parts_of(obj.__doc__ or "")
    return " ".join(re.split(r"(?<=[.;:])(?:\s|$)|\n\n", text + " ", maxsplit=1)[0].split())


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
            obj, short = found(name), name.removeprefix("chainrule.")
            module, _, attribute = name.rpartition(".")
            setattr(importlib.import_module(module), attribute, obj)  # where autodoc looks for it
            page = f"{short}.md"
            _write(folder / page, _page(name, obj))
            wanted.add(page)
            pages.append(page.removesuffix(".md"))
            said = summary(obj).replace("|", "\\|")
            index.append(f"| [`{short}`]({page}) | {said} |")
        index += [
            "", f"```{{toctree}}\n:hidden:\n:caption: {group.title}\n", *pages, "```\n",
        ]  # fmt: skip
    _write(folder / "index.md", "\n".join(index))
    for old in {p.name for p in folder.glob("*.md")} - wanted:
        (folder / old).unlink()


def _page(name: str, obj: Any) -> str:
    kind = "autoclass" if inspect.isclass(obj) else "autofunction"
    short = name.rpartition(".")[2]
    lines = [f"# {short}", "", "```{eval-rst}", f".. currentmodule:: {name.rpartition('.')[0]}", ""]
    lines += [f".. {kind}:: {name}"]
    if kind == "autoclass":
        lines += [f"   :{key}: {value}".rstrip() for key, value in _members(name, obj).items()]
    lines += ["```", ""]
    if examples := catalogue.SEE_ALSO.get(name):
        lines += ["**See also:** " + " · ".join(examples), ""]
    return "\n".join(lines)


def _members(name: str, obj: type) -> dict[str, str]:
    chosen = catalogue.MEMBERS.get(name)
    if chosen is not None:
        return {"members": chosen} if chosen else {}
    return {"members": "", "inherited-members": "Mapping, Sequence, BaseException, Warning"}


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
    name = catalogue.ALIASES.get(target, target).rpartition(".")[2]
    if target.count(".") == 1 and target[0].isupper():  # Network.fit
        name = target
    documented = env.domains["py"].objects
    for full, entry in documented.items():
        if full == target or full.endswith(f".{name}"):
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode)
    for place in (target, name):
        if url := catalogue.EXTERNAL.get(place):
            return nodes.reference("", "", contnode, refuri=url, internal=False)
    if name in catalogue.PLAIN:
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
                refwarn=False, refexplicit=True,
            )  # fmt: skip
            literal.replace_self(link)
            link += literal


def source_module(app: Sphinx, module: str, name: str) -> str | None:
    """Say in which module a public class is written, for the link to its source."""
    value = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    functions = [value, *vars(value).values()] if inspect.isclass(value) else [value]
    for function in functions:
        code = getattr(inspect.unwrap(function), "__globals__", None) if callable(function) else None
        if code and code["__name__"].startswith("chainrule"):
            return str(code["__name__"])
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the above."""
    app.add_directive("markdown-docstring", MarkdownDocstring)
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-process-signature", short_aliases)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", resolve)
    app.connect("viewcode-follow-imported", source_module)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

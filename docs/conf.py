"""Sphinx settings: pages in Markdown (MyST), the API page from the docstrings."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, new_document

import chainrule

project = "chainrule"
author = copyright = "chainrule contributors"
version = release = chainrule.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3  # [text](page.md#heading) works

html_theme = "furo"
html_title = f"chainrule {version}"

autodoc_member_order = "bysource"
autodoc_type_aliases = {"Array": "Array", "ArrayLike": "ArrayLike"}
python_maximum_signature_line_length = 80


# Docstrings are Markdown, like the pages: text with `code` and formulas such as |d| or a_j * w_jk
# needs no escapes there. Autodoc expects reStructuredText, so each docstring is handed to it as
# one directive, whose content is parsed as Markdown.


class MarkdownDocstring(SphinxDirective):
    """Parse the content as Markdown."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Give the parsed nodes."""
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        document.settings.env = self.env
        MystParser().parse("\n".join(self.content), document)
        return list(document.children)


def as_markdown(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Wrap a docstring for `MarkdownDocstring`; doctests become code blocks."""
    text = "\n".join(lines).strip()
    if not text:
        return
    text = re.sub(r"(?m)^>>> (?:.+\n?)+", lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", text)
    lines[:] = [".. markdown-docstring::", "", *("   " + line for line in text.splitlines()), ""]


def short_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str | None, result: str
) -> tuple[str | None, str | None]:
    """Print the type aliases in a union by their names; Sphinx prints its wrapper around them."""
    wrapper = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return wrapper.sub(r"\1", signature or "") or None, wrapper.sub(r"\1", result or "") or None


def setup(app: Sphinx) -> None:
    """Register the above."""
    app.add_directive("markdown-docstring", MarkdownDocstring)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-process-signature", short_aliases)
